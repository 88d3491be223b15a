//! Tests of the findings, with what is really foreseen of the statements.

mod catalog;
mod found;
mod ignored;
mod page;
mod weight;

use super::*;
use crate::sql::{MAX_FILE_BYTES, foresee, parse, read};

/// What is found, without what is overruled and without advice.
fn findings(sql: &str, catalog: &Snapshot) -> Vec<Finding> {
    let reading = read(sql, MAX_FILE_BYTES);
    let statements = &reading.script.statements;
    assert!(
        !reading.refusals.iter().any(|refusal| refusal.code.is_unreadable()),
        "{sql}: {:?}",
        reading.refusals
    );
    let foreseen = foresee(statements, catalog);
    let grouping = if reading.script.wants_single_transaction { Grouping::Single } else { Grouping::Auto };
    lint_script(sql, statements, &foreseen, catalog, grouping, &reading.refusals)
}

/// Codes and severities of what counts, advice left out.
fn codes(sql: &str, catalog: &Snapshot) -> Vec<String> {
    let found = findings(sql, catalog);
    let ours = found.iter().filter(|one| one.counts() && rule(&one.code).is_some());
    ours.map(|one| format!("{} {:?}", one.code, one.severity)).collect()
}
