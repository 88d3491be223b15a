//! Pure: what to do next.
//!
//! Invariants: no I/O, no clock, no randomness; at most one effect for each decision; suspend, abort and deletion are
//! observations like any other; nothing goes forward on an unknown fact.

use jiff::Timestamp;

use super::analysis::{Assessment, UnknownAction};
use super::observation::{Attempt, Class, CopyLevel, Observation, RehearsalVerdict, UnitStatus, WatchFacts};
use super::plan::{OnBreach, Plan, Unit};
use super::state::{Cause, Outcome, State};
use crate::api::Reason;

/// One thing that touches the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Runs the round trip on the copy and records its verdict.
    Rehearse,
    /// Reads every metric once and records whether one breaches already.
    Baseline,
    /// Applies a unit to the primary.
    Apply {
        /// Index into the plan's units.
        unit: usize,
    },
    /// Undoes one block of a unit on the primary.
    Revert {
        /// Index into the plan's units.
        unit: usize,
        /// Index into the blocks of its way back.
        block: usize,
    },
    /// Queries every metric for each tick that is due and records the samples.
    Sample,
    /// Brings the copy to where the primary is now.
    Follow {
        /// Whether the plan is in force on the primary.
        applied: bool,
    },
}

/// What the loop does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Carries out one effect.
    Run(Effect),
    /// Records another state.
    Move(State),
    /// Waits for a time, or for news when no time is given.
    Wait {
        /// When to look again at the latest.
        until: Option<Timestamp>,
        /// Why, as the status tells it.
        cause: Cause,
    },
    /// Nothing is left to do.
    Stop,
}

/// Decides what to do next.
pub fn decide(plan: &Plan, state: &State, seen: &Observation, now: Timestamp) -> Decision {
    match state {
        State::Planned => planned(plan, seen, now),
        State::Rehearsing { .. } => rehearsing(plan, seen, now),
        State::Applying { since } => applying(plan, *since, seen, now),
        State::Watching { applied_at, since } => watching(plan, *applied_at, *since, seen, now),
        State::Held { applied_at, cause } => held(plan, *applied_at, cause, seen, now),
        State::RollingBack { cause, aborted, .. } => rolling_back(plan, cause, *aborted, seen, now),
        State::Done { outcome, .. } => done(plan, outcome, seen, now),
    }
}

/// The state in which a plan's run begins: the first move that needs nothing but the plan is made at once.
pub fn first(plan: &Plan, seen: &Observation, now: Timestamp) -> State {
    match decide(plan, &State::Planned, seen, now) {
        Decision::Move(next) if !next.is_done() => next,
        _ => State::Planned,
    }
}

/// The end of a run that follows from a unit's commit alone, so that the two are recorded together.
pub fn end_with(
    plan: &Plan,
    state: &State,
    seen: &Observation,
    effect: Effect,
    now: Timestamp,
) -> Option<State> {
    let Effect::Apply { unit } = effect else { return None };
    let mut then = seen.clone();
    then.attempt = None;
    *then.units.get_mut(unit)? = UnitStatus::Done;
    match decide(plan, state, &then, now) {
        Decision::Move(next) if next.is_done() && state.may_become(&next) => Some(next),
        _ => None,
    }
}

fn end(at: Timestamp, outcome: Outcome) -> Decision {
    Decision::Move(State::Done { at, outcome })
}

fn wait(until: Option<Timestamp>, reason: Reason, message: impl Into<String>) -> Decision {
    Decision::Wait { until, cause: Cause::new(reason, message) }
}

