//! Pure: what a backfill is in a plan, how large its next batch is, and how far it is.
//!
//! Invariants: a batch is bounded by keys, never by how many rows match; the upper bound is frozen when the backfill
//! begins, so that it comes to an end while others write.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sql::RelationName;

/// Most rows of a batch that follows its target.
const MOST_ROWS: u32 = 100_000;
/// Rows of the first batch, before anything was measured.
const FIRST_ROWS: u32 = 1000;
/// Rows of a batch of fixed size, unless said otherwise.
const FIXED_ROWS: u32 = 1000;

/// A backfill as the plan stores it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Backfill {
    /// The table, looked up in the plan's search path.
    pub table: RelationName,
    /// Expressions by column, in the order of the columns' names.
    pub set: Vec<(String, String)>,
    /// Which rows are changed; absent: all that are there.
    pub filter: Option<String>,
    /// Whether the filter says which rows are not done yet: it speaks of a column that is set.
    pub until_done: bool,
    /// Whether the values can be computed again from a row that is done.
    pub repeatable: bool,
    /// How large the transactions are, and how fast they follow.
    pub pace: Pace,
    /// Whether the values that are overwritten are kept.
    #[serde(default)]
    pub capture: bool,
    /// Whether it puts in again what a backfill of the same unit kept; nothing else counts then.
    #[serde(default)]
    pub restore: bool,
    /// Queries of one row with one boolean, asked at the end.
    #[serde(default)]
    pub validate: Vec<String>,
    /// A query that says when to wait, and above which number.
    #[serde(default)]
    pub throttle: Option<(String, f64)>,
    /// Bytes of the log that the server may write a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_rate: Option<u64>,
}

/// What the server has written to its log beyond a rate: the time in which it did, others included, is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WalDebt {
    bytes: f64,
    seen: Option<i64>,
}

impl WalDebt {
    /// Most seconds that are waited for: what others write at once is not paid for ever.
    const MOST: f64 = 10.0;

    /// Notes how far the log is, so long after the last time. Returns how long to wait, if there was too much.
    pub fn note(&mut self, position: i64, since: Duration, rate: u64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let (written, rate) =
            (self.seen.map_or(0, |seen| position.saturating_sub(seen)).max(0) as f64, (rate as f64).max(1.0));
        self.seen = Some(position);
        self.bytes = (self.bytes + written - rate * since.as_secs_f64()).clamp(0.0, rate * Self::MOST);
        (self.bytes > 0.0).then(|| Duration::try_from_secs_f64(self.bytes / rate).unwrap_or_default())
    }
}

/// How large the transactions are, and how fast they follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Most rows of a transaction, if that was said.
    pub rows: Option<u32>,
    /// Between two transactions.
    pub pause: Duration,
    /// How long a transaction should take.
    pub target: Duration,
    /// Whether the number of rows follows the target.
    pub adaptive: bool,
}

impl Default for Pace {
    fn default() -> Self {
        let tenth = Duration::from_millis(100);
        Self { rows: None, pause: tenth, target: tenth, adaptive: true }
    }
}

/// How a batch ended, for the size of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was committed after so long.
    Committed(Duration),
    /// It waited for somebody, or took longer than its limit; nothing of it remains.
    Late,
}

impl Pace {
    /// Returns the most rows of any batch.
    pub fn most(&self) -> u32 {
        self.rows.unwrap_or(if self.adaptive { MOST_ROWS } else { FIXED_ROWS }).max(1)
    }

    /// Returns the rows of the first batch.
    pub fn first(&self) -> u32 {
        if self.adaptive { self.most().min(FIRST_ROWS) } else { self.most() }
    }

