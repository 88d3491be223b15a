//! The parts of status that tell of a run: plan, rehearsal, analysis, earlier runs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::summary::is_applied;
use super::{planned, progress, rehearsed, text};
use crate::api::migration_status::{MAX_HISTORY, MAX_LOCKS, MAX_MESSAGE, MAX_RECENT};
use crate::api::{
    AnalysisStatus, HistoryEntry, LockStatus, MetricStatus, MigrationStatus, Outcome, RehearsalStatus,
    RehearsedStep, RoundTrip, SampleStatus, Verdict, VerdictCounts,
};
use crate::core::analysis::{self, Assessment, MetricSummary};
use crate::core::plan::{self, Plan};
use crate::core::rehearsal::{self, Rehearsal};
use crate::core::view::{PastRun, RunView, WatchView};

/// Most steps that status holds.
pub(super) const MAX_STEPS: usize = 64;
/// Most metrics that status holds.
const MAX_METRICS: usize = 16;
/// Longest name of a step, a stream or a metric, in bytes.
pub(super) const MAX_NAME: usize = 63;
/// Longest version, in bytes.
const MAX_VERSION: usize = 48;
/// Longest hash, in bytes.
const MAX_HASH: usize = 80;
/// Longest identifier of a run, in bytes.
const MAX_ID: usize = 64;
/// Longest limit of a metric, in bytes.
const MAX_LIMIT: usize = 64;
/// Longest name of a copy, in bytes.
const MAX_REPLICA: usize = 253;
/// Longest name of a relation with its schema, in bytes.
pub(super) const MAX_RELATION: usize = 130;
/// Longest name of a lock mode, in bytes.
pub(super) const MAX_MODE: usize = 32;
/// What a rehearsal makes sure of: equal catalogs. How much data the copy has is not known.
const FIDELITY: &str = "SameSchema";
/// Lock modes of PostgreSQL, weakest first.
const MODES: [&str; 8] = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

/// Makes everything of a run's status but phase, conditions and tokens.
pub(super) fn of(run: &RunView, past: &[PastRun], now: Timestamp) -> MigrationStatus {
    // The ledger lists a run that ended among those that ended.
    let earlier: Vec<PastRun> =
        past.iter().filter(|past| past.started_at != Some(run.started_at)).cloned().collect();
    MigrationStatus {
        stream: Some(text::cut(&run.plan.stream, MAX_NAME)),
        run_id: Some(text::cut(&run.id, MAX_ID)),
        plan_hash: Some(text::cut(&run.plan.hash, MAX_HASH)),
        analysis_hash: run.analysis_hash.as_deref().map(|hash| text::cut(hash, MAX_HASH)),
        from_version: run.from_version.as_deref().map(|version| text::cut(version, MAX_VERSION)),
        to_version: Some(text::cut(&run.plan.version, MAX_VERSION)),
        applied: Some(is_applied(run)),
        plan: Some(planned::of(&run.plan, run.rehearsal.as_ref().and_then(|one| one.prediction.as_deref()))),
        rehearsal: run.rehearsal.as_ref().map(|rehearsal| on_copy(&run.plan, rehearsal)),
        progress: Some(progress::of(run, now)),
        analysis: run.watch.as_ref().map(watched),
        history: history(&earlier),
        ..MigrationStatus::default()
    }
}

/// Makes the list of earlier runs.
pub(super) fn history(past: &[PastRun]) -> Vec<HistoryEntry> {
    let entry = |past: &PastRun| {
        let outcome = match past.outcome.as_str() {
            "Succeeded" => Outcome::Succeeded,
            "RolledBack" => Outcome::RolledBack,
            "RollbackFailed" => Outcome::RollbackFailed,
            "Aborted" => Outcome::Aborted,
            _ => Outcome::Failed,
        };
        HistoryEntry {
            plan_hash: text::cut(&past.plan_hash, MAX_HASH),
            outcome,
            started_at: past.started_at.map(time),
            finished_at: past.finished_at.map(time),
            message: past.message.as_deref().map(|message| text::line(message, MAX_MESSAGE)),
        }
    };
    past.iter().take(MAX_HISTORY).map(entry).collect()
}

