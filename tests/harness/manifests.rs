//! Applying manifests the way `kubectl apply --server-side` does.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::discovery::{ApiCapabilities, ApiResource, Scope};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use super::await_until;

/// How long a new definition may take to be served.
const SERVED: Duration = Duration::from_secs(10);

/// Applies every document of a manifest (server-side, forced) with the rights of a client.
///
/// # Errors
/// When a document is not understood or refused.
pub async fn apply(client: Client, manifest: &str, namespace: Option<&str>) -> Result<Vec<DynamicObject>> {
    let mut applied = Vec::new();
    for document in serde_yaml::Deserializer::from_str(manifest) {
        let value: Value = serde::Deserialize::deserialize(document)?;
        if value.is_null() {
            continue;
        }
        let object: DynamicObject = serde_json::from_value(value)?;
        let types = object.types.clone().context("a document without apiVersion and kind")?;
        let gvk = kube::core::GroupVersionKind::try_from(&types)?;
        // A definition that was just established may not be served yet.
        let what = format!("the API server knowing {} {}", types.api_version, types.kind);
        let discover = async || Ok(kube::discovery::pinned_kind(&client, &gvk).await?);
        let (resource, capabilities) = await_until(&what, SERVED, discover).await?;
        let api = api_of(client.clone(), &object, &resource, &capabilities, namespace);
        let name = object.name_any();
        let parameters = PatchParams::apply("harness").force();
        let stored = api.patch(&name, &parameters, &Patch::Apply(&object)).await;
        applied.push(stored.with_context(|| format!("cannot apply {} {name}", types.kind))?);
    }
    Ok(applied)
}

fn api_of(
    client: Client,
    object: &DynamicObject,
    resource: &ApiResource,
    capabilities: &ApiCapabilities,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    if capabilities.scope == Scope::Cluster {
        return Api::all_with(client, resource);
    }
    let own = object.namespace();
    Api::namespaced_with(client, own.as_deref().or(namespace).unwrap_or("default"), resource)
}

/// The kind of an object; empty where it does not say.
pub fn kind_of(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

/// Custom resource definitions.
pub fn crd_resource() -> ApiResource {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    ApiResource::erase::<CustomResourceDefinition>(&())
}
