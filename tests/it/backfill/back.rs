//! The way back, rows that are written meanwhile, and what holds a backfill back.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use whimbrel::core::state::{Outcome, State};

use super::{gives, quick, stage};
use crate::harness::{SOON, await_until, postgres, run};

#[test]
fn a_written_way_back_goes_over_what_was_done() -> Result<()> {
    run(async {
        let stage = stage("fill_down", 3000, true).await?;
        let fill = quick(json!({
            "table": "people", "set": {"name": "upper(name)"},
            "down": {"set": {"name": "lower(name)"}, "where": "name LIKE 'PERSON%'"},
        }));
        let steps = json!({"steps": [fill]});
        stage.applied("1", &steps).await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE name LIKE 'PERSON %'", "3000").await?;
        stage.roll_back("1", &steps, "now")?;
        stage
            .until("1", "being rolled back", |run| {
                matches!(&run.state, State::Done { outcome: Outcome::RolledBack(_), .. })
            })
            .await?;
        for database in stage.copy.iter().chain([&stage.primary]) {
            gives(database, "SELECT count(*) FROM people WHERE name = 'person ' || id", "3000").await?;
        }
        Ok(())
    })
}

#[test]
fn what_was_changed_since_is_left_and_listed() -> Result<()> {
    run(async {
        let stage = stage("fill_since", 2000, false).await?;
        let fill = quick(json!({"table": "people", "set": {"n": "7"}, "capture": true}));
        let steps = json!({"steps": [fill]});
        stage.applied("1", &steps).await?;
        stage
            .primary
            .execute("UPDATE people SET n = 8 WHERE id IN (5, 1500); DELETE FROM people WHERE id = 9")
            .await?;
        stage.roll_back("1", &steps, "now")?;
        let run = stage
            .until("1", "being rolled back", |run| {
                matches!(&run.state, State::Done { outcome: Outcome::RolledBack(_), .. })
            })
            .await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n IS NULL", "1997").await?;
        gives(
            &stage.primary,
            "SELECT string_agg(id::text, ',' ORDER BY id) FROM people WHERE n = 8",
            "5,1500",
        )
        .await?;
        let note = run.note.context("no note")?;
        ensure!(note.contains("3 rows of public.people (id = 5; 9; 1500)"), "{note}");
        Ok(())
    })
}

#[test]
fn a_trigger_keeps_rows_right_that_are_written_meanwhile() -> Result<()> {
    run(async {
        let stage = stage("fill_sync", 3000, true).await?;
        let steps = json!({"steps": [
            {"sql": {"up": "ALTER TABLE people ADD COLUMN tier text"}},
            {"backfill": {
                "table": "people", "set": {"tier": "CASE WHEN people.paid THEN 'pro' ELSE 'free' END"}, "where": "tier IS NULL",
                "sync": "Trigger", "batch": {"rows": 100, "pause": "50ms"},
                "validate": ["SELECT NOT EXISTS (SELECT FROM people WHERE tier IS NULL)"],
            }},
        ]});
        stage.migrate("1", &steps)?;
        await_until("the first rows", SOON, async || {
            gives(
                &stage.primary,
                "SELECT (count(*) > 0)::text FROM pg_trigger WHERE tgname LIKE 'whimbrel_sync%'",
                "true",
            )
            .await?;
            gives(&stage.primary, "SELECT (count(tier) > 0)::text FROM people", "true").await
        })
        .await?;
        let writes = "INSERT INTO people VALUES (900000, 'late', true, 1); UPDATE people SET tier = NULL WHERE id = 3; \
                      UPDATE people SET name = 'renamed' WHERE id = 2999";
        stage.primary.execute(writes).await?;
        stage.succeeded("1").await?;
        gives(&stage.primary, "SELECT count(*) || ' ' || count(*) FILTER (WHERE tier = CASE WHEN paid THEN 'pro' ELSE 'free' END) FROM people", "3001 3001").await?;
        let left = "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'whimbrel%') + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'whimbrel%')";
        for database in stage.copy.iter().chain([&stage.primary]) {
            gives(database, left, "0").await?;
        }
        Ok(())
    })
}

#[test]
fn a_query_of_the_plan_holds_it_back() -> Result<()> {
    run(async {
        let stage = stage("fill_throttle", 2000, false).await?;
        stage
            .primary
            .execute("SET ROLE app_owner; CREATE TABLE load (n int); INSERT INTO load VALUES (9); RESET ROLE")
            .await?;
        let mut fill = quick(json!({"table": "people", "set": {"n": "7"}, "capture": true}));
        fill["backfill"]["throttle"] = json!({"sql": "SELECT max(n) FROM load", "max": "5"});
        stage.migrate("1", &json!({"steps": [fill]}))?;
        stage
            .until("1", "being held back", |run| {
                let by = run.backfill.as_ref().and_then(|progress| progress.throttled_by.as_deref());
                by.is_some_and(|by| by.contains("throttle.sql gives 9"))
            })
            .await?;
        stage.primary.execute("UPDATE load SET n = 1").await?;
        stage.succeeded("1").await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n = 7", "2000").await
    })
}

#[test]
fn writers_are_not_disturbed_and_nothing_of_theirs_is_lost() -> Result<()> {
    run(async {
        let stage = stage("fill_writers", 4000, false).await?;
        stage.primary.execute("ALTER TABLE people ADD COLUMN hits int NOT NULL DEFAULT 0").await?;
        let mut writer = stage.primary.connect().await?;
        let writing = tokio::spawn(async move {
            let mut count = 0;
            loop {
                let id = count * 7919 % 4000 + 1;
                let one = format!("UPDATE people SET hits = hits + 1 WHERE id = {id}");
                if postgres::execute(&mut writer, &one).await.is_err() {
                    return count;
                }
                count += 1;
                if count >= 3000 {
                    return count;
                }
            }
        });
        let fill = json!({"backfill": {"table": "people", "set": {"n": "coalesce(n, 0) + 1"}, "capture": true, "batch": {"rows": 50, "pause": "0s"}}});
        stage.applied("1", &json!({"steps": [fill]})).await?;
        let count = writing.await?;
        ensure!(count == 3000, "only {count}");
        gives(&stage.primary, "SELECT sum(hits) || ' ' || sum(n) || ' ' || max(n) FROM people", "3000 4000 1")
            .await
    })
}

#[test]
fn way_back_of_a_table_without_a_key_finds_its_rows_where_they_are_now() -> Result<()> {
    run(async {
        let stage = stage("fill_place_back", 10, false).await?;
        stage
            .primary
            .execute(
                "SET ROLE app_owner; CREATE TABLE loose (a int, n int); \
                 INSERT INTO loose SELECT g FROM generate_series(1, 20000) g; RESET ROLE",
            )
            .await?;
        let fill = |filter: &str| {
            let down = json!({"set": {"n": "NULL"}, "where": filter});
            let fill = json!({"table": "loose", "set": {"n": "a * 2"}, "where": "n IS NULL", "down": down});
            json!({"steps": [quick(fill)]})
        };
        let cause = stage.refused("1", &fill("a > 0")).await?;
        ensure!(cause.message.contains("backfill.down: without a key"), "{cause:?}");
        let steps = fill("n IS NOT NULL");
        stage.applied("1", &steps).await?;
        gives(&stage.primary, "SELECT count(n) FROM loose", "20000").await?;
        stage.roll_back("1", &steps, "now")?;
        stage
            .until("1", "being rolled back", |run| {
                matches!(&run.state, State::Done { outcome: Outcome::RolledBack(_), .. })
            })
            .await?;
        gives(&stage.primary, "SELECT count(n) FROM loose", "0").await
    })
}
