//! From all samples of a run to one decision.
//!
//! The samples are replayed tick by tick, and the first tick that decides, decides: so an operator that was
//! away and filled the gap afterwards comes to what it would have come to, had it been there.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    AnalysisPlan, BreachRule, Mode, Sample, UnknownAction, Verdict, Watch, next_due, schedule::since,
};

/// What the samples say so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Assessment {
    /// Nothing yet; watch on.
    Continue {
        /// When the next sample is due.
        next: Timestamp,
    },
    /// The window is over, but there were too few samples, or it ended on a bad one; watch on.
    Extend {
        /// When the next sample is due.
        next: Timestamp,
        /// When the extension ends.
        until: Timestamp,
        /// What is missing.
        message: String,
    },
    /// A metric broke its threshold often enough.
    Breach {
        /// Its name.
        metric: String,
        /// The time of the sample that made it a breach.
        at: Timestamp,
        /// The value, the limit and the count.
        message: String,
    },
    /// A metric could not be measured for too long.
    Unknown {
        /// Its name.
        metric: String,
        /// The time of its first unknown sample.
        since: Timestamp,
        /// What to do about it.
        action: UnknownAction,
        /// When the next sample is due.
        next: Timestamp,
        /// Why.
        message: String,
    },
    /// The window ended well.
    Passed,
    /// The window and its extension ended with too few samples.
    Inconclusive {
        /// What is missing.
        message: String,
    },
}

impl Assessment {
    /// Returns whether nothing that is sampled later changes it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Breach { .. } | Self::Passed | Self::Inconclusive { .. })
    }
}

/// Assesses the samples that were taken by `now`.
///
/// The order of `samples` does not matter; samples of metrics that are not in the plan are ignored.
pub fn assess(plan: &AnalysisPlan, watch: &Watch, samples: &[Sample], now: Timestamp) -> Assessment {
    let last_end = watch.last_end(plan).map_or(now, |end| end.min(now));
    let mut ordered: Vec<_> = samples.iter().filter(|sample| sample.at <= last_end).collect();
    ordered.sort_by_key(|sample| (sample.at, &sample.metric, sample.verdict));
    ordered.dedup_by_key(|sample| (sample.at, &sample.metric));
    let mut replay = Replay::new(plan, watch);
    for tick in ordered.chunk_by(|one, other| one.at == other.at) {
        if let Some(decided) = replay.tick(tick) {
            return decided;
        }
    }
    replay.undecided()
}

/// The state of all metrics after some ticks.
struct Replay<'a> {
    plan: &'a AnalysisPlan,
    watch: &'a Watch,
    tracks: Vec<Track<'a>>,
    /// The last tick at which all metrics were sampled.
    complete: Option<Timestamp>,
    /// The last tick at which anything was sampled.
    latest: Option<Timestamp>,
}

/// The state of one metric.
struct Track<'a> {
    name: &'a str,
    enforced: bool,
    rule: BreachRule,
    /// The last judged samples, at most as many as the rule looks at.
    recent: VecDeque<&'a Sample>,
    /// Judged samples within the window.
    judged: u32,
    /// The first and the last sample of the unbroken unknown time at the end, if it is unknown.
    unknown: Option<(&'a Sample, &'a Sample)>,
}

impl<'a> Replay<'a> {
    fn new(plan: &'a AnalysisPlan, watch: &'a Watch) -> Self {
        let tracks = plan.metrics.iter().map(|metric| Track {
            name: &metric.name,
            enforced: metric.mode == Mode::Enforce,
            rule: plan.rule_of(metric),
            recent: VecDeque::new(),
            judged: 0,
            unknown: None,
        });
        Self { plan, watch, tracks: tracks.collect(), complete: None, latest: None }
    }

