//! What a plan will do stands in its status before anything else, and dangerous statements are told as events.

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::world::{SOON, World};
use crate::harness::{await_until, run};

/// Notes of the events about an object, with their reasons.
async fn events(world: &World, name: &str) -> Result<Vec<(String, String)>> {
    let gvk = GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
    let api: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::from_gvk(&gvk));
    let text = |event: &DynamicObject, key: &str| event.data[key].as_str().unwrap_or_default().to_owned();
    let all = api.list(&ListParams::default()).await?;
    let mine = all.items.iter().filter(|event| event.data["regarding"]["name"] == name);
    Ok(mine.map(|event| (text(event, "reason"), text(event, "note"))).collect())
}

#[test]
fn plan_is_foreseen_in_status_and_dangers_are_told() -> Result<()> {
    run(async {
        let world = World::new("foresight").await?;
        world
            .primary
            .execute("SET ROLE app_owner; CREATE VIEW named AS SELECT id, paid FROM users; RESET ROLE; ANALYZE users")
            .await?;
        let _operator = world.operator().await?;
        let steps = json!([
            {"name": "tier", "sql": {"up": "ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'"}},
            {"name": "known", "sql": {"up": "ALTER TABLE users ADD CONSTRAINT tier_known CHECK (tier IN ('free', 'pro'))"}},
            {"name": "index", "sql": {"up": "CREATE INDEX CONCURRENTLY users_tier ON users (tier)"}},
            {"name": "drop", "sql": {
                "up": "ALTER TABLE users DROP COLUMN name", "irreversible": {"reason": "nobody reads it"},
            }},
        ]);
        world.migrate("tier", "1", json!({"steps": steps})).await?;
        let object = world.ready("tier").await?;

        let plan = &object["status"]["plan"];
        assert_eq!(
            (&plan["risk"], &plan["reversibility"]),
            (&json!("High"), &json!("ForwardOnly")),
            "{plan}"
        );
        let summary = plan["summary"].as_str().unwrap_or_default();
        ensure!(summary.starts_with("Risk High · ForwardOnly · 4 units"), "{summary}");
        let column = |key: &str| -> Vec<Value> {
            plan["steps"].as_array().into_iter().flatten().map(|step| step[key].clone()).collect()
        };
        let modes = ["ACCESS EXCLUSIVE", "ACCESS EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "ACCESS EXCLUSIVE"];
        assert_eq!(column("lock"), modes.map(Value::from), "{plan}");
        assert_eq!(column("scan"), [false, true, true, false].map(Value::from), "{plan}");
        assert_eq!(column("rewrite"), [false; 4].map(Value::from), "{plan}");
        assert_eq!(plan["steps"][0]["locks"], json!([{"relation": "public.users", "mode": modes[0]}]));
        ensure!(plan["steps"][1]["estimate"]["basis"] == "Catalog", "{plan}");
        let found = plan["findings"].as_array().cloned().unwrap_or_default();
        let of = |step: &str| found.iter().filter(|finding| finding["step"] == step).collect::<Vec<_>>();
        ensure!(of("drop").iter().any(|finding| finding["severity"] == "High"), "{plan}");
        ensure!(
            of("known")
                .iter()
                .any(|finding| { finding["safeForm"].as_str().is_some_and(|sql| sql.contains("NOT VALID")) }),
            "{plan}"
        );

        let high = found.iter().filter(|finding| finding["severity"] == "High").count();
        await_until("an event for each danger", SOON, async || {
            let told = events(&world, "tier").await?;
            let dangers: Vec<_> = told.iter().filter(|(reason, _)| reason == "DangerousStatement").collect();
            ensure!(dangers.len() == high && high > 0, "{high} findings, {told:?}");
            ensure!(dangers.iter().any(|(_, note)| note.contains("in step drop:1:1")), "{told:?}");
            Ok(())
        })
        .await?;

        let whole = "SELECT (plan -> 'preview' ->> 'risk') || ' ' || jsonb_array_length(plan -> 'preview' -> 'statements') FROM whimbrel.runs";
        assert_eq!(world.value(whole).await?, "High 4", "the whole plan is in the ledger");
        world.finish().await
    })
}

#[test]
fn after_a_rehearsal_the_estimate_rests_on_it() -> Result<()> {
    run(async {
        let world = World::with_copy("foresight_copy").await?;
        let copy = world.copy.as_ref().context("a copy")?;
        // The check takes its time, whatever there is to read: only who measured it knows.
        let slow = "SET ROLE app_owner; CREATE FUNCTION slow(bigint) RETURNS boolean LANGUAGE plpgsql \
             AS 'BEGIN IF $1 = 7 THEN PERFORM pg_sleep(0.6); END IF; RETURN true; END'; RESET ROLE; ANALYZE users";
        for database in [&world.primary, copy] {
            database.execute(slow).await?;
        }
        let _operator = world.operator().await?;
        let steps = json!([
            {"name": "tier", "sql": {"up": "ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'"}},
            {"name": "known", "sql": {"up": "ALTER TABLE users ADD CONSTRAINT slow CHECK (slow(id)) NOT VALID"}},
            {"name": "valid", "sql": {"up": "ALTER TABLE users VALIDATE CONSTRAINT slow"}},
            {"name": "paid", "sql": {"up": "CREATE TABLE payers AS SELECT * FROM users WHERE paid"}},
        ]);
        world.migrate("tier", "1", json!({"steps": steps})).await?;
        let object = world.ready("tier").await?;
        let plan = &object["status"]["plan"];
        let steps = plan["steps"].as_array().cloned().unwrap_or_default();
        let bases: Vec<&Value> = steps.iter().map(|step| &step["estimate"]["basis"]).collect();
        assert_eq!(bases, [&json!("Rehearsed"); 4], "{plan}");
        let took = steps.get(2).map(|step| step["estimate"]["duration"].clone()).unwrap_or_default();
        let took = took.as_str().unwrap_or_default();
        let ms: u64 =
            took.strip_suffix("ms").and_then(|ms| ms.parse().ok()).context(format!("{took}: {plan}"))?;
        ensure!((590..5000).contains(&ms), "{took}: {plan}");
        ensure!(plan["summary"].as_str().is_some_and(|line| line.starts_with("Risk ")), "{plan}");

        let stored = "SELECT string_agg(one ->> 'basis', ' ') FROM whimbrel.runs, \
             jsonb_array_elements(rehearsal -> 'prediction' -> 'statements') one";
        assert_eq!(world.value(stored).await?, "Rehearsed Rehearsed Rehearsed Rehearsed");
        let foreseen = "SELECT string_agg(one -> 'estimate' ->> 'basis', ' ') FROM whimbrel.runs, \
             jsonb_array_elements(plan -> 'preview' -> 'statements') one";
        assert_eq!(world.value(foreseen).await?, "Catalog Catalog Catalog Catalog", "what was stored stays");
        world.finish().await
    })
}

#[test]
fn wrong_plan_names_line_and_column() -> Result<()> {
    run(async {
        let world = World::new("foresight_wrong").await?;
        let _operator = world.operator().await?;
        let up = "ALTER TABLE users ADD COLUMN tier text;\nALTER TABEL users ADD COLUMN other text";
        world.migrate("wrong", "1", json!({"up": up})).await?;
        let object = world.stalled("wrong", "SqlRefused").await?;
        let valid = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "PlanValid")
            .cloned()
            .unwrap_or_default();
        assert_eq!((&valid["status"], &valid["reason"]), (&json!("False"), &json!("SqlRefused")), "{object}");
        ensure!(valid["message"].as_str().is_some_and(|text| text.contains("spec.up:2:7")), "{valid}");
        world.finish().await
    })
}
