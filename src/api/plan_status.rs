//! The part of a Migration's status that tells what will run, and what it will do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database::Reversibility;
use super::duration::DurationText;
use super::migration_status::LockStatus;

/// Most findings that status holds.
pub const MAX_FINDINGS: usize = 50;
/// Most locks of a planned step that status holds.
pub const MAX_PLANNED_LOCKS: usize = 16;
/// Longest summary of a plan, in characters.
pub const MAX_PLAN_SUMMARY: usize = 256;
/// Longest reason of a plan's reversibility, in characters.
pub const MAX_REVERSIBILITY_REASON: usize = 512;
/// Longest safe form of a finding, in characters.
pub const MAX_SAFE_FORM: usize = 1024;
/// Longest inverse shown in status, in characters; the whole one is in the ledger.
pub const MAX_INVERSE: usize = 2048;

/// What will run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// How dangerous it is, by its findings and by what it cannot undo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// How far the plan can come back.
    pub reversibility: Reversibility,
    /// Why no further, or on what condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub reversibility_reason: Option<String>,
    /// Risk, way back, units and the longest hold, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub summary: Option<String>,
    /// What a person should know before it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub findings: Vec<Finding>,
    /// Findings that had no room here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings_omitted: Option<u32>,
    /// The steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub steps: Vec<PlannedStep>,
}

/// Something that a person should know about a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable name of the kind of finding.
    #[schemars(length(max = 64))]
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was found, and why it matters.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The same change in a form that does no harm, as SQL, cut where it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub safe_form: Option<String>,
    /// Name of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub step: Option<String>,
    /// Line in the step's SQL, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in that line, in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// How much a finding matters, least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// Good to know.
    #[default]
    Info,
    /// Felt by somebody, and shortly.
    Low,
    /// May be felt: it depends on the size of a table, or on who is connected.
    Medium,
    /// An outage, a loss of data, or a change that breaks what runs.
    High,
}

/// How dangerous a plan is, least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Risk {
    /// Nothing is felt, and nothing is lost.
    #[default]
    Low,
    /// Something may be felt, or breaks in some cases.
    Medium,
    /// An outage, a loss of data, or a break is to be expected.
    High,
}

/// How long a step will take, before it was tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EstimateStatus {
    /// Longest time that one of its transactions holds a lock that blocks others.
    pub held: DurationText,
    /// How long it takes.
    pub duration: DurationText,
    /// The least that it may take.
    pub low: DurationText,
    /// The most that it may take.
    pub high: DurationText,
    /// What it rests on: `Catalog`, `Rehearsed` or `Assumed`.
    #[schemars(length(max = 32))]
    pub basis: String,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// Name of the step.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What it does, in a line.
    #[schemars(length(max = 256))]
    pub summary: String,
    /// Whether the whole step runs in transactions.
    pub transactional: bool,
    /// How many statements it has.
    pub statements: u32,
    /// The strongest lock that it takes on a relation that is there already, as in `ACCESS EXCLUSIVE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lock: Option<String>,
    /// The strongest lock on each relation, strongest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub locks: Vec<LockStatus>,
    /// Whether a table or an index is written anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<bool>,
    /// Whether a table is read from beginning to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan: Option<bool>,
    /// How long it will take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<EstimateStatus>,
    /// Whether it can be undone.
    pub reversible: bool,
    /// Why not, or on what condition, or how.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reversible_reason: Option<String>,
    /// The SQL that undoes it, cut where it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub inverse: Option<String>,
}
