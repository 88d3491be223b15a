//! Reconciles a Migration: hands what it asks for to its database's runner, and projects what the ledger says.
//!
//! Invariants: the object is read at its source before anything is done for it (the answer to a write is such a read);
//! `spec` is never written; a status that rests on what the watch told is written only if that is still all; a reconcile never
//! waits for SQL.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::client::{self, CALL_LIMIT, Error};
use super::context::{Context, PROGRESS_EVERY, STATUS_EVERY, TURN_EVERY};
use super::wishes;
use crate::api::{FIELD_MANAGER, Migration, MigrationStatus};
use crate::core::report::{self, Report};
use crate::core::state::State;
use crate::core::view::{Standing, View};
use crate::engine::clock;
use crate::postgres::ledger::RunKey;

/// Keeps an object until its run has stopped at a safe point.
pub const FINALIZER: &str = "whimbrel.dev/run";

/// How often something that is missing in the cluster is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A deletion never waits longer for a run than this.
const DELETION_LIMIT: Duration = Duration::from_mins(10);

/// One pass.
///
/// # Errors
/// Only when nothing was learned; the pass is repeated with growing pauses.
pub async fn reconcile(seen: Arc<Migration>, context: Arc<Context>) -> Result<Action, Error> {
    context.counters.reconcile();
    let namespace = seen.namespace().unwrap_or_default();
    let api: Api<Migration> = Api::namespaced(context.client.clone(), &namespace);
    let uid = seen.uid().unwrap_or_default();
    if report::settled(&seen) && !context.lost(&seen) {
        // Whatever changes it is an event of its own.
        context.forget(&uid);
        return Ok(Action::await_change());
    }
    if context.awaits_its_runner(&uid, &seen) {
        return Ok(Action::await_change());
    }
    if context.is_behind(&uid, &seen) {
        // The news of what was written comes next.
        return Ok(Action::requeue(LOOK_AGAIN));
    }
    if seen.meta().deletion_timestamp.is_none()
        && wishes::has_the_newest(&context, &seen)
        && let Some(object) = context.as_written(&uid, &seen)
        && let Some(view) =
            context.views.get(&uid).filter(|view| Some(view.generation) == seen.metadata.generation)
    {
        return project(&api, &context, (&object, Basis::Watch), &view).await;
    }
    let (found, database) =
        tokio::join!(newest(&api, &context, &seen), wishes::database_ahead(&context, &seen));
    let found = found?;
    let Some(object) = found.filter(|object| object.uid().as_deref() == Some(uid.as_str())) else {
        // Its run, if there is one, hears of it from the runner's own look at the API server.
        let mut gone = (*seen).clone();
        gone.metadata.deletion_timestamp.get_or_insert_with(|| Time(clock::now()));
        wishes::hand_over(&context, &gone, database).await?;
        context.forget(&uid);
        return Ok(Action::await_change());
    };
    if object.meta().deletion_timestamp.is_some() {
        return delete(&api, &context, &object).await;
    }
    if report::settled(&object) && !context.lost(&object) {
        // Left over where a process ended between the last word and this.
        if object.finalizers().iter().any(|name| name == FINALIZER) {
            set_finalizer(&api, &object, false).await?;
        }
        context.forget(&uid);
        return Ok(Action::await_change());
    }
    let accepted = accept(&api, &context, (&object, Basis::Source));
    let handed = wishes::hand_over(&context, &object, database);
    let (accepted, handed) = tokio::join!(accepted, handed);
    let object = accepted?;
    let view = match handed? {
        Some(view) => Arc::new(view),
        None => match context.views.get(&uid) {
            Some(view) if Some(view.generation) == object.metadata.generation => view,
            _ => return Ok(Action::await_change()),
        },
    };
    project(&api, &context, (&object, Basis::Source), &view).await
}

/// What an object was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// The API server.
    Source,
    /// The cache, which may be behind.
    Watch,
}

/// Reads an object at its source. One that has no status yet gets its first one, and the answer is read.
async fn newest(
    api: &Api<Migration>,
    context: &Context,
    seen: &Migration,
) -> Result<Option<Migration>, Error> {
    let observed = seen.status.as_ref().and_then(|status| status.observed_generation);
    // The definition's own first status says -1.
    let is_new = observed.is_none_or(|generation| generation < 0);
    if is_new && seen.meta().deletion_timestamp.is_none() {
        match accept(api, context, (seen, Basis::Watch)).await {
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            accepted => return accepted.map(Some),
        }
    }
    client::within(CALL_LIMIT, "read a Migration", api.get_opt(&seen.name_any())).await
}

/// Writes the first status of a new generation, before anything else is done for it.
async fn accept(
    api: &Api<Migration>,
    context: &Context,
    (object, basis): (&Migration, Basis),
) -> Result<Migration, Error> {
    let observed = object.status.as_ref().and_then(|status| status.observed_generation);
    if observed == object.metadata.generation {
        return Ok(object.clone());
    }
    let status = report::accepted(object, clock::now());
    let written = write(api, (object, basis), &status).await?;
    context.counters.status_write();
    context.wrote(&object.uid().unwrap_or_default(), &written);
    Ok(written)
}

