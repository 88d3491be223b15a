//! What may be edited, and when.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{api, object, server};
use crate::harness::run;

/// Edits of each field, by name.
fn edits() -> Vec<(&'static str, Value)> {
    let metric = json!({"name": "m", "providerRef": {"name": "p"}, "query": "up", "threshold": {"max": "1"}});
    let sql = |up: &str, down: Option<&str>| json!([{"name": "a", "sql": {"up": up, "down": down}}]);
    vec![
        ("databaseRef", json!({"databaseRef": {"name": "other"}})),
        ("stream", json!({"stream": "other"})),
        ("version", json!({"version": "2"})),
        ("searchPath", json!({"searchPath": ["other"]})),
        ("up", json!({"up": "SELECT 3", "steps": null})),
        ("down", json!({"down": "SELECT 3", "up": "SELECT 1", "steps": null})),
        ("down gone", json!({"down": null, "up": "SELECT 1", "steps": null})),
        ("steps", json!({"steps": sql("SELECT 3", None), "up": null, "down": null})),
        ("steps.down", json!({"steps": sql("SELECT 1", Some("SELECT 3")), "up": null, "down": null})),
        ("analysis", json!({"analysis": {"metrics": [metric]}})),
        ("rollback", json!({"rollback": {"onBreach": "Pause"}})),
        ("suspend", json!({"suspend": true})),
    ]
}

/// Makes an object, says in its status whether it is applied, and returns the names of the fields that may be edited.
async fn editable(
    api: &Api<DynamicObject>,
    base: &Value,
    applied: Option<bool>,
) -> Result<Vec<&'static str>> {
    let name =
        format!("edited-{}-{}", base.get("up").is_some(), applied.map_or("new".into(), |is| is.to_string()));
    api.create(&PostParams::default(), &object("Migration", &name, base)).await?;
    if let Some(applied) = applied {
        let status = json!({"status": {"observedGeneration": 1, "applied": applied}});
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    }
    let mut editable = Vec::new();
    for (field, edit) in edits() {
        let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
        match api.patch(&name, &parameters, &Patch::Merge(json!({"spec": edit}))).await {
            Ok(_) => editable.push(field),
            Err(kube::Error::Api(status)) => {
                let words = "cannot be changed while the migration is applied";
                ensure!(status.message.contains(words), "{field}: {}", status.message);
                ensure!(status.message.contains("spec."), "names no field: {}", status.message);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(editable)
}

#[test]
fn what_was_applied_cannot_be_edited() -> Result<()> {
    run(async {
        let server = server().await?;
        let namespace = server.namespace("crds").await?;
        let api = api(server.admin().await?, "Migration", &namespace);
        let short =
            json!({"databaseRef": {"name": "shop"}, "version": "1", "up": "SELECT 1", "down": "SELECT 2"});
        let steps = json!([{"name": "a", "sql": {"up": "SELECT 1"}}]);
        let long = json!({"databaseRef": {"name": "shop"}, "version": "1", "steps": steps});
        for base in [short, long] {
            for applied in [None, Some(false)] {
                assert_eq!(editable(&api, &base, applied).await?.len(), 12, "{base}, applied: {applied:?}");
            }
            assert_eq!(
                editable(&api, &base, Some(true)).await?,
                ["analysis", "rollback", "suspend"],
                "{base}"
            );
        }
        Ok(())
    })
}
