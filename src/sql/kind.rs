//! The kinds of statements, with the data that inverses and probes need.
//!
//! These types are stored in the ledger as part of a plan: fields may be added (with a default), none renamed.

use serde::{Deserialize, Serialize};

use super::name::RelationName;

/// What a statement is. A kind that is not known here is [`Kind::Other`], and treated as the worst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "name",
    content = "detail",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Kind {
    /// `CREATE TABLE`, `CREATE FOREIGN TABLE`, `CREATE TABLE AS`, `SELECT INTO`.
    CreateTable(CreateTable),
    /// `ALTER TABLE`, and `ALTER VIEW | INDEX | SEQUENCE ...` in the same form; renames are [`Kind::Rename`].
    AlterTable(AlterTable),
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// `DROP INDEX`.
    DropIndex {
        /// What is dropped.
        indexes: Vec<RelationName>,
        /// Outside of a transaction, without blocking.
        concurrently: bool,
        /// It is no error if there is none.
        if_exists: bool,
    },
    /// `REINDEX INDEX | TABLE`.
    Reindex {
        /// The index, or the table whose indexes are built again.
        relation: RelationName,
        /// `relation` is an index.
        index: bool,
        /// Outside of a transaction, without blocking.
        concurrently: bool,
    },
    /// `VACUUM`, but never `FULL`.
    Vacuum,
    /// `ANALYZE`.
    Analyze,
    /// `ALTER ... RENAME`.
    Rename(Rename),
    /// `CREATE [OR REPLACE] [MATERIALIZED] VIEW`.
    CreateView {
        /// The view.
        relation: RelationName,
        /// It holds data.
        materialized: bool,
        /// It may replace another one.
        replace: bool,
        /// Nothing is done if there is one.
        if_not_exists: bool,
    },
    /// `CREATE SEQUENCE`.
    CreateSequence {
        /// The sequence.
        relation: RelationName,
        /// Nothing is done if there is one.
        if_not_exists: bool,
    },
    /// `CREATE SCHEMA`.
    CreateSchema {
        /// The schema.
        schema: String,
        /// Nothing is done if there is one.
        if_not_exists: bool,
        /// Further objects are created by the same statement.
        with_objects: bool,
    },
    /// `CREATE TYPE`.
    CreateType {
        /// The type.
        relation: RelationName,
    },
    /// `CREATE DOMAIN`.
    CreateDomain {
        /// The domain.
        relation: RelationName,
    },
    /// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`.
    CreateFunction {
        /// What `DROP FUNCTION` takes: the name and the types of the arguments; `None` if they cannot be written.
        signature: Option<String>,
        /// A procedure.
        procedure: bool,
        /// It may replace another one.
        replace: bool,
    },
    /// `CREATE [OR REPLACE] TRIGGER`.
    CreateTrigger {
        /// The trigger.
        trigger: String,
        /// Its table.
        relation: RelationName,
        /// It may replace another one.
        replace: bool,
    },
    /// `CREATE POLICY`.
    CreatePolicy {
        /// The policy.
        policy: String,
        /// Its table.
        relation: RelationName,
    },
    /// `CREATE STATISTICS`.
    CreateStatistics {
        /// The statistics object, if it is named.
        relation: Option<RelationName>,
        /// Nothing is done if there is one.
        if_not_exists: bool,
    },
    /// `COMMENT ON` a relation or one of its columns.
    Comment {
        /// The relation.
        relation: RelationName,
        /// What the relation is called in the statement.
        object: RelationKind,
        /// The column, for `COMMENT ON COLUMN`.
        column: Option<String>,
    },
    /// `GRANT` or `REVOKE`.
    Grant {
        /// The relations, if the statement names nothing but relations.
        relations: Vec<RelationName>,
        /// The schemas, if the statement names nothing but schemas.
        schemas: Vec<String>,
    },
    /// `INSERT`.
    Insert {
        /// Where to; `None` if the statement changes more than this.
        relation: Option<RelationName>,
    },
    /// `UPDATE`.
    Update {
        /// What is changed; `None` if the statement changes more than this.
        relation: Option<RelationName>,
        /// The columns that are set.
        columns: Vec<String>,
    },
    /// `DELETE`.
    Delete {
        /// Where from; `None` if the statement changes more than this.
        relation: Option<RelationName>,
    },
    /// `MERGE`.
    Merge {
        /// What is changed; `None` if the statement changes more than this.
        relation: Option<RelationName>,
    },
    /// `TRUNCATE`.
    Truncate {
        /// The tables that are named.
        relations: Vec<RelationName>,
        /// Others that refer to them are emptied too.
        cascade: bool,
    },
    /// `SELECT`, `VALUES`, `TABLE`.
    Select {
        /// A function is called, and could change something.
        calls: bool,
    },
    /// `LOCK TABLE`.
    Lock,
    /// `SET LOCAL` and `SET CONSTRAINTS`, within one transaction.
    SetLocal {
        /// The parameter.
        parameter: String,
    },
    /// `ALTER TYPE ... ADD VALUE`.
    AddEnumValue {
        /// The enum.
        relation: RelationName,
    },
    /// `REFRESH MATERIALIZED VIEW`.
    RefreshMaterializedView {
        /// The view.
        relation: RelationName,
    },
    /// `DROP TABLE`.
    DropTable {
        /// The tables.
        relations: Vec<RelationName>,
        /// It is no error if there is none.
        if_exists: bool,
        /// What depends on them is dropped too.
        cascade: bool,
    },
    /// Any other `DROP`.
    Drop {
        /// What is dropped, in words ("view").
        object: String,
    },
    /// Anything else, by the name of its node in the grammar ("DoStmt").
    Other(String),
}

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
            || self
                .constraints
                .iter()
                .any(|c| c.kind == ConstraintKind::PrimaryKey)
    }
}