/// Writes a status by server-side apply; the UID keeps it off an object of the same name.
async fn write(
    api: &Api<Migration>,
    (object, basis): (&Migration, Basis),
    status: &MigrationStatus,
) -> Result<Migration, Error> {
    let mut metadata = json!({"name": object.name_any(), "uid": object.uid()});
    if let (Basis::Watch, Some(fields)) = (basis, metadata.as_object_mut()) {
        fields.insert("resourceVersion".to_owned(), json!(object.resource_version()));
    }
    let patch = json!({
        "apiVersion": Migration::api_version(&()),
        "kind": Migration::kind(&()),
        "metadata": metadata,
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let name = object.name_any();
    client::within(
        CALL_LIMIT,
        "write the status of a Migration",
        api.patch_status(&name, &params, &Patch::Apply(&patch)),
    )
    .await
}

/// Writes what the view says, if that is news; tells of it by events.
async fn project(
    api: &Api<Migration>,
    context: &Context,
    (object, basis): (&Migration, Basis),
    view: &View,
) -> Result<Action, Error> {
    let uid = object.uid().unwrap_or_default();
    let Report { status, events } = report::report(object, view, context.lost(object), clock::now());
    let after = requeue(view);
    if object.status.as_ref() == Some(&status) {
        return Ok(after);
    }
    let final_word = report::is_final(&status);
    if !final_word && let Some(wait) = context.too_early(&uid, status_every(view)) {
        return Ok(Action::requeue(wait));
    }
    let mut basis = basis;
    if !final_word && holds_something(view) && !object.finalizers().iter().any(|name| name == FINALIZER) {
        set_finalizer(api, object, true).await?;
        // That went well only because the object was as it is here.
        basis = Basis::Source;
    }
    let written = match write(api, (object, basis), &status).await {
        Err(error) if basis == Basis::Watch && (error.is_conflict() || error.is_not_found()) => {
            context.forget_written(&uid);
            return Ok(Action::requeue(Duration::ZERO));
        }
        written => written?,
    };
    context.counters.status_write();
    context.wrote(&uid, &written);
    let progress = status.progress.as_ref().and_then(|progress| progress.backfill.as_ref());
    context.counters.backfill(&uid, progress);
    for event in events {
        context.counters.event(event.reason);
        context.events.publish(object, event).await;
    }
    if final_word && written.finalizers().iter().any(|name| name == FINALIZER) {
        set_finalizer(api, &written, false).await?;
    }
    Ok(after)
}

/// How often a status that is no last word is written.
fn status_every(view: &View) -> Duration {
    match &view.standing {
        Standing::Run(run) if run.waiting.is_none() && run.attempt.is_none() => match run.state {
            State::Planned | State::Rehearsing { .. } | State::Applying { .. } => PROGRESS_EVERY,
            _ => STATUS_EVERY,
        },
        Standing::Waiting(_) => TURN_EVERY,
        _ => STATUS_EVERY,
    }
}

/// Whether a deletion has to wait for the run.
fn holds_something(view: &View) -> bool {
    matches!(&view.standing, Standing::Run(run) if !run.state.is_done())
}

fn requeue(view: &View) -> Action {
    wishes::look_again(&view.standing).map_or_else(Action::await_change, Action::requeue)
}

async fn set_finalizer(api: &Api<Migration>, object: &Migration, wanted: bool) -> Result<(), Error> {
    let mut finalizers: Vec<String> =
        object.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {"uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": finalizers}});
    let what = "set the finalizer of a Migration";
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match client::within(CALL_LIMIT, what, api.patch(&object.name_any(), &params, &Patch::Merge(&patch)))
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A deleted object leaves once its run has stopped, or after a bounded time.
async fn delete(api: &Api<Migration>, context: &Arc<Context>, object: &Migration) -> Result<Action, Error> {
    let uid = object.uid().unwrap_or_default();
    let ours = object.finalizers().iter().any(|name| name == FINALIZER);
    if !ours {
        wishes::hand_over(context, object, None).await?;
        return Ok(Action::await_change());
    }
    let since = object.meta().deletion_timestamp.as_ref().map(|time| clock::now().duration_since(time.0));
    let too_long = since.is_some_and(|since| since.unsigned_abs() > DELETION_LIMIT);
    let stopped = context.views.get(&uid).is_some_and(|view| !holds_something(&view));
    if stopped || too_long {
        set_finalizer(api, object, false).await?;
        context.forget(&uid);
        return Ok(Action::await_change());
    }
    wishes::hand_over(context, object, None).await?;
    Ok(Action::requeue(LOOK_AGAIN))
}

/// Names an object for the queue.
pub fn object_ref(key: &RunKey) -> ObjectRef<Migration> {
    ObjectRef::new(&key.name).within(&key.namespace)
}
