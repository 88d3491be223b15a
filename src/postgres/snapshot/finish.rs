//! What follows from several answers together.

use std::collections::HashMap;

use super::assemble::Assembly;
use super::path;
use crate::sql::{LIVE_QUERIES, Relation, RelationName, RelationType, Snapshot, Unknown};

/// Tables that are named in a sentence.
const NAMED: usize = 5;

impl Assembly {
    /// Puts the parts together.
    pub(super) fn finish(mut self, search_path: &[String]) -> Snapshot {
        self.count_rows();
        finish_indexes(&mut self.snapshot.relations);
        finish_partitions(&mut self.snapshot.relations);
        self.finish_dependencies();
        self.finish_paths(search_path);
        self.finish_queries();
        self.finish_privileges();
        self.snapshot.transaction_ages.sort_by(|a, b| b.total_cmp(a));
        self.snapshot
    }

    /// Brings the number of rows up to date as the planner does: the density of the last analysis times the pages of today.
    /// A table that was never analyzed has the count of the statistics, if there is one.
    fn count_rows(&mut self) {
        let page =
            self.snapshot.settings.get("block_size").and_then(|size| size.parse().ok()).unwrap_or(8192.0);
        for (id, index) in &self.relations {
            let Some(relation) = self.snapshot.relations.get_mut(*index) else { continue };
            if !matches!(relation.kind, RelationType::Table | RelationType::MaterializedView) {
                continue;
            }
            let live = self.live_rows.get(id).copied().filter(|live| *live > 0.0);
            let Some(size) = self.sizes.get(id) else {
                relation.rows = relation.rows.or(live);
                continue;
            };
            #[allow(clippy::cast_precision_loss, reason = "an estimate")]
            let pages = relation.bytes as f64 / page;
            relation.rows = if pages == 0.0 {
                Some(0.0)
            } else if size.rows >= 0.0 && size.pages > 0.0 {
                Some((size.rows / size.pages * pages).round())
            } else {
                live
            };
        }
    }

    /// A path of the role in this database counts more than one of the role, that more than one of the database.
    fn finish_paths(&mut self, search_path: &[String]) {
        let configured = |role: &str| {
            let rank = |of: &Option<String>, here: bool| match of {
                Some(of) if of == role => Some(if here { 4 } else { 3 }),
                Some(_) => None,
                None => Some(if here { 2 } else { 1 }),
            };
            let found = self.paths.iter().filter_map(|(of, here, setting)| Some((rank(of, *here)?, setting)));
            found.max_by_key(|(rank, _)| *rank).map(|(_, setting)| path::split(setting, role))
        };
        let own = |role: &str| configured(role).unwrap_or_else(|| path::split(path::DEFAULT, role));
        let users = self.snapshot.queries.iter().flatten().filter_map(|query| query.user.clone());
        let roles = self.paths.iter().filter_map(|(role, ..)| role.clone());
        let paths = users.chain(roles).map(|role| (role.clone(), own(&role))).collect();
        let path = if search_path.is_empty() { own(&self.login) } else { search_path.to_vec() };
        self.snapshot.role_search_paths = paths;
        self.snapshot.search_path = path;
    }

    fn finish_queries(&mut self) {
        let grant = format!("GRANT pg_read_all_stats TO {}", self.login());
        if self.hidden_queries > 0 {
            self.unknown(Unknown {
                what: LIVE_QUERIES.to_owned(),
                why: format!("the text of {} statements of other roles is hidden", self.hidden_queries),
                remedy: grant.clone(),
            });
        }
        if self.extension.is_none() {
            self.unknown(Unknown {
                what: LIVE_QUERIES.to_owned(),
                why: "the extension pg_stat_statements is not installed in this database".to_owned(),
                remedy: "CREATE EXTENSION pg_stat_statements".to_owned(),
            });
        } else if self.queries_read {
            self.snapshot.queries.get_or_insert_default();
        }
        if self.hidden_transactions > 0 {
            self.unknown(Unknown {
                what: "open transactions".to_owned(),
                why: format!("the ages of {} sessions of other roles are hidden", self.hidden_transactions),
                remedy: grant,
            });
        }
    }

    fn finish_privileges(&mut self) {
        if !self.held.is_empty() {
            let why = format!("somebody holds {} exclusively", listed(&self.held));
            let remedy = "try again when that is over".to_owned();
            self.unknown(Unknown { what: "sizes, expressions and definitions".to_owned(), why, remedy });
        }
        if !self.unreadable.is_empty() {
            let why = format!("no privilege to read {}", listed(&self.unreadable));
            let remedy = format!("GRANT pg_read_all_data TO {}", self.login());
            self.unknown(Unknown { what: "widths of columns".to_owned(), why, remedy });
        }
    }
}

/// The first few names.
fn listed(names: &[String]) -> String {
    let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The bytes of an index stand with its own relation.
fn finish_indexes(relations: &mut [Relation]) {
    let is_index = |relation: &&Relation| relation.kind == RelationType::Index;
    let bytes: HashMap<RelationName, u64> =
        relations.iter().filter(is_index).map(|index| (index.name.clone(), index.bytes)).collect();
    for relation in relations {
        for index in &mut relation.indexes {
            index.bytes = bytes.get(&relation.name.sibling(index.name.clone())).copied().unwrap_or_default();
            relation.total_bytes += index.bytes;
        }
    }
}

/// A partition is published with its partitioned table, and a partitioned table has the rows of its partitions.
fn finish_partitions(relations: &mut [Relation]) {
    let parents: HashMap<RelationName, RelationName> = relations
        .iter()
        .filter_map(|relation| Some((relation.name.clone(), relation.partition_of.clone()?)))
        .collect();
    let published: HashMap<RelationName, Vec<String>> = relations
        .iter()
        .filter(|relation| !relation.publications.is_empty())
        .map(|relation| (relation.name.clone(), relation.publications.clone()))
        .collect();
    let mut rows: HashMap<RelationName, f64> = HashMap::new();
    for relation in relations.iter_mut() {
        let mut above = parents.get(&relation.name);
        while let Some(parent) = above {
            relation.publications.extend(published.get(parent).into_iter().flatten().cloned());
            if let (RelationType::Table, Some(count)) = (relation.kind, relation.rows) {
                *rows.entry(parent.clone()).or_default() += count;
            }
            above = parents.get(parent);
        }
        relation.publications.sort();
        relation.publications.dedup();
    }
    for relation in relations.iter_mut().filter(|relation| relation.kind == RelationType::PartitionedTable) {
        relation.rows = rows.get(&relation.name).copied().or(relation.rows);
    }
}
