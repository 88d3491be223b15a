//! What a statement changes of objects that are there, in the form that the way back needs.

use serde::{Deserialize, Serialize};

use crate::sql::name::{RelationName, quote_ident};

/// An object, as a statement names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// What it is, in the words of SQL: `TABLE`, `FUNCTION`, `TRIGGER`.
    pub object: String,
    /// Its name; of a column, constraint, trigger, policy or rule the name of the table or domain.
    pub name: RelationName,
    /// The name of a column, constraint, trigger, policy or rule within that; the types of a function's arguments, as a
    /// JSON list, if they are said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Target {
    /// An object with a name of its own.
    pub fn new(object: impl Into<String>, name: RelationName) -> Self {
        Self { object: object.into(), name, detail: None }
    }

    /// A part of a table or domain, or a function with its arguments.
    pub fn within(object: impl Into<String>, name: RelationName, detail: impl Into<String>) -> Self {
        Self { object: object.into(), name, detail: Some(detail.into()) }
    }

    /// What it is and its name, as `COMMENT ON` and `DROP` take it.
    pub fn sql(&self) -> String {
        let Self { object, name, detail } = self;
        match (object.as_str(), detail) {
            ("COLUMN", Some(column)) => format!("COLUMN {name}.{}", quote_ident(column)),
            ("DOMAIN CONSTRAINT", Some(constraint)) => {
                format!("CONSTRAINT {} ON DOMAIN {name}", quote_ident(constraint))
            }
            (_, Some(part)) if !self.is_function() => format!("{object} {} ON {name}", quote_ident(part)),
            _ => format!("{object} {}", self.called()),
        }
    }

    /// Its name, that of a function with the types of its arguments.
    pub fn called(&self) -> String {
        match (&self.detail, self.is_function()) {
            (Some(types), true) => {
                let types: Vec<String> = serde_json::from_str(types).unwrap_or_default();
                format!("{}({})", self.name, types.join(", "))
            }
            _ => self.name.sql(),
        }
    }

    /// Whether it is a function, a procedure or one of the two.
    pub fn is_function(&self) -> bool {
        ["FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE"].contains(&self.object.as_str())
    }
}

/// Something of an object that a statement can set, and that is read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// The owner, as a name in SQL.
    Owner,
    /// The schema, as a name in SQL.
    Schema,
    /// The comment, as a literal or `NULL`.
    Comment,
    /// A storage parameter: `SET (...)` or `RESET (...)`.
    Option,
    /// `ENABLE` or `DISABLE ROW LEVEL SECURITY`.
    RowSecurity,
    /// `FORCE` or `NO FORCE ROW LEVEL SECURITY`.
    ForcedRowSecurity,
    /// What follows `REPLICA IDENTITY`.
    ReplicaIdentity,
    /// `CLUSTER ON ...` or `SET WITHOUT CLUSTER`.
    Cluster,
    /// `SET LOGGED` or `SET UNLOGGED`.
    Persistence,
    /// The tablespace, as a name in SQL.
    Tablespace,
    /// The access method, as a name in SQL.
    AccessMethod,
    /// What follows `SET STATISTICS`, of a column or an object of extended statistics.
    Statistics,
    /// What follows `SET STORAGE`.
    Storage,
    /// What follows `SET COMPRESSION`.
    Compression,
    /// An option of a column: `SET (...)` or `RESET (...)`.
    ColumnOption,
    /// What follows `TYPE` of a column.
    Type,
    /// How an identity column fills itself, and the options of its sequence.
    Identity,
    /// `ADD GENERATED ... AS IDENTITY (...)` of a column, and the value of its sequence.
    AddIdentity,
    /// The name of the constraint that makes a column `NOT NULL`, on servers where it has one (PostgreSQL 18).
    NotNullName,
    /// `ENABLE [...] TRIGGER`, or `DISABLE TRIGGER`, of one trigger or of several.
    TriggerState,
    /// `ENABLE [...] RULE`, or `DISABLE RULE`.
    RuleState,
    /// The options of a sequence.
    SequenceOptions,
    /// `SET DEFAULT ...` or `DROP DEFAULT` of a domain.
    DomainDefault,
    /// `SET` or `DROP NOT NULL` of a domain.
    DomainNotNull,
    /// The bound of a partition, as SQL.
    PartitionBound,
    /// Nothing but whether the target, a partition to be, gets indexes or foreign keys when it is attached.
    Attach,
    /// The statements that make the object again, without owner, privileges and comment.
    Definition,
    /// The statements that bring back its privileges, if they are not those of a new object.
    Privileges,
    /// All privileges that its owner has, and then those that a role has, `*` after one that it may pass on.
    Held,
}

