//! Reconciles a Database: looks at it when it is new, changed, not well, or when a Migration of it has ended.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::client::{self, CALL_LIMIT, Error};
use super::context::Context;
use super::resolve::{Resolver, Unresolved};
use crate::api::{Database, FIELD_MANAGER, Migration, RECONCILE_REQUESTED_AT, condition};
use crate::core::report;
use crate::engine::{clock, survey};

/// How often a database that is not well is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// One pass.
///
/// # Errors
/// Only when nothing was learned.
pub async fn reconcile(seen: Arc<Database>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = seen.namespace().unwrap_or_default();
    let api: Api<Database> = Api::namespaced(context.client.clone(), &namespace);
    let name = seen.name_any();
    let Some(object) = client::within(CALL_LIMIT, "read a Database", api.get_opt(&name)).await? else {
        return Ok(Action::await_change());
    };
    if object.meta().deletion_timestamp.is_some() || context.stop.is_cancelled() {
        return Ok(Action::await_change());
    }
    if context.migrations.wait_until_ready().await.is_err() {
        return Ok(Action::await_change());
    }
    let migrations: Vec<Arc<Migration>> = context
        .migrations
        .state()
        .into_iter()
        .filter(|migration| {
            migration.namespace().as_deref() == Some(&namespace) && migration.spec.database_ref.name == name
        })
        .collect();
    let active = migrations
        .iter()
        .find(|migration| {
            migration
                .status
                .as_ref()
                .is_some_and(|status| status.run_id.is_some() && !report::is_final(status))
        })
        .map(|migration| migration.name_any());
    // A run may be on the copy before its first status says so: then the copy is not looked at.
    let busy = migrations.iter().any(|migration| !migration.status.as_ref().is_some_and(report::is_final));
    if !due(&object, &migrations, active.as_deref(), busy) {
        return Ok(Action::await_change());
    }
    let surveyed = match Resolver::new(context.client.clone(), &namespace).database(&object).await {
        Ok(database) => survey::survey(&database, busy).await,
        Err(Unresolved::Cause(cause)) => Err(cause),
        Err(Unresolved::Api(error)) => return Err(error),
    };
    let status = report::database(&object, &surveyed, active.as_deref(), clock::now());
    let well = report::is_ready(&status.conditions);
    if object.status.as_ref() != Some(&status) {
        let patch = json!({
            "apiVersion": Database::api_version(&()),
            "kind": Database::kind(&()),
            "metadata": {"name": name, "uid": object.uid()},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        client::within(
            CALL_LIMIT,
            "write the status of a Database",
            api.patch_status(&name, &params, &Patch::Apply(&patch)),
        )
        .await?;
        context.counters.status_write();
    }
    Ok(if well { Action::await_change() } else { Action::requeue(LOOK_AGAIN) })
}

/// Whether the status may say something else than it should.
fn due(object: &Database, migrations: &[Arc<Migration>], active: Option<&str>, busy: bool) -> bool {
    let Some(status) = &object.status else { return true };
    if status.observed_generation != object.metadata.generation
        || status.active_migration.as_deref() != active
    {
        return true;
    }
    let ready = status.conditions.iter().any(|one| one.type_ == condition::READY && one.status == "True");
    let asked = object.annotations().contains_key(RECONCILE_REQUESTED_AT) && !ready;
    let news = migrations.iter().filter_map(|migration| migration.status.as_ref()).any(|migration| {
        let (Some(stream), Some(version)) = (&migration.stream, &migration.to_version) else {
            return false;
        };
        let known = status.current_versions.get(stream);
        let version = crate::core::compile::canonical_version(version);
        match migration.applied {
            Some(true) => known.is_none_or(|known| is_below(known, &version)),
            _ => known == Some(&version),
        }
    });
    let copy_known = status.conditions.iter().any(|one| one.type_ == condition::REPLICA_USABLE);
    !ready || asked || news || (!copy_known && !busy)
}

fn is_below(known: &str, version: &str) -> bool {
    use crate::api::Version;
    match (Version::parse(known, "known"), Version::parse(version, "version")) {
        (Ok(known), Ok(version)) => known < version,
        _ => false,
    }
}
