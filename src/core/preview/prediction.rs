//! What changes in a preview once its plan was rehearsed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sum::sum_up;
use super::{Preview, Risk};
use crate::core::estimate::{Estimate, Rehearsal, measured, rehearsed};
use crate::core::plan::{Plan, Unit};
use crate::core::rehearsal::UnitFacts;
use crate::sql::{self, Snapshot, Statement};

/// What a rehearsal lets expect of the primary, in the place of what the preview of the plan says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Prediction {
    /// Risk, reversibility, units and the longest hold, in one line.
    pub summary: String,
    /// How much can go wrong.
    pub risk: Risk,
    /// What makes the risk what it is, worst first.
    pub risk_reasons: Vec<String>,
    /// The whole plan, one unit after the other; absent if a part of it cannot be estimated.
    pub estimate: Option<Estimate>,
    /// Each unit.
    pub units: Vec<Option<Estimate>>,
    /// Each statement.
    pub statements: Vec<Option<Estimate>>,
}

/// Predicts what a plan takes on the primary from what its units took on a copy with that catalog; `None` for a plan
/// without a preview.
pub fn predict(plan: &Plan, units: &[UnitFacts], copy: &Snapshot) -> Option<Prediction> {
    let mut preview: Preview = plan.preview.as_deref()?.clone();
    let statements: Vec<Statement> =
        plan.units.iter().flat_map(|unit| unit.up.statements.iter().cloned()).collect();
    let before: Vec<Option<Estimate>> = preview.statements.iter().map(|one| one.estimate).collect();
    let (foreseen, durations) = (sql::foresee(&statements, copy), durations(plan, units));
    let rehearsal = Rehearsal { catalog: copy, foreseen: &foreseen, durations_ms: &durations };
    let mut after = rehearsed(&before, &statements, rehearsal);
    in_batches(plan, units, &preview, (&before, &mut after));
    for (statement, estimate) in preview.statements.iter_mut().zip(&after) {
        statement.estimate = *estimate;
    }
    sum_up(&mut preview, plan.guard.max_stall);
    Some(Prediction {
        summary: preview.summary,
        risk: preview.risk,
        risk_reasons: preview.risk_reasons,
        estimate: preview.estimate,
        units: preview.units.iter().map(|unit| unit.estimate).collect(),
        statements: after,
    })
}

/// What is done in batches does not grow as a statement does: the pauses are the primary's.
fn in_batches(
    plan: &Plan,
    units: &[UnitFacts],
    preview: &Preview,
    (before, after): (&[Option<Estimate>], &mut [Option<Estimate>]),
) {
    for (index, (unit, shown)) in plan.units.iter().zip(&preview.units).enumerate() {
        let Some(backfill) = &unit.up.backfill else { continue };
        let facts = units.iter().find(|facts| facts.unit == index).and_then(|facts| facts.batches);
        for statement in &shown.statements {
            let (Some(before), Some(after)) = (before.get(*statement), after.get_mut(*statement)) else {
                continue;
            };
            let tried = facts
                .and_then(|facts| measured(before.unwrap_or_default(), &backfill.pace, shown.rows, &facts));
            *after = tried.or(*before);
        }
    }
}

/// Milliseconds of each statement of a plan, as far as it was measured.
fn durations(plan: &Plan, units: &[UnitFacts]) -> Vec<Option<f64>> {
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let of_unit = |(index, unit): (usize, &Unit)| {
        let facts = units.iter().find(|facts| facts.unit == index).map(|facts| &facts.statements);
        let of = move |ordinal: usize| facts?.get(ordinal).map(|one| milliseconds(one.duration));
        (0..unit.up.statements.len()).map(of).collect::<Vec<_>>()
    };
    plan.units.iter().enumerate().flat_map(of_unit).collect()
}
