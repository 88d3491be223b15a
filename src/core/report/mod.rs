//! Pure: from what is known about a Migration to its status and events; the only producer of conditions and events.
//!
//! Conditions follow kstatus: `Ready` is always there; `Reconciling` and `Stalled` are there only while they are True, and
//! never both; only `Stalled` makes a waiting pipeline fail. `PlanValid`, `Rehearsed`, `Applied`, `Analyzed` and
//! `RolledBack` are facts beside them.
//!
//! Invariants: the same inputs give the same status, so an unchanged one is not written again; every text and list is
//! bounded, whatever a server answered; events are the difference of two statuses, so a restart does not repeat them.

mod conditions;
mod events;
mod facts;
mod objects;
mod planned;
mod progress;
mod rehearsed;
mod sections;
mod summary;
mod text;

#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod section_tests;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{
    ABORT_REQUESTED_AT, Migration, MigrationStatus, Phase, RECONCILE_REQUESTED_AT, RETRY_REQUESTED_AT,
    ROLLBACK_REQUESTED_AT, Reason, condition,
};
use crate::core::state::Cause;
use crate::core::view::{Standing, View};
use conditions::{Draft, Tri};
pub use objects::{CopyFact, Surveyed, database, provider};

/// Longest one-shot token that status holds, in bytes.
const MAX_TOKEN: usize = 256;

/// What a Migration's view comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The whole status.
    pub status: MigrationStatus,
    /// What happened since the status that the object has, oldest first.
    pub events: Vec<Event>,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// All went as it should.
    Normal,
    /// A person may have to look.
    Warning,
}

/// Something that happened once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How much it matters.
    pub kind: EventType,
    /// The word that conditions use, too.
    pub reason: Reason,
    /// What happened, in one line of at most 1 KiB.
    pub note: String,
    /// What the operator was doing, in one word.
    pub action: &'static str,
    /// The part of the object that it is about, for example `spec.up:2:14`; none means the whole object.
    pub place: Option<String>,
}

/// Makes the status and the events of a Migration as it was read. `lost`: the ledger does not have the run any more that its
/// status tells of.
pub fn report(migration: &Migration, view: &View, lost: bool, now: Timestamp) -> Report {
    let mut before = migration.status.clone().unwrap_or_default();
    if lost {
        // Nothing that it says of that run is true any more.
        before = forgotten(&before);
    }
    let summary = summary::of(view);
    let mut drafts = conditions::kstatus(&summary);
    let mut status = match &view.standing {
        Standing::Run(run) => {
            drafts.extend(facts::of(run));
            sections::of(run, &view.past, now)
        }
        Standing::Covered(cause) => {
            drafts.push(Draft::new(condition::APPLIED, Tri::True, cause.reason, &cause.message));
            MigrationStatus { applied: Some(true), ..MigrationStatus::default() }
        }
        Standing::Refused(cause) => {
            drafts.push(facts::refused(cause));
            kept(&before, view.generation)
        }
        Standing::Waiting(_) | Standing::Retrying(_) => kept(&before, view.generation),
    };
    status.observed_generation = Some(view.generation);
    status.phase = Some(summary.phase);
    status.conditions =
        conditions::stamp(drafts, &status.conditions, &before.conditions, view.generation, now);
    if !matches!(view.standing, Standing::Run(_)) {
        status.history = sections::history(&view.past);
        if status.history.is_empty() {
            status.history.clone_from(&before.history);
        }
    }
    answer(&mut status, migration, &before, view);
    let mut events = events::between(&before, &status, view, &summary);
    if lost {
        events.insert(0, events::lost(&status));
    }
    Report { status, events }
}

/// Makes the first status of a generation that nothing was done about yet.
pub fn accepted(migration: &Migration, now: Timestamp) -> MigrationStatus {
    let before = migration.status.clone().unwrap_or_default();
    let generation = migration.metadata.generation.unwrap_or_default();
    let cause = Cause::new(Reason::Pending, "seen; nothing was done about it yet");
    let summary = summary::waiting(&cause);
    let mut status = kept(&before, generation);
    status.observed_generation = Some(generation);
    status.phase = Some(summary.phase);
    status.conditions = conditions::stamp(
        conditions::kstatus(&summary),
        &status.conditions,
        &before.conditions,
        generation,
        now,
    );
    status
}

