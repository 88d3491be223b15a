//! What is done in batches: the work, and the pauses between them.

use super::{Band, Basis, CATALOG_BAND, Estimate};
use crate::core::backfill::Pace;
use crate::core::rehearsal::BatchFacts;

/// Milliseconds of a transaction without rows: least, expected, most.
const EMPTY: (f64, f64, f64) = (1.0, 3.0, 10.0);
/// How many times the work may be faster than on the copy, and how many times slower beside an application.
const FASTER: f64 = 1.25;
const SLOWER: f64 = 1.75;
/// How many times more or less may be written to the log: whole pages after each checkpoint.
const LOG_BAND: f64 = 2.0;
/// Keys of the copy from which on their time says something of many more.
const ENOUGH: f64 = 1000.0;
/// How much of the target a batch that follows it takes.
const FILLED: f64 = 0.9;

/// Makes the estimate of one statement that of the batches that do the same: pauses are added, what waits is not. `keys` are
/// the rows of the table, if they are known.
pub fn in_batches(estimate: Estimate, pace: &Pace, keys: Option<f64>) -> Estimate {
    let Some(keys) = keys else { return estimate };
    let work = estimate.total_ms;
    Estimate { total_ms: paced((work.expected, work.low, work.high), pace, keys), ..estimate }
}

/// Lets an estimate rest on what batches did on a copy; `None` where that says nothing of a table with so many rows.
pub fn measured(estimate: Estimate, pace: &Pace, keys: Option<f64>, copy: &BatchFacts) -> Option<Estimate> {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let (there, wal) = (copy.keys as f64, copy.wal_bytes as f64);
    let here = keys.unwrap_or(there);
    if there < 1.0 || (there < ENOUGH && here > 1.5 * there) {
        return None;
    }
    let growth = here / there;
    let unsure = (growth / 10.0).max(1.0).sqrt();
    let expected = copy.worked.as_secs_f64() * 1000.0 * growth;
    let work = (
        expected,
        expected / (FASTER * unsure).min(CATALOG_BAND),
        expected * (SLOWER * unsure).min(CATALOG_BAND),
    );
    Some(Estimate {
        basis: Basis::Rehearsed,
        total_ms: paced(work, pace, here),
        wal_bytes: Band::within(wal * growth, LOG_BAND),
        ..estimate
    })
}

fn paced((expected, low, high): (f64, f64, f64), pace: &Pace, keys: f64) -> Band {
    let pause = pace.pause.as_secs_f64() * 1000.0;
    let all = |ms: f64, empty: f64| ms + batches(ms, pace, keys) * (pause + empty);
    Band::of(all(expected, EMPTY.1), all(low, EMPTY.0), all(high, EMPTY.2))
}

/// How many batches the work makes.
fn batches(ms: f64, pace: &Pace, keys: f64) -> f64 {
    let most = f64::from(pace.most());
    let size = if pace.adaptive && ms > 0.0 {
        (FILLED * pace.target.as_secs_f64() * 1000.0 * keys / ms).clamp(1.0, most)
    } else {
        most
    };
    (keys / size).ceil()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pace(rows: Option<u32>, pause: u64, adaptive: bool) -> Pace {
        let ms = Duration::from_millis;
        Pace { rows, pause: ms(pause), target: ms(100), adaptive }
    }

    fn copy(keys: u64, ms: u64) -> BatchFacts {
        let worked = Duration::from_millis(ms);
        BatchFacts { keys, rows: keys, batches: keys / 10_000, worked, wal_bytes: keys * 200 }
    }

    #[test]
    fn pauses_count() {
        let one = Estimate { total_ms: Band::within(23_000.0, 3.0), ..Estimate::default() };
        let check = |pace, low: f64, high: f64| {
            let found = in_batches(one, &pace, Some(2_300_000.0)).total_ms;
            assert!(found.low > low && found.high < high && found.low < found.expected, "{pace:?} {found:?}");
        };
        // 2300 batches of 1000 rows with 100 ms between them.
        check(pace(Some(1000), 100, false), 230_000.0, 330_000.0);
        // As much pause as work.
        check(pace(None, 100, true), 15_000.0, 160_000.0);
        check(pace(None, 0, true), 7_600.0, 80_000.0);
        assert_eq!(in_batches(one, &pace(None, 100, true), None), one);
    }

    #[test]
    fn the_copy_says_how_fast_and_the_primary_how_much() {
        let before = Estimate { total_ms: Band::within(1.0, 3.0), ..Estimate::default() };
        let fixed = pace(Some(1000), 100, false);
        let found = measured(before, &fixed, Some(1_000_000.0), &copy(100_000, 1000)).unwrap();
        assert_eq!(found.basis, Basis::Rehearsed);
        // Ten seconds of work, and a thousand pauses.
        assert!((found.total_ms.expected - 113_000.0).abs() < 1.0, "{found:?}");
        assert!(found.total_ms.low > 108_000.0 && found.total_ms.high < 130_000.0, "{found:?}");
        assert!((found.wal_bytes.expected - 200_000_000.0).abs() < 1.0, "{found:?}");
        assert_eq!(measured(before, &fixed, Some(1_000_000.0), &copy(10, 1000)), None);
        assert!(measured(before, &fixed, None, &copy(10, 1000)).is_some(), "as large as the copy");
    }
}
