//! Rules of a Migration.

use std::collections::BTreeMap;

use super::{Problems, analysis};
use crate::api::backfill::{MAX_COLUMNS, MAX_EXPRESSION, MAX_ROWS, MAX_VALIDATIONS};
use crate::api::{Backfill, FieldProblem, MigrationSpec, SqlStep, Step};

/// Most steps of a migration.
const MAX_STEPS: usize = 64;
/// Most SQL of a migration, in bytes: with the rest of the object it fits the annotation of a client-side apply.
const MAX_SQL: usize = 192 * 1024;
const MAX_SEARCH_PATH: usize = 16;
/// Longest identifier of PostgreSQL, in bytes (NAMEDATALEN - 1).
const MAX_IDENTIFIER: usize = 63;

/// Finds everything that is wrong with a Migration, but for its SQL.
pub fn migration(spec: &MigrationSpec) -> Vec<FieldProblem> {
    let mut problems = Problems::default();
    problems.local_ref(&spec.database_ref, "spec.databaseRef");
    problems.label(&spec.stream, "spec.stream");
    problems.version(&spec.version, "spec.version");
    problems.exactly_one("spec", ("up", spec.up.is_some()), ("steps", spec.steps.is_some()));
    problems.require(
        spec.down.is_none() || spec.up.is_some(),
        "spec.down",
        "goes with up; with steps it stands in each step",
    );
    for (text, field) in [(&spec.up, "spec.up"), (&spec.down, "spec.down")] {
        problems.require(text.as_ref().is_none_or(|text| !text.is_empty()), field, "must not be empty");
    }
    problems.require(
        sql_bytes(spec) <= MAX_SQL,
        "spec",
        "the SQL of up, down and steps must not be longer than 192 KiB in all",
    );
    if let Some(list) = &spec.steps {
        steps(list, &mut problems);
    }
    search_path(&spec.search_path, &mut problems);
    if let Some(analysis) = &spec.analysis {
        analysis::analysis(analysis, &mut problems);
    }
    problems.0
}

/// Counts the SQL of a migration, in bytes.
fn sql_bytes(spec: &MigrationSpec) -> usize {
    let steps = || spec.steps.iter().flatten();
    let of_steps =
        steps().filter_map(|step| step.sql.as_ref()).flat_map(|sql| [Some(&sql.up), sql.down.as_ref()]);
    let of_backfills = steps().filter_map(|step| step.backfill.as_ref()).flat_map(expressions);
    let of_spec = [spec.up.as_ref(), spec.down.as_ref()].into_iter();
    of_spec.chain(of_steps).flatten().chain(of_backfills).map(String::len).sum()
}

/// Every piece of SQL of a backfill.
fn expressions(backfill: &Backfill) -> impl Iterator<Item = &String> {
    let down = backfill.down.iter().flat_map(|down| down.set.values().chain(&down.filter));
    let throttle = backfill.throttle.iter().filter_map(|throttle| throttle.sql.as_ref());
    backfill.set.values().chain(&backfill.filter).chain(down).chain(&backfill.validate).chain(throttle)
}

fn steps(steps: &[Step], problems: &mut Problems) {
    problems.require((1..=MAX_STEPS).contains(&steps.len()), "spec.steps", "must have 1 to 64 steps");
    let mut first_with = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        let field = format!("spec.steps[{index}]");
        let name = step.name_at(index);
        if step.name.is_some() {
            problems.label(&name, &format!("{field}.name"));
        }
        problems.exactly_one(&field, ("sql", step.sql.is_some()), ("backfill", step.backfill.is_some()));
        if let Some(one) = &step.sql {
            sql(one, &format!("{field}.sql"), problems);
        }
        if let Some(one) = &step.backfill {
            backfill(one, &format!("{field}.backfill"), problems);
        }
        if let Some(first) = first_with.insert(name.clone(), index) {
            problems.0.push(FieldProblem::new(
                format!("{field}.name"),
                format!("{name:?} is also the name of spec.steps[{first}]; names of steps must be unique"),
            ));
        }
    }
}

