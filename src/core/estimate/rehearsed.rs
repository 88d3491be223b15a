//! From the durations of a copy to those of the primary: as much longer as there is more to do.

use super::work::{self, Stage};
use super::{Band, Basis, CATALOG_BAND, Estimate, cost};
use crate::sql::{Foreseen, Snapshot, Statement};

/// How many times an estimate from a rehearsal may be too large or too small.
const BAND: f64 = 1.25;
/// How many times the work of the copy that holds for; from there on the band grows with the root of the distance.
const FAR: f64 = 10.0;
/// How much more work there has to be for its share in a duration to matter.
const SIMILAR: f64 = 1.5;
/// Milliseconds that a server adds or not, whatever the work.
const NOISE: f64 = 1.0;

/// What a rehearsal on a copy measured.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsal<'a> {
    /// The catalog of the copy, for its sizes.
    pub catalog: &'a Snapshot,
    /// What each statement of the plan does there.
    pub foreseen: &'a [Foreseen],
    /// Milliseconds of each of them, without waiting for locks; `None` if it was not measured.
    pub durations_ms: &'a [Option<f64>],
}

/// Lets estimates rest on a rehearsal, where it says something of them. What was not measured there, or has so little to
/// do there that its duration says nothing of the work, stays as it was; so do the bytes, which are not measured.
pub fn rehearsed(
    estimates: &[Option<Estimate>],
    statements: &[Statement],
    copy: Rehearsal<'_>,
) -> Vec<Option<Estimate>> {
    let mut stage = Stage::new(copy.catalog);
    let each = estimates.iter().enumerate();
    each.map(|(index, estimate)| {
        let statement = statements.get(index);
        let there = statement
            .zip(copy.foreseen.get(index))
            .and_then(|(statement, seen)| work::load(statement, seen, &stage).ok());
        if let Some(statement) = statement {
            stage.pass(statement);
        }
        let estimate = (*estimate)?;
        let measured = || {
            let ms = copy.durations_ms.get(index).copied().flatten()?;
            scaled(ms, there?.ms, estimate.total_ms.expected)
        };
        let Some(total_ms) = measured() else { return Some(estimate) };
        let hold_ms = if estimate.is_felt() { total_ms } else { Band::default() };
        Some(Estimate { basis: Basis::Rehearsed, hold_ms, total_ms, ..estimate })
    })
    .collect()
}

/// The duration of as much work as there is `here`, of which there was less, or more, where it was measured.
fn scaled(ms: f64, there: f64, here: f64) -> Option<Band> {
    let growth = here / there;
    if growth > SIMILAR && there < 2.0 * cost::CATALOG_CHANGE {
        return None;
    }
    let factor = (BAND * (growth / FAR).max(1.0).sqrt()).min(CATALOG_BAND);
    let expected = ms * growth;
    Some(Band::of(expected, expected / factor, (expected * factor).max(expected + NOISE)))
}
