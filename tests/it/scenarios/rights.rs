//! Least privilege: what the chart grants is what the operator asks for.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::world::{SOON, World, condition, message};
use crate::harness::{await_until, run};
use crate::rbac;

/// What the account is called in `deploy/base`.
const MANIFEST: &str = include_str!("../../../deploy/base/operator.yaml");

#[test]
fn every_right_is_used_and_none_is_missing() -> Result<()> {
    run(async {
        let world = World::new("rights").await?.with_short_lease();
        world.watched(None).await?;
        let _operator = world.operator().await?;

        // A private authority in a ConfigMap, for a server that has no TLS: it is read, and the Database says why not.
        let authority = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority"},
            "data": {"ca.crt": crate::harness::tls::Authority::new("rights")?.certificate()},
        });
        let database = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Database", "metadata": {"name": "verified"},
            "spec": {
                "engine": "Postgres", "replica": {"mode": "None"},
                "primary": {
                    "urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "uri"}},
                    "tls": {"mode": "VerifyFull", "caFrom": {"configMapKeyRef": {"name": "authority", "key": "ca.crt"}}},
                },
            },
        });
        world.server.apply(&format!("{authority}\n---\n{database}"), Some(&world.namespace)).await?;

        // A watch, a way back, and the same failure twice: finalizers, all statuses, events and a repeated event.
        let watched =
            json!({"up": "ALTER TABLE users ADD COLUMN tier text", "analysis": world.analysis("4s")});
        world.migrate("watched", "1", watched).await?;
        world.ready("watched").await?;
        let fails = json!({"up": "ALTER TABLE users ADD CONSTRAINT nobody_one CHECK (id > 1)"});
        world.migrate("fails", "2", fails).await?;
        for token in ["once", "twice"] {
            let object = world.stalled("fails", "ApplyFailed").await?;
            ensure!(message(&object).contains("nobody_one"), "{}", message(&object));
            world.request("fails", "retry", token).await?;
            let answered = |object: &serde_json::Value| {
                object["status"]["lastHandledRetryAt"] == token && condition(object, "Stalled") == "True"
            };
            world.until("fails", "retried", answered).await?;
        }
        await_until("every right being used", SOON, async || {
            let user = format!("system:serviceaccount:{}:whimbrel", world.namespace);
            rbac::least(MANIFEST, "whimbrel", &world.namespace, &world.server.requests_of(&user)?)
        })
        .await?;
        world.finish().await
    })
}

#[test]
fn with_roles_in_one_namespace_it_works_there_and_looks_nowhere_else() -> Result<()> {
    run(async {
        let mut world = World::new("roles").await?;
        let (server, system) = (world.server, world.server.namespace("system").await?);
        let overlay = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/overlays/namespaces");
        let manifest = server
            .kubectl(&["kustomize", overlay])?
            .replace("whimbrel-system", &system)
            .replace("namespace: shop\n", &format!("namespace: {}\n", world.namespace));
        ensure!(!manifest.contains("kind: ClusterRoleBinding"), "rights in the whole cluster:\n{manifest}");
        assert_eq!(rbac::granted(&manifest, "whimbrel"), rbac::granted(MANIFEST, "whimbrel"));
        world.options.kubeconfig = server.kubeconfig_of(&manifest, &system).await?;
        world.options.environment.push(("POD_NAMESPACE".to_owned(), system.clone()));

        let elsewhere = server.namespace("elsewhere").await?;
        let migration = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Migration", "metadata": {"name": "tier"},
            "spec": {"databaseRef": {"name": "shop"}, "version": "1", "up": "CREATE TABLE tiers ()"},
        });
        server.apply(&migration.to_string(), Some(&elsewhere)).await?;
        let _operator = world.operator().await?;
        world.migrate("tier", "1", json!({"up": "ALTER TABLE users ADD COLUMN tier text"})).await?;
        world.ready("tier").await?;

        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("whimbrel.dev", "v1alpha1", "Migration"));
        let others: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &elsewhere, &kind);
        assert_eq!(others.get("tier").await?.data["status"], json!({"observedGeneration": -1}));
        let user = format!("system:serviceaccount:{system}:whimbrel");
        let asked = server.requests_of(&user)?;
        assert_eq!(rbac::used(&asked, &user).1, BTreeSet::new(), "asked for and refused");
        let namespaces: BTreeSet<&str> = asked.iter().filter_map(namespace_asked).collect();
        assert_eq!(namespaces, BTreeSet::from([system.as_str(), world.namespace.as_str()]));
        world.finish().await
    })
}

/// The namespace of a request for objects; empty where it was for those of the whole cluster.
fn namespace_asked(event: &Value) -> Option<&str> {
    let object = event.get("objectRef").filter(|object| object.get("resource").is_some())?;
    Some(object["namespace"].as_str().unwrap_or_default())
}
