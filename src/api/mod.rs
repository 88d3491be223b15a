//! Wire types of `whimbrel.dev/v1alpha1`, one file per kind: serde, schema, CEL; no logic, no client.
//!
//! Pure. What the API server checks by schema and CEL is checked again by [`validate`], because an object may be
//! older than the rules, or come from a file and no API server at all.
//!
//! Conventions of the wire types:
//! - A field that does nothing yet is not in the schema.
//! - Durations, decimals and versions are strings with a pattern; they are parsed by [`DurationText`],
//!   [`DecimalText`] and [`Version`], never while the object is read: a bad value must not hide the object.
//! - Unions are structs of optional fields with an exactly-one rule.
//! - Defaults stand in the schema, but never below a list (see [`crd`]).

pub mod analysis;
pub mod backfill;
pub mod bytes;
pub mod common;
pub mod crd;
pub mod database;
pub mod decimal;
pub mod duration;
pub mod metrics_provider;
pub mod migration;
pub mod migration_status;
pub mod plan_status;
pub mod problem;
pub mod reasons;
mod text;
pub mod validate;
pub mod version;

pub use analysis::{
    Analysis, Breach, Metric, MetricGuard, MetricMode, OnNoData, OnUnknown, OnUnknownAction, ProviderKind,
    ProviderRef, Reduce, Threshold,
};
pub use backfill::{Backfill, BackfillDown, BackfillSync, Batch, Throttle};
pub use bytes::BytesText;
pub use common::{CaSource, ConfigMapKeyRef, LocalRef, SecretKeyRef, SecretSource};
pub use crd::{crds, print};
pub use database::{
    Baseline, Connection, Database, DatabaseSpec, DatabaseStatus, Durability, Engine, Existing, Guard,
    Isolation, OutOfOrder, Policy, Primary, Replica, ReplicaMode, Reversibility, ServerStatus, Standby, Tls,
    TlsMode,
};
pub use decimal::DecimalText;
pub use duration::DurationText;
pub use metrics_provider::{
    Basic, Header, HttpAuth, HttpTls, MetricsProvider, MetricsProviderSpec, MetricsProviderStatus, Prometheus,
};
pub use migration::{
    Irreversible, Migration, MigrationSpec, OnBreach, Rollback, SqlStep, Step, TransactionMode,
};
pub use migration_status::{
    AnalysisStatus, BackfillProgress, Blocker, HistoryEntry, LockStatus, MetricStatus, MigrationStatus,
    Outcome, Phase, Progress, RehearsalStatus, RehearsedBackfill, RehearsedStep, RoundTrip, SampleStatus,
    Verdict, VerdictCounts,
};
pub use plan_status::{EstimateStatus, Finding, PlanStatus, PlannedStep, Risk, Severity};
pub use problem::FieldProblem;
pub use reasons::{Reason, condition};
pub use version::Version;

/// API group of every kind.
pub const GROUP: &str = "whimbrel.dev";
/// API version of every kind.
pub const VERSION: &str = "v1alpha1";
/// Field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "whimbrel";
/// Annotation with a one-shot token that asks for a reconcile now.
pub const RECONCILE_REQUESTED_AT: &str = "whimbrel.dev/reconcile-requested-at";
/// Annotation with a one-shot token that asks for another run of a plan that failed.
pub const RETRY_REQUESTED_AT: &str = "whimbrel.dev/retry-requested-at";
/// Annotation with a one-shot token that asks to stop the run and undo what it did.
pub const ABORT_REQUESTED_AT: &str = "whimbrel.dev/abort-requested-at";
/// Annotation with a one-shot token that asks to undo an applied migration.
pub const ROLLBACK_REQUESTED_AT: &str = "whimbrel.dev/rollback-requested-at";
