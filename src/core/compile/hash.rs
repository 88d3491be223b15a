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
    });
    let names: Vec<String> =
        (1..=spec.steps.iter().flatten().count()).map(|number| format!("step-{number}")).collect();
    let long = spec.steps.iter().flatten().zip(&names).map(|(step, number)| IdentityStep {
        name: step.name.as_deref().unwrap_or(number),
        up: &step.sql.up,
        down: step.sql.down.as_deref(),
        irreversible: step.sql.irreversible.as_ref().map(|irreversible| irreversible.reason.as_str()),
        transaction: match step.sql.transaction {
            TransactionMode::Auto => "Auto",
            TransactionMode::Single => "Single",
            TransactionMode::PerStatement => "PerStatement",
        },
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
