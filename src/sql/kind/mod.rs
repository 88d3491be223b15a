//! The kinds of statements, with the data that inverses and probes need.
//!
//! These types are stored in the ledger as part of a plan: fields may be added (with a default), none renamed.

mod edit;
mod table;

use serde::{Deserialize, Serialize};

use super::name::RelationName;
pub use edit::{Edit, Grant, Part, Target};
pub use table::{
    AlterTable, Column, Constraint, ConstraintKind, CreateIndex, CreateTable, Generated, RelationKind,
    TableAction,
};

/// What a statement is. A kind that is not known here is [`Kind::Other`], and treated as the worst.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", content = "detail", rename_all = "camelCase", rename_all_fields = "camelCase")]
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
        /// The value.
        #[serde(default)]
        value: String,
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
    /// Anything else, by the name of its node in the grammar (`DoStmt`).
    Other(String),
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
