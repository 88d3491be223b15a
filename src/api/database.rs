//! `Database`: one PostgreSQL database, the copy where migrations run first, and the guard rails for all of them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CaSource, LocalRef, SecretSource, StringMap, conditions, short_strings};
use super::duration::DurationText;

/// What is wanted of a database.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::duplicated_attributes)] // Every printer column has a type.
#[kube(
    group = "whimbrel.dev",
    version = "v1alpha1",
    kind = "Database",
    plural = "databases",
    namespaced,
    status = "DatabaseStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "wdb",
    category = "whimbrel",
    doc = "A database whose schema is changed by Migrations, with the copy where they run first.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.replica.mode"),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.server.version"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.activeMigration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
pub struct DatabaseSpec {
    /// Kind of database server.
    #[serde(default)]
    pub engine: Engine,
    /// The database that the application uses.
    pub primary: Primary,
    /// Role that owns what migrations create; absent: the role that logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub owner_role: Option<String>,
    /// Where every migration runs first. To go without a copy, say `mode: None`.
    pub replica: Replica,
    /// Physical standbys that serve readers, by name. Before a step locks readers out of a table, it waits for those of them
    /// that have read from it for long; afterwards it waits for the replay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map"))]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]))]
    pub standbys: Vec<Standby>,
    /// What the application may feel of a migration.
    #[serde(default)]
    #[x_kube(validation = Rule::new("duration(self.maxStall) > duration('0s')")
        .message("maxStall must be more than 0s").field_path(".maxStall"))]
    #[x_kube(validation = Rule::new("!has(self.statementTimeout) || duration(self.statementTimeout) > duration('0s')")
        .message("statementTimeout must be more than 0s").field_path(".statementTimeout"))]
    #[x_kube(validation = Rule::new("duration(self.maxReplicationLag) > duration('0s')")
        .message("maxReplicationLag must be more than 0s").field_path(".maxReplicationLag"))]
    pub guard: Guard,
    /// When something committed counts as done.
    #[serde(default)]
    pub durability: Durability,
    /// What migrations of this database may do.
    #[serde(default)]
    pub policy: Policy,
    /// Set for a database that was there before: versions up to this one count as applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// Kind of database server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Engine {
    /// PostgreSQL.
    #[default]
    Postgres,
}

/// How to reach the primary: exactly one of a URL and a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.urlFrom) != has(self.connection)",
    "exactly one of urlFrom and connection is required"
))]
pub struct Primary {
    /// Where the connection URL (`postgres://...`) comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretSource>,
    /// The connection in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Encryption of the connection; absent: `VerifyFull` with the CA certificates of the operator's system. A URL
    /// may ask for more, never for less: a weaker `sslmode` in it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// A connection in parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Host name or IP address.
    #[schemars(regex(pattern = r"^[^\s/@?#,]+$"), length(max = 253))]
    pub host: String,
    /// TCP port.
    #[serde(default = "postgres_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Where the user name comes from.
    pub username_from: SecretSource,
    /// Where the password comes from.
    pub password_from: SecretSource,
}

fn postgres_port() -> u16 {
    5432
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: postgres_port(),
            database: String::new(),
            username_from: SecretSource::default(),
            password_from: SecretSource::default(),
        }
    }
}

/// Encryption of a PostgreSQL connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "!has(self.caFrom) || self.mode in ['VerifyCA', 'VerifyFull']",
        "caFrom has an effect only with mode VerifyCA or VerifyFull"
    ),
    validation = (
        "!has(self.clientCertificateSecretRef) || self.mode != 'Disable'",
        "clientCertificateSecretRef has no effect with mode Disable"
    )
)]
pub struct Tls {
    /// How strictly the server is checked.
    #[serde(default)]
    pub mode: TlsMode,
    /// CA certificates that vouch for the server; absent: those of the operator's system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<CaSource>,
    /// Secret of type `kubernetes.io/tls` whose `tls.crt` and `tls.key` the operator shows to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<LocalRef>,
}

/// How strictly a server is checked, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// No encryption.
    Disable,
    /// Encryption, but anybody may be the server.
    Require,
    /// The certificate must be signed by a known CA.
    VerifyCA,
    /// The certificate must also name the host.
    #[default]
    VerifyFull,
}

