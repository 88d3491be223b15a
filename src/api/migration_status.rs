//! `status` of a Migration: a bounded projection of what the ledger says.
//!
//! Nothing in it is an input of the operator but the bookkeeping of tokens and generations; it can be deleted
//! without loss.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::conditions;
use super::duration::DurationText;
use super::plan_status::PlanStatus;

/// Most blockers that status holds.
pub const MAX_BLOCKERS: usize = 10;
/// Most recent samples of a metric that status holds.
pub const MAX_RECENT: usize = 10;
/// Most earlier runs that status holds.
pub const MAX_HISTORY: usize = 5;
/// Most locks of a rehearsed step that status holds.
pub const MAX_LOCKS: usize = 32;
/// Longest message in status, in characters.
pub const MAX_MESSAGE: usize = 1024;
/// Longest query digest of a blocker, in characters.
pub const MAX_QUERY: usize = 256;

/// What was observed of a migration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct MigrationStatus {
    /// The `metadata.generation` that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the migration stands, for people. Programs read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Stream of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub stream: Option<String>,
    /// Identifier of the run in the history table.
    #[serde(rename = "runID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub run_id: Option<String>,
    /// Identity of the plan: `sha256:` and 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub plan_hash: Option<String>,
    /// Identity of the analysis: `sha256:` and 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub analysis_hash: Option<String>,
    /// Version of the stream before the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 48))]
    pub from_version: Option<String>,
    /// Version of the stream after the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 48))]
    pub to_version: Option<String>,
    /// Whether the primary has the change. While it has, version, stream, SQL and database cannot be edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<bool>,
    /// `Ready`, `Reconciling`, `Stalled`, `PlanValid`, `Rehearsed`, `Applied`, `Analyzed`, `RolledBack`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// What will run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// What happened on the copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<RehearsalStatus>,
    /// How far the run is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What the watch has seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisStatus>,
    /// Earlier runs, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub history: Vec<HistoryEntry>,
    /// The last `whimbrel.dev/reconcile-requested-at` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_reconcile_at: Option<String>,
    /// The last `whimbrel.dev/retry-requested-at` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_retry_at: Option<String>,
    /// The last `whimbrel.dev/abort-requested-at` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_abort_at: Option<String>,
    /// The last `whimbrel.dev/rollback-requested-at` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_rollback_at: Option<String>,
}

/// Where a migration stands, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Waits for something, or was just seen.
    #[default]
    Pending,
    /// The plan is being made.
    Planning,
    /// Runs on the copy.
    Rehearsing,
    /// Runs on the primary.
    Applying,
    /// Is applied and watched.
    Analyzing,
    /// Stopped at a safe point, and waits for a person.
    Paused,
    /// Is being undone.
    RollingBack,
    /// Is applied, and stays.
    Succeeded,
    /// Is undone.
    RolledBack,
    /// Stopped; the message says why.
    Failed,
}

/// What happened on the copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RehearsalStatus {
    /// Which copy it was.
    #[schemars(length(max = 253))]
    pub replica: String,
    /// How much the copy is like the primary.
    #[schemars(length(max = 64))]
    pub fidelity: String,
    /// When the rehearsal began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the rehearsal ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Whether the change could be made, undone and made again with the same catalog each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<RoundTrip>,
    /// The steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub steps: Vec<RehearsedStep>,
}

/// Outcome of a round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RoundTrip {
    /// The catalog was the same each time.
    #[default]
    Passed,
    /// The catalog was not the same, or an inverse failed.
    Failed,
    /// The plan cannot come back: only the way up ran.
    ForwardOnly,
}

/// One step on the copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RehearsedStep {
    /// Name of the step.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How long it took.
    pub duration: DurationText,
    /// Longest time that one of its transactions held a lock that blocks others.
    pub held: DurationText,
    /// The strongest lock on each relation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub locks: Vec<LockStatus>,
    /// What its batches did there, and what that lets expect of the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<RehearsedBackfill>,
}

