//! Relations of a [`super::Snapshot`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sql::kind::{ConstraintKind, Generated};
use crate::sql::name::RelationName;

/// A table, a view, an index, a sequence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Relation {
    /// Its name, with its schema.
    pub name: RelationName,
    /// What it is.
    pub kind: RelationType,
    /// How it is kept.
    pub persistence: Persistence,
    /// Its owner.
    pub owner: Option<String>,
    /// Estimate of its rows (`pg_class.reltuples`); `None` if it was never analyzed.
    pub rows: Option<f64>,
    /// Bytes of its main file; 0 for what has none.
    pub bytes: u64,
    /// Bytes with everything that belongs to it: indexes, TOAST, maps.
    pub total_bytes: u64,
    /// Columns, in order.
    pub columns: Vec<ColumnFacts>,
    /// Constraints, those of columns included.
    pub constraints: Vec<ConstraintFacts>,
    /// Its indexes.
    pub indexes: Vec<IndexFacts>,
    /// Its triggers, but not those that enforce foreign keys.
    pub triggers: Vec<TriggerFacts>,
    /// Names of its policies.
    pub policies: Vec<String>,
    /// Parents by inheritance.
    pub inherits: Vec<RelationName>,
    /// The partitioned table that it is a partition of.
    pub partition_of: Option<RelationName>,
    /// Its partition bound, as SQL (`FOR VALUES ...`, `DEFAULT`).
    pub partition_bound: Option<String>,
    /// Key of a partitioned table, as SQL.
    pub partition_key: Option<String>,
    /// How it tells its rows to subscribers.
    pub replica_identity: ReplicaIdentity,
    /// Publications that hold it, also as `FOR ALL TABLES`.
    pub publications: Vec<String>,
    /// Definition of a view.
    pub definition: Option<String>,
    /// Table and column that own a sequence; the table of an index.
    pub owned_by: Option<(RelationName, Option<String>)>,
    /// How much it is used.
    pub activity: Option<Activity>,
}

/// What a relation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RelationType {
    /// A table with rows of its own.
    #[default]
    Table,
    /// A table that is divided into partitions.
    PartitionedTable,
    /// An index.
    Index,
    /// The index of a partitioned table.
    PartitionedIndex,
    /// A view.
    View,
    /// A view that holds data.
    MaterializedView,
    /// A sequence.
    Sequence,
    /// A table whose data is elsewhere.
    ForeignTable,
    /// A composite type.
    CompositeType,
}

/// How a relation is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Persistence {
    /// Written to the log.
    #[default]
    Permanent,
    /// Emptied after a crash.
    Unlogged,
    /// Of one session.
    Temporary,
}

/// How a table tells subscribers which row an `UPDATE` or `DELETE` means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReplicaIdentity {
    /// By the primary key.
    #[default]
    Default,
    /// By all columns.
    Full,
    /// Not at all.
    Nothing,
    /// By this index.
    Index(String),
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Its type with modifiers, as `format_type` gives it (`character varying(20)`).
    pub data_type: String,
    /// It is `NOT NULL`.
    pub not_null: bool,
    /// Its default, as SQL; the expression of a generated column.
    pub default: Option<String>,
    /// It is an identity column.
    pub identity: bool,
    /// It is generated, and how.
    pub generated: Option<Generated>,
    /// Mean width in bytes, from the statistics.
    pub width: Option<u32>,
}

/// A constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConstraintFacts {
    /// Its name.
    pub name: String,
    /// What it demands.
    pub kind: ConstraintKind,
    /// Its columns.
    #[serde(default)]
    pub columns: Vec<String>,
    /// As `pg_get_constraintdef` gives it.
    pub definition: String,
    /// All rows are known to satisfy it.
    pub validated: bool,
    /// It is enforced (always, before PostgreSQL 18).
    pub enforced: bool,
    /// The table that a foreign key refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<RelationName>,
    /// Its index, in the schema of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

/// An index of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IndexFacts {
    /// Its name, in the schema of the table.
    pub name: String,
    /// Its columns in order, those that are only included too; `None` for an expression.
    pub columns: Vec<Option<String>>,
    /// Columns that its expressions and its predicate use.
    pub used_columns: Vec<String>,
    /// How many of the columns are the key.
    pub key_columns: u32,
    /// No two rows are equal.
    pub unique: bool,
    /// It is the primary key's.
    pub primary: bool,
    /// It may be used.
    pub valid: bool,
    /// Only for some rows.
    pub partial: bool,
    /// `CLUSTER` without a name sorts the table by it.
    pub clustered: bool,
    /// `btree`, `gin`, ...
    pub method: String,
    /// Its bytes.
    pub bytes: u64,
    /// As `pg_get_indexdef` gives it.
    pub definition: String,
}

/// A trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerFacts {
    /// Its name.
    pub name: String,
    /// As `pg_get_triggerdef` gives it.
    pub definition: String,
    /// The function that it calls, as SQL.
    pub function: String,
    /// It fires.
    pub enabled: bool,
}

/// How much a table is used, from `pg_stat_all_tables`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Activity {
    /// Scans of the table and of its indexes in each second since the statistics were reset.
    pub reads_per_second: f64,
    /// Rows that were inserted, updated or deleted in each second.
    pub writes_per_second: f64,
}
