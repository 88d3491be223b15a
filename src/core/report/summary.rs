//! Where a Migration stands, in one word, one sentence and what to do next.

use super::text;
use crate::api::migration_status::MAX_MESSAGE;
use crate::api::{Phase, RETRY_REQUESTED_AT, ROLLBACK_REQUESTED_AT, Reason};
use crate::core::analysis::Assessment;
use crate::core::observation::UnitStatus;
use crate::core::preview::amount;
use crate::core::state::{Cause, Outcome, State};
use crate::core::view::{RunView, Standing, View};
use jiff::Timestamp;

/// What a run under way meets, and only a person can put right.
const NEEDS_A_PERSON: [Reason; 4] =
    [Reason::WrongServer, Reason::PoolerDetected, Reason::LedgerNewer, Reason::ConnectionInvalid];

/// Where a Migration stands.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// For the printer column.
    pub phase: Phase,
    /// For programs that wait.
    pub health: Health,
    /// Why.
    pub reason: Reason,
    /// Why, in a line.
    pub message: String,
}

/// What a program that waits has to know.
#[derive(Clone, Debug)]
pub(super) enum Health {
    /// All that was asked for is so.
    Ready,
    /// It goes on by itself.
    Reconciling {
        /// Something is wrong meanwhile.
        failing: bool,
    },
    /// A person has to do something.
    Stalled {
        /// The run stands at a safe point, and can go on from there.
        paused: bool,
        /// What a person can do.
        next: String,
    },
}

/// Sums up a view.
pub(super) fn of(view: &View) -> Summary {
    match &view.standing {
        Standing::Waiting(cause) => waiting(cause),
        Standing::Retrying(cause) => {
            Summary::new(Phase::Pending, Health::Reconciling { failing: true }, cause.reason, &cause.message)
        }
        Standing::Refused(cause) => {
            let next = "remove the cause; a Migration that was refused is looked at again when its spec changes, and when \
                        whimbrel.dev/reconcile-requested-at does";
            let health = Health::Stalled { paused: false, next: next.to_owned() };
            Summary::new(Phase::Failed, health, cause.reason, &cause.message)
        }
        Standing::Covered(cause) => {
            Summary::new(Phase::Succeeded, Health::Ready, cause.reason, &cause.message)
        }
        Standing::Run(run) => of_run(run),
    }
}

/// Sums up a wait that nothing is wrong about.
pub(super) fn waiting(cause: &Cause) -> Summary {
    let phase = match cause.reason {
        Reason::Suspended => Phase::Paused,
        Reason::Planning => Phase::Planning,
        _ => Phase::Pending,
    };
    Summary::new(phase, Health::Reconciling { failing: false }, cause.reason, &cause.message)
}

impl Summary {
    fn new(phase: Phase, health: Health, reason: Reason, message: &str) -> Self {
        Self { phase, health, reason, message: text::line(message, MAX_MESSAGE) }
    }

    /// Sums up what a person has to act on: what happened, which may be cut, and what comes next, which may not.
    fn stalled(phase: Phase, paused: bool, reason: Reason, happened: &str, next: String) -> Self {
        let message = text::line_with(happened, &next, MAX_MESSAGE);
        Self { phase, health: Health::Stalled { paused, next }, reason, message }
    }
}

fn of_run(run: &RunView) -> Summary {
    match &run.state {
        State::Done { at, outcome } => ended(run, *at, outcome),
        State::Held { cause, .. } => held(run, run.waiting.as_ref().unwrap_or(cause)),
        state => match &run.waiting {
            Some(cause) if cause.reason == Reason::MetricUnknown => unknown(cause),
            Some(cause) if NEEDS_A_PERSON.contains(&cause.reason) => {
                let next =
                    "nothing is done until that is put right; it is looked at again by itself".to_owned();
                Summary::stalled(phase_of(state), true, cause.reason, &cause.message, next)
            }
            Some(cause) if cause.reason != Reason::Analyzing => going_on(state, cause),
            _ => at_work(run, state),
        },
    }
}

