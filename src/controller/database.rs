//! Reconciles a Database: looks at it when it is new, changed, not well, or when a Migration of it has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::json;
use tracing::warn;

use super::cache;
use super::client::{self, CALL_LIMIT, Error};
use super::context::Context;
use super::resolve::{Resolver, Unresolved};
use crate::api::{Database, DatabaseStatus, FIELD_MANAGER, Migration, MigrationStatus, Reason, condition};
use crate::core::report;
use crate::core::state::Cause;
use crate::core::view::{Standing, Tokens, View};
use crate::engine::subject::{Database as Served, Desired};
use crate::engine::{clock, survey};
use crate::postgres::ledger::RunKey;

/// How often a Database is looked at again that is not well, or whose Migrations have not all ended.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How often a Database that is well is looked at while its Migrations are under way: each of them is news of it, and a look
/// costs the server two sessions.
const WHILE_BUSY: Duration = Duration::from_secs(15);

/// The same where the ledger may have lost a run.
const IN_DOUBT: Duration = Duration::from_secs(5);

/// One pass.
///
/// # Errors
/// Only when nothing was learned.
pub async fn reconcile(seen: Arc<Database>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = seen.namespace().unwrap_or_default();
    let api: Api<Database> = Api::namespaced(context.client.clone(), &namespace);
    let name = seen.name_any();
    if context.stop.is_cancelled() || !context.cached().await {
        return Ok(Action::await_change());
    }
    let mut migrations = context.migrations.state();
    let own = ObjectRef::from_obj(&*seen);
    migrations.retain(|migration| cache::database(migration) == own);
    let active = active(&migrations);
    // A run may be on the copy before its first status says so: then the copy is not looked at.
    let busy = migrations.iter().any(|migration| !migration.status.as_ref().is_some_and(report::is_final));
    let again = if busy { Action::requeue(LOOK_AGAIN) } else { Action::await_change() };
    let uid = seen.uid().unwrap_or_default();
    let since = context.since_look(&uid);
    let pause = if is_doubtful(&migrations) { IN_DOUBT } else { WHILE_BUSY };
    if let Some(since) = since.filter(|since| busy && *since < pause)
        && !is_pressing(&seen)
    {
        return Ok(Action::requeue(pause.saturating_sub(since)));
    }
    let found = client::within(CALL_LIMIT, "read a Database", api.get_opt(&name)).await?;
    let same = |object: &Database| object.uid().as_ref() == Some(&uid);
    let Some(object) = found.filter(|object| same(object) && object.meta().deletion_timestamp.is_none())
    else {
        return Ok(Action::await_change());
    };
    // A run whose object went while nobody acted has nobody else to see to it: the first look finds it.
    if since.is_some() && !due(&object, &migrations, active.as_deref(), busy) {
        return Ok(again);
    }
    context.note_look(&uid);
    let applied = migrations.iter().filter(|migration| report::settled(migration));
    let recorded: Vec<String> = applied.filter_map(|migration| applied_run(migration)).collect();
    let surveyed = match Resolver::new(context.client.clone(), &namespace).database(&object).await {
        Ok(database) => look(&context, database, (busy, &recorded), &migrations).await,
        Err(Unresolved::Cause(cause)) => Err(cause),
        Err(Unresolved::Api(error)) => return Err(error),
    };
    if let Ok(seen) = &surveyed {
        tell_lost(&context, &migrations, &seen.lost);
    }
    let status = report::database(&object, &surveyed, active.as_deref(), clock::now());
    let well = report::is_ready(&status.conditions);
    if object.status.as_ref() != Some(&status) {
        write(&api, &object, &status).await?;
        context.counters.status_write();
    }
    Ok(if well { again } else { Action::requeue(LOOK_AGAIN) })
}

/// Returns the Migration whose run is under way, as its status says.
fn active(migrations: &[Arc<Migration>]) -> Option<String> {
    let runs = |status: &MigrationStatus| status.run_id.is_some() && !report::is_final(status);
    let found = migrations.iter().find(|migration| migration.status.as_ref().is_some_and(runs));
    found.map(|migration| migration.name_any())
}