/// The answer to suspend, abort, rollback and deletion while nothing of the plan is in force.
fn held_back(seen: &Observation, now: Timestamp) -> Option<Decision> {
    if seen.wish.gone {
        return Some(end(
            now,
            Outcome::Aborted(Cause::new(Reason::Aborted, "the Migration was deleted before it was applied")),
        ));
    }
    if seen.wish.abort {
        return Some(end(
            now,
            Outcome::Aborted(Cause::new(Reason::Aborted, "aborted on request before anything was applied")),
        ));
    }
    if seen.wish.rollback {
        let cause = Cause::new(Reason::RollbackRequested, "rollback on request before anything was applied");
        return Some(end(now, Outcome::Aborted(cause)));
    }
    seen.wish
        .suspend
        .then(|| wait(None, Reason::Suspended, "spec.suspend is true: no step begins until it is false"))
}

/// Waits out a failure that may pass; returns the cause of one that will not.
fn retry(attempt: &Attempt, now: Timestamp) -> Result<Option<Decision>, Cause> {
    match attempt.class {
        // What happened is looked up in the ledger on the next observation, so the attempt is open again.
        Class::Ambiguous | Class::Transient if now < attempt.retry_at => {
            Ok(Some(Decision::Wait { until: Some(attempt.retry_at), cause: attempt.cause.clone() }))
        }
        Class::Ambiguous | Class::Transient => Ok(None),
        Class::User | Class::Terminal | Class::Bug => Err(attempt.cause.clone()),
    }
}

fn run(effect: Effect, seen: &Observation, now: Timestamp) -> Result<Decision, Cause> {
    let waiting = seen.attempt.as_ref().map_or(Ok(None), |attempt| retry(attempt, now))?;
    Ok(waiting.unwrap_or(Decision::Run(effect)))
}

fn planned(plan: &Plan, seen: &Observation, now: Timestamp) -> Decision {
    if let Some(decision) = held_back(seen, now) {
        return decision;
    }
    if plan.rehearse && seen.rehearsal.is_none() {
        return Decision::Move(State::Rehearsing { since: now });
    }
    begin_applying(plan, seen, now)
}

fn rehearsing(plan: &Plan, seen: &Observation, now: Timestamp) -> Decision {
    match &seen.rehearsal {
        None => {
            if let Some(decision) = held_back(seen, now) {
                return decision;
            }
            run(Effect::Rehearse, seen, now).unwrap_or_else(|cause| end(now, Outcome::Failed(cause)))
        }
        Some(RehearsalVerdict::Failed(cause)) => end(now, Outcome::Failed(cause.clone())),
        Some(RehearsalVerdict::Passed) => {
            held_back(seen, now).unwrap_or_else(|| begin_applying(plan, seen, now))
        }
    }
}

fn begin_applying(plan: &Plan, seen: &Observation, now: Timestamp) -> Decision {
    if plan.analysis.is_some() {
        let Some(baseline) = &seen.baseline else {
            return run(Effect::Baseline, seen, now).unwrap_or_else(|cause| end(now, Outcome::Failed(cause)));
        };
        if let Some(cause) = &baseline.unhealthy {
            return end(now, Outcome::Failed(cause.clone()));
        }
    }
    Decision::Move(State::Applying { since: now })
}

fn applying(plan: &Plan, since: Timestamp, seen: &Observation, now: Timestamp) -> Decision {
    let any = seen.units.iter().any(|unit| unit.in_force());
    if seen.wish.gone || seen.wish.abort {
        let cause = if seen.wish.gone {
            Cause::new(Reason::Aborted, "the Migration was deleted while it was being applied")
        } else {
            Cause::new(Reason::Aborted, "aborted on request while it was being applied")
        };
        return give_up(plan, cause, true, seen, now);
    }
    let Some(unit) = seen
        .units
        .iter()
        .position(|unit| matches!(unit, UnitStatus::Open | UnitStatus::Intent | UnitStatus::Undone))
    else {
        // Asked for while the last step ran.
        return asked_back(plan, now, seen, now).unwrap_or_else(|| all_applied(plan, seen, now));
    };
    if seen.wish.rollback {
        let cause = Cause::new(Reason::RollbackRequested, "rollback on request, before all was applied");
        return give_up(plan, cause, !any, seen, now);
    }
    if let Some(decision) = watched(plan, seen, now) {
        return decision;
    }
    if seen.wish.suspend {
        return wait(
            seen.watch.as_ref().map(|watch| watch.next),
            Reason::Suspended,
            "spec.suspend is true: no further step begins until it is false",
        );
    }
    if let Some(attempt) = &seen.attempt
        && lock_deadline(plan, &State::Applying { since }, &seen.units, attempt)
            .is_some_and(|until| now >= until)
    {
        let message = format!("{}; gave up after lockRetryFor", attempt.cause.message);
        return give_up(plan, Cause::new(Reason::LockTimeout, message), false, seen, now);
    }
    run(Effect::Apply { unit }, seen, now).unwrap_or_else(|cause| give_up(plan, cause, false, seen, now))
}

