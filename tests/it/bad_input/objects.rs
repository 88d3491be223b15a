//! What the API server itself refuses, in words that name the field.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::stage::{Stage, without_copy};
use crate::harness::run;

#[test]
fn malformed_objects_are_refused_by_the_api_server() -> Result<()> {
    let migration = |change: Value| {
        let mut spec = json!({"databaseRef": {"name": "shop"}, "version": "1", "up": "CREATE TABLE t ()"});
        if let (Some(spec), Value::Object(change)) = (spec.as_object_mut(), change) {
            spec.extend(change);
        }
        ("Migration", spec)
    };
    let analysis = |window: &str| json!({"analysis": {"window": window, "metrics": [{"name": "m", "providerRef": {"name": "p"}, "query": "1", "threshold": {"max": "1"}}]}});
    let with_guard = |guard: Value| {
        let mut spec = without_copy("shop");
        spec["guard"] = guard;
        ("Database", spec)
    };
    let cases = [
        ("spec.analysis.window", migration(analysis("15 minutes"))),
        ("spec.analysis.window", migration(analysis("-1s"))),
        ("spec.version", migration(json!({"version": "v1"}))),
        ("spec.version", migration(json!({"version": "1.2.3.4.5"}))),
        ("spec.version", migration(json!({"version": 1}))),
        ("exactly one of up and steps", migration(json!({"steps": [{"sql": {"up": "SELECT 1"}}]}))),
        ("exactly one of up and steps", migration(json!({"up": null}))),
        ("spec.guard.maxStall", with_guard(json!({"maxStall": "soon"}))),
        ("spec.guard.maxStall", with_guard(json!({"maxStall": "0s"}))),
        ("spec.guard.lockRetryFor", with_guard(json!({"lockRetryFor": "forever"}))),
    ];
    run(async {
        let stage = Stage::new("bad_object").await?;
        for (index, (says, (kind, spec))) in cases.into_iter().enumerate() {
            let refused = stage.try_create(kind, &format!("bad-{index}"), spec.clone()).await?;
            let message = refused.err().with_context(|| format!("accepted: {spec}"))?.message;
            assert!(message.contains(says), "{says}: {message}");
        }
        stage.finish().await
    })
}
