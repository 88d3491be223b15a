//! What a statement will do to a server, before it does it: locks, rewrites, scans, and how sure that is.
//!
//! A function of the statements and of a [`Snapshot`]; each statement is looked at in the catalog that the ones before
//! it leave. What the catalog does not say is assumed to be the worst, and is named.

mod alter;
mod case;
mod composite;
mod create;
mod data;
mod dispatch;
mod drop;
mod enums;
mod implied;
mod index;
mod lock;
mod names;
mod objects;
mod reads;
mod rename;
mod route;
pub(in crate::sql) mod types;
mod volatility;
mod world;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grammar::{self, Tree};
use super::name::RelationName;
use super::snapshot::Snapshot;
use super::statement::Statement;
use super::stored::stored_query;
use case::Case;
pub use lock::LockMode;
pub(super) use reads::{Reads, of_statement};
pub(super) use volatility::built_in as built_in_volatile;
use world::World;

/// The functions that an expression calls.
pub(super) fn functions_of(expression: &pg_query::Node) -> Vec<RelationName> {
    reads::of_expression(expression).functions
}

/// What one statement will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools, reason = "independent properties")]
pub struct Foreseen {
    /// The strongest lock on each relation that was there before the statement, by name; not those of system catalogs,
    /// and not those weaker than SHARE UPDATE EXCLUSIVE on an index, which only whoever drops the index waits for.
    pub locks: Vec<RelationLock>,
    /// Tables and indexes whose file is written anew.
    pub rewrites: Vec<RelationName>,
    /// Tables that are read from beginning to end.
    pub scans: Vec<RelationName>,
    /// Whether the rewrites and scans, if there are any, happen while readers or writers of the table wait.
    pub heavy: Heavy,
    /// Data is deleted, or an object that holds some.
    pub destructive: bool,
    /// Rows of the application are changed.
    pub changes_data: bool,
    /// What it does cannot be known from its text: `DO`, `CALL`, a function that may do anything.
    pub opaque: bool,
    /// What else happens: objects that are dropped or stop to work, triggers that fire, in a sentence each.
    pub consequences: Vec<String>,
    /// Facts that were not known and taken for the worst, in words; empty means that the catalog answered everything.
    pub assumptions: Vec<String>,
}

impl Foreseen {
    /// Whether it is light, and nothing had to be assumed to say so.
    pub fn is_surely_light(&self) -> bool {
        self.is_light() && self.assumptions.is_empty()
    }

    /// Whether it does nothing but lock shortly: nothing is read, written anew, changed, lost or broken.
    pub fn is_light(&self) -> bool {
        let Self { rewrites, scans, consequences, .. } = self;
        rewrites.is_empty()
            && scans.is_empty()
            && consequences.is_empty()
            && !(self.destructive || self.changes_data || self.opaque)
    }
}

/// A lock on a relation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelationLock {
    /// The relation, with its schema as far as it is known.
    pub relation: RelationName,
    /// The strongest mode.
    pub mode: LockMode,
}

/// Long work under a lock: for whom it is felt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Heavy {
    /// There is none, or nobody waits for it.
    #[default]
    None,
    /// Writers wait for as long as it takes.
    Writes,
    /// Readers and writers wait for as long as it takes.
    Everything,
}

/// Foresees what statements will do, one after the other.
pub fn foresee(statements: &[Statement], catalog: &Snapshot) -> Vec<Foreseen> {
    let all = || {
        let mut world = World::new(catalog);
        let parsed = grammar::trees(statements.iter().map(|statement| statement.sql.as_str()));
        let foresee = |tree: Option<Tree>| {
            let mut case = Case::new(&mut world);
            match tree {
                Some(tree) => dispatch::statement(&mut case, &tree.node),
                None => case.opaque("it could not be read"),
            }
            case.finish()
        };
        parsed.into_iter().map(foresee).collect()
    };
    grammar::on_deep_stack(all).unwrap_or_else(|| statements.iter().map(|_| unreadable()).collect())
}

/// Returns all words of statements that only make what is new, alone among all that is there: a catalog has something to say
/// about them only where it has one of these names. `None` for all others.
pub fn stand_alone(statements: &[Statement]) -> Option<Vec<String>> {
    let nothing = Snapshot::assumed(None);
    let alone = |one: &Foreseen| one.is_surely_light() && one.locks.is_empty();
    let all = foresee(statements, &nothing).iter().all(alone);
    // A quoted name may be more than a word.
    let quoted = statements.iter().any(|one| one.sql.contains('"'));
    if !all || quoted || statements.iter().any(|one| stored_query(one, &nothing).is_some()) {
        return None;
    }
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    let words = statements.iter().flat_map(|one| one.sql.split(|letter| !is_part(letter)));
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    // One that is too long is cut off by the server.
    words.iter().all(|word| word.len() < 64).then_some(words)
}

/// What is said where nothing can be: the worst.
fn unreadable() -> Foreseen {
    Foreseen {
        opaque: true,
        destructive: true,
        changes_data: true,
        assumptions: vec!["everything: the parser could not be run".to_owned()],
        ..Foreseen::default()
    }
}