/// What the metrics say while a backfill runs: nothing of it is passed before its end, but a breach counts at once.
fn watched(plan: &Plan, seen: &Observation, now: Timestamp) -> Option<Decision> {
    let watch = seen.watch.as_ref().filter(|_| plan.analysis.is_some())?;
    if watch.due {
        return Some(Decision::Run(Effect::Sample));
    }
    match judged(plan, now, watch, now)? {
        Decision::Move(State::RollingBack { cause, .. } | State::Held { cause, .. })
            if plan.on_breach == OnBreach::Rollback || cause.reason == Reason::MetricUnknown =>
        {
            Some(give_up(plan, cause, false, seen, now))
        }
        decision => Some(decision),
    }
}

/// When attempts at a lock end, if this is one, on the way forward: `lockRetryFor` after the first unit was tried for the
/// first time, for later units after the first failure.
pub fn lock_deadline(
    plan: &Plan,
    state: &State,
    units: &[UnitStatus],
    attempt: &Attempt,
) -> Option<Timestamp> {
    let State::Applying { since } = state else { return None };
    let waits = attempt.class == Class::Transient
        && matches!(attempt.cause.reason, Reason::WaitingForLock | Reason::WaitingForStandby);
    // A backfill may have gone on for hours before it met a row that is held.
    let begun = units.contains(&UnitStatus::Done) || is_in_batches(plan, units);
    let from = if begun { attempt.first } else { *since };
    waits.then(|| from + plan.guard.lock_retry_for)
}

/// Leaves `Applying`: back where something is in force and can come back, else to the end.
fn give_up(plan: &Plan, cause: Cause, aborted: bool, seen: &Observation, now: Timestamp) -> Decision {
    if !seen.units.iter().any(|unit| unit.in_force()) {
        return end(now, if aborted { Outcome::Aborted(cause) } else { Outcome::Failed(cause) });
    }
    let stays = match cause.reason {
        Reason::DiskFull => Some("a rollback takes space, too"),
        Reason::Drifted => Some("nobody knows what the other change needs of it"),
        Reason::BackfillFailed => Some("a retry goes on from there"),
        Reason::ValidationFailed if plan.on_breach != OnBreach::Rollback => Some("onBreach says so"),
        Reason::LockTimeout if is_in_batches(plan, &seen.units) => Some("a retry goes on from there"),
        _ => None,
    };
    if let Some(because) = stays {
        let message = format!("{}; what is applied stays, because {because}", cause.message);
        return Decision::Move(State::Held { applied_at: now, cause: Cause::new(cause.reason, message) });
    }
    if let Some(reason) = plan.no_way_back(&seen.units) {
        let message = format!("{}; what is applied stays, because {reason}", cause.message);
        return Decision::Move(State::Held { applied_at: now, cause: Cause::new(cause.reason, message) });
    }
    Decision::Move(State::RollingBack { since: now, cause, aborted })
}

