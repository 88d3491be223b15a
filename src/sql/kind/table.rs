//! Tables, their columns, constraints and indexes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edit::Edit;
use crate::sql::name::RelationName;

/// A new table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools)]
pub struct CreateTable {
    /// Its name.
    pub relation: RelationName,
    /// Nothing is done if there is one.
    pub if_not_exists: bool,
    /// It lives in the session only.
    pub temporary: bool,
    /// Its data is elsewhere.
    pub foreign: bool,
    /// It is filled from a query.
    pub from_query: bool,
    /// More than columns is copied with `LIKE`, or it is made `OF` a type.
    pub like: bool,
    /// The columns.
    pub columns: Vec<Column>,
    /// Constraints of the table; those of a column are with the column.
    pub constraints: Vec<Constraint>,
    /// Parents by inheritance.
    pub inherits: Vec<RelationName>,
    /// The partitioned table it is a part of.
    pub partition_of: Option<RelationName>,
    /// It is partitioned itself.
    pub partitioned: bool,
}

/// A column, as `CREATE TABLE` or `ADD COLUMN` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `NOT NULL` is said; a key, `serial` and an identity imply it too.
    pub not_null: bool,
    /// The default, as SQL.
    pub default: Option<String>,
    /// `serial` and its like: an integer with a sequence of its own.
    pub serial: bool,
    /// `GENERATED ... AS IDENTITY`.
    pub identity: bool,
    /// `GENERATED ALWAYS AS (...)`.
    pub generated: Option<Generated>,
    /// Constraints that are written with the column, `NOT NULL` left out.
    pub constraints: Vec<Constraint>,
}

impl Column {
    /// Whether the column is `NOT NULL` once the statement has run.
    pub fn is_not_null(&self) -> bool {
        self.not_null
            || self.serial
            || self.identity
            || self.constraints.iter().any(|c| c.kind == ConstraintKind::PrimaryKey)
    }
}

/// How a generated column is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Generated {
    /// Computed when written.
    Stored,
    /// Computed when read.
    Virtual,
}

/// A constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Constraint {
    /// Its name, if the statement gives one.
    pub name: Option<String>,
    /// What it demands.
    pub kind: ConstraintKind,
    /// The columns that the server makes a name from: the key, the referencing columns, or those of the expression.
    pub columns: Vec<String>,
    /// The table that a foreign key refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<RelationName>,
    /// An index that becomes the constraint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using_index: Option<String>,
    /// `NOT VALID`: rows that are there are not checked.
    #[serde(default)]
    pub not_valid: bool,
}

/// What a constraint demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConstraintKind {
    /// `CHECK`.
    Check,
    /// `UNIQUE`.
    Unique,
    /// `PRIMARY KEY`.
    PrimaryKey,
    /// `FOREIGN KEY`, `REFERENCES`.
    ForeignKey,
    /// `EXCLUDE`.
    Exclude,
    /// `NOT NULL` as a constraint with a name of its own (PostgreSQL 18).
    NotNull,
}

/// What kind of relation a statement speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RelationKind {
    /// A table, partitioned or not.
    Table,
    /// A table whose data is elsewhere.
    ForeignTable,
    /// A view.
    View,
    /// A view that holds data.
    MaterializedView,
    /// An index.
    Index,
    /// A sequence.
    Sequence,
    /// A composite type.
    Type,
}

impl RelationKind {
    /// The words of SQL for it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::ForeignTable => "FOREIGN TABLE",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::Index => "INDEX",
            Self::Sequence => "SEQUENCE",
            Self::Type => "TYPE",
        }
    }
}

/// `ALTER TABLE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlterTable {
    /// The table.
    pub relation: RelationName,
    /// What the statement calls it.
    pub object: RelationKind,
    /// It is no error if there is none.
    pub if_exists: bool,
    /// Not the children (`ONLY`).
    pub only: bool,
    /// The subcommands, in order.
    pub actions: Vec<TableAction>,
}

/// One subcommand of `ALTER TABLE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", content = "detail", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TableAction {
    /// `ADD COLUMN`.
    AddColumn {
        /// The column.
        column: Column,
        /// Nothing is done if there is one.
        if_not_exists: bool,
    },
    /// `DROP COLUMN`.
    DropColumn {
        /// The column.
        column: String,
        /// It is no error if there is none.
        if_exists: bool,
        /// What depends on it is dropped too.
        cascade: bool,
    },
    /// `ADD CONSTRAINT`.
    AddConstraint(Constraint),
    /// `DROP CONSTRAINT`.
    DropConstraint {
        /// The constraint.
        constraint: String,
        /// It is no error if there is none.
        #[serde(default)]
        if_exists: bool,
        /// What depends on it is dropped too.
        #[serde(default)]
        cascade: bool,
    },
    /// `VALIDATE CONSTRAINT`.
    ValidateConstraint {
        /// The constraint.
        constraint: String,
    },
    /// `ALTER COLUMN ... SET DEFAULT`.
    SetDefault {
        /// The column.
        column: String,
        /// The new default, as SQL.
        default: String,
    },
    /// `ALTER COLUMN ... DROP DEFAULT`.
    DropDefault {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN ... SET NOT NULL`.
    SetNotNull {
        /// The column.
        column: String,
    },
    /// `ALTER COLUMN ... DROP NOT NULL`.
    DropNotNull {
        /// The column.
        column: String,
    },
    /// `DETACH PARTITION`.
    DetachPartition {
        /// The partition.
        partition: RelationName,
        /// Outside of a transaction, without blocking.
        concurrently: bool,
    },
    /// `ATTACH PARTITION`.
    AttachPartition {
        /// The partition.
        partition: RelationName,
    },
    /// Owner, storage parameters, statistics, row security: settings that go away with the relation.
    Setting {
        /// The name in the grammar.
        action: String,
        /// What it changes; nothing if its way back is not known.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        edits: Vec<Edit>,
    },
    /// Anything else, by its name in the grammar.
    Other(String),
}

/// `CREATE INDEX`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools)]
pub struct CreateIndex {
    /// Its name, if the statement gives one; it is in the schema of the table.
    pub name: Option<String>,
    /// The table.
    pub relation: RelationName,
    /// What the server makes a name from: columns, included ones too, and functions; empty if that is not foreseen.
    pub columns: Vec<String>,
    /// All columns that it depends on, those of expressions and of `WHERE` too.
    #[serde(default)]
    pub mentions: Vec<String>,
    /// The columns of the key; empty if an expression is among them.
    pub key: Vec<String>,
    /// No two equal entries.
    pub unique: bool,
    /// Outside of a transaction, without blocking.
    pub concurrently: bool,
    /// Nothing is done if there is one.
    pub if_not_exists: bool,
    /// Not on the partitions.
    pub only: bool,
}
