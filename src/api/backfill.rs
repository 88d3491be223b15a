//! `backfill`: a step of a Migration that changes many rows in small transactions.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::bytes::BytesText;
use super::decimal::DecimalText;
use super::duration::DurationText;
use super::migration::Irreversible;

/// Longest expression or query of a backfill, in characters.
pub const MAX_EXPRESSION: usize = 8192;
/// Most columns that a backfill sets.
pub const MAX_COLUMNS: usize = 32;
/// Most queries that judge a backfill.
pub const MAX_VALIDATIONS: usize = 8;
/// Most rows of a batch.
pub const MAX_ROWS: u32 = 100_000;

/// Changes the rows of a table in small transactions, each row exactly once, and goes on where it was after any
/// interruption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "(has(self.down) ? 1 : 0) + (has(self.capture) && self.capture ? 1 : 0) + (has(self.irreversible) ? 1 : 0) <= 1",
    "at most one of down, capture and irreversible is allowed"
))]
pub struct Backfill {
    /// The table, with its schema if it is not in the search path, as in SQL.
    #[schemars(length(min = 1, max = 256))]
    pub table: String,
    /// Expressions of the new values, by column.
    #[schemars(schema_with = "expressions")]
    pub set: BTreeMap<String, String>,
    /// Which rows are changed; absent: all that are there when it begins. Where it speaks of a column that is set, it says
    /// which rows are not done yet, and must not hold for a row that is done.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub filter: Option<String>,
    /// How large the transactions are, and how fast they follow.
    #[serde(default, skip_serializing_if = "Batch::is_default")]
    pub batch: Batch,
    /// The way back, in batches as well; not needed where the same migration adds the columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<BackfillDown>,
    /// Keeps the values that are overwritten, so that the way back puts them in again where nobody changed the row since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capture: bool,
    /// Says that there is no way back, instead of `down` or `capture`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<Irreversible>,
    /// Queries of one row with one boolean, asked at the end; one that is not true fails the step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 8192)))]
    pub validate: Vec<String>,
    /// What sees to rows that are written while it runs.
    #[serde(default, skip_serializing_if = "is_none")]
    pub sync: BackfillSync,
    /// When to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Allows functions that give another value at each call, as `random()`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_volatile: bool,
}

/// How large the transactions are, and how fast they follow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.targetDuration) || duration(self.targetDuration) > duration('0s')")
        .message("targetDuration must be more than 0s").field_path(".targetDuration")
)]
pub struct Batch {
    /// Most rows of a transaction. Default: 1000 where `adaptive` is false; else as many as `targetDuration` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub rows: Option<u32>,
    /// Between two transactions. Default: `100ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<DurationText>,
    /// How long a transaction should take: so long somebody else may wait for a row. Default: `100ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_duration: Option<DurationText>,
    /// Whether the number of rows follows `targetDuration` and what others feel. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<bool>,
}

impl Batch {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The way back of a backfill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackfillDown {
    /// Expressions of the values, by column.
    #[schemars(schema_with = "expressions")]
    pub set: BTreeMap<String, String>,
    /// Which rows are changed; absent: all that the backfill went over.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub filter: Option<String>,
}

/// What sees to rows that are written while a backfill runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackfillSync {
    /// The application, or nobody.
    #[default]
    None,
    /// A trigger, from before the first batch until the end was validated.
    Trigger,
}

// Serde asks with a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(sync: &BackfillSync) -> bool {
    *sync == BackfillSync::None
}

/// What a backfill waits for beside what it waits for in any case: a number of a query, or the log of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.sql) == has(self.max)", "sql and max belong together"),
    validation = ("has(self.sql) || has(self.walRate)", "sql with max, or walRate, is required")
)]
pub struct Throttle {
    /// A query of one row with one number, asked every second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub sql: Option<String>,
    /// Above it no batch begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<DecimalText>,
    /// Bytes of write-ahead log a second, as in `32Mi`, that the server writes at most while it runs, what others write included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_rate: Option<BytesText>,
}

fn expressions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": MAX_COLUMNS,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": MAX_EXPRESSION},
    })
}
