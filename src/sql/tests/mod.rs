//! The room as a whole, from text to inverses.

mod inverses;
mod kinds;
mod positions;
mod refusals;
mod splitting;

use super::*;

/// Parses SQL that has to be accepted.
fn script(sql: &str) -> Script {
    parse(sql).unwrap_or_else(|refusals| panic!("{sql}\n{refusals:#?}"))
}

/// Parses one statement that has to be accepted.
fn one(sql: &str) -> Statement {
    let mut statements = script(sql).statements;
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0)
}
