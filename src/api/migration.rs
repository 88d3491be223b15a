//! `Migration`: one change of a schema, how it is watched, and how it comes back.

use kube::core::{Message, Reason as RuleReason, Rule};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::backfill::Backfill;
use super::common::LocalRef;
use super::duration::DurationText;
use super::migration_status::MigrationStatus;

/// What is wanted of a migration.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::duplicated_attributes)] // Every printer column has a type.
#[kube(
    group = "whimbrel.dev",
    version = "v1alpha1",
    kind = "Migration",
    plural = "migrations",
    namespaced,
    status = "MigrationStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "mig",
    category = "whimbrel",
    doc = "A change of a database schema: rehearsed, applied, watched, and rolled back when a threshold is breached.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Database", type_ = "string", json_path = ".spec.databaseRef.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Risk", type_ = "string", json_path = ".status.plan.risk", priority = 1),
    printcolumn(name = "Grade", type_ = "string", json_path = ".status.plan.reversibility", priority = 1),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.planHash", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    validation = applied_is_immutable("databaseRef", "self.spec.databaseRef == oldSelf.spec.databaseRef"),
    validation = applied_is_immutable("stream", "self.spec.stream == oldSelf.spec.stream"),
    validation = applied_is_immutable("version", "self.spec.version == oldSelf.spec.version"),
    validation = applied_is_immutable("searchPath", "self.spec.searchPath == oldSelf.spec.searchPath"),
    validation = applied_is_immutable("up", &unchanged("up")),
    validation = applied_is_immutable("down", &unchanged("down")),
    validation = applied_is_immutable("steps", &unchanged("steps"))
)]
#[x_kube(
    validation = ("has(self.up) != has(self.steps)", "exactly one of up and steps is required"),
    validation = Rule::new("!has(self.down) || has(self.up)")
        .message("down goes with up; with steps it stands in each step").field_path(".down"),
    validation = Rule::new(
        "!has(self.steps) || self.steps.all(a, !has(a.name) || \
         self.steps.exists_one(b, has(b.name) && b.name == a.name))"
    )
    .message("names of steps must be unique").field_path(".steps"),
    validation = (
        "(has(self.up) ? size(self.up) : 0) + (has(self.down) ? size(self.down) : 0) + \
         (has(self.steps) ? self.steps.map(s, has(s.sql) ? size(s.sql.up) + (has(s.sql.down) ? size(s.sql.down) : 0) : 0).sum() : 0) \
         <= 196608",
        "the SQL of up, down and steps must not be longer than 192 KiB in all"
    )
)]
pub struct MigrationSpec {
    /// The Database to change, of the same namespace.
    pub database_ref: LocalRef,
    /// An independent line of versions in one database, for services that share it.
    #[serde(default = "default_stream")]
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub stream: String,
    /// Up to four numbers with dots between them, compared number by number.
    #[schemars(regex(pattern = r"^[0-9]{1,18}(\.[0-9]{1,9}){0,3}$"), length(max = 48))]
    pub version: String,
    /// The change, in SQL: the short form of a single step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 196_608))]
    pub up: Option<String>,
    /// The way back from `up`; may be left out where the inverse is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 196_608))]
    pub down: Option<String>,
    /// The change in steps, in order: the long form.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub steps: Option<Vec<Step>>,
    /// Schemas in which names without one are looked up, in order.
    #[serde(default = "default_search_path")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub search_path: Vec<String>,
    /// What is watched after the last step; absent: nothing, and the migration is ready when it is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// What happens when the watch says that the change does harm.
    #[serde(default)]
    pub rollback: Rollback,
    /// Stops going forward at the next safe point; sampling and automatic rollback go on.
    #[serde(default)]
    pub suspend: bool,
}

/// Makes the rule that a field of `spec` stays as it is while the primary has the change.
fn applied_is_immutable(field: &str, unchanged: &str) -> Rule {
    Rule::new(format!(
        "!has(oldSelf.status) || !has(oldSelf.status.applied) || !oldSelf.status.applied || ({unchanged})"
    ))
    .message(Message::Message(format!(
        "{field} cannot be changed while the migration is applied; roll it back, or write a new migration"
    )))
    .field_path(format!(".spec.{field}"))
    .reason(RuleReason::FieldValueForbidden)
}

/// Says in CEL that an optional field of `spec` is as it was, or absent as it was.
fn unchanged(field: &str) -> String {
    format!(
        "has(self.spec.{field}) == has(oldSelf.spec.{field}) && \
         (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field})"
    )
}

fn default_stream() -> String {
    "default".into()
}

fn default_search_path() -> Vec<String> {
    vec!["public".into()]
}

impl Default for MigrationSpec {
    fn default() -> Self {
        Self {
            database_ref: LocalRef::default(),
            stream: default_stream(),
            version: String::new(),
            up: None,
            down: None,
            steps: None,
            search_path: default_search_path(),
            analysis: None,
            rollback: Rollback::default(),
            suspend: false,
        }
    }
}

/// One step of a migration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.sql) != has(self.backfill)", "exactly one of sql and backfill is required"))]
pub struct Step {
    /// Name, unique in the migration; absent: `step-1` for the first step, and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub name: Option<String>,
    /// SQL to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlStep>,
    /// Rows to change, in small transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfill>,
}

impl Step {
    /// Returns a step in SQL.
    pub fn of_sql(name: Option<String>, sql: SqlStep) -> Self {
        Self { name, sql: Some(sql), backfill: None }
    }

    /// Returns the name of the step, given its place in the list, from 0.
    pub fn name_at(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("step-{}", index + 1))
    }
}

/// A step in SQL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.down) || !has(self.irreversible)", "at most one of down and irreversible is allowed"),
    validation = Rule::new("!has(self.maxStall) || duration(self.maxStall) > duration('0s')")
        .message("maxStall must be more than 0s").field_path(".maxStall")
)]
pub struct SqlStep {
    /// The change.
    #[schemars(length(min = 1, max = 196_608))]
    pub up: String,
    /// The way back; may be left out where the inverse is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 196_608))]
    pub down: Option<String>,
    /// Says that there is no way back, instead of `down`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<Irreversible>,
    /// What commits together. Default: `Auto`.
    #[serde(default)]
    pub transaction: TransactionMode,
    /// The database's `guard.maxStall` for this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stall: Option<DurationText>,
}

/// Says that a step has no way back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Irreversible {
    /// Why that is acceptable, for the people who read the plan.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// What commits together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TransactionMode {
    /// The whole step where that fits the stall budget; else it is split between statements.
    #[default]
    Auto,
    /// The whole step.
    Single,
    /// Each statement alone.
    PerStatement,
}

/// What happens when the watch says that the change does harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollback {
    /// What a breach leads to.
    pub on_breach: OnBreach,
    /// Puts aside what an inverse would drop, instead of dropping it.
    pub preserve_data: bool,
}

impl Default for Rollback {
    fn default() -> Self {
        Self { on_breach: OnBreach::default(), preserve_data: true }
    }
}

/// What a breach leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnBreach {
    /// The migration is undone at once.
    #[default]
    Rollback,
    /// The migration stops and waits for a person.
    Pause,
    /// The breach is reported, and nothing else happens.
    Notify,
}
