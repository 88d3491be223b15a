//! Whole tables: written anew, filled, attached, locked.

use pg_query::NodeEnum;
use pg_query::protobuf::AlterTableType;

use super::Found;
use super::index::brief;
use crate::sql::classify::{has_option, tree};
use crate::sql::foresight::{Heavy, LockMode};
use crate::sql::kind::{Kind, TableAction};
use crate::sql::lint::subject::{Subject, same};
use crate::sql::lint::{Severity, safe};
use crate::sql::name::RelationName;
use crate::sql::snapshot::RelationType;

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    match subject.node() {
        Some(NodeEnum::AlterTableStmt(_)) => altered(subject, found),
        Some(NodeEnum::ClusterStmt(cluster)) => {
            let table = cluster.relation.as_ref().map(tree::range);
            found.extend(rewritten(subject, "CLUSTER", table.as_ref(), 0));
        }
        Some(NodeEnum::VacuumStmt(vacuum)) if vacuum.is_vacuumcmd && has_option(&vacuum.options, "full") => {
            let table = vacuum.rels.iter().find_map(|node| match &node.node {
                Some(NodeEnum::VacuumRelation(relation)) => relation.relation.as_ref().map(tree::range),
                _ => None,
            });
            found.extend(rewritten(subject, "VACUUM FULL", table.as_ref(), 0));
        }
        Some(NodeEnum::RefreshMatViewStmt(refresh)) if !refresh.concurrent => {
            let view = refresh.relation.as_ref().map(tree::range).unwrap_or_default();
            found.extend(refreshed(subject, &view, refresh.skip_data));
        }
        Some(NodeEnum::LockStmt(lock)) => {
            let tables = lock.relations.iter().filter_map(tree::relation);
            found.extend(tables.filter_map(|table| locked(subject, &table)));
        }
        Some(NodeEnum::CreateStmt(create)) if create.partbound.is_some() => {
            let parent = create.inh_relations.iter().find_map(tree::relation);
            found.extend(parent.and_then(|parent| partition_of(subject, &parent)));
        }
        _ => {}
    }
    far_side(subject, found);
    refused(subject, found);
}

fn altered(subject: &Subject<'_>, found: &mut Vec<Found>) {
    let Kind::AlterTable(alter) = &subject.statement.kind else { return };
    for (number, command) in subject.commands().enumerate() {
        let what = match command.subtype() {
            AlterTableType::AtSetLogged => "SET LOGGED",
            AlterTableType::AtSetUnLogged => "SET UNLOGGED",
            AlterTableType::AtSetAccessMethod => "SET ACCESS METHOD",
            AlterTableType::AtSetTableSpace => "SET TABLESPACE",
            AlterTableType::AtSetExpression => "SET EXPRESSION",
            AlterTableType::AtAttachPartition => {
                if let Some(NodeEnum::PartitionCmd(partition)) =
                    command.def.as_ref().and_then(|def| def.node.as_ref())
                {
                    found.extend(attached(subject, &alter.relation, partition, number));
                }
                continue;
            }
            _ => continue,
        };
        found.extend(rewritten(subject, what, Some(&alter.relation), number));
    }
}

fn rewritten(
    subject: &Subject<'_>,
    what: &str,
    table: Option<&RelationName>,
    _number: usize,
) -> Option<Found> {
    if subject.foreseen.rewrites.is_empty() {
        return None;
    }
    let table = table.or_else(|| subject.foreseen.rewrites.first())?;
    let message = format!(
        "{what} writes all of {} anew under {}: readers and writers wait",
        subject.named(table),
        LockMode::AccessExclusive,
    );
    let severity = subject.weight(table);
    Some(subject.finding("WB116", severity, 0, message).without_remedy())
}

fn refreshed(subject: &Subject<'_>, view: &RelationName, empties: bool) -> Option<Found> {
    subject.mode_on(view).filter(|mode| *mode == LockMode::AccessExclusive)?;
    let unique = subject.relation(view).is_some_and(|view| {
        let usable = |index: &&crate::sql::snapshot::IndexFacts| {
            index.unique && index.valid && !index.partial && index.columns.iter().all(Option::is_some)
        };
        view.indexes.iter().any(|index| usable(&index))
    });
    let known = subject.relation(view).is_some();
    let message = format!(
        "REFRESH MATERIALIZED VIEW takes {} on {} until its query has run: its readers wait{}",
        LockMode::AccessExclusive,
        subject.named(view),
        if known && !unique {
            "; CONCURRENTLY needs a unique index on plain columns, without WHERE, first"
        } else {
            ""
        },
    );
    let severity = subject.weight(view);
    let safe = (!empties && (unique || !known))
        .then(|| vec![format!("REFRESH MATERIALIZED VIEW CONCURRENTLY {}", view.sql())]);
    Some(subject.finding("WB117", severity, 0, message).instead(safe))
}

fn locked(subject: &Subject<'_>, table: &RelationName) -> Option<Found> {
    let mode = subject.mode_on(table).filter(|mode| mode.blocks_writes())?;
    let waiting = if mode.blocks_reads() { "readers and writers wait" } else { "writers wait" };
    let message =
        format!("LOCK TABLE holds {mode} on {} until the transaction ends: {waiting}", subject.named(table));
    let severity = brief(subject, table).max(Severity::Low);
    Some(subject.finding("WB121", severity, 0, message).without_remedy())
}

