//! Conditions: the three of kstatus, and when each one's status last changed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::summary::{Health, Summary};
use super::text;
use crate::api::migration_status::MAX_MESSAGE;
use crate::api::{MigrationStatus, Reason, condition};

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tri {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known, or not yet.
    Unknown,
}

impl Tri {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition before it is known whether its status changed.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    name: &'static str,
    status: Tri,
    reason: Reason,
    message: String,
}

impl Draft {
    pub(super) fn new(name: &'static str, status: Tri, reason: Reason, message: &str) -> Self {
        Self { name, status, reason, message: text::line(message, MAX_MESSAGE) }
    }
}

/// Makes `Ready`, and `Reconciling` or `Stalled` where they are True.
pub(super) fn kstatus(summary: &Summary) -> Vec<Draft> {
    let Summary { health, reason, message, .. } = summary;
    // The word by which a pause is told from an end belongs to pauses alone.
    let word = if *reason == Reason::Paused { Reason::Internal } else { *reason };
    let (ready, beside) = match health {
        Health::Ready => (Tri::True, None),
        Health::Reconciling { failing: false } => {
            (Tri::Unknown, Some((condition::RECONCILING, *reason, message)))
        }
        Health::Reconciling { failing: true } => {
            (Tri::False, Some((condition::RECONCILING, Reason::Retrying, message)))
        }
        Health::Stalled { paused: true, next } => {
            (Tri::False, Some((condition::STALLED, Reason::Paused, next)))
        }
        Health::Stalled { paused: false, next } => (Tri::False, Some((condition::STALLED, word, next))),
    };
    let ready = Draft::new(condition::READY, ready, *reason, message);
    let beside = beside.map(|(name, reason, message)| Draft::new(name, Tri::True, reason, message));
    std::iter::once(ready).chain(beside).collect()
}

/// Makes the final conditions: the drafts, then the facts that stay as they were.
pub(super) fn stamp(
    drafts: Vec<Draft>,
    kept: &[Condition],
    before: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let mut made: Vec<Condition> = drafts
        .into_iter()
        .map(|draft| {
            let old = before.iter().find(|old| old.type_ == draft.name);
            let unchanged = old.filter(|old| old.status == draft.status.as_str());
            Condition {
                type_: draft.name.to_owned(),
                status: draft.status.as_str().to_owned(),
                reason: draft.reason.as_str().to_owned(),
                message: draft.message,
                observed_generation: Some(generation),
                last_transition_time: unchanged
                    .map_or_else(|| Time(text::whole_seconds(now)), |old| old.last_transition_time.clone()),
            }
        })
        .collect();
    for old in kept {
        let from_here = old.observed_generation.is_some_and(|observed| observed <= generation);
        if from_here && made.iter().all(|made| made.type_ != old.type_) {
            made.push(old.clone());
        }
    }
    made
}

/// Returns the condition of a type.
pub(super) fn find<'a>(status: &'a MigrationStatus, name: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == name)
}

/// Returns whether a condition is True of the generation that the status is about.
pub(super) fn is_true(status: &MigrationStatus, name: &str) -> bool {
    let current = |condition: &Condition| condition.observed_generation == status.observed_generation;
    find(status, name).is_some_and(|condition| condition.status == "True" && current(condition))
}
