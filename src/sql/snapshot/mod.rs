//! The catalog of a database at one moment, as data: what the foresight of a statement rests on.
//!
//! It is read by an edge, or from the file that `whimbrel catalog` writes. What is not in it is not known: nothing
//! concludes from an absent relation that there is none, unless [`Snapshot::complete`] says so.

mod file;
mod relation;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::RelationName;
pub use file::CatalogError;
pub use relation::{
    Activity, ColumnFacts, ConstraintFacts, IndexFacts, Persistence, Relation, RelationType, ReplicaIdentity,
    TriggerFacts,
};

/// Version of the file format; a newer one is refused.
pub const FORMAT: u32 = 1;

/// A catalog at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Snapshot {
    /// Version of the format: [`FORMAT`].
    pub format: u32,
    /// Everything that is there is in it; without this, what is missing is unknown (`Assumed`).
    pub complete: bool,
    /// Major version of the server; `None` is treated as the worst of those supported.
    pub major: Option<u32>,
    /// Name of the database.
    pub database: Option<String>,
    /// When it was read, RFC 3339.
    pub taken_at: Option<String>,
    /// Schemas in which an unqualified name is looked up, in order; `pg_catalog` is always first.
    pub search_path: Vec<String>,
    /// The search path of each role that has its own, in which its statements look names up.
    pub role_search_paths: BTreeMap<String, Vec<String>>,
    /// Settings that change what a statement does: `TimeZone`, `wal_level`, `maintenance_work_mem` (bytes), ...
    pub settings: BTreeMap<String, String>,
    /// Schemas.
    pub schemas: Vec<String>,
    /// Tables, views, indexes, sequences, ...
    pub relations: Vec<Relation>,
    /// Enums, domains, composite types, ranges; not the built-in ones.
    pub types: Vec<TypeFacts>,
    /// Functions and procedures; not the built-in ones.
    pub functions: Vec<FunctionFacts>,
    /// What depends on what, from `pg_depend`.
    pub dependencies: Vec<Dependency>,
    /// The application's statements, from `pg_stat_statements`; `None` if that is not there or not visible.
    pub queries: Option<Vec<LiveQuery>>,
    /// What the planner expects of the queries of a plan, as far as it was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_plans: Vec<QueryPlan>,
    /// Age in seconds of each transaction that was open when the catalog was read, oldest first.
    pub transaction_ages: Vec<f64>,
    /// What could not be read, and which grant is missing.
    pub unknown: Vec<Unknown>,
}

/// What [`Unknown::what`] calls the statements of the application.
pub const LIVE_QUERIES: &str = "live queries";

/// Something that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Unknown {
    /// What, for example `live queries`.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do, as SQL where SQL does it.
    pub remedy: String,
}

/// A type that is not built in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeFacts {
    /// Its name, with its schema.
    pub name: RelationName,
    /// What it is.
    pub kind: TypeKind,
    /// Labels of an enum, in order.
    pub labels: Vec<String>,
    /// The type below a domain, as `format_type` gives it.
    pub base: Option<String>,
    /// A domain that is `NOT NULL`.
    pub not_null: bool,
    /// Names of the `CHECK` constraints of a domain.
    pub checks: Vec<String>,
    /// Default of a domain, as SQL.
    pub default: Option<String>,
}

/// What a type is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TypeKind {
    /// A base type of an extension or a user.
    #[default]
    Base,
    /// `CREATE TYPE ... AS ENUM`.
    Enum,
    /// `CREATE DOMAIN`.
    Domain,
    /// `CREATE TYPE ... AS (...)`.
    Composite,
    /// A range or multirange.
    Range,
}

/// A function or procedure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionFacts {
    /// Its name, with its schema.
    pub name: RelationName,
    /// Types of its arguments, as `pg_get_function_identity_arguments` gives them.
    pub arguments: String,
    /// How much its result may change.
    pub volatility: Volatility,
    /// `sql`, `plpgsql`, `c`, ...
    pub language: String,
    /// A procedure.
    pub procedure: bool,
    /// Its source (`prosrc`), for `sql` and `plpgsql`.
    pub source: Option<String>,
    /// The body was parsed when it was made (`BEGIN ATOMIC`), so that its dependencies are known to the server.
    pub parsed_body: bool,
}

/// How much the result of a function may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Volatility {
    /// Never.
    Immutable,
    /// Not within one statement.
    Stable,
    /// From row to row.
    #[default]
    Volatile,
}

/// An object of the database, as a dependency names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// What it is, as `pg_identify_object` says: `table`, `view`, `table column`, `index`, `function`, `policy`, ...
    pub kind: String,
    /// Its identity, as `pg_identify_object` says: schema-qualified and quoted.
    pub identity: String,
    /// The relation that it is, or that it belongs to (of a column, constraint, trigger, policy, rule, default).
    pub relation: Option<RelationName>,
    /// The column, where the dependency is one on a column.
    pub column: Option<String>,
}

/// That one object depends on another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Dependency {
    /// What depends.
    pub dependent: ObjectRef,
    /// On what.
    pub on: ObjectRef,
    /// `pg_depend.deptype`: `n` normal, `a` automatic, `i` internal, ...
    pub kind: String,
}

/// One statement of the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LiveQuery {
    /// Its text, normalised by the server (`$1` for constants).
    pub text: String,
    /// Who runs it.
    pub user: Option<String>,
    /// Calls in each minute since the statistics were reset.
    pub calls_per_minute: f64,
    /// Mean time in milliseconds.
    pub mean_ms: f64,
}

/// What the planner expects of a query whose rows a statement stores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryPlan {
    /// The text of the statement.
    pub statement: String,
    /// Relations that the query names.
    pub relations: Vec<RelationName>,
    /// Rows that it gives.
    pub rows: f64,
    /// Their mean width in bytes.
    pub width: f64,
    /// What it costs, in the units of the planner.
    pub cost: f64,
}

impl QueryPlan {
    /// Whether the query names a table, whose name is qualified.
    pub fn reads(&self, table: &RelationName, catalog: &Snapshot) -> bool {
        let mut found = self.relations.iter().filter_map(|name| catalog.relation(name));
        found.any(|relation| relation.name == *table)
    }
}

impl Snapshot {
    /// A catalog of which nothing is known but the server's major version.
    pub fn assumed(major: Option<u32>) -> Self {
        Self { format: FORMAT, major, search_path: vec!["public".to_owned()], ..Self::default() }
    }

    /// Whether statements of the application were counted that could not be read.
    pub fn hides_queries(&self) -> bool {
        self.unknown.iter().any(|unknown| unknown.what == LIVE_QUERIES)
    }

    /// The schema in which something without one is made: the first of the search path that is there.
    pub fn creation_schema(&self) -> Option<&String> {
        let mut there = self.search_path.iter().filter(|schema| self.schemas.contains(schema));
        there.next().or_else(|| self.search_path.first())
    }

    /// Finds a relation as the server would: in its schema, or in the first schema of the search path that has one.
    pub fn relation(&self, name: &RelationName) -> Option<&Relation> {
        let of = |schema: &str| {
            self.relations.iter().find(|relation| {
                relation.name.name == name.name && relation.name.schema.as_deref() == Some(schema)
            })
        };
        match &name.schema {
            Some(schema) => of(schema),
            None => self.search_path.iter().find_map(|schema| of(schema)),
        }
    }
}
