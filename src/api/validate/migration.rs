//! Rules of a Migration.

use std::collections::BTreeMap;

use super::{Problems, analysis};
use crate::api::{FieldProblem, MigrationSpec, SqlStep, Step};

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
    let of_steps = spec.steps.iter().flatten().flat_map(|step| [Some(&step.sql.up), step.sql.down.as_ref()]);
    [spec.up.as_ref(), spec.down.as_ref()].into_iter().chain(of_steps).flatten().map(String::len).sum()
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
        sql(&step.sql, &format!("{field}.sql"), problems);
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
