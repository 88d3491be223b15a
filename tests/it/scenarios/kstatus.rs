//! The rules by which Flux, Helm and Argo CD read a status (kstatus), held against every state that was seen.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::world::condition;

/// Checks every state of every object, oldest first.
pub fn check(seen: &[(Instant, Value)]) -> Result<()> {
    let mut observed: HashMap<&str, i64> = HashMap::new();
    for (_, object) in seen {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        one(object)?;
        let now = object["status"]["observedGeneration"].as_i64().unwrap_or(-1);
        let before = observed.insert(uid, now).unwrap_or(-1);
        ensure!(
            now >= before,
            "observedGeneration went from {before} to {now}: {object}"
        );
    }
    Ok(())
}

fn one(object: &Value) -> Result<()> {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    let observed = object["status"]["observedGeneration"].as_i64();
    ensure!(observed.is_some(), "no observedGeneration: {object}");
    ensure!(observed <= Some(generation), "it is ahead of the spec: {object}");
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if observed == Some(-1) {
        ensure!(
            conditions.is_empty(),
            "conditions before anything was observed: {object}"
        );
        return Ok(());
    }
    let (ready, reconciling, stalled) = (
        condition(object, "Ready"),
        condition(object, "Reconciling"),
        condition(object, "Stalled"),
    );
    for condition in &conditions {
        let about = condition["observedGeneration"].as_i64();
        ensure!(
            about <= Some(generation),
            "a condition is ahead of the spec: {object}"
        );
        let short = condition["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty());
        ensure!(short, "a condition without a reason: {object}");
    }
    ensure!(
        ["", "True"].contains(&reconciling),
        "Reconciling={reconciling}: {object}"
    );
    ensure!(["", "True"].contains(&stalled), "Stalled={stalled}: {object}");
    match (ready, reconciling, stalled) {
        ("True", "", "") => {
            ensure!(
                object["status"]["applied"] == true,
                "Ready and not applied: {object}"
            );
            let about = conditions.iter().find(|condition| condition["type"] == "Ready");
            let about = about.and_then(|ready| ready["observedGeneration"].as_i64());
            ensure!(about == observed, "Ready is about another generation: {object}");
        }
        ("False", "", "True") | ("Unknown" | "False", "True", "") => {}
        _ => anyhow::bail!("Ready={ready} Reconciling={reconciling} Stalled={stalled}: {object}"),
    }
    Ok(())
}