impl Part {
    /// What it is, in words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Schema => "schema",
            Self::Comment => "comment",
            Self::Held | Self::Privileges => "privileges",
            Self::Definition => "definition",
            Self::Type => "type",
            Self::PartitionBound => "bound",
            _ => "setting",
        }
    }

    /// The stable name, the same as in its JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Schema => "schema",
            Self::Comment => "comment",
            Self::Option => "option",
            Self::RowSecurity => "rowSecurity",
            Self::ForcedRowSecurity => "forcedRowSecurity",
            Self::ReplicaIdentity => "replicaIdentity",
            Self::Cluster => "cluster",
            Self::Persistence => "persistence",
            Self::Tablespace => "tablespace",
            Self::AccessMethod => "accessMethod",
            Self::Statistics => "statistics",
            Self::Storage => "storage",
            Self::Compression => "compression",
            Self::ColumnOption => "columnOption",
            Self::Type => "type",
            Self::Identity => "identity",
            Self::AddIdentity => "addIdentity",
            Self::NotNullName => "notNullName",
            Self::TriggerState => "triggerState",
            Self::RuleState => "ruleState",
            Self::SequenceOptions => "sequenceOptions",
            Self::DomainDefault => "domainDefault",
            Self::DomainNotNull => "domainNotNull",
            Self::PartitionBound => "partitionBound",
            Self::Attach => "attach",
            Self::Definition => "definition",
            Self::Privileges => "privileges",
            Self::Held => "held",
        }
    }
}

/// One thing that a statement changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Edit {
    /// It sets something that can be set back by the same SQL with the value before.
    Set {
        /// What.
        part: Part,
        /// Of which object.
        of: Target,
        /// The SQL before the value.
        prefix: String,
        /// The value that it sets, if that is all there is to it.
        value: Option<String>,
    },
    /// It makes an object.
    Make {
        /// The object.
        what: Target,
    },
    /// It may replace an object, or makes it.
    Replace {
        /// The object.
        what: Target,
        /// The SQL that drops it.
        drop: String,
        /// Its outward shape, where another one cannot simply be replaced back: columns of a view, names and defaults of
        /// a function's parameters.
        shape: Option<String>,
    },
    /// It drops an object.
    Drop {
        /// The object.
        what: Target,
        /// It is no error if there is none.
        if_exists: bool,
        /// What depends on it goes too.
        cascade: bool,
    },
    /// It gives privileges, or takes them.
    Grant(Grant),
    /// It is undone by this SQL, whatever was there before.
    Plain {
        /// The SQL.
        sql: String,
    },
    /// It cannot be undone.
    Lost {
        /// Why, in words that can stand after "because".
        reason: String,
    },
}

/// `GRANT` or `REVOKE` of privileges on one object, to or from one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grant {
    /// The object.
    pub on: Target,
    /// The role as SQL: `PUBLIC`, a name, `CURRENT_USER`.
    pub role: String,
    /// `GRANT`, not `REVOKE`.
    pub gives: bool,
    /// The privileges, upper case, each with the column if it is one on a column; none means all of them.
    pub privileges: Vec<(String, Option<String>)>,
    /// `WITH GRANT OPTION`, or `GRANT OPTION FOR`.
    pub option: bool,
    /// `CASCADE`: what the role passed on goes too.
    pub cascade: bool,
}