/// The copy where every migration runs first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.existing) == (self.mode == 'Existing')",
    "existing is required with mode Existing, and not allowed otherwise"
))]
pub struct Replica {
    /// Which kind of copy there is.
    pub mode: ReplicaMode,
    /// The copy, with mode `Existing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
}

/// Which kind of copy there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReplicaMode {
    /// A writable copy that somebody refreshes.
    Existing,
    /// No copy: migrations reach the primary without having run anywhere.
    #[default]
    None,
}

/// A writable copy that somebody refreshes: exactly one of a URL and a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.urlFrom) != has(self.connection)",
    "exactly one of urlFrom and connection is required"
))]
pub struct Existing {
    /// Where the connection URL (`postgres://...`) comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretSource>,
    /// The connection in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Encryption of the connection; absent: `VerifyFull`, as for the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How a rehearsal is kept apart from the next one.
    #[serde(default)]
    pub isolation: Isolation,
}

/// How a rehearsal is kept apart from the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// Runs in the copy itself, and undoes what it did.
    #[default]
    InPlace,
}

/// A physical standby of the primary. It is looked at, and nothing is ever changed there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standby {
    /// Name, for messages.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub name: String,
    /// Where the connection URL (`postgres://...`) comes from. It is encrypted as the primary's is.
    pub url_from: SecretSource,
}

/// What the application may feel of a migration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Guard {
    /// Longest time that a transaction may wait for locks and hold them, in all.
    pub max_stall: DurationText,
    /// How long attempts that did not get their locks are repeated before the migration is stalled.
    pub lock_retry_for: DurationText,
    /// Longest time of a statement that blocks nobody; absent: three times the rehearsed time, at least 5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<DurationText>,
    /// Longest time that a standby may lag before a step that locks readers out, and that is waited for its replay afterwards.
    pub max_replication_lag: DurationText,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            max_stall: "250ms".into(),
            lock_retry_for: "30m".into(),
            statement_timeout: None,
            max_replication_lag: "10s".into(),
        }
    }
}

/// When something committed counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Durability {
    /// When the server says so, as it is configured.
    #[default]
    ServerDefault,
    /// When a synchronous standby has applied it, so that a failover cannot lose it.
    RemoteApply,
}

/// What migrations of this database may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    /// The least reversibility that a plan must have.
    pub min_reversibility: Reversibility,
    /// Whether a version below the current one of its stream may still be applied.
    pub out_of_order: OutOfOrder,
}

/// How far a plan can come back, worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Reversibility {
    /// At least one step cannot be undone.
    #[default]
    ForwardOnly,
    /// Everything can be undone; data written since is put aside, not lost.
    ReversibleWithArchive,
    /// Everything can be undone, and nothing is put aside.
    Reversible,
}

/// Whether lower versions may follow higher ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutOfOrder {
    /// A lower version is refused.
    #[default]
    Deny,
    /// A lower version is applied.
    Allow,
}

/// The state of a database that was there before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// Versions up to this one count as applied.
    #[schemars(regex(pattern = r"^[0-9]{1,18}(\.[0-9]{1,9}){0,3}$"), length(max = 48))]
    pub version: String,
}

/// What was observed of a database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct DatabaseStatus {
    /// The `metadata.generation` that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Connected`, `Privileged`, `ReplicaUsable`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The server, as pinned at first contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerStatus>,
    /// Current version of each stream.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    #[schemars(schema_with = "short_strings")]
    pub current_versions: StringMap,
    /// Version of the history table's own layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger_version: Option<i32>,
    /// Name of the Migration that has a run now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub active_migration: Option<String>,
}

/// The server behind a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Version, as in `15.14`.
    #[schemars(length(max = 64))]
    pub version: String,
    /// System identifier: the same on a primary and on all its physical copies. A string, because it has 64 bits.
    #[schemars(length(max = 20))]
    pub system_identifier: String,
    /// Timeline: goes up with every failover.
    pub timeline: i64,
    /// Whether the server is a standby.
    pub in_recovery: bool,
}