fn sql(sql: &SqlStep, field: &str, problems: &mut Problems) {
    problems.require(!sql.up.is_empty(), &format!("{field}.up"), "must not be empty");
    let down = sql.down.as_ref();
    problems.require(down.is_none_or(|down| !down.is_empty()), &format!("{field}.down"), "must not be empty");
    problems.require(
        sql.down.is_none() || sql.irreversible.is_none(),
        field,
        "at most one of down and irreversible is allowed",
    );
    if let Some(irreversible) = &sql.irreversible {
        problems.length(&irreversible.reason, 1, 1024, &format!("{field}.irreversible.reason"));
    }
    if let Some(stall) = &sql.max_stall {
        problems.positive_duration(stall, &format!("{field}.maxStall"));
    }
}

fn backfill(backfill: &Backfill, field: &str, problems: &mut Problems) {
    problems.length(&backfill.table, 1, 256, &format!("{field}.table"));
    let down = backfill.down.as_ref();
    let ways = [down.is_some(), backfill.capture, backfill.irreversible.is_some()];
    let few = ways.into_iter().filter(|way| *way).count() <= 1;
    problems.require(few, field, "at most one of down, capture and irreversible is allowed");
    let directions =
        [Some((field.to_owned(), &backfill.set)), down.map(|down| (format!("{field}.down"), &down.set))];
    for (place, set) in directions.into_iter().flatten() {
        let count = (1..=MAX_COLUMNS).contains(&set.len());
        problems.require(count, &format!("{place}.set"), "must name 1 to 32 columns");
        for column in set.keys() {
            let named = (1..=MAX_IDENTIFIER).contains(&column.len());
            problems.require(named, &format!("{place}.set"), "must name columns of 1 to 63 bytes");
        }
    }
    for text in expressions(backfill) {
        problems.length(text, 1, MAX_EXPRESSION, field);
    }
    let few = backfill.validate.len() <= MAX_VALIDATIONS;
    problems.require(few, &format!("{field}.validate"), "must not have more than 8 queries");
    if let Some(irreversible) = &backfill.irreversible {
        problems.length(&irreversible.reason, 1, 1024, &format!("{field}.irreversible.reason"));
    }
    if let Some(throttle) = &backfill.throttle {
        let place = format!("{field}.throttle");
        let paired = throttle.sql.is_some() == throttle.max.is_some();
        problems.require(paired, &place, "sql and max belong together");
        let some = throttle.sql.is_some() || throttle.wal_rate.is_some();
        problems.require(some, &place, "sql with max, or walRate, is required");
        if let Some(max) = &throttle.max {
            problems.decimal(max, &format!("{place}.max"));
        }
        if let Some(rate) = &throttle.wal_rate {
            problems.keep(rate.parse(&format!("{place}.walRate")));
        }
    }
    let rows = backfill.batch.rows.is_none_or(|rows| (1..=MAX_ROWS).contains(&rows));
    problems.require(rows, &format!("{field}.batch.rows"), "must be 1 to 100000");
    if let Some(pause) = &backfill.batch.pause {
        problems.duration(pause, &format!("{field}.batch.pause"));
    }
    if let Some(target) = &backfill.batch.target_duration {
        problems.positive_duration(target, &format!("{field}.batch.targetDuration"));
    }
}

fn search_path(path: &[String], problems: &mut Problems) {
    problems.require(
        (1..=MAX_SEARCH_PATH).contains(&path.len()),
        "spec.searchPath",
        "must have 1 to 16 schemas",
    );
    for (index, schema) in path.iter().enumerate() {
        problems.require(
            (1..=MAX_IDENTIFIER).contains(&schema.len()),
            &format!("spec.searchPath[{index}]"),
            "must have 1 to 63 bytes, as every identifier of PostgreSQL",
        );
    }
}