/// A run that waits: for a person who suspended it, for a lock, or out of a failure.
fn going_on(state: &State, cause: &Cause) -> Summary {
    let expected = [
        Reason::Applying,
        Reason::Suspended,
        Reason::WaitingForLock,
        Reason::WaitingForStandby,
        Reason::WaitingForDatabase,
        Reason::WaitingForEarlierVersion,
        Reason::Pending,
    ];
    let phase = if cause.reason == Reason::Suspended { Phase::Paused } else { phase_of(state) };
    let message = match state {
        State::RollingBack { .. } => format!("rolling back: {}", cause.message),
        _ => cause.message.clone(),
    };
    Summary::new(
        phase,
        Health::Reconciling { failing: !expected.contains(&cause.reason) },
        cause.reason,
        &message,
    )
}

fn phase_of(state: &State) -> Phase {
    match state {
        State::Planned => Phase::Planning,
        State::Rehearsing { .. } => Phase::Rehearsing,
        State::Applying { .. } => Phase::Applying,
        State::Watching { .. } => Phase::Analyzing,
        State::Held { .. } => Phase::Paused,
        State::RollingBack { .. } => Phase::RollingBack,
        State::Done { outcome: Outcome::Succeeded, .. } => Phase::Succeeded,
        State::Done { outcome: Outcome::RolledBack(_), .. } => Phase::RolledBack,
        State::Done { .. } => Phase::Failed,
    }
}

/// A run that does what its state says.
fn at_work(run: &RunView, state: &State) -> Summary {
    let of = text::count(run.plan.units.len(), "unit");
    let (reason, message) = match state {
        State::Planned => (Reason::PlanReady, format!("the plan of {of} is stored, and begins")),
        State::Rehearsing { .. } => {
            #[expect(clippy::cast_precision_loss, reason = "a number for people")]
            let filled = run.backfill.as_ref().map(|progress| {
                let (done, total) = (amount(progress.rows_done as f64), amount(progress.rows_total as f64));
                format!("; a backfill there is at {done} of {total} rows")
            });
            let filled = filled.unwrap_or_default();
            let message = format!("the plan of {of} runs on the copy; the primary is untouched{filled}");
            (Reason::Rehearsing, message)
        }
        State::Applying { .. } => {
            let done = applied_units(run);
            let step = run
                .plan
                .step_of(done)
                .map_or_else(String::new, |step| format!(", in step {}: {}", step.name, step.summary));
            (Reason::Applying, format!("{done} of {of} applied to the primary{step}"))
        }
        State::RollingBack { cause, .. } => (
            Reason::RollingBack,
            format!("{} to undo, because: {}", text::count(in_force(run), "unit"), cause.message),
        ),
        State::Watching { .. } | State::Held { .. } | State::Done { .. } => {
            (Reason::Analyzing, watching(run))
        }
    };
    Summary::new(phase_of(state), Health::Reconciling { failing: false }, reason, &message)
}

fn watching(run: &RunView) -> String {
    let metrics = run.plan.analysis.as_ref().map_or(0, |analysis| analysis.metrics.len());
    let until = run.watch.as_ref().and_then(|watch| watch.until);
    let until = until.map_or_else(String::new, |until| format!(" until {}", text::moment(until)));
    let watch = format!("applied; watching {}{until}", text::count(metrics, "metric"));
    match run.watch.as_ref().map(|watch| &watch.assessment) {
        Some(Assessment::Breach { message, .. }) => {
            format!("{message}; onBreach is Notify, so it stays {watch}")
        }
        Some(Assessment::Extend { message, .. } | Assessment::Unknown { message, .. }) => {
            format!("{watch}; {message}")
        }
        _ => watch,
    }
}

fn unknown(cause: &Cause) -> Summary {
    let next =
        format!("it goes on by itself when data comes back; annotate {ROLLBACK_REQUESTED_AT} to undo it");
    Summary::stalled(Phase::Paused, true, cause.reason, &cause.message, next)
}

