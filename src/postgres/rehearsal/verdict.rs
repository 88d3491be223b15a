//! From what happened on the copy to a verdict, in words that a person can act on. Pure.

use super::residue;
use crate::api::Reason;
use crate::core::plan::{Block, Plan};
use crate::core::state::Cause;
use crate::postgres::block::Failed;
use crate::postgres::error::{Class, Error};
use crate::postgres::fingerprint::{self, Differences, Fingerprint};

/// Why a rehearsal ended early: a verdict about the plan or the copy, or an error after which nothing is known.
pub(super) enum Stop {
    Verdict(Cause),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Error(error.into())
    }
}

pub(super) fn verdict<T>(reason: Reason, message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Verdict(Cause::new(reason, message)))
}

/// Turns a failed block into a verdict on the plan, unless the next attempt may be different.
pub(super) fn judge(plan: &Plan, unit: usize, block: &Block, failed: Failed, place: &str) -> Stop {
    match failed.error.class() {
        Class::User => {}
        // An answer to the statement itself, as from RAISE EXCEPTION: it would be the same at every attempt.
        Class::Terminal | Class::Bug
            if failed.statement.is_some()
                && !failed.error.is_cancelled()
                && matches!(failed.error, Error::Server(_) | Error::PostconditionMissing(_)) => {}
        Class::Transient | Class::Ambiguous | Class::Terminal | Class::Bug => {
            return Stop::Error(failed.error);
        }
    }
    let reason = match failed.error {
        Error::LedgerTouched(_) => Reason::LedgerTouched,
        _ => Reason::RehearsalFailed,
    };
    let text = plan.failure(unit, block, failed.statement, &failed.error.to_string());
    Stop::Verdict(Cause::new(reason, format!("{text} ({place}; the primary was not touched)")))
}

pub(super) fn way_back_failed(plan: &Plan, unit: usize, block: &Block, failed: Failed) -> Stop {
    match judge(plan, unit, block, failed, "on the copy, on the way back") {
        Stop::Verdict(cause) if cause.reason == Reason::RehearsalFailed => {
            Stop::Verdict(Cause::new(Reason::RoundTripFailed, cause.message))
        }
        stop => stop,
    }
}

/// Fails when undoing a unit led elsewhere than to where the catalog was before it, but for values of enums that it and
/// those after it have added.
pub(super) fn compare_back(
    plan: &Plan,
    unit: usize,
    before: &Fingerprint,
    now: &Fingerprint,
) -> Result<(), Stop> {
    if now.hash == before.hash {
        return Ok(());
    }
    let left = residue::of(plan, unit..);
    let (before, now) = (&residue::without(before, &left), &residue::without(now, &left));
    if now.hash == before.hash {
        return Ok(());
    }
    let step = plan.step_of(unit).map_or("?", |step| step.name.as_str());
    let message = format!(
        "the way back of step {step} does not bring the catalog back: {}; correct its down",
        told(&fingerprint::changes(before, now))
    );
    verdict(Reason::RoundTripFailed, message)
}

/// An earlier plan that cannot be undone here must not look like a fault of this one.
pub(super) fn cannot_align(error: Error) -> Stop {
    match error.class() {
        Class::User => Stop::Verdict(Cause::new(
            Reason::Drifted,
            format!(
                "the copy cannot be brought to where the primary is: {error}; refresh the copy, then request a retry"
            ),
        )),
        Class::Transient | Class::Ambiguous | Class::Terminal | Class::Bug => Stop::Error(error),
    }
}

/// What was committed on the copy and cannot be undone stays there.
pub(super) fn left_behind(stop: Stop) -> Stop {
    match stop {
        Stop::Verdict(cause) => Stop::Verdict(Cause::new(
            cause.reason,
            format!("{}; refresh the copy, which still has what is left of it", cause.message),
        )),
        stop @ Stop::Error(_) => stop,
    }
}

pub(super) fn told(differences: &Differences) -> String {
    let more = differences.total.saturating_sub(differences.first.len());
    let rest = if more == 0 { String::new() } else { format!("; and {more} more") };
    format!("{}{rest}", differences.first.join("; "))
}
