//! Pure: the blast radius: all that depends on what a plan touches, with its size.

mod graph;
mod walk;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::graph::Graph;
use self::walk::Walk;
use crate::sql::{
    self, Change, Foreseen, ObjectRef, RelationName, RelationType, Snapshot, Statement, Touched, quote_ident,
};

/// All that depends on what a plan touches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlastRadius {
    /// What is touched, and below it what depends on it.
    pub roots: Vec<Reached>,
}

/// An object within the blast radius.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Reached {
    /// The object.
    pub object: ObjectRef,
    /// Why it is here: `touched`, `foreign key`, `view`, `index on`, `partition`, ...
    pub by: String,
    /// Rows, where it has some and they are known.
    pub rows: Option<f64>,
    /// Bytes with indexes and TOAST.
    pub bytes: Option<u64>,
    /// Found in the source of a function, which the server does not follow: it may be wrong.
    pub likely: bool,
    /// What depends on it in turn.
    pub dependents: Vec<Reached>,
}

/// Follows the dependencies of everything that the statements touch.
pub fn radius(statements: &[Statement], foreseen: &[Foreseen], catalog: &Snapshot) -> BlastRadius {
    let touched = touched(statements, catalog);
    let mut graph = Graph::new(catalog);
    // The names that the first look finds are the words that the sources of functions are searched for.
    let words = names(&look(&graph, &touched));
    graph.bodies = sql::body_uses(catalog, &words);
    let mut radius = look(&graph, &touched);
    for lock in foreseen.iter().flat_map(|seen| &seen.locks) {
        // The lock on an index is told with its table.
        if let Some(relation) = catalog.relation(&lock.relation)
            && !matches!(relation.kind, RelationType::Index | RelationType::PartitionedIndex)
            && !holds(&radius.roots, &relation.name)
        {
            let object = graph::whole(relation);
            let (rows, bytes) = graph::size(relation);
            radius.roots.push(Reached { object, by: "locked".to_owned(), rows, bytes, ..Reached::default() });
        }
    }
    radius
}

/// What is touched, each once; a column is left out where its relation is touched as a whole.
fn touched(statements: &[Statement], catalog: &Snapshot) -> Vec<Touched> {
    let all: Vec<Touched> = sql::touched(statements, catalog)
        .into_iter()
        .flatten()
        .filter(|touch| touch.change != Change::Created)
        .map(|touch| touch.what)
        .collect();
    let mut seen = BTreeSet::new();
    let whole: BTreeSet<&RelationName> = all
        .iter()
        .filter_map(|what| match what {
            Touched::Relation(name, None) => Some(name),
            _ => None,
        })
        .collect();
    let is_part = |what: &Touched| matches!(what, Touched::Relation(name, Some(_)) if whole.contains(name));
    all.iter().filter(|what| !is_part(what) && seen.insert((*what).clone())).cloned().collect()
}

fn look(graph: &Graph<'_>, touched: &[Touched]) -> BlastRadius {
    let mut walk = Walk::new(graph);
    BlastRadius { roots: touched.iter().filter_map(|what| walk.root(what)).collect() }
}

/// Bare names of all relations and functions, in lower case.
fn names(radius: &BlastRadius) -> BTreeSet<String> {
    fn collect(reached: &[Reached], names: &mut BTreeSet<String>) {
        for one in reached {
            names.extend(one.object.relation.iter().map(|relation| relation.name.to_lowercase()));
            collect(&one.dependents, names);
        }
    }
    let mut names = BTreeSet::new();
    collect(&radius.roots, &mut names);
    names
}

fn holds(reached: &[Reached], name: &RelationName) -> bool {
    reached.iter().any(|one| one.object.relation.as_ref() == Some(name) || holds(&one.dependents, name))
}

/// A column as an object.
fn column_of(kind: &str, relation: &RelationName, column: &str) -> ObjectRef {
    ObjectRef {
        kind: format!("{kind} column"),
        identity: format!("{}.{}", relation.sql(), quote_ident(column)),
        relation: Some(relation.clone()),
        column: Some(column.to_owned()),
    }
}

#[cfg(test)]
mod tests;
