//! Events: what a person wants to be told when it happens, from the difference of two statuses.
//!
//! A migration that is not watched and goes well has one event, its end.

use super::summary::{Health, Summary};
use super::{Event, EventType, action, conditions, rehearsed, text};
use crate::api::migration_status::MAX_MESSAGE;
use crate::api::{MigrationStatus, Phase, Reason, Severity, Verdict, condition};
use crate::core::plan::OnBreach;
use crate::core::state::{Cause, Outcome, State};
use crate::core::view::{RunView, Standing, View};

/// Attempts at a lock that nobody is told about.
const QUIET_ATTEMPTS: u32 = 3;

/// Most dangerous statements that are told one by one; the plan in status has more.
const MAX_DANGERS: usize = 10;

/// Two statuses of a Migration. What the older one says of another run does not count.
struct Change<'a> {
    before: &'a MigrationStatus,
    after: &'a MigrationStatus,
    same_run: bool,
}

impl Change<'_> {
    /// Returns whether a condition has become True.
    fn turned(&self, name: &str) -> bool {
        is_true(self.after, name) && !(self.same_run && is_true(self.before, name))
    }

    /// Returns whether a condition has appeared.
    fn appeared(&self, name: &str) -> bool {
        reason(self.after, name).is_some() && !(self.same_run && reason(self.before, name).is_some())
    }

    /// Returns whether the reason of `Ready` is another one.
    fn reason_changed(&self) -> bool {
        !self.same_run || reason(self.before, condition::READY) != reason(self.after, condition::READY)
    }

    fn event(&self, kind: EventType, reason: Reason, note: &str) -> Event {
        let action = action(self.after.phase.unwrap_or(Phase::Pending));
        // An event without a word would tell nobody anything.
        let note = match text::line(note, MAX_MESSAGE) {
            note if note.is_empty() => reason.sentence().to_owned(),
            note => note,
        };
        Event { kind, reason, note, action, place: None }
    }
}

fn is_true(status: &MigrationStatus, name: &str) -> bool {
    conditions::find(status, name).is_some_and(|condition| condition.status == "True")
}

fn reason<'a>(status: &'a MigrationStatus, name: &str) -> Option<&'a str> {
    conditions::find(status, name).map(|condition| condition.reason.as_str())
}

fn message<'a>(status: &'a MigrationStatus, name: &str) -> &'a str {
    conditions::find(status, name).map_or("", |condition| condition.message.as_str())
}

/// A run that was recorded is not in the ledger any more.
pub(super) fn lost(after: &MigrationStatus) -> Event {
    let note = "the history table does not have the run that was recorded here any more: the server lost its last commits, in a \
                failover or because an older state was restored; what the history table says counts";
    Event {
        kind: EventType::Warning,
        reason: Reason::LedgerRewound,
        note: note.to_owned(),
        action: action(after.phase.unwrap_or(Phase::Pending)),
        place: None,
    }
}

/// The ledger has less of a run than was recorded of it.
fn rewound(change: &Change<'_>) -> Option<Event> {
    let at = |status: &MigrationStatus| status.progress.as_ref().map_or(0, |progress| progress.unit);
    let going_up = |status: &MigrationStatus| status.phase == Some(Phase::Applying);
    let (before, after) = (change.before, change.after);
    let lost_units = going_up(before) && going_up(after) && at(before) > at(after);
    let never_applied = before.applied == Some(true) && after.applied == Some(false) && going_up(after);
    let note = format!(
        "the history table went back: it has {} applied of {}, and more was recorded here; the run goes on from there",
        at(after).saturating_sub(1),
        after.progress.as_ref().map_or(0, |progress| progress.of),
    );
    (change.same_run && (lost_units || never_applied))
        .then(|| change.event(EventType::Warning, Reason::LedgerRewound, &note))
}

/// Returns what happened between two statuses, oldest first.
pub(super) fn between(
    before: &MigrationStatus,
    after: &MigrationStatus,
    view: &View,
    summary: &Summary,
) -> Vec<Event> {
    let change = Change { before, after, same_run: before.run_id == after.run_id };
    let mut events = Vec::new();
    if let Standing::Run(run) = &view.standing {
        events.extend(rewound(&change));
        events.extend(dangers(&change, run));
        events.extend(milestones(&change, run));
        events.extend(breach(&change, run));
        events.extend(way_back(&change, &run.state));
        events.extend(lock(&change, run));
    }
    events.extend(standing(&change, summary));
    events
}

