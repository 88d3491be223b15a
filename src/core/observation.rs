//! Pure data: what was seen of the world before a decision.
//!
//! Invariant: a fact that could not be read is [`Fact::Unknown`], never a default that looks like good or bad news.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::analysis::{Assessment, Baseline};
use super::state::Cause;

/// Something that was read, or the reason why it could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// The value, as read.
    Known(T),
    /// Why it could not be read.
    Unknown(String),
}

impl<T> Fact<T> {
    /// Returns the value if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// How far one unit is, as its ledger row says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitStatus {
    /// No row: never begun.
    #[default]
    Open,
    /// A unit outside a transaction was announced; whether it took effect is for its probe to say.
    Intent,
    /// Committed.
    Done,
    /// Some blocks of its way back are committed or announced.
    Reverting {
        /// How many blocks of the way back are committed.
        blocks: usize,
    },
    /// Undone.
    Undone,
}

impl UnitStatus {
    /// Returns whether the unit, or a part of it, may be in force.
    pub fn in_force(self) -> bool {
        matches!(self, Self::Intent | Self::Done | Self::Reverting { .. })
    }
}

/// What people ask for by the object: its spec, its annotations, its deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub struct Wish {
    /// `spec.suspend`.
    pub suspend: bool,
    /// The object is being deleted, or is gone.
    pub gone: bool,
    /// A new `abort-requested-at` token.
    pub abort: bool,
    /// A new `rollback-requested-at` token.
    pub rollback: bool,
    /// A new `retry-requested-at` token.
    pub retry: bool,
}

/// Who keeps us waiting: one session that holds what a statement needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocker {
    /// Backend process of the session.
    pub pid: i32,
    /// `application_name`, empty where it may not be seen.
    pub application: String,
    /// Age of its transaction in seconds; absent where it may not be seen.
    pub age_seconds: Option<f64>,
    /// What it does: its state and the start of its query, where they may be seen.
    pub activity: String,
    /// The identifier of a prepared transaction, which has no process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<String>,
}

/// What an error means for the next decision; `3-engine.md`, "SQLSTATE decides".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// The same attempt may succeed later, and the failed one left nothing behind.
    Transient,
    /// What the user wrote, or the data, makes it fail; it will fail again.
    User,
    /// It must not be tried again, and nobody's SQL is to blame.
    Terminal,
    /// Whether it took effect is not known; observe before anything else.
    Ambiguous,
    /// A defect of ours or of the server.
    Bug,
}

/// A failed attempt at the effect that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// When the first of those in a row failed.
    pub first: Timestamp,
    /// When it failed.
    pub at: Timestamp,
    /// How many attempts at this effect failed in a row.
    pub count: u32,
    /// What the failure means.
    pub class: Class,
    /// What happened, with the statement and the place.
    pub cause: Cause,
    /// When the next attempt may begin: full jitter, drawn at the edge.
    pub retry_at: Timestamp,
    /// Who was in the way.
    pub blockers: Vec<Blocker>,
}

/// Which side of the plan the copy stands on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyLevel {
    /// There is no copy to care for.
    #[default]
    None,
    /// As before the plan.
    Before,
    /// As after the plan.
    After,
    /// It could not be brought to where it belongs; the next rehearsal makes up for it.
    Behind,
}

/// The verdict of a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RehearsalVerdict {
    /// The plan ran, came back and ran again with equal catalogs, as far as its grade allows.
    Passed,
    /// It did not; the primary was not touched.
    Failed(Cause),
}

/// What the metrics said before the first statement; frozen in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaselineRecord {
    /// The values.
    pub values: Baseline,
    /// Why the migration must not start, if a metric breaches already.
    pub unhealthy: Option<Cause>,
}

/// All that a decision may rest on.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// One entry for each unit of the plan.
    pub units: Vec<UnitStatus>,
    /// What people ask for.
    pub wish: Wish,
    /// The last failed attempt at what is due now.
    pub attempt: Option<Attempt>,
    /// The verdict of the rehearsal, once there is one.
    pub rehearsal: Option<RehearsalVerdict>,
    /// Where the copy stands.
    pub copy: CopyLevel,
    /// The metrics before the first statement, once they were read.
    pub baseline: Option<BaselineRecord>,
    /// The samples' assessment and whether a tick is due, while watching.
    pub watch: Option<WatchFacts>,
}

/// The state of the watch.
#[derive(Clone, Debug)]
pub struct WatchFacts {
    /// What the recorded samples say.
    pub assessment: Assessment,
    /// Whether a sample is due now.
    pub due: bool,
    /// When the next sample is due.
    pub next: Timestamp,
}