    /// Records the samples of one tick; returns the decision, if they make one.
    fn tick(&mut self, samples: &[&'a Sample]) -> Option<Assessment> {
        let at = samples.first()?.at;
        let warmup = self.watch.is_warmup(self.plan, at);
        let in_window = self.watch.completed_at.is_some_and(|from| at > from);
        let mut complete = true;
        for track in &mut self.tracks {
            match samples.iter().find(|sample| sample.metric == track.name) {
                Some(sample) if !warmup => track.record(sample, in_window),
                Some(_) => {}
                None => complete = false,
            }
        }
        self.latest = Some(at);
        let longest = |rule: BreachRule| self.plan.interval.saturating_mul(rule.of.saturating_mul(2));
        let breach = self.enforced().find_map(|track| track.breach(at, longest(track.rule)));
        if complete {
            self.complete = Some(at);
        }
        let ended = self.watch.window_end(self.plan).is_some_and(|end| end <= at);
        let passed = || complete && ended && self.enforced().all(|track| self.missing(track).is_none());
        breach.or_else(|| passed().then_some(Assessment::Passed))
    }

    fn undecided(&self) -> Assessment {
        let next = next_due(self.plan, self.watch, self.complete);
        let overdue = self.enforced().find_map(|track| self.overdue(track).map(|found| (track, found)));
        let unknown = overdue.map(|(track, (since, message))| Assessment::Unknown {
            metric: track.name.to_owned(),
            since,
            action: self.plan.on_unknown.action,
            next,
            message,
        });
        let over = |end: Option<Timestamp>| end.filter(|end| self.complete.is_some_and(|at| at >= *end));
        match (unknown, self.watch.last_end(self.plan)) {
            (Some(unknown), _) if self.plan.on_unknown.action == UnknownAction::Rollback => unknown,
            (_, last_end) if over(last_end).is_some() => {
                Assessment::Inconclusive { message: self.all_missing() }
            }
            (Some(unknown), _) => unknown,
            (None, Some(until)) if over(self.watch.window_end(self.plan)).is_some() => {
                Assessment::Extend { next, until, message: self.all_missing() }
            }
            (None, _) => Assessment::Continue { next },
        }
    }

    fn enforced(&self) -> impl Iterator<Item = &Track<'a>> {
        self.tracks.iter().filter(|track| track.enforced)
    }

    /// Returns since when a metric has been unknown for longer than the policy lets it be, and why.
    fn overdue(&self, track: &Track<'_>) -> Option<(Timestamp, String)> {
        let (first, last) = track.unknown?;
        let policy = self.plan.on_unknown;
        let overdue =
            since(first.at, self.latest?) >= policy.after && policy.action != UnknownAction::Continue;
        let message = || format!("{} is unknown since {:.0}: {}", track.name, first.at, last.message);
        overdue.then(|| (first.at, message()))
    }

    /// Returns what a metric lacks for a pass.
    fn missing(&self, track: &Track<'_>) -> Option<String> {
        let needed = self.plan.min_samples;
        let few = || format!("{} has {} of {needed} judged samples", track.name, track.judged);
        let unknown = || self.overdue(track).map(|(_, message)| message);
        (track.judged < needed).then(few).or_else(unknown).or_else(|| self.ends_badly(track))
    }

    /// Returns the violation that the judged samples of a metric end with: where the extension still lets us,
    /// the next ones tell a blip from a breach that began late.
    fn ends_badly(&self, track: &Track<'_>) -> Option<String> {
        let last = track.recent.back().filter(|sample| sample.verdict == Verdict::Breach)?;
        let waits = self.watch.last_end(self.plan) > self.latest;
        waits.then(|| format!("{} ends with {}", track.name, last.message))
    }

    fn all_missing(&self) -> String {
        self.enforced().filter_map(|track| self.missing(track)).collect::<Vec<_>>().join(", ")
    }
}

impl<'a> Track<'a> {
    fn record(&mut self, sample: &'a Sample, in_window: bool) {
        if sample.verdict.is_judged() {
            self.unknown = None;
            self.judged = self.judged.saturating_add(u32::from(in_window));
            self.recent.push_back(sample);
            if u32::try_from(self.recent.len()).is_ok_and(|len| len > self.rule.of) {
                self.recent.pop_front();
            }
        } else {
            let first = self.unknown.map_or(sample, |(first, _)| first);
            self.unknown = Some((first, sample));
        }
    }

    /// Returns the breach at that tick, from judged samples that are at most `oldest` old.
    fn breach(&self, at: Timestamp, oldest: Duration) -> Option<Assessment> {
        let fresh = || self.recent.iter().filter(|sample| since(sample.at, at) <= oldest);
        let breaching = || fresh().filter(|sample| sample.verdict == Verdict::Breach);
        let (bad, of) = (breaching().count(), fresh().count());
        let last = breaching().next_back()?;
        let message = || format!("{} {} in {bad} of the last {of} samples", self.name, last.message);
        u32::try_from(bad).is_ok_and(|bad| bad >= self.rule.samples).then(|| Assessment::Breach {
            metric: self.name.to_owned(),
            at,
            message: message(),
        })
    }
}

#[cfg(test)]
#[path = "assess_tests.rs"]
mod tests;