/// A backfill on the copy, where nothing holds it back, and what that lets expect of the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RehearsedBackfill {
    /// Rows that were changed.
    pub rows: i64,
    /// Rows a second, without pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<i64>,
    /// Bytes of write-ahead log for each row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes_per_row: Option<i64>,
    /// Rows of the table on the primary, as its catalog says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_rows: Option<i64>,
    /// How long it takes on the primary at its pace, pauses included, from and to, as in `8m-14m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 48))]
    pub predicted: Option<String>,
    /// Bytes of write-ahead log on the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_wal_bytes: Option<i64>,
}

/// A lock that a step took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockStatus {
    /// The relation, with its schema.
    #[schemars(length(max = 130))]
    pub relation: String,
    /// The mode, as in `ACCESS EXCLUSIVE`.
    #[schemars(length(max = 32))]
    pub mode: String,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// How far, in a few characters, as in `2/4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub summary: Option<String>,
    /// Name of the step that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub step: Option<String>,
    /// Units that are done, with the one that runs.
    pub unit: u32,
    /// Units in all.
    pub of: u32,
    /// Attempts of this unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How far the backfill is that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillProgress>,
    /// Who holds the locks that the unit waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub blockers: Vec<Blocker>,
}

/// How far a backfill is; shown anew every five seconds at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillProgress {
    /// Rows that were changed.
    pub rows_done: i64,
    /// Rows in all: expected at first, and corrected by what was found so far.
    pub rows_total: i64,
    /// Rows a second of late, pauses included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<i64>,
    /// The time that is left, from and to, as in `8m-14m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 48))]
    pub eta: Option<String>,
    /// Transactions that were committed.
    pub batches: i64,
    /// Rows that somebody held when their batch came, and that are visited again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_locked: Option<i64>,
    /// How long something held it back, in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_for: Option<DurationText>,
    /// What holds it back now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub throttled_by: Option<String>,
}

/// A session that holds a lock which a unit waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocker {
    /// Process identifier of its backend.
    pub pid: i32,
    /// How long its transaction is open; absent where it may not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<DurationText>,
    /// Its `application_name`; absent where it may not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub application: Option<String>,
    /// Its statement without constants; absent where it may not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub query: Option<String>,
}

/// What the watch has seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisStatus {
    /// The verdict so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When the window ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub metrics: Vec<MetricStatus>,
}

/// Verdict of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// The value is good.
    Pass,
    /// The value is bad.
    Breach,
    /// There is no value.
    #[default]
    NoData,
    /// There is too little traffic to judge.
    LowTraffic,
    /// The provider could not be asked, or its answer not be used.
    Error,
}

/// What the watch has seen of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricStatus {
    /// Name of the metric.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The newest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub last: Option<String>,
    /// The limits, as in `<= 0.05`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub limit: Option<String>,
    /// Samples by verdict.
    #[serde(default)]
    pub counts: VerdictCounts,
    /// The newest samples, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub recent: Vec<SampleStatus>,
    /// What is wrong, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// Samples by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VerdictCounts {
    /// Good ones.
    pub pass: u32,
    /// Bad ones.
    pub breach: u32,
    /// Empty ones.
    pub no_data: u32,
    /// Those with too little traffic.
    pub low_traffic: u32,
    /// Failed ones.
    pub error: u32,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SampleStatus {
    /// The time that it is about.
    pub at: Time,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub value: Option<String>,
    /// Its verdict.
    pub verdict: Verdict,
}

/// An earlier run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Identity of its plan.
    #[schemars(length(max = 80))]
    pub plan_hash: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What happened, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The change is applied.
    Succeeded,
    /// The change is undone.
    RolledBack,
    /// The run stopped before the primary was changed, or what it had changed was undone.
    Failed,
    /// The change could not be undone.
    RollbackFailed,
    /// Somebody stopped the run.
    Aborted,
}
