//! The hash of a plan: what was asked for, and where.

use crate::api::{MigrationSpec, TransactionMode};
use crate::core::plan::{DatabaseIdentity, Identity, IdentityStep};

/// Returns the plan hash of a spec, without parsing its SQL.
pub fn plan_hash(spec: &MigrationSpec, database: &DatabaseIdentity, owner_role: Option<&str>) -> String {
    let short = spec.up.iter().map(|up| IdentityStep {
        name: "step-1",
        up,
        down: spec.down.as_deref(),
        irreversible: None,
        transaction: "Auto",
        backfill: None,
    });
    let names: Vec<String> =
        (1..=spec.steps.iter().flatten().count()).map(|number| format!("step-{number}")).collect();
    let long = spec.steps.iter().flatten().zip(&names).map(|(step, number)| IdentityStep {
        name: step.name.as_deref().unwrap_or(number),
        up: step.sql.as_ref().map_or("", |sql| &sql.up),
        down: step.sql.as_ref().and_then(|sql| sql.down.as_deref()),
        irreversible: step
            .sql
            .as_ref()
            .and_then(|sql| sql.irreversible.as_ref())
            .map(|irreversible| irreversible.reason.as_str()),
        transaction: match step.sql.as_ref().map(|sql| sql.transaction).unwrap_or_default() {
            TransactionMode::Auto => "Auto",
            TransactionMode::Single => "Single",
            TransactionMode::PerStatement => "PerStatement",
        },
        backfill: step.backfill.as_ref(),
    });
    let steps = short.chain(long).collect();
    let identity = Identity {
        stream: &spec.stream,
        version: &spec.version,
        steps,
        search_path: &spec.search_path,
        owner_role,
        database,
    };
    identity.hash()
}
