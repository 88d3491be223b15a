//! Putting aside what was added, so that data written since is not destroyed.

use serde::{Deserialize, Serialize};

use super::name::RelationName;
use super::statement::Statement;

/// Longest suffix, in bytes.
const MAX_SUFFIX: usize = 24;

/// What tells the names of one run's put-aside objects from those of any other run: a short piece of its identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideSuffix(String);

impl AsideSuffix {
    /// Takes 1 to 24 of `a-z`, `0-9` and `_`; anything else gives `None`.
    pub fn new(suffix: impl Into<String>) -> Option<Self> {
        let suffix = suffix.into();
        let fits = (1..=MAX_SUFFIX).contains(&suffix.len())
            && suffix
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        fits.then_some(Self(suffix))
    }
}

/// What was put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AsideKind {
    /// A column of a table.
    Column,
    /// A table.
    Table,
    /// A type or domain, which put-aside columns may be of.
    Type,
    /// A schema, which put-aside tables may be in.
    Schema,
}

/// Something that a rollback put aside instead of dropping it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aside {
    /// What it is.
    pub kind: AsideKind,
    /// The table of the column; for the other kinds the object itself, under its name before.
    pub relation: RelationName,
    /// Name before.
    pub name: String,
    /// Name now; the schema is the same.
    pub aside_name: String,
}

/// The SQL that destroys what was put aside, in order; `asides` in the order in which they were put aside.
pub fn purge(asides: &[Aside]) -> Vec<String> {
    let _ = asides;
    Vec::new()
}

/// Replaces, in a `down` that a person wrote, the drops of columns and tables that `up` added by putting them aside.
pub fn aside_written(
    down: &[Statement],
    up: &[Statement],
    suffix: &AsideSuffix,
) -> (Vec<String>, Vec<Aside>) {
    let _ = (up, suffix);
    (
        down.iter().map(|statement| statement.sql.clone()).collect(),
        Vec::new(),
    )
}
