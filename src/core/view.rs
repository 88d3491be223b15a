//! Pure data: what the engine knows about one Migration, for `report` to turn into status, events and metrics.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::analysis::{Assessment, MetricSummary};
use super::backfill::Progress;
use super::observation::{Attempt, CopyLevel, UnitStatus};
use super::plan::Plan;
use super::rehearsal::Rehearsal;
use super::state::{Cause, State};

/// The one-shot tokens of an object, or those that were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// `retry-requested-at`.
    pub retry: Option<String>,
    /// `abort-requested-at`.
    pub abort: Option<String>,
    /// `rollback-requested-at`.
    pub rollback: Option<String>,
}

/// What is known about one Migration.
#[derive(Clone, Debug)]
pub struct View {
    /// The `metadata.generation` that this is about.
    pub generation: i64,
    /// Where it stands.
    pub standing: Standing,
    /// The tokens that were answered.
    pub answered: Tokens,
    /// Earlier runs of this version, newest first.
    pub past: Vec<PastRun>,
}

/// Where a Migration stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It waits for its turn or for something that is not wrong.
    Waiting(Cause),
    /// Something is wrong that may pass; it is tried again by itself.
    Retrying(Cause),
    /// Something is wrong that a person has to change. No run was begun.
    Refused(Cause),
    /// Nothing is to be done: the version counts as applied.
    Covered(Cause),
    /// It has a run in the ledger.
    Run(Box<RunView>),
}

/// A run, as the ledger and the runner know it.
#[derive(Clone, Debug)]
pub struct RunView {
    /// Identity of the run.
    pub id: String,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Hash over its analysis.
    pub analysis_hash: Option<String>,
    /// Where it is.
    pub state: State,
    /// One entry for each unit of the plan.
    pub units: Vec<UnitStatus>,
    /// The rehearsal, once there is one.
    pub rehearsal: Option<Rehearsal>,
    /// Where the copy stands.
    pub copy: CopyLevel,
    /// What else should be known.
    pub note: Option<String>,
    /// The version in force before.
    pub from_version: Option<String>,
    /// When it was stored.
    pub started_at: Timestamp,
    /// When the last unit was committed.
    pub applied_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The last failed attempt at what is due.
    pub attempt: Option<Attempt>,
    /// What it waits for.
    pub waiting: Option<Cause>,
    /// The watch, while there is one or after it.
    pub watch: Option<WatchView>,
    /// How far the backfill is that runs.
    pub backfill: Option<Progress>,
}

/// What the samples say.
#[derive(Clone, Debug)]
pub struct WatchView {
    /// The decision over all samples.
    pub assessment: Assessment,
    /// When the window ends.
    pub until: Option<Timestamp>,
    /// Each metric.
    pub metrics: Vec<MetricSummary>,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRun {
    /// What was planned.
    pub plan_hash: String,
    /// How it ended.
    pub outcome: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why, for other ends than success.
    pub message: Option<String>,
}
