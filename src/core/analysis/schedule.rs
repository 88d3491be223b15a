//! When to sample, and how long.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AnalysisPlan, MetricPlan};

/// How many ticks one pass samples at most; the next pass takes the rest.
pub const MAX_DUE: usize = 240;

/// The span of one analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// When the first effect on the primary was committed: sampling and `{{ range }}` count from here.
    pub applied_at: Timestamp,
    /// When the last step was done: the window counts from here. Absent while steps run or wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
}

/// One point in time at which all metrics are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The time that the queries are evaluated at.
    pub at: Timestamp,
    /// The time since the apply.
    pub elapsed: Duration,
}

impl Watch {
    /// Returns the watch of a run that was applied at once.
    pub fn completed(at: Timestamp) -> Self {
        Self { applied_at: at, completed_at: Some(at) }
    }

    /// Returns the watch of a run that is still being applied.
    pub fn running(applied_at: Timestamp) -> Self {
        Self { applied_at, completed_at: None }
    }

    /// Returns when the window ends: at the first tick that completes it.
    pub fn window_end(&self, plan: &AnalysisPlan) -> Option<Timestamp> {
        self.completed_at.map(|from| self.tick_from(plan, from, plan.window))
    }

    /// Returns when the window ends at the latest, with all its extension.
    pub fn last_end(&self, plan: &AnalysisPlan) -> Option<Timestamp> {
        self.completed_at
            .map(|from| self.tick_from(plan, from, plan.window.saturating_add(plan.max_extension)))
    }

    /// Returns whether a sample at that time is recorded only.
    pub fn is_warmup(&self, plan: &AnalysisPlan, at: Timestamp) -> bool {
        since(self.anchor(), at) < plan.warmup
    }

    /// Ticks are counted from the apply in whole milliseconds, which every store and provider can keep.
    fn anchor(&self) -> Timestamp {
        Timestamp::from_millisecond(self.applied_at.as_millisecond()).unwrap_or(self.applied_at)
    }

    fn nth(&self, plan: &AnalysisPlan, number: u64) -> Tick {
        let elapsed = Duration::from_millis(interval_millis(plan).saturating_mul(number));
        Tick { at: later(self.anchor(), elapsed), elapsed }
    }

    /// Returns the number of the last tick at or before `at`.
    fn number(&self, plan: &AnalysisPlan, at: Timestamp) -> u64 {
        millis(since(self.anchor(), at)) / interval_millis(plan)
    }

    /// Returns the first tick at or after `from` + `span`.
    fn tick_from(&self, plan: &AnalysisPlan, from: Timestamp, span: Duration) -> Timestamp {
        let end = later(from, span);
        let elapsed = millis(since(self.anchor(), end));
        self.nth(plan, elapsed.div_ceil(interval_millis(plan))).at
    }
}

impl Tick {
    /// Returns the tick of the preflight and of the baseline: nothing was applied yet, so every range is
    /// whole.
    pub fn before(plan: &AnalysisPlan, at: Timestamp) -> Self {
        let ranges = plan.metrics.iter().filter_map(|metric| metric.range);
        Self { at, elapsed: ranges.fold(plan.window, Duration::max) }
    }

    /// Returns the range that holds for `metric`: no sample is diluted by the time before the apply.
    pub fn range_of(&self, metric: &MetricPlan) -> Option<Duration> {
        metric.range.map(|range| range.min(self.elapsed))
    }

    /// Returns whether the range of `metric` is whole.
    pub(super) fn has_whole_range(&self, metric: &MetricPlan) -> bool {
        metric.range.is_none_or(|range| range <= self.elapsed)
    }
}

