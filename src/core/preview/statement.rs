//! How well one statement can be undone.

use std::collections::BTreeSet;

use super::before;
use crate::core::plan::{Plan, Reversibility, Unit};
use crate::sql::{FactKey, FactValue, Facts, Inverse, Kind, RelationName, Snapshot, Statement, TableAction};

/// How well a statement can be undone, why no better, and by which SQL.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WayBack {
    pub grade: Reversibility,
    pub reason: String,
    pub inverse: Option<String>,
    pub condition: Option<String>,
}

/// Grades a statement with that inverse, which belongs to a unit: by itself, whatever stands beside it.
pub(super) fn way_back(plan: &Plan, unit: &Unit, statement: &Statement, inverse: Inverse) -> WayBack {
    let preserves = unit.way_back.iter().flatten().any(|block| !block.aside.is_empty());
    let declared = plan.steps.get(unit.step).is_some_and(|step| step.irreversible.is_some());
    let mut way = match inverse {
        Inverse::Exact { statements, .. } if statements.is_empty() => WayBack {
            grade: Reversibility::Reversible,
            reason: "there is nothing to undo".to_owned(),
            inverse: Some(String::new()),
            condition: None,
        },
        Inverse::Exact { statements, lossless, condition, .. } => {
            let (grade, reason) = exact(lossless, preserves, unit);
            let reason = match &condition {
                Some(condition) => format!("{reason}, if {condition}"),
                None => reason.to_owned(),
            };
            WayBack { grade, reason, inverse: Some(statements.join(";\n")), condition }
        }
        Inverse::None { .. } if unit.way_back.is_some() => {
            let left = match &statement.kind {
                Kind::AddEnumValue { value, .. } => {
                    format!("; '{value}' may stay, since no value can be dropped")
                }
                _ => String::new(),
            };
            let reason = format!("its step has a way back that was written by hand{left}");
            WayBack { grade: Reversibility::Reversible, reason, inverse: None, condition: None }
        }
        Inverse::None { unknown: true, .. } if declared => {
            let reason = "its step is said to be irreversible".to_owned();
            WayBack { grade: Reversibility::ForwardOnly, reason, inverse: None, condition: None }
        }
        Inverse::None { reason, .. } => {
            let reason = format!("no inverse can be derived, because {reason}");
            WayBack { grade: Reversibility::ForwardOnly, reason, inverse: None, condition: None }
        }
    };
    if declared && !way.reason.starts_with("its step is said") {
        way.reason.push_str(", but its step is said to be irreversible");
    }
    way
}

/// How well an exact inverse brings data back.
fn exact(lossless: bool, preserves: bool, unit: &Unit) -> (Reversibility, &'static str) {
    match (lossless, preserves) {
        (true, _) => (Reversibility::Reversible, "its inverse is exact"),
        (false, true) => (
            Reversibility::ReversibleWithArchive,
            "what it adds is put aside with its data when it is undone",
        ),
        (false, false) if unit.way_back.is_none() => (
            Reversibility::ReversibleWithArchive,
            "its inverse is exact, but data that was written to it since has to be put aside",
        ),
        (false, false) => {
            (Reversibility::Reversible, "its inverse is exact; data that was written to it since is lost")
        }
    }
}

/// Answers what the derivation of inverses asks, as far as a catalog knows. Of one that is not complete, what the
/// statements themselves presuppose is taken to be so: names that they give are free, and a column that they make
/// `NOT NULL` is not.
pub fn facts(wanted: &BTreeSet<FactKey>, statements: &[Statement], catalog: &Snapshot) -> Facts {
    let answers = wanted.iter().filter_map(|key| Some((key.clone(), answer(key, statements, catalog)?)));
    answers.collect()
}

fn column(exists: bool, not_null: bool) -> FactValue {
    FactValue::Column { exists, default: None, not_null, identity: false, generated: false }
}

/// Whether a column is `NOT NULL` before statements that change nothing else of it.
fn presupposed(relation: &RelationName, name: &str, statements: &[Statement]) -> Option<bool> {
    let of_table = statements.iter().filter_map(|statement| match &statement.kind {
        Kind::AlterTable(alter) if alter.relation == *relation => Some(&alter.actions),
        _ => None,
    });
    let mut before = None;
    for action in of_table.flatten() {
        match action {
            TableAction::SetNotNull { column } if column == name => before = before.or(Some(false)),
            TableAction::DropNotNull { column } if column == name => before = before.or(Some(true)),
            TableAction::SetDefault { column, .. } | TableAction::DropDefault { column }
                if column == name =>
            {
                return None;
            }
            _ => {}
        }
    }
    before
}

fn answer(key: &FactKey, statements: &[Statement], catalog: &Snapshot) -> Option<FactValue> {
    match key {
        // A snapshot does not tell by which key rows can be gone through.
        FactKey::Rows { .. } => None,
        FactKey::Column { relation, column: name } => {
            let known = catalog.relation(relation);
            let found = known.and_then(|relation| relation.columns.iter().find(|one| one.name == *name));
            match found {
                Some(column) => Some(FactValue::Column {
                    exists: true,
                    default: column.default.clone().filter(|_| column.generated.is_none()),
                    not_null: column.not_null,
                    identity: column.identity,
                    generated: column.generated.is_some(),
                }),
                None if catalog.complete => Some(column(false, false)),
                None => presupposed(relation, name, statements).map(|not_null| column(true, not_null)),
            }
        }
        FactKey::Name { relation, name } => {
            let schema = catalog
                .relation(relation)
                .and_then(|relation| relation.name.schema.clone())
                .or_else(|| relation.schema.clone())
                .or_else(|| catalog.creation_schema().cloned());
            let here = catalog.relations.iter().filter(|one| one.name.schema == schema);
            let mut names = here.flat_map(|one| {
                let constraints = one.constraints.iter().map(|constraint| &constraint.name);
                let indexes = one.indexes.iter().map(|index| &index.name);
                std::iter::once(&one.name.name).chain(constraints).chain(indexes)
            });
            Some(FactValue::Name { taken: names.any(|one| one == name) })
        }
        FactKey::Before { part, of, .. } => before::answer(*part, of, catalog).map(FactValue::Before),
    }
}
