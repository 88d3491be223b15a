//! A backfill as people see it: progress, suspension, a breach in the middle.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::world::{SOON, World, message};
use crate::harness::{await_until, run};

fn fill(analysis: Option<Value>) -> Value {
    let steps = json!([
        {"name": "add", "sql": {"up": "ALTER TABLE users ADD COLUMN fresh text"}},
        {"name": "fill", "backfill": {
            "table": "public.users", "set": {"fresh": "'x' || users.id"}, "where": "fresh IS NULL",
            "batch": {"rows": 20, "pause": "100ms"},
            "validate": ["SELECT NOT EXISTS (SELECT FROM users WHERE fresh IS NULL)"],
        }},
    ]);
    let mut spec = json!({"steps": steps});
    if let Some(analysis) = analysis {
        spec["analysis"] = analysis;
    }
    spec
}

/// Enough rows for half a minute.
async fn many(world: &World) -> Result<()> {
    let sql = "INSERT INTO users SELECT 100000 + g, 'more', true FROM generate_series(1, 5000) g";
    world.primary.execute(sql).await
}

fn done(object: &Value) -> i64 {
    object.pointer("/status/progress/backfill/rowsDone").and_then(Value::as_i64).unwrap_or_default()
}

#[test]
fn breach_in_the_middle_of_a_backfill_brings_everything_back() -> Result<()> {
    run(async {
        let world = World::new("fill_breach").await?;
        many(&world).await?;
        world.watched(None).await?;
        let _operator = world.operator().await?;
        world.migrate("fill", "1", fill(Some(world.analysis("60s")))).await?;
        let object = world.until("fill", "progress", |object| done(object) > 0).await?;
        let shown = object.pointer("/status/progress/summary").and_then(Value::as_str).unwrap_or_default();
        ensure!(shown.contains('%'), "{shown}");
        world.break_application(true);
        let object = world.stalled("fill", "RolledBack").await?;
        ensure!(message(&object).contains("error-rate"), "{}", message(&object));
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"), "the column is still there");
        let kept = "SELECT count(*) FROM whimbrel.backfills WHERE NOT finished";
        assert_eq!(world.value(kept).await?, "1", "it went on to its end");
        world.finish().await
    })
}

#[test]
fn suspended_backfill_rests_and_goes_on() -> Result<()> {
    run(async {
        let world = World::new("fill_suspend").await?;
        many(&world).await?;
        let _operator = world.operator().await?;
        world.migrate("fill", "1", fill(None)).await?;
        world.until("fill", "progress", |object| done(object) > 0).await?;
        world.edit("fill", json!({"suspend": true})).await?;
        world.reason("fill", "Suspended").await?;
        let sql = "SELECT sum(batches) FROM whimbrel.backfills";
        let before = world.value(sql).await?;
        // A batch would come ten times in a second.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(world.value(sql).await?, before);
        world.edit("fill", json!({"suspend": false})).await?;
        await_until("more batches", SOON, async || {
            ensure!(world.value(sql).await? != before, "still {before}");
            Ok(())
        })
        .await?;
        world.request("fill", "rollback", "now").await?;
        world.stalled("fill", "RolledBack").await?;
        world.finish().await
    })
}
