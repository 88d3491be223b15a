//! How large the next batch is, and how fast: what was measured of the batches before.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::QUEUE;
use super::batch::Size;
use crate::core::backfill::{Ended, Pace};
use crate::postgres::block::Limits;

/// Batches that the rate is taken from: at least so many, and those of so long.
const RECENT: usize = 20;
const OF_LATE: Duration = Duration::from_secs(15);
/// Every so many batches it is looked whether somebody waits.
const LOOK_EVERY: u32 = 4;
/// Passes over the same keys, where they help.
pub(super) const PASSES: i32 = 8;
/// Rows of a batch where nobody waits for them.
const UNPACED: u32 = 10_000;

/// The pace of one backfill, in memory: after a restart it is measured anew.
#[derive(Debug, Default)]
pub struct Pacer {
    rows: Option<u32>,
    around_locks: bool,
    unpaced: bool,
    /// Several passes cannot help now.
    one_pass: bool,
    /// What the trial came to.
    interleave: Option<bool>,
    recent: VecDeque<(Instant, u64)>,
    trial: Trial,
    batches: u32,
}

/// The first windows are gone over in turn once and in several passes.
#[derive(Debug, Default)]
struct Trial {
    once: (u64, Duration),
    several: (u64, Duration),
    batches: u32,
}

impl Pacer {
    /// Makes one for a database where nobody waits.
    pub fn unpaced() -> Self {
        Self { unpaced: true, interleave: Some(false), ..Self::default() }
    }

    /// Says that several passes over the same keys cannot help, or may.
    pub fn interleave(&mut self, may: bool) {
        self.one_pass = !may;
    }

    pub(super) fn size(&self, limits: Limits, pace: &Pace) -> Size {
        if self.unpaced {
            let around_locks = self.around_locks;
            return Size {
                rows: self.rows.unwrap_or(UNPACED),
                passes: 1,
                around_locks,
                queue: limits.queue,
                limit: limits.statement,
                look: false,
            };
        }
        let rows = self.rows.unwrap_or_else(|| pace.first());
        let limit = if rows > 1 { limits.stall.max(pace.target * 4) } else { limits.statement };
        let passes = match self.interleave {
            _ if self.one_pass => 1,
            Some(false) => 1,
            // In turn, a whole window of several passes, and then a few of one: those leave more behind.
            None if self.trial.batches % 10 >= 8 => 1,
            Some(true) | None => PASSES,
        };
        let (around_locks, look) = (self.around_locks, self.batches.is_multiple_of(LOOK_EVERY));
        Size { rows, passes, around_locks, queue: QUEUE.min(limits.stall), limit, look }
    }

    pub(super) fn committed(&mut self, pace: &Pace, rows: u64, took: Duration, size: Size) {
        self.ended(pace, Ended::Committed(took));
        self.around_locks = false;
        self.batches = self.batches.wrapping_add(1);
        self.recent.push_back((Instant::now(), rows));
        let old = |(at, _): &(Instant, u64)| at.elapsed() > OF_LATE;
        while self.recent.len() > RECENT && self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
        if self.interleave.is_none() && !self.one_pass {
            self.trial.note(rows, took, size);
            self.interleave = self.trial.verdict();
        }
    }

    pub(super) fn ended(&mut self, pace: &Pace, ended: Ended) {
        let rows = self.rows.unwrap_or_else(|| if self.unpaced { UNPACED } else { pace.first() });
        let next = pace.next(rows, ended);
        self.rows = Some(match ended {
            Ended::Committed(_) if self.unpaced => UNPACED,
            _ => next,
        });
    }

    /// Somebody holds what was to be changed.
    pub(super) fn held(&mut self, pace: &Pace) {
        if self.around_locks {
            self.ended(pace, Ended::Late);
        }
        self.around_locks = true;
    }

    /// Rows a second of late, pauses included.
    pub(super) fn rate(&self) -> Option<f64> {
        let (first, _) = self.recent.front()?;
        let elapsed = first.elapsed().as_secs_f64();
        let rows: u64 = self.recent.iter().skip(1).map(|(_, rows)| rows).sum();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rows = rows as f64;
        (self.recent.len() > 2 && elapsed > 0.0).then(|| rows / elapsed)
    }

    pub(super) fn pause(&self, pace: &Pace) -> Duration {
        if self.unpaced { Duration::ZERO } else { pace.pause }
    }

    /// Rests between two batches. Returns false where `enough` says so meanwhile, or the pause is long.
    pub(super) async fn rest(&self, pause: Duration, enough: &impl Fn() -> bool) -> bool {
        if pause > Duration::from_millis(500) {
            return false;
        }
        tokio::time::sleep(pause).await;
        !enough()
    }
}

impl Trial {
    fn note(&mut self, rows: u64, took: Duration, size: Size) {
        self.batches += 1;
        // The first ones wait for everything to be read.
        if self.batches <= 8 {
            return;
        }
        let side = if size.passes > 1 { &mut self.several } else { &mut self.once };
        side.0 += rows;
        side.1 += took;
    }

    /// Several passes write less and leave a smaller table, which is worth some time.
    fn verdict(&self) -> Option<bool> {
        if self.batches < 48 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = |(rows, took): (u64, Duration)| rows as f64 / took.as_secs_f64().max(1e-9);
        Some(rate(self.several) >= 0.8 * rate(self.once))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let second = Duration::from_secs(1);
        Limits { queue: second, stall: second, statement: second, alone: second }
    }

    fn decided(once: u64, several: u64) -> bool {
        let (mut pacer, pace) = (Pacer::default(), Pace::default());
        for _ in 0..200 {
            let size = pacer.size(limits(), &pace);
            let micros = if size.passes > 1 { several } else { once };
            pacer.committed(&pace, 1000, Duration::from_micros(micros), size);
        }
        pacer.interleave.unwrap()
    }

    #[test]
    fn several_passes_are_kept_where_they_are_no_slower() {
        assert!(decided(10_000, 6_000));
        assert!(decided(10_000, 10_200));
        assert!(decided(10_000, 12_000));
        assert!(!decided(10_000, 13_000));
    }

    #[test]
    fn what_is_held_is_gone_around_once_and_then_by_fewer_rows() {
        let (mut pacer, pace) = (Pacer::default(), Pace::default());
        pacer.held(&pace);
        let size = pacer.size(limits(), &pace);
        assert!(size.around_locks && size.rows == 1000);
        pacer.held(&pace);
        assert_eq!(pacer.size(limits(), &pace).rows, 500);
        pacer.committed(&pace, 10, Duration::from_millis(90), size);
        assert!(!pacer.size(limits(), &pace).around_locks);
    }
}