/// The dangerous statements of a plan, when it is first shown.
fn dangers(change: &Change<'_>, run: &RunView) -> Vec<Event> {
    if change.same_run && change.before.plan.is_some() {
        return Vec::new();
    }
    let Some(preview) = &run.plan.preview else { return Vec::new() };
    let dangerous =
        preview.findings.iter().filter(|one| one.severity == Severity::High && one.ignored.is_none());
    dangerous
        .take(MAX_DANGERS)
        .map(|finding| {
            let step = preview.statements.get(finding.statement).map_or("", |statement| &statement.step);
            let place = format!("{step}:{}:{}", finding.line, finding.column);
            let note = format!("{} in step {place}: {}", finding.code, finding.message);
            let event = change.event(EventType::Warning, Reason::DangerousStatement, &note);
            Event { place: Some(place), ..event }
        })
        .collect()
}

/// The steps on the way of a run that is watched, for those who look at graphs beside it, and what a rehearsal lets expect
/// of a backfill.
fn milestones(change: &Change<'_>, run: &RunView) -> Vec<Event> {
    let is_watched = run.plan.analysis.is_some();
    let milestone = |name: &str, reason: Reason| {
        change.turned(name).then(|| change.event(EventType::Normal, reason, message(change.after, name)))
    };
    let is_news = is_watched || rehearsed::is_told(run);
    let rehearsed = milestone(condition::REHEARSED, Reason::RehearsalPassed).filter(|_| is_news);
    let applied = milestone(condition::APPLIED, Reason::Applied).filter(|_| is_watched);
    rehearsed.into_iter().chain(applied).collect()
}

/// A breach that leads to nothing but this event.
fn breach(change: &Change<'_>, run: &RunView) -> Option<Event> {
    let breached = |status: &MigrationStatus| {
        status.analysis.as_ref().is_some_and(|analysis| analysis.verdict == Some(Verdict::Breach))
    };
    let news = breached(change.after) && !(change.same_run && breached(change.before));
    let told_only = run.plan.on_breach == OnBreach::Notify;
    (news && told_only).then(|| {
        change.event(EventType::Warning, Reason::MetricBreached, message(change.after, condition::ANALYZED))
    })
}

/// What set off a rollback.
fn way_back(change: &Change<'_>, state: &State) -> Option<Event> {
    let (State::RollingBack { cause, aborted: false, .. }
    | State::Done { outcome: Outcome::RolledBack(cause), .. }) = state
    else {
        return None;
    };
    let kind = if cause.reason == Reason::RollbackRequested { EventType::Normal } else { EventType::Warning };
    let Cause { reason, message } = cause;
    let note = text::line_with(message, "rolling back", MAX_MESSAGE);
    change.appeared(condition::ROLLED_BACK).then(|| change.event(kind, *reason, &note))
}

/// A lock that is not to be had, told once for each unit.
fn lock(change: &Change<'_>, run: &RunView) -> Option<Event> {
    let attempt = run.attempt.as_ref().filter(|attempt| waits(attempt.cause.reason))?;
    let at =
        |status: &MigrationStatus| status.progress.as_ref().map(|progress| (progress.unit, progress.attempt));
    let told = change.same_run
        && match (at(change.before), at(change.after)) {
            (Some((old, Some(attempts))), Some((new, _))) => old == new && attempts > QUIET_ATTEMPTS,
            _ => false,
        };
    let news = attempt.count > QUIET_ATTEMPTS && !told && !run.state.is_done();
    news.then(|| change.event(EventType::Warning, attempt.cause.reason, &attempt.cause.message))
}

/// Whether a reason is a wait that is repeated for long.
fn waits(reason: Reason) -> bool {
    matches!(reason, Reason::WaitingForLock | Reason::WaitingForStandby)
}

/// Where the Migration stands now, where that is news.
fn standing(change: &Change<'_>, summary: &Summary) -> Option<Event> {
    let suspended = summary.reason == Reason::Suspended;
    let (kind, news) = match summary.health {
        Health::Ready => (EventType::Normal, change.turned(condition::READY)),
        Health::Stalled { .. } => {
            (EventType::Warning, change.turned(condition::STALLED) || change.reason_changed())
        }
        // `Retrying` alone is the moment in which another process hands over.
        Health::Reconciling { failing: true } => {
            (EventType::Warning, summary.reason != Reason::Retrying && change.reason_changed())
        }
        Health::Reconciling { failing: false } => (EventType::Normal, suspended && change.reason_changed()),
    };
    news.then(|| change.event(kind, summary.reason, &summary.message))
}