fn attached(
    subject: &Subject<'_>,
    parent: &RelationName,
    partition: &pg_query::protobuf::PartitionCmd,
    number: usize,
) -> Option<Found> {
    let child = partition.name.as_ref().map(tree::range)?;
    if subject.foreseen.heavy == Heavy::None {
        return None;
    }
    let read = subject.foreseen.scans.iter().max_by_key(|table| subject.size(table).magnitude())?;
    let message = format!(
        "ATTACH PARTITION reads all of {} under {} to see that its rows belong where they are: readers and writers of it \
         wait",
        subject.named(read),
        LockMode::AccessExclusive,
    );
    let severity = subject.weight(read);
    let safe = safe::partition::attach(subject, parent, &child, partition.bound.as_ref());
    Some(subject.finding("WB118", severity, 0, message).instead_of(number, safe))
}

fn partition_of(subject: &Subject<'_>, parent: &RelationName) -> Option<Found> {
    subject.mode_on(parent).filter(|mode| *mode == LockMode::AccessExclusive)?;
    let scanned = subject.foreseen.scans.first().filter(|_| subject.foreseen.heavy != Heavy::None);
    let reads =
        scanned.map(|table| format!(", and reads all of {}", subject.named(table))).unwrap_or_default();
    let message = format!(
        "CREATE TABLE ... PARTITION OF takes {} on {}{reads}: readers and writers of all partitions wait",
        LockMode::AccessExclusive,
        subject.named(parent),
    );
    let severity =
        scanned.map_or_else(|| brief(subject, parent), |table| subject.weight(table)).max(Severity::Low);
    let safe = safe::partition::create_and_attach(subject);
    Some(subject.finding("WB119", severity, 0, message).instead(safe))
}

/// Tables that are locked against readers although the statement does not name them.
fn far_side(subject: &Subject<'_>, found: &mut Vec<Found>) {
    let named: Vec<&RelationName> = match &subject.statement.kind {
        Kind::DropTable { relations, .. } => relations.iter().collect(),
        Kind::AlterTable(alter) => {
            let drops = |action: &TableAction| {
                matches!(action, TableAction::DropColumn { .. } | TableAction::DropConstraint { .. })
            };
            if !alter.actions.iter().any(drops) {
                return;
            }
            vec![&alter.relation]
        }
        _ => return,
    };
    for lock in subject.foreseen.locks.iter().filter(|lock| lock.mode == LockMode::AccessExclusive) {
        let table = &lock.relation;
        let Some(relation) = subject.relation(table) else { continue };
        let is_table = matches!(relation.kind, RelationType::Table | RelationType::PartitionedTable);
        let related = relation
            .partition_of
            .iter()
            .chain(&relation.inherits)
            .any(|parent| named.iter().any(|name| same(name, parent)));
        if !is_table || related || named.iter().any(|name| same(name, table)) {
            continue;
        }
        let message = format!(
            "this also takes {} on {}, at the other side of a foreign key: readers and writers of it wait",
            lock.mode,
            subject.named(table),
        );
        let severity = brief(subject, table);
        found.push(subject.finding("WB122", severity, 0, message).without_remedy());
    }
}

/// What the server will refuse, going by the catalog.
fn refused(subject: &Subject<'_>, found: &mut Vec<Found>) {
    let fails = subject.foreseen.consequences.iter().find_map(|sentence| sentence.strip_prefix("fails: "));
    if let Some(why) = fails {
        let message = format!("the server refuses this, if the catalog is as it was read: {why}");
        found.push(subject.finding("WB210", Severity::Medium, 0, message).without_remedy());
    }
}

/// Long work that no other rule has a word for: what is foreseen counts, not what a rule knows.
pub fn remaining(subject: &Subject<'_>, found: &mut Vec<Found>) {
    const EXPLAIN: &[&str] = &[
        "WB101", "WB103", "WB106", "WB107", "WB109", "WB110", "WB111", "WB112", "WB113", "WB114", "WB115",
        "WB116", "WB117", "WB118", "WB119", "WB201", "WB307",
    ];
    if subject.foreseen.heavy == Heavy::None
        || found.iter().any(|one| EXPLAIN.contains(&one.finding.code.as_str()))
    {
        return;
    }
    let work =
        |tables: &'_ [RelationName]| tables.iter().max_by_key(|t| subject.size(t).magnitude()).cloned();
    let (table, verb) = match (work(&subject.foreseen.rewrites), work(&subject.foreseen.scans)) {
        (Some(table), _) => (table, "writes all of"),
        (None, Some(table)) => (table, "reads all of"),
        (None, None) => return,
    };
    // Nobody writes to a materialized view but another refresh.
    let refreshes = matches!(subject.statement.kind, Kind::RefreshMaterializedView { .. });
    if subject.size(&table).is_empty() || refreshes && subject.foreseen.heavy == Heavy::Writes {
        return;
    }
    let message = format!(
        "the statement {verb} {} under a lock: {}{}",
        subject.named(&table),
        subject.waiting(),
        subject.doubt("")
    );
    let severity = subject.weight(&table);
    found.push(subject.finding("WB129", severity, 0, message).without_remedy());
}