/// Returns whether the status says everything about this generation and these tokens, and the run is over, so that
/// nothing has to be looked up or written.
pub fn settled(migration: &Migration) -> bool {
    let Some(status) = &migration.status else {
        return false;
    };
    let answered = |annotation: &str, answer: &Option<String>| {
        token(migration, annotation).is_none_or(|token| answer.as_ref() == Some(&token))
    };
    // A refusal is looked at again, because what it lacks may be there now.
    let over = conditions::is_true(status, condition::READY)
        || (is_final(status) && conditions::is_true(status, condition::PLAN_VALID));
    over && status.observed_generation.is_some()
        && status.observed_generation == migration.metadata.generation
        && migration.metadata.deletion_timestamp.is_none()
        && answered(RECONCILE_REQUESTED_AT, &status.last_handled_reconcile_at)
        && answered(RETRY_REQUESTED_AT, &status.last_handled_retry_at)
        && answered(ABORT_REQUESTED_AT, &status.last_handled_abort_at)
        && answered(ROLLBACK_REQUESTED_AT, &status.last_handled_rollback_at)
}

/// Returns whether `Ready` is True.
pub fn is_ready(conditions: &[Condition]) -> bool {
    conditions.iter().any(|one| one.type_ == condition::READY && one.status == "True")
}

/// Returns the reason of `Ready`.
pub fn reason(status: &MigrationStatus) -> Option<&str> {
    conditions::find(status, condition::READY).map(|ready| ready.reason.as_str())
}

/// Returns whether a status is a last word: nothing follows by itself, and no run is under way.
pub fn is_final(status: &MigrationStatus) -> bool {
    let stalled = conditions::find(status, condition::STALLED);
    conditions::is_true(status, condition::READY)
        || stalled.is_some_and(|stalled| stalled.reason != Reason::Paused.as_str())
}

/// Returns whether a Migration is done and wants nothing more.
pub fn succeeded(migration: &Migration) -> bool {
    let ready = |status: &MigrationStatus| conditions::is_true(status, condition::READY);
    settled(migration) && migration.status.as_ref().is_some_and(ready)
}

/// Returns what stays true of a status while nothing is known about a run: everything within one generation or while the
/// change is applied, because its SQL cannot be edited then; else only what does not depend on the plan.
fn kept(before: &MigrationStatus, generation: i64) -> MigrationStatus {
    if before.observed_generation == Some(generation) || before.applied == Some(true) {
        let mut status = before.clone();
        status.progress = None;
        status.conditions.retain(|condition| facts::ALL.contains(&condition.type_.as_str()));
        return status;
    }
    MigrationStatus { applied: before.applied, run_id: before.run_id.clone(), ..forgotten(before) }
}

/// Returns what is true of a status whose run never was.
fn forgotten(before: &MigrationStatus) -> MigrationStatus {
    MigrationStatus {
        history: before.history.clone(),
        last_handled_reconcile_at: before.last_handled_reconcile_at.clone(),
        last_handled_retry_at: before.last_handled_retry_at.clone(),
        last_handled_abort_at: before.last_handled_abort_at.clone(),
        last_handled_rollback_at: before.last_handled_rollback_at.clone(),
        ..MigrationStatus::default()
    }
}

/// Records the tokens that were answered. A view that knows of none leaves those of before.
fn answer(status: &mut MigrationStatus, migration: &Migration, before: &MigrationStatus, view: &View) {
    let newer = |answered: Option<&String>, before: &Option<String>| {
        answered.map(|token| text::cut(token, MAX_TOKEN)).or_else(|| before.clone())
    };
    let reconcile = token(migration, RECONCILE_REQUESTED_AT);
    status.last_handled_reconcile_at = newer(reconcile.as_ref(), &before.last_handled_reconcile_at);
    status.last_handled_retry_at = newer(view.answered.retry.as_ref(), &before.last_handled_retry_at);
    status.last_handled_abort_at = newer(view.answered.abort.as_ref(), &before.last_handled_abort_at);
    status.last_handled_rollback_at =
        newer(view.answered.rollback.as_ref(), &before.last_handled_rollback_at);
}

/// Returns the token of an annotation, as status holds it. An empty one asks for nothing.
fn token(migration: &Migration, annotation: &str) -> Option<String> {
    let found = migration.metadata.annotations.as_ref()?.get(annotation);
    found.filter(|token| !token.is_empty()).map(|token| text::cut(token, MAX_TOKEN))
}

/// What is one of the operator's doings in that phase, for the `action` of events.
fn action(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending | Phase::Planning => "Plan",
        Phase::Rehearsing => "Rehearse",
        Phase::Applying | Phase::Succeeded | Phase::Failed => "Apply",
        Phase::Analyzing | Phase::Paused => "Watch",
        Phase::RollingBack | Phase::RolledBack => "RollBack",
    }
}
