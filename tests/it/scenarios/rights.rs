//! Least privilege: what the chart grants is what the operator asks for.

use anyhow::{Result, ensure};
use serde_json::json;

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
