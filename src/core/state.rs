//! Pure: the states of a run and every legal transition between them.
//!
//! Invariant: a state holds exactly what exists in it; what was done to the database is not in the state but in the
//! ledger's unit rows. Illegal moves are refused by [`State::may_become`], whose last arm is "illegal".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::Reason;

/// Why a run is where it is: one reason of the vocabulary and one sentence a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The word that conditions, events and metrics share.
    pub reason: Reason,
    /// What happened, at most 1 KiB when it is shown.
    pub message: String,
}

impl Cause {
    /// Makes a cause.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every unit is applied and the watch, if any, found nothing wrong.
    Succeeded,
    /// Every applied unit was undone.
    RolledBack(Cause),
    /// Stopped before anything was applied, or after nothing applied remained.
    Failed(Cause),
    /// An inverse failed for good; some units are still applied.
    RollbackFailed(Cause),
    /// A person asked for the end, or deleted the object, and nothing applied remains.
    Aborted(Cause),
}

impl Outcome {
    /// Returns the cause, absent for success.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Succeeded => None,
            Self::RolledBack(cause)
            | Self::Failed(cause)
            | Self::RollbackFailed(cause)
            | Self::Aborted(cause) => Some(cause),
        }
    }

    /// Returns whether the plan's units are in force on the primary.
    pub fn applied(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// Returns the stable name that the ledger stores.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::RolledBack(_) => "RolledBack",
            Self::Failed(_) => "Failed",
            Self::RollbackFailed(_) => "RollbackFailed",
            Self::Aborted(_) => "Aborted",
        }
    }
}

/// Where a run is. Stored as JSON in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The whole plan is in the ledger; nothing was done.
    Planned,
    /// The copy goes up, down, up and down again.
    Rehearsing {
        /// When the rehearsal began.
        since: Timestamp,
    },
    /// Units run on the primary, in order.
    Applying {
        /// When the first unit was tried; the lock retry deadline counts from here.
        since: Timestamp,
    },
    /// All units are applied; metrics are sampled and judged.
    Watching {
        /// When the last unit was committed.
        applied_at: Timestamp,
        /// When the current window began: `applied_at`, or later after a retry.
        since: Timestamp,
    },
    /// All units are applied; a person has to decide.
    Held {
        /// When the last unit was committed.
        applied_at: Timestamp,
        /// What stopped the run.
        cause: Cause,
    },
    /// Applied units are undone in reverse order.
    RollingBack {
        /// When the rollback was decided.
        since: Timestamp,
        /// What set it off.
        cause: Cause,
        /// Whether it ends as `Aborted` (a person gave up) instead of `RolledBack`.
        aborted: bool,
    },
    /// The end of the run.
    Done {
        /// When it ended.
        at: Timestamp,
        /// How it ended.
        outcome: Outcome,
    },
}

impl State {
    /// Returns the stable name: the ledger's `phase` column and the printer column.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Planned => "Planned",
            Self::Rehearsing { .. } => "Rehearsing",
            Self::Applying { .. } => "Applying",
            Self::Watching { .. } => "Watching",
            Self::Held { .. } => "Held",
            Self::RollingBack { .. } => "RollingBack",
            Self::Done { outcome, .. } => outcome.name(),
        }
    }

    /// Returns whether the run has ended.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    /// Returns whether all units are in force on the primary in this state.
    pub fn applied(&self) -> bool {
        match self {
            Self::Watching { .. } | Self::Held { .. } => true,
            Self::Done { outcome, .. } => outcome.applied(),
            Self::Planned | Self::Rehearsing { .. } | Self::Applying { .. } | Self::RollingBack { .. } => {
                false
            }
        }
    }

    /// Returns whether `next` may follow; the only table of transitions.
    pub fn may_become(&self, next: &Self) -> bool {
        use Outcome::{Aborted, Failed, RollbackFailed, RolledBack, Succeeded};
        match (self, next) {
            (Self::Planned, Self::Rehearsing { .. } | Self::Applying { .. })
            | (Self::Rehearsing { .. }, Self::Applying { .. })
            | (Self::Applying { .. }, Self::Watching { .. } | Self::Held { .. } | Self::RollingBack { .. })
            | (Self::Watching { .. }, Self::Held { .. } | Self::RollingBack { .. })
            | (Self::Held { .. }, Self::Watching { .. } | Self::Applying { .. } | Self::RollingBack { .. })
            // A person may ask for the way back of what succeeded, and try again what could not come back.
            | (Self::Done { outcome: Succeeded | RollbackFailed(_), .. }, Self::RollingBack { .. }) => true,
            (Self::Planned | Self::Rehearsing { .. } | Self::Applying { .. }, Self::Done { outcome, .. }) => {
                matches!(outcome, Failed(_) | Aborted(_)) || matches!((self, outcome), (Self::Applying { .. }, Succeeded))
            }
            (Self::Watching { .. }, Self::Done { outcome, .. }) => *outcome == Succeeded,
            (Self::Held { .. }, Self::Done { outcome, .. }) => matches!(outcome, Succeeded | Failed(_)),
            (Self::RollingBack { .. }, Self::Done { outcome, .. }) => {
                matches!(outcome, RolledBack(_) | RollbackFailed(_) | Aborted(_))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