/// How a generated column is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(
    tag = "action",
    content = "detail",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
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
    /// Owner, storage parameters, statistics, row security: settings that go away with the relation.
    Setting {
        /// The name in the grammar.
        action: String,
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

/// `ALTER ... RENAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rename {
    /// What is renamed.
    pub target: RenameTarget,
    /// The new name.
    pub to: String,
    /// It is no error if there is none.
    pub if_exists: bool,
}

/// What a rename speaks of, with its name before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RenameTarget {
    /// A relation or a type.
    Relation {
        /// What it is.
        object: RelationKind,
        /// Its name before.
        relation: RelationName,
    },
    /// A column, or the attribute of a composite type.
    Column {
        /// What the relation is.
        object: RelationKind,
        /// The relation.
        relation: RelationName,
        /// The name before.
        column: String,
        /// Not in the children.
        only: bool,
    },
    /// A constraint of a table.
    Constraint {
        /// The table.
        relation: RelationName,
        /// The name before.
        constraint: String,
        /// Not in the children.
        only: bool,
    },
    /// A trigger, a policy or a rule of a table.
    OfTable {
        /// `TRIGGER`, `POLICY` or `RULE`.
        object: String,
        /// The table.
        relation: RelationName,
        /// The name before.
        name: String,
    },
    /// A schema.
    Schema {
        /// The name before.
        schema: String,
    },
    /// A domain, or another object that a (qualified) name finds.
    Named {
        /// The words of SQL for it.
        object: String,
        /// The name before.
        relation: RelationName,
    },
    /// The value of an enum.
    EnumValue {
        /// The enum.
        relation: RelationName,
        /// The value before.
        value: String,
    },
    /// Something else, in words.
    Other {
        /// What.
        object: String,
    },
}

impl Kind {
    /// The stable name of the kind, the same as in its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateTable(_) => "createTable",
            Self::AlterTable(_) => "alterTable",
            Self::CreateIndex(_) => "createIndex",
            Self::DropIndex { .. } => "dropIndex",
            Self::Reindex { .. } => "reindex",
            Self::Vacuum => "vacuum",
            Self::Analyze => "analyze",
            Self::Rename(_) => "rename",
            Self::CreateView { .. } => "createView",
            Self::CreateSequence { .. } => "createSequence",
            Self::CreateSchema { .. } => "createSchema",
            Self::CreateType { .. } => "createType",
            Self::CreateDomain { .. } => "createDomain",
            Self::CreateFunction { .. } => "createFunction",
            Self::CreateTrigger { .. } => "createTrigger",
            Self::CreatePolicy { .. } => "createPolicy",
            Self::CreateStatistics { .. } => "createStatistics",
            Self::Comment { .. } => "comment",
            Self::Grant { .. } => "grant",
            Self::Insert { .. } => "insert",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Merge { .. } => "merge",
            Self::Truncate { .. } => "truncate",
            Self::Select { .. } => "select",
            Self::Lock => "lock",
            Self::SetLocal { .. } => "setLocal",
            Self::AddEnumValue { .. } => "addEnumValue",
            Self::RefreshMaterializedView { .. } => "refreshMaterializedView",
            Self::DropTable { .. } => "dropTable",
            Self::Drop { .. } => "drop",
            Self::Other(_) => "other",
        }
    }
}
