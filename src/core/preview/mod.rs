//! Pure: everything that is known of a plan before it runs: locks, rewrites, ways back, findings, durations, what depends
//! on it, and how risky that makes it.
//!
//! The types are the JSON of `whimbrel plan --output json`, whose schema is `docs/plan.schema.json`: fields may be added,
//! none renamed or taken away without another [`FORMAT`].

mod assemble;
mod before;
mod prediction;
mod risk;
mod statement;
mod sum;
#[cfg(test)]
mod tests;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blast::BlastRadius;
use super::estimate::Estimate;
use super::plan::Reversibility;
pub use crate::api::Risk;
use crate::sql::{Finding, Heavy, LockMode, Unknown};
pub use assemble::{Inputs, Source, preview};
pub use prediction::{Prediction, predict};
pub use statement::facts;
pub use text::{amount, duration, size};

/// Version of the JSON; a consumer refuses a newer one.
pub const FORMAT: u32 = 1;

/// Everything that is known of a plan before it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Preview {
    /// Version of the format: 1.
    pub format_version: u32,
    /// Risk, reversibility, units and the longest hold, in one line.
    pub summary: String,
    /// How much can go wrong.
    pub risk: Risk,
    /// What makes the risk what it is, worst first.
    pub risk_reasons: Vec<String>,
    /// How well the plan can be undone.
    pub reversibility: Reversibility,
    /// What makes it no better than that.
    pub reversibility_reason: String,
    /// The server that it was foreseen for.
    pub server: Server,
    /// What commits together, in order.
    pub units: Vec<UnitPreview>,
    /// Every statement, in order.
    pub statements: Vec<StatementPreview>,
    /// What a person should know; `statement` is an index into `statements`.
    pub findings: Vec<Finding>,
    /// All that depends on what is touched.
    pub blast_radius: BlastRadius,
    /// The application's statements that are concerned; absent if they could not be seen.
    pub queries: Option<Vec<QueryPreview>>,
    /// What could not be seen, and what to do about it.
    pub unknown: Vec<Unknown>,
    /// The whole plan, one unit after the other; absent if a part of it cannot be estimated.
    pub estimate: Option<Estimate>,
}

/// The server that a plan was foreseen for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Its major version; absent: the worst of those that are supported.
    pub major: Option<u32>,
    /// The database.
    pub database: Option<String>,
    /// Whether a catalog was there to look at.
    pub basis: ServerBasis,
    /// When the catalog was read, RFC 3339.
    pub taken_at: Option<String>,
}

/// Whether a catalog was there to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServerBasis {
    /// The catalog of a database.
    Catalog,
    /// None: what it would say is taken for the worst.
    #[default]
    Assumed,
}

/// Statements that commit together, or one that cannot run in a transaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitPreview {
    /// Name of its step.
    pub step: String,
    /// It runs inside one transaction.
    pub transactional: bool,
    /// Whether it changes rows in batches, each a transaction of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub batches: bool,
    /// The rows of the table whose rows it changes in batches, if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<f64>,
    /// Indices of its statements.
    pub statements: Vec<usize>,
    /// The stall budget, in milliseconds.
    pub max_stall_ms: u64,
    /// It can be undone.
    pub reversible: bool,
    /// Why it cannot be undone, or what is special about its way back.
    pub reason: String,
    /// The statements that undo it, in order, one transaction each inner list; what was added is put aside in them
    /// where the plan preserves data. Absent if there is no way back.
    pub way_back: Option<Vec<Vec<String>>>,
    /// How long, and how much; absent if a part of it cannot be estimated.
    pub estimate: Option<Estimate>,
    /// The largest relation that readers or writers wait for.
    pub blocked: Option<BlockedRelation>,
}

/// A relation that somebody waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockedRelation {
    /// Its name, with its schema as far as that is known.
    pub relation: String,
    /// Its rows, if they are known.
    pub rows: Option<f64>,
}

/// One statement, and what it will do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools, reason = "independent properties")]
pub struct StatementPreview {
    /// The text as it was written.
    pub sql: String,
    /// What it is, for example `alterTable`.
    pub kind: String,
    /// The file that it stands in.
    pub file: Option<String>,
    /// The field of the Migration that it stands in, for example `spec.up`; absent for a file of SQL.
    pub field: Option<String>,
    /// Line of its first character, from 1: in the file of SQL, or in the field.
    pub line: u32,
    /// Column of its first character, in characters, from 1.
    pub column: u32,
    /// Name of its step.
    pub step: String,
    /// Index of its unit.
    pub unit: usize,
    /// It can run in a transaction.
    pub transactional: bool,
    /// The strongest lock on each relation.
    pub locks: Vec<Lock>,
    /// A table or an index is written anew.
    pub rewrite: bool,
    /// Which ones.
    pub rewrites: Vec<String>,
    /// A table is read from beginning to end.
    pub scan: bool,
    /// Which ones.
    pub scans: Vec<String>,
    /// For whom the rewrites and scans are felt.
    pub heavy: Heavy,
    /// Data is deleted, or an object that holds some.
    pub destructive: bool,
    /// Rows of the application are changed.
    pub changes_data: bool,
    /// What it does cannot be known from its text.
    pub opaque: bool,
    /// It can be undone.
    pub reversible: bool,
    /// How well.
    pub grade: Reversibility,
    /// Why no better.
    pub grade_reason: String,
    /// What has to be so for the inverse to succeed, in words that can stand after "if".
    pub condition: Option<String>,
    /// The SQL that brings the catalog back, empty if there is nothing to undo; absent if none can be derived. What runs
    /// when a unit is undone, with data put aside, is `wayBack` of the unit.
    pub inverse: Option<String>,
    /// What else happens, in a sentence each.
    pub consequences: Vec<String>,
    /// Facts that were not known and taken for the worst.
    pub assumptions: Vec<String>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// How long, and how much; absent if it cannot be estimated.
    pub estimate: Option<Estimate>,
    /// Why it cannot be estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_estimate: Option<String>,
}

/// A lock on a relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The relation as SQL, with its schema as far as it is known.
    pub relation: String,
    /// The mode, as PostgreSQL spells it.
    pub mode: LockMode,
    /// Who waits meanwhile.
    pub blocks: Vec<Blocked>,
}

/// Who waits for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Blocked {
    /// `SELECT`.
    Reads,
    /// `INSERT`, `UPDATE`, `DELETE`.
    Writes,
    /// Changes of the schema, and `VACUUM`.
    Ddl,
}

impl Blocked {
    /// Everybody who waits for a lock of this mode.
    pub fn by(mode: LockMode) -> Vec<Self> {
        let all = [
            (mode.blocks_reads(), Self::Reads),
            (mode.blocks_writes(), Self::Writes),
            (mode.blocks_ddl(), Self::Ddl),
        ];
        all.into_iter().filter_map(|(waits, who)| waits.then_some(who)).collect()
    }
}

/// A statement of the application that is concerned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryPreview {
    /// Its text, with `$1` for constants.
    pub text: String,
    /// Who runs it.
    pub user: Option<String>,
    /// Calls in each minute.
    pub calls_per_minute: f64,
    /// Mean time in milliseconds.
    pub mean_ms: f64,
    /// The relations and columns that it names, of those that change.
    pub uses: Vec<String>,
    /// Why it fails once the change is there; absent if it goes on working.
    pub breaks: Option<String>,
    /// Index of the first statement that breaks it.
    pub statement: Option<usize>,
}