fn time(at: Timestamp) -> Time {
    Time(text::whole_seconds(at))
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn on_copy(plan: &Plan, rehearsal: &Rehearsal) -> RehearsalStatus {
    let step = |(index, step): (usize, &plan::Step)| {
        let units = || {
            let facts = rehearsal.units.iter();
            facts.filter(move |facts| plan.units.get(facts.unit).is_some_and(|unit| unit.step == index))
        };
        let total = units().fold(Duration::ZERO, |sum, facts| sum.saturating_add(facts.duration));
        let held = units().map(|facts| facts.held).max().unwrap_or_default();
        let locks = units().flat_map(|facts| &facts.statements).flat_map(|statement| &statement.locks);
        RehearsedStep {
            name: text::cut(&step.name, MAX_NAME),
            duration: text::duration(total),
            held: text::duration(held),
            locks: strongest(locks),
            backfill: rehearsed::of_step(plan, rehearsal, index),
        }
    };
    RehearsalStatus {
        replica: text::line(&rehearsal.replica, MAX_REPLICA),
        fidelity: FIDELITY.to_owned(),
        started_at: Some(time(rehearsal.started_at)),
        finished_at: Some(time(rehearsal.finished_at)),
        round_trip: Some(match rehearsal.round_trip {
            rehearsal::RoundTrip::Complete => RoundTrip::Passed,
            rehearsal::RoundTrip::UpOnly => RoundTrip::ForwardOnly,
            rehearsal::RoundTrip::Broken => RoundTrip::Failed,
        }),
        steps: plan.steps.iter().take(MAX_STEPS).enumerate().map(step).collect(),
    }
}

/// Keeps the strongest lock of each relation.
fn strongest<'a>(locks: impl Iterator<Item = &'a rehearsal::Lock>) -> Vec<LockStatus> {
    let rank = |mode: &str| MODES.iter().position(|known| *known == mode).unwrap_or(MODES.len());
    let mut by_relation: BTreeMap<&str, &str> = BTreeMap::new();
    for lock in locks {
        let mode = by_relation.entry(&lock.relation).or_insert(&lock.mode);
        if rank(&lock.mode) > rank(mode) {
            *mode = &lock.mode;
        }
    }
    let shown = |(relation, mode): (&str, &str)| LockStatus {
        relation: text::line(relation, MAX_RELATION),
        mode: text::line(mode, MAX_MODE),
    };
    by_relation.into_iter().take(MAX_LOCKS).map(shown).collect()
}

fn watched(watch: &WatchView) -> AnalysisStatus {
    let (verdict, about) = match &watch.assessment {
        Assessment::Breach { metric, message, .. } => (Some(Verdict::Breach), Some((metric, message))),
        Assessment::Unknown { metric, message, .. } => {
            let newest = watch
                .metrics
                .iter()
                .find(|summary| summary.name == *metric)
                .and_then(|one| one.recent.last());
            (Some(newest.map_or(Verdict::NoData, |recent| verdict(recent.verdict))), Some((metric, message)))
        }
        Assessment::Passed => (Some(Verdict::Pass), None),
        Assessment::Continue { .. } | Assessment::Extend { .. } | Assessment::Inconclusive { .. } => {
            (None, None)
        }
    };
    let metric = |summary: &MetricSummary| {
        let decided = about.filter(|(name, _)| **name == summary.name).map(|(_, message)| message);
        let message = text::line(decided.unwrap_or(&summary.message), MAX_MESSAGE);
        metric(summary, Some(message).filter(|message| !message.is_empty()))
    };
    AnalysisStatus {
        verdict,
        until: watch.until.map(time),
        metrics: watch.metrics.iter().take(MAX_METRICS).map(metric).collect(),
    }
}

fn metric(summary: &MetricSummary, message: Option<String>) -> MetricStatus {
    let counts = summary.counts;
    let sample = |recent: &analysis::Recent| SampleStatus {
        at: time(recent.at),
        value: recent.value.map(text::number),
        verdict: verdict(recent.verdict),
    };
    MetricStatus {
        name: text::cut(&summary.name, MAX_NAME),
        last: summary.last.map(text::number),
        limit: Some(text::line(&summary.limit, MAX_LIMIT)),
        counts: VerdictCounts {
            pass: counts.pass,
            breach: counts.breach,
            no_data: counts.no_data,
            low_traffic: counts.low_traffic,
            error: counts.error,
        },
        recent: summary.recent.iter().rev().take(MAX_RECENT).map(sample).collect(),
        message,
    }
}

fn verdict(verdict: analysis::Verdict) -> Verdict {
    match verdict {
        analysis::Verdict::Pass => Verdict::Pass,
        analysis::Verdict::Breach => Verdict::Breach,
        analysis::Verdict::NoData => Verdict::NoData,
        analysis::Verdict::LowTraffic => Verdict::LowTraffic,
        analysis::Verdict::Error => Verdict::Error,
    }
}
