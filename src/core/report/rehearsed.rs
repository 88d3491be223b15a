//! What a rehearsal says of a backfill: how fast it was there, and how long it takes here.

use std::time::Duration;

use super::text;
use crate::api::RehearsedBackfill;
use crate::core::estimate::{Band, Basis, Estimate};
use crate::core::plan::Plan;
use crate::core::preview::{amount, size};
use crate::core::rehearsal::{BatchFacts, Rehearsal};
use crate::core::view::RunView;

/// Longest range of time, in bytes.
const MAX_RANGE: usize = 48;

/// A backfill that was rehearsed.
struct Rehearsed<'a> {
    step: &'a str,
    facts: BatchFacts,
    /// Rows of the table on the primary.
    rows: Option<f64>,
    /// What is expected of the primary, where the copy says something of it.
    expected: Option<Estimate>,
}

/// The backfill of a step, which has one at most; `None` for a step without.
pub(super) fn of_step(plan: &Plan, rehearsal: &Rehearsal, step: usize) -> Option<RehearsedBackfill> {
    let one = all(plan, rehearsal).find(|(index, _)| *index == step)?.1;
    Some(RehearsedBackfill {
        rows: i64::try_from(one.facts.rows).unwrap_or(i64::MAX),
        rows_per_second: one.facts.rate().map(whole),
        wal_bytes_per_row: one.facts.wal_per_row().map(whole),
        predicted_rows: one.rows.map(whole),
        predicted: one.expected.map(|estimate| text::cut(&range(estimate.total_ms), MAX_RANGE)),
        predicted_wal_bytes: one.expected.map(|estimate| whole(estimate.wal_bytes.expected)),
    })
}

/// Whether there is something to tell of a run's backfills.
pub(super) fn is_told(run: &RunView) -> bool {
    run.rehearsal.as_ref().is_some_and(|rehearsal| all(&run.plan, rehearsal).next().is_some())
}

/// What there is to tell of backfills, to stand behind a sentence; empty for a plan without.
pub(super) fn told(plan: &Plan, rehearsal: &Rehearsal) -> String {
    all(plan, rehearsal).map(|(_, one)| sentence(&one)).collect()
}

fn sentence(one: &Rehearsed<'_>) -> String {
    let Some(rate) = one.facts.rate() else { return String::new() };
    let step = one.step;
    let wal = one.facts.wal_per_row().unwrap_or_default();
    let there =
        format!("; step {step} changed {} rows a second there, {} of WAL each", amount(rate), size(wal));
    let Some(expected) = one.expected else { return there };
    let rows = one.rows.map_or_else(|| "its rows".to_owned(), |rows| format!("{} rows", amount(rows)));
    let (range, wal) = (range(expected.total_ms), size(expected.wal_bytes.expected));
    format!("{there}: {rows} are expected to take {range} and {wal} of WAL on the primary")
}

fn all<'a>(plan: &'a Plan, rehearsal: &'a Rehearsal) -> impl Iterator<Item = (usize, Rehearsed<'a>)> {
    let of_unit = |(index, unit): (usize, &'a crate::core::plan::Unit)| {
        let facts = rehearsal.units.iter().find(|facts| facts.unit == index)?.batches?;
        let predicted = rehearsal.prediction.as_deref().and_then(|one| *one.units.get(index)?);
        let shown = plan.preview.as_deref().and_then(|preview| preview.units.get(index));
        let rehearsed = Rehearsed {
            step: plan.steps.get(unit.step).map(|step| step.name.as_str()).unwrap_or_default(),
            facts,
            rows: shown.and_then(|shown| shown.rows),
            expected: predicted.filter(|estimate| estimate.basis == Basis::Rehearsed),
        };
        Some((unit.step, rehearsed))
    };
    plan.units.iter().enumerate().filter_map(of_unit)
}

fn range(ms: Band) -> String {
    let of =
        |ms: f64| text::rough(Duration::try_from_secs_f64((ms / 1000.0).ceil()).unwrap_or(Duration::MAX));
    let (from, to) = (of(ms.low), of(ms.high));
    if from == to { from } else { format!("{from}-{to}") }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates, and is for people")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}
