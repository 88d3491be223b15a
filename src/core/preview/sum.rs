//! From the statements to their units, and from those to the whole.

use std::time::Duration;

use super::{Preview, StatementPreview, UnitPreview, risk};
use crate::core::estimate::{self, Estimate};

/// Fills in what follows from the statements and their estimates: the units' estimates, that of the whole, the risk, and
/// the summary. `usual` is the stall budget of the database.
pub(super) fn sum_up(preview: &mut Preview, usual: Duration) {
    let statements = &preview.statements;
    let estimates: Vec<Option<Estimate>> =
        preview.units.iter().map(|unit| of_unit(unit, statements)).collect();
    for (unit, estimate) in preview.units.iter_mut().zip(estimates) {
        unit.estimate = estimate;
    }
    preview.estimate = whole(&preview.units);
    (preview.risk, preview.risk_reasons) = risk::judge(preview, usual);
    preview.summary = risk::summary(preview);
}

fn of_unit(unit: &UnitPreview, statements: &[StatementPreview]) -> Option<Estimate> {
    let mine = unit.statements.iter().filter_map(|index| statements.get(*index));
    let parts: Vec<(Option<Estimate>, bool)> =
        mine.map(|one| (one.estimate, one.estimate.is_some_and(|estimate| estimate.is_felt()))).collect();
    estimate::of_unit(&parts, unit.transactional)
}

/// One unit after the other; locks are given back between them.
fn whole(units: &[UnitPreview]) -> Option<Estimate> {
    let mut each = units.iter().map(|unit| unit.estimate);
    let first = each.next()??;
    each.try_fold(first, |sum, one| {
        let one = one?;
        Some(Estimate {
            basis: sum.basis.min(one.basis),
            wait_ms: sum.wait_ms.zip(one.wait_ms).map(|(sum, wait)| sum.plus(wait)),
            hold_ms: sum.hold_ms.max(one.hold_ms),
            total_ms: sum.total_ms.plus(one.total_ms),
            wal_bytes: sum.wal_bytes.plus(one.wal_bytes),
            disk_peak_bytes: sum.disk_peak_bytes.max(one.disk_peak_bytes),
        })
    })
}