/// Whether a backfill is what is under way.
fn is_in_batches(plan: &Plan, units: &[UnitStatus]) -> bool {
    let under_way =
        |(unit, status): (&Unit, &UnitStatus)| *status == UnitStatus::Intent && unit.up.backfill.is_some();
    plan.units.iter().zip(units).any(under_way)
}

fn all_applied(plan: &Plan, seen: &Observation, now: Timestamp) -> Decision {
    if plan.analysis.is_some() {
        return Decision::Move(State::Watching { applied_at: now, since: now });
    }
    follow(true, seen, now).unwrap_or_else(|| end(now, Outcome::Succeeded))
}

/// The copy follows the primary, which never holds anything up for long: a copy that cannot is left behind by the effect.
fn follow(applied: bool, seen: &Observation, now: Timestamp) -> Option<Decision> {
    let due = match seen.copy {
        CopyLevel::Before => applied,
        CopyLevel::After => !applied,
        CopyLevel::None | CopyLevel::Behind => false,
    };
    let effect = Effect::Follow { applied };
    due.then(|| run(effect, seen, now).unwrap_or(Decision::Run(effect)))
}

fn watching(
    plan: &Plan,
    applied_at: Timestamp,
    since: Timestamp,
    seen: &Observation,
    now: Timestamp,
) -> Decision {
    if let Some(decision) = asked_back(plan, applied_at, seen, now) {
        return decision;
    }
    if seen.wish.gone {
        return end(now, Outcome::Succeeded);
    }
    let (Some(watch), Some(analysis)) = (&seen.watch, &plan.analysis) else {
        return follow(true, seen, now).unwrap_or_else(|| end(now, Outcome::Succeeded));
    };
    if watch.due {
        return run(Effect::Sample, seen, now)
            .unwrap_or_else(|cause| Decision::Move(State::Held { applied_at, cause }));
    }
    match judged(plan, applied_at, watch, now) {
        Some(decision) => decision,
        None if matches!(watch.assessment, Assessment::Passed)
            || (matches!(watch.assessment, Assessment::Breach { .. }) && now >= since + analysis.window) =>
        {
            follow(true, seen, now).unwrap_or_else(|| end(now, Outcome::Succeeded))
        }
        // The copy follows after the watch: it may take as long as the migration did, and no sample is to wait for that.
        None => wait(Some(watch.next), Reason::Analyzing, "watching the metrics"),
    }
}

/// What a breach, missing data or an inconclusive end mean under the plan's policies.
fn judged(plan: &Plan, applied_at: Timestamp, watch: &WatchFacts, now: Timestamp) -> Option<Decision> {
    match &watch.assessment {
        Assessment::Breach { message, .. } => {
            let cause = Cause::new(Reason::MetricBreached, message.clone());
            match plan.on_breach {
                OnBreach::Rollback => Some(come_back(plan, applied_at, cause, false, now)),
                OnBreach::Pause => Some(Decision::Move(State::Held { applied_at, cause })),
                OnBreach::Notify => None,
            }
        }
        Assessment::Unknown { action: UnknownAction::Rollback, message, .. } => {
            Some(come_back(plan, applied_at, Cause::new(Reason::MetricUnknown, message.clone()), false, now))
        }
        Assessment::Unknown { action: UnknownAction::Pause, message, .. } => {
            Some(wait(Some(watch.next), Reason::MetricUnknown, message.clone()))
        }
        Assessment::Inconclusive { message } => {
            let cause = Cause::new(Reason::AnalysisInconclusive, message.clone());
            Some(Decision::Move(State::Held { applied_at, cause }))
        }
        Assessment::Unknown { action: UnknownAction::Continue, .. }
        | Assessment::Continue { .. }
        | Assessment::Extend { .. }
        | Assessment::Passed => None,
    }
}