fn held(run: &RunView, cause: &Cause) -> Summary {
    let comes_back = run.plan.no_way_back(&run.units).is_none();
    let next = match (is_complete(run), comes_back) {
        (true, true) => {
            format!("annotate {ROLLBACK_REQUESTED_AT} to undo it, or {RETRY_REQUESTED_AT} to watch once more")
        }
        (true, false) => {
            format!("annotate {RETRY_REQUESTED_AT} to watch once more, or undo it by a new Migration")
        }
        (false, true) => format!(
            "remove the cause and annotate {RETRY_REQUESTED_AT} to go on, or {ROLLBACK_REQUESTED_AT} to undo it"
        ),
        (false, false) => format!("remove the cause and annotate {RETRY_REQUESTED_AT} to go on"),
    };
    let happened = format!(
        "{}; {} of {} applied",
        text::line(&cause.message, MAX_MESSAGE / 2),
        applied_units(run),
        text::count(run.plan.units.len(), "unit")
    );
    Summary::stalled(Phase::Paused, true, cause.reason, &happened, next)
}

fn ended(run: &RunView, at: Timestamp, outcome: &Outcome) -> Summary {
    let again = format!("edit the spec, or annotate {RETRY_REQUESTED_AT}");
    let state = State::Done { at, outcome: outcome.clone() };
    let phase = phase_of(&state);
    let at = text::moment(at);
    let said = |cause: &Cause| text::line(&cause.message, MAX_MESSAGE / 2);
    match outcome {
        Outcome::Succeeded => Summary::new(phase, Health::Ready, Reason::Succeeded, &succeeded(run, &at)),
        Outcome::RolledBack(cause) => {
            let happened = format!("{}; rolled back at {at}{}", said(cause), back_at(run));
            Summary::stalled(phase, false, Reason::RolledBack, &with_note(run, happened), again)
        }
        Outcome::Failed(cause) => {
            let happened = format!("{}; {}", said(cause), left(run));
            Summary::stalled(phase, false, cause.reason, &with_note(run, happened), again)
        }
        Outcome::Aborted(cause) => {
            let happened = format!("{}; {}", said(cause), left(run));
            Summary::stalled(phase, false, Reason::Aborted, &with_note(run, happened), again)
        }
        Outcome::RollbackFailed(cause) => {
            let next = if run.plan.no_way_back(&run.units).is_none() {
                format!("remove the cause, then annotate {ROLLBACK_REQUESTED_AT} to try again")
            } else {
                "a person has to undo what is left".to_owned()
            };
            let happened = format!("{}; {}", said(cause), left(run));
            Summary::stalled(phase, false, Reason::RollbackFailed, &with_note(run, happened), next)
        }
    }
}

fn succeeded(run: &RunView, at: &str) -> String {
    let watched = match run.watch.as_ref().map(|watch| &watch.assessment) {
        Some(Assessment::Passed) => format!(
            "; {} good",
            text::count(run.watch.as_ref().map_or(0, |watch| watch.metrics.len()), "metric")
        ),
        Some(Assessment::Breach { message, .. }) => format!("; it stays although {message}"),
        _ => String::new(),
    };
    let units = text::count(run.plan.units.len(), "unit");
    with_note(
        run,
        format!(
            "version {} of stream {} is applied: {units}, done at {at}{watched}",
            run.plan.version, run.plan.stream
        ),
    )
}

fn with_note(run: &RunView, happened: String) -> String {
    match &run.note {
        Some(note) => format!("{happened}; {}", text::line(note, MAX_MESSAGE / 4)),
        None => happened,
    }
}

fn back_at(run: &RunView) -> String {
    match &run.from_version {
        Some(version) => format!("; stream {} is at version {version} again", run.plan.stream),
        None => format!("; stream {} has no version", run.plan.stream),
    }
}

fn left(run: &RunView) -> String {
    match in_force(run) {
        0 => "nothing of it is applied".to_owned(),
        left => format!("{left} of {} may still be applied", text::count(run.plan.units.len(), "unit")),
    }
}

/// Counts the units that are applied as a whole.
pub(super) fn applied_units(run: &RunView) -> usize {
    run.units.iter().filter(|unit| **unit == UnitStatus::Done).count()
}

/// Counts the units of which anything may be in force.
pub(super) fn in_force(run: &RunView) -> usize {
    run.units.iter().filter(|unit| unit.in_force()).count()
}

/// Returns whether every unit is applied.
pub(super) fn is_complete(run: &RunView) -> bool {
    applied_units(run) == run.plan.units.len()
}

/// Returns whether the primary has the change. A run may be held with only a part of it.
pub(super) fn is_applied(run: &RunView) -> bool {
    match &run.state {
        State::Held { .. } => is_complete(run),
        state => state.applied(),
    }
}