    /// Returns the rows of the next batch: halved after one that was late, in small steps towards the target after one that
    /// was committed.
    pub fn next(&self, rows: u32, ended: Ended) -> u32 {
        let next = match ended {
            // A batch that is late is late at any pace.
            Ended::Late => f64::from(rows) / 2.0,
            Ended::Committed(_) if !self.adaptive => f64::from(self.most()),
            Ended::Committed(took) => {
                let ratio = self.target.as_secs_f64() / took.as_secs_f64().max(1e-6);
                // One batch says little, so growth is slow; what took too long is corrected at once.
                f64::from(rows) * (0.9 * ratio).clamp(0.25, 1.25)
            }
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the clamp")]
        let next = next.clamp(1.0, f64::from(self.most())) as u32;
        // Small numbers must not stand still.
        if matches!(ended, Ended::Committed(took) if self.adaptive && took < self.target.mul_f64(0.7)) {
            next.max((rows + 1).min(self.most()))
        } else {
            next
        }
    }
}

/// How far a backfill is, as the ledger says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Rows that were changed.
    pub rows_done: u64,
    /// Rows that are expected in all.
    pub rows_total: u64,
    /// Share of the keys that are gone over, from 0 to 1.
    pub share: f64,
    /// Batches that were committed.
    pub batches: u64,
    /// Rows that somebody held, and that are to be visited again.
    pub locked: u64,
    /// Time in which batches ran or paused.
    pub working: Duration,
    /// Time in which something held it back.
    pub throttled: Duration,
    /// Rows a second of late, pauses included.
    pub rate: Option<f64>,
    /// What holds it back now.
    pub throttled_by: Option<String>,
}

impl Progress {
    /// Returns the time that is left, from and to, if that can be said.
    pub fn eta(&self) -> Option<(Duration, Duration)> {
        let rate = self.rate.filter(|rate| *rate > 0.0)?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = self.rows_total.saturating_sub(self.rows_done) as f64;
        let seconds = left / rate;
        let of = |factor: f64| Duration::try_from_secs_f64((seconds * factor).round()).ok();
        Some((of(0.8)?, of(1.4)?))
    }

    /// Returns the share that is done, in whole percent; 100 only at the end.
    pub fn percent(&self) -> u8 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
        let percent = (self.share.clamp(0.0, 1.0) * 100.0).floor() as u8;
        percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn batches_grow_slowly_and_shrink_at_once() {
        let pace = Pace::default();
        let check = |rows, ended, expected| assert_eq!(pace.next(rows, ended), expected, "{rows} {ended:?}");
        check(1000, Ended::Committed(ms(10)), 1250);
        check(1000, Ended::Committed(ms(90)), 1000);
        check(1000, Ended::Committed(ms(200)), 450);
        check(1000, Ended::Committed(ms(2000)), 250);
        check(1000, Ended::Late, 500);
        check(1, Ended::Late, 1);
        check(1, Ended::Committed(ms(1)), 2);
        check(90_000, Ended::Committed(ms(1)), 100_000);
    }

    #[test]
    fn rows_that_were_said_are_the_most() {
        let said = Pace { rows: Some(500), ..Pace::default() };
        assert_eq!((said.first(), said.next(500, Ended::Committed(ms(1)))), (500, 500));
        assert_eq!(said.next(500, Ended::Late), 250);
        let fixed = Pace { adaptive: false, ..Pace::default() };
        assert_eq!((fixed.first(), fixed.next(1000, Ended::Committed(ms(5000)))), (1000, 1000));
        assert_eq!(fixed.next(500, Ended::Committed(ms(5000))), 1000);
    }

    #[test]
    fn what_was_written_too_much_is_waited_for() {
        let mut debt = WalDebt::default();
        assert_eq!(debt.note(1_000_000, ms(0), 100), None, "what was written before");
        assert_eq!(debt.note(1_000_300, ms(1000), 100), Some(ms(2000)));
        assert_eq!(debt.note(1_000_300, ms(1500), 100), Some(ms(500)));
        assert_eq!(debt.note(1_000_310, ms(700), 100), None);
        assert_eq!(debt.note(1_000_400, ms(1000), 100), None, "what was not written is not saved");
        assert_eq!(debt.note(9_000_000, ms(1000), 100), Some(ms(10_000)), "nor paid for ever");
    }

    #[test]
    fn the_time_left_is_a_range() {
        let progress = Progress {
            rows_done: 500,
            rows_total: 1500,
            rate: Some(10.0),
            share: 0.337,
            ..Progress::default()
        };
        assert_eq!(progress.eta(), Some((Duration::from_secs(80), Duration::from_secs(140))));
        assert_eq!(progress.percent(), 33);
        assert_eq!(Progress::default().eta(), None);
    }
}
