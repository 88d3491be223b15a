//! Reconciles a `MetricsProvider`: asks it something that every server can answer.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::client::{self, CALL_LIMIT, Error};
use super::context::Context;
use super::resolve::{Resolver, Unresolved};
use crate::api::{FIELD_MANAGER, MetricsProvider, Reason};
use crate::core::analysis::{Failure, Reading};
use crate::core::report;
use crate::core::state::Cause;
use crate::engine::clock;

/// How often a provider that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// One pass.
///
/// # Errors
/// Only when nothing was learned.
pub async fn reconcile(seen: Arc<MetricsProvider>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = seen.namespace().unwrap_or_default();
    let api: Api<MetricsProvider> = Api::namespaced(context.client.clone(), &namespace);
    let name = seen.name_any();
    let Some(object) = client::within(CALL_LIMIT, "read a MetricsProvider", api.get_opt(&name)).await? else {
        return Ok(Action::await_change());
    };
    let ready = object.status.as_ref().is_some_and(|status| {
        status.observed_generation == object.metadata.generation && report::is_ready(&status.conditions)
    });
    if ready || object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let asked = match Resolver::new(context.client.clone(), &namespace).provider(&object).await {
        Ok(provider) => match provider.read("vector(1)", clock::now()).await {
            Reading::Value(_) => Ok(()),
            Reading::Error(Failure::Unreachable, message) => {
                Err(Cause::new(Reason::ProviderUnreachable, message))
            }
            Reading::Error(_, message) => Err(Cause::new(Reason::ProviderUnreachable, message)),
            other => {
                Err(Cause::new(Reason::ProviderUnreachable, format!("it answers vector(1) with {other:?}")))
            }
        },
        Err(Unresolved::Cause(cause)) => Err(cause),
        Err(Unresolved::Api(error)) => return Err(error),
    };
    let status = report::provider(&object, &asked, clock::now());
    if object.status.as_ref() != Some(&status) {
        let patch = json!({
            "apiVersion": MetricsProvider::api_version(&()),
            "kind": MetricsProvider::kind(&()),
            "metadata": {"name": name, "uid": object.uid()},
            "status": status,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let what = "write the status of a MetricsProvider";
        client::within(CALL_LIMIT, what, api.patch_status(&name, &params, &Patch::Apply(&patch))).await?;
        context.counters.status_write();
    }
    Ok(if asked.is_ok() { Action::await_change() } else { Action::requeue(ASK_AGAIN) })
}
