//! How far a run is.

use std::time::Duration;

use jiff::Timestamp;

use super::summary::{applied_units, in_force};
use super::text;
use crate::api::migration_status::{MAX_BLOCKERS, MAX_QUERY};
use crate::api::{BackfillProgress, Blocker, DurationText, Progress, Reason};
use crate::core::backfill;
use crate::core::observation::{self, UnitStatus};
use crate::core::state::State;
use crate::core::view::RunView;

/// Longest name of an application, in bytes.
const MAX_APPLICATION: usize = 64;
/// Longest name of a step, in bytes.
const MAX_STEP: usize = 63;

/// Makes the progress of a run.
pub(super) fn of(run: &RunView, now: Timestamp) -> Progress {
    let of = run.plan.units.len();
    let current = current(run);
    let attempt = run.attempt.as_ref().filter(|_| !run.state.is_done());
    // Counted from 1 while a unit runs.
    let unit = current.map_or_else(|| in_force(run), |unit| unit.saturating_add(1)).min(of);
    Progress {
        summary: Some(summary(run, unit, now)),
        step: current.and_then(|unit| run.plan.step_of(unit)).map(|step| text::cut(&step.name, MAX_STEP)),
        unit: number(unit),
        of: number(of),
        attempt: attempt.map(|attempt| attempt.count),
        backfill: run.backfill.as_ref().map(backfill),
        blockers: attempt
            .into_iter()
            .flat_map(|attempt| &attempt.blockers)
            .take(MAX_BLOCKERS)
            .map(blocker)
            .collect(),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Returns the unit that is being applied or undone.
fn current(run: &RunView) -> Option<usize> {
    match run.state {
        State::Applying { .. } => run.units.iter().position(|unit| *unit != UnitStatus::Done),
        State::RollingBack { .. } => run.units.iter().rposition(|unit| unit.in_force()),
        _ => None,
    }
}

fn summary(run: &RunView, unit: usize, now: Timestamp) -> String {
    let of = run.plan.units.len();
    match (&run.state, run.waiting.as_ref().map(|cause| cause.reason)) {
        (State::Done { .. }, _) => format!("{}/{of}", in_force(run)),
        (_, Some(Reason::Suspended)) => format!("suspended {}/{of}", applied_units(run)),
        (_, Some(Reason::WaitingForLock)) => "waiting for lock".to_owned(),
        (_, Some(Reason::WaitingForStandby)) => "waiting for standby".to_owned(),
        (State::Held { .. }, _) | (_, Some(Reason::MetricUnknown)) => {
            format!("paused {}/{of}", applied_units(run))
        }
        (State::Applying { .. } | State::RollingBack { .. }, _) if run.backfill.is_some() => {
            run.backfill.as_ref().map(percent).unwrap_or_default()
        }
        (State::Planned, _) => format!("0/{of}"),
        (State::Rehearsing { .. }, _) => match &run.backfill {
            Some(progress) => format!("rehearsing {}%", progress.percent()),
            None => "rehearsing".to_owned(),
        },
        (State::Applying { .. }, _) => format!("{unit}/{of}"),
        (State::RollingBack { .. }, _) => format!("undoing {unit}/{of}"),
        (State::Watching { .. }, _) => match run.watch.as_ref().and_then(|watch| watch.until) {
            Some(until) => format!("watch {}", text::left(now, until)),
            None => "watch".to_owned(),
        },
    }
}

/// As in `43% 12m`.
fn percent(progress: &backfill::Progress) -> String {
    match progress.eta() {
        Some((_, to)) => format!("{}% {}", progress.percent(), text::rough(to)),
        None => format!("{}%", progress.percent()),
    }
}

fn backfill(progress: &backfill::Progress) -> BackfillProgress {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let seconds = |span: Duration| DurationText::from(Duration::from_secs(span.as_secs()));
    #[expect(clippy::cast_possible_truncation, reason = "a rate")]
    let rate = |rate: f64| rate.round() as i64;
    BackfillProgress {
        rows_done: signed(progress.rows_done),
        rows_total: signed(progress.rows_total),
        rows_per_second: progress.rate.map(rate),
        eta: progress.eta().map(|(from, to)| format!("{}-{}", text::rough(from), text::rough(to))),
        batches: signed(progress.batches),
        rows_locked: Some(signed(progress.locked)).filter(|rows| *rows > 0),
        throttled_for: Some(progress.throttled).filter(|span| span.as_secs() > 0).map(seconds),
        throttled_by: progress.throttled_by.as_deref().map(|what| text::cut(what, MAX_QUERY)),
    }
}

fn blocker(blocker: &observation::Blocker) -> Blocker {
    let age = blocker.age_seconds.and_then(|age| Duration::try_from_secs_f64(age).ok());
    let shown = |line: String| Some(line).filter(|line| !line.is_empty());
    Blocker {
        pid: blocker.pid,
        age: age.map(|age| DurationText::from(Duration::from_secs(age.as_secs()))),
        application: shown(text::line(&blocker.application, MAX_APPLICATION)),
        query: shown(text::line(&blocker.activity, MAX_QUERY)),
    }
}