/// Looks at a database; a run that is under way there, and whose object is gone, gets a runner.
async fn look(
    context: &Arc<Context>,
    database: Served,
    (busy, recorded): (bool, &[String]),
    migrations: &[Arc<Migration>],
) -> Result<report::Surveyed, Cause> {
    let seat = context.seats.to_look().await;
    let seen = survey::survey(&database, busy, recorded).await?;
    drop(seat);
    let has_object = |uid: &String| migrations.iter().any(|one| one.uid().as_ref() == Some(uid));
    if seen.unfinished.as_ref().is_some_and(|uid| !has_object(uid)) {
        let (key, presence) = (database.name.clone(), context.presence());
        let (database, at) = (Arc::new(database), Instant::now());
        context.adopt(&key, Desired { database, subjects: Vec::new(), settled: Vec::new(), presence, at });
    }
    Ok(seen)
}

/// Writes a status by server-side apply; the UID keeps it off an object of the same name.
async fn write(api: &Api<Database>, object: &Database, status: &DatabaseStatus) -> Result<(), Error> {
    let patch = json!({
        "apiVersion": Database::api_version(&()),
        "kind": Database::kind(&()),
        "metadata": {"name": object.name_any(), "uid": object.uid()},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let name = object.name_any();
    let patch = Patch::Apply(&patch);
    let written = api.patch_status(&name, &params, &patch);
    client::within(CALL_LIMIT, "write the status of a Database", written).await?;
    Ok(())
}

/// Returns the run by which a Migration is applied, as its status says.
fn applied_run(migration: &Migration) -> Option<String> {
    let status = migration.status.as_ref().filter(|status| status.applied == Some(true))?;
    status.run_id.clone()
}

/// Tells the Migrations whose runs the ledger lost, so that they are looked at again: they were settled, and are not.
fn tell_lost(context: &Context, migrations: &[Arc<Migration>], lost: &[String]) {
    let is_lost = |migration: &Arc<Migration>| {
        let run = applied_run(migration).filter(|run| lost.contains(run))?;
        let key = RunKey {
            namespace: migration.namespace().unwrap_or_default(),
            name: migration.name_any(),
            uid: migration.uid().unwrap_or_default(),
        };
        Some((key, migration.metadata.generation.unwrap_or_default(), run))
    };
    let lost: Vec<_> = migrations.iter().filter_map(is_lost).collect();
    context.views.note_lost(lost.iter().map(|(key, _, run)| (key.clone(), run.clone())));
    for (key, generation, run) in lost {
        warn!(migration = key.name, run, "the history table does not have its run any more");
        let message = "the history table does not have its run any more; it is applied again";
        let standing = Standing::Retrying(Cause::new(Reason::LedgerRewound, message));
        context
            .views
            .publish(&key, View { generation, standing, answered: Tokens::default(), past: Vec::new() });
    }
}

/// Whether the status says something wrong of the Database itself.
fn is_pressing(object: &Database) -> bool {
    let Some(status) = &object.status else { return true };
    let changed = status.observed_generation != object.metadata.generation;
    changed || !report::is_ready(&status.conditions)
}

/// Whether the status may say something else than it should.
fn due(object: &Database, migrations: &[Arc<Migration>], active: Option<&str>, busy: bool) -> bool {
    let Some(status) = &object.status else { return true };
    if is_pressing(object) || status.active_migration.as_deref() != active {
        return true;
    }
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
    news || is_doubtful(migrations) || (!copy_known && !busy)
}

/// Whether a Migration says that the ledger lost something.
fn is_doubtful(migrations: &[Arc<Migration>]) -> bool {
    let rewound = Some(Reason::LedgerRewound.as_str());
    migrations.iter().any(|migration| migration.status.as_ref().and_then(report::reason) == rewound)
}

fn is_below(known: &str, version: &str) -> bool {
    use crate::api::Version;
    match (Version::parse(known, "known"), Version::parse(version, "version")) {
        (Ok(known), Ok(version)) => known < version,
        _ => false,
    }
}