/// A person's wish to come back from a plan that is wholly in force.
fn asked_back(plan: &Plan, applied_at: Timestamp, seen: &Observation, now: Timestamp) -> Option<Decision> {
    if seen.wish.rollback {
        return Some(come_back(
            plan,
            applied_at,
            Cause::new(Reason::RollbackRequested, "rollback on request"),
            false,
            now,
        ));
    }
    seen.wish
        .abort
        .then(|| come_back(plan, applied_at, Cause::new(Reason::Aborted, "aborted on request"), true, now))
}

fn come_back(plan: &Plan, applied_at: Timestamp, cause: Cause, aborted: bool, now: Timestamp) -> Decision {
    let in_force = vec![UnitStatus::Done; plan.units.len()];
    match plan.no_way_back(&in_force) {
        None => Decision::Move(State::RollingBack { since: now, cause, aborted }),
        Some(reason) => {
            let message = format!("{}; it stays applied, because {reason}", cause.message);
            Decision::Move(State::Held { applied_at, cause: Cause::new(cause.reason, message) })
        }
    }
}

fn held(plan: &Plan, applied_at: Timestamp, cause: &Cause, seen: &Observation, now: Timestamp) -> Decision {
    if seen.wish.rollback || seen.wish.abort {
        if let Some(reason) = plan.no_way_back(&seen.units) {
            return wait(None, cause.reason, format!("cannot be rolled back, because {reason}"));
        }
        let cause = if seen.wish.rollback {
            Cause::new(Reason::RollbackRequested, format!("rollback on request, after: {}", cause.message))
        } else {
            Cause::new(Reason::Aborted, format!("aborted on request, after: {}", cause.message))
        };
        return Decision::Move(State::RollingBack { since: now, cause, aborted: seen.wish.abort });
    }
    let complete = seen.units.iter().all(|unit| *unit == UnitStatus::Done);
    if seen.wish.gone {
        return end(now, if complete { Outcome::Succeeded } else { Outcome::Failed(cause.clone()) });
    }
    match (seen.wish.retry, complete) {
        (true, true) => Decision::Move(State::Watching { applied_at, since: now }),
        (true, false) => Decision::Move(State::Applying { since: now }),
        (false, _) => Decision::Stop,
    }
}

fn rolling_back(plan: &Plan, cause: &Cause, aborted: bool, seen: &Observation, now: Timestamp) -> Decision {
    let Some((unit, status)) = seen.units.iter().enumerate().rev().find(|(_, unit)| unit.in_force()) else {
        let outcome =
            if aborted { Outcome::Aborted(cause.clone()) } else { Outcome::RolledBack(cause.clone()) };
        return follow(false, seen, now).unwrap_or_else(|| end(now, outcome));
    };
    let block = match status {
        UnitStatus::Reverting { blocks } => *blocks,
        _ => 0,
    };
    let failed = |error: Cause| {
        let message = format!("{}; the rollback was set off by: {}", error.message, cause.message);
        end(now, Outcome::RollbackFailed(Cause::new(Reason::RollbackFailed, message)))
    };
    if plan.units.get(unit).is_none_or(|unit| unit.way_back.is_none()) {
        return failed(Cause::new(Reason::RollbackFailed, format!("unit {} has no way back", unit + 1)));
    }
    run(Effect::Revert { unit, block }, seen, now).unwrap_or_else(failed)
}

fn done(plan: &Plan, outcome: &Outcome, seen: &Observation, now: Timestamp) -> Decision {
    let again = match outcome {
        Outcome::Succeeded => seen.wish.rollback,
        Outcome::RollbackFailed(_) => seen.wish.rollback || seen.wish.retry,
        Outcome::RolledBack(_) | Outcome::Failed(_) | Outcome::Aborted(_) => false,
    };
    if !again || plan.no_way_back(&seen.units).is_some() {
        return Decision::Stop;
    }
    let cause = Cause::new(Reason::RollbackRequested, "rollback on request");
    Decision::Move(State::RollingBack { since: now, cause, aborted: false })
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "decide_worlds.rs"]
mod worlds;