/// Returns the ticks to be sampled now, oldest first: those since the last one, also those that nobody was
/// there for, up to the ingest delay, to the end of the extended window, and to [`MAX_DUE`].
pub fn due_samples(
    plan: &AnalysisPlan,
    watch: &Watch,
    last_sampled: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Tick> {
    let visible = earlier(now, plan.ingest_delay);
    let end = watch.last_end(plan).map_or(visible, |end| end.min(visible));
    let first = first_after(plan, watch, last_sampled);
    let last = watch.number(plan, end);
    (first..=last).take(MAX_DUE).map(|number| watch.nth(plan, number)).collect()
}

/// Returns when the tick after the last one can be sampled.
pub fn next_due(plan: &AnalysisPlan, watch: &Watch, last_sampled: Option<Timestamp>) -> Timestamp {
    later(watch.nth(plan, first_after(plan, watch, last_sampled)).at, plan.ingest_delay)
}

fn first_after(plan: &AnalysisPlan, watch: &Watch, last_sampled: Option<Timestamp>) -> u64 {
    // The moment of the apply itself has an empty range.
    last_sampled.map_or(0, |at| watch.number(plan, at)).saturating_add(1)
}

/// Returns the time from `start` to `end`; zero where that is negative.
pub(super) fn since(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}

pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn interval_millis(plan: &AnalysisPlan) -> u64 {
    millis(plan.interval).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, error_rate, plan};
    use super::*;

    fn due(watch: &Watch, last: Option<u64>, now: u64) -> Vec<u64> {
        due_samples(&plan(), watch, last.map(at), at(now))
            .iter()
            .map(|tick| since(at(0), tick.at).as_secs())
            .collect()
    }

    #[test]
    fn ticks_are_aligned_to_the_apply_and_wait_for_the_ingest_delay() {
        let watch = Watch::completed(at(0));
        let check = |last: Option<u64>, now: u64, expected: &[u64]| {
            assert_eq!(due(&watch, last, now), expected, "last {last:?}, now {now}");
        };
        check(None, 0, &[]);
        check(None, 19, &[]);
        check(None, 20, &[15]);
        check(Some(15), 34, &[]);
        check(Some(15), 35, &[30]);
        check(Some(15), 80, &[30, 45, 60, 75]);
        check(Some(75), 20, &[]);
    }

    #[test]
    fn the_gap_ends_with_the_extended_window() {
        let watch = Watch::completed(at(0));
        let ticks = due(&watch, Some(15), 1_000_000);
        assert_eq!(ticks.last(), Some(&1800));
        assert_eq!(ticks.len(), 119);
        assert!(due(&watch, Some(1800), 1_000_000).is_empty());
    }

    #[test]
    fn a_long_gap_is_taken_in_bounded_passes_without_a_hole() {
        let watch = Watch::running(at(0));
        let (mut last, mut all) = (None, Vec::new());
        loop {
            let ticks = due(&watch, last, 15_005);
            assert!(ticks.len() <= MAX_DUE && all.len() <= 1000);
            let Some(newest) = ticks.last() else { break };
            last = Some(*newest);
            all.extend(ticks);
        }
        assert_eq!(all, (1..=1000).map(|number| number * 15).collect::<Vec<_>>());
    }

    #[test]
    fn the_window_counts_from_the_last_step_and_is_never_short() {
        let watch = Watch { applied_at: at(0), completed_at: Some(at(100)) };
        // 100 + 900 is not a tick: the next one is 1005.
        assert_eq!(watch.window_end(&plan()), Some(at(1005)));
        assert_eq!(watch.last_end(&plan()), Some(at(1905)));
        assert_eq!(Watch::running(at(0)).window_end(&plan()), None);
    }

    #[test]
    fn ranges_never_reach_back_before_the_apply() {
        let check = |elapsed: u64, expected: u64, whole: bool| {
            let tick = Tick { at: at(elapsed), elapsed: Duration::from_secs(elapsed) };
            assert_eq!(tick.range_of(&error_rate()), Some(Duration::from_secs(expected)));
            assert_eq!(tick.has_whole_range(&error_rate()), whole);
        };
        check(15, 15, false);
        check(60, 60, true);
        check(900, 60, true);
        assert!(Tick::before(&plan(), at(0)).has_whole_range(&error_rate()));
    }

    #[test]
    fn sub_millisecond_times_do_not_move_the_ticks() {
        let nanos = at(0) + Duration::from_nanos(999);
        let last = Some(at(15));
        assert_eq!(
            due_samples(&plan(), &Watch::completed(nanos), last, at(80)),
            due_samples(&plan(), &Watch::completed(at(0)), last, at(80)),
        );
    }
}
