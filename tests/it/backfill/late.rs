//! Batches that take longer than they may, and rows that cannot be had at once.

use anyhow::Result;
use serde_json::json;

use super::{gives, quick, stage};
use crate::harness::postgres::execute;
use crate::harness::run;

#[test]
fn a_late_pass_of_a_window_is_given_the_time_that_it_takes() -> Result<()> {
    run(async {
        let stage = stage("fill_late", 8000, false).await?;
        // The first window has eight passes; the fourth meets this.
        stage
            .primary
            .execute(
                "SET ROLE app_owner; CREATE SEQUENCE turns; \
                 CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF nextval('public.turns') = 1510 THEN PERFORM pg_sleep(1); END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER stumble BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION stumble(); RESET ROLE",
            )
            .await?;
        let fill = quick(json!({"table": "people", "set": {"n": "coalesce(n, 0) + 1"}, "capture": true}));
        stage.applied("1", &json!({"steps": [fill]})).await?;
        gives(&stage.primary, "SELECT (last_value > 8000)::text FROM turns", "true").await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n = 1", "8000").await
    })
}

#[test]
fn rows_that_were_held_are_visited_until_none_is_left_in_the_batches_of_the_others() -> Result<()> {
    run(async {
        let stage = stage("fill_many_held", 400, false).await?;
        // More than one visit takes, and each slow enough that they do not fit into one batch.
        stage
            .primary
            .execute(
                "CREATE FUNCTION slowly(id bigint) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \
                 $$ BEGIN PERFORM pg_sleep(0.003); RETURN 1; END $$",
            )
            .await?;
        let mut holder = stage.primary.connect().await?;
        execute(&mut holder, "BEGIN; UPDATE people SET name = name WHERE id <= 350").await?;
        let mut fill =
            quick(json!({"table": "people", "set": {"n": "coalesce(n, 0) + slowly(id)"}, "capture": true}));
        fill["backfill"]["batch"]["rows"] = json!(50);
        let spec = json!({"steps": [fill]});
        stage.migrate("1", &spec)?;
        stage
            .until("1", "naming the rows", |run| {
                run.attempt.as_ref().is_some_and(|attempt| attempt.cause.message.contains("holds 350 rows"))
            })
            .await?;
        execute(&mut holder, "COMMIT").await?;
        stage.until("1", "having ended", |run| run.state.is_done()).await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n = 1", "400").await?;
        gives(&stage.primary, "SELECT rows_done FROM whimbrel.backfill_progress", "400").await?;
        gives(&stage.primary, "SELECT count(*) FROM whimbrel.backfill_locked", "0").await
    })
}

#[test]
fn a_row_that_was_changed_twice_comes_back_to_what_was_written_between() -> Result<()> {
    run(async {
        let stage = stage("fill_twice", 1200, false).await?;
        stage.primary.execute("UPDATE people SET n = 1").await?;
        let mut holder = stage.primary.connect().await?;
        execute(&mut holder, "BEGIN; UPDATE people SET name = name WHERE id = 1200").await?;
        let fill = quick(json!({
            "table": "people", "set": {"n": "1000"}, "where": "n < 1000", "capture": true, "validate": ["SELECT false"],
        }));
        stage.migrate("1", &json!({"steps": [fill]}))?;
        stage
            .until("1", "naming the row", |run| {
                run.attempt.as_ref().is_some_and(|attempt| attempt.cause.message.contains("holds 1 rows"))
            })
            .await?;
        // It matches again, and the sweep changes it once more.
        stage.primary.execute("UPDATE people SET n = 50 WHERE id IN (7, 700)").await?;
        execute(&mut holder, "COMMIT").await?;
        stage.until("1", "having ended", |run| run.state.is_done()).await?;
        let rows = "SELECT string_agg(n || ' ' || count, ', ' ORDER BY n) FROM (SELECT n, count(*) FROM people GROUP BY 1) c";
        gives(&stage.primary, rows, "1 1198, 50 2").await?;
        let left = "SELECT count(*) || ' ' || bool_and(changed_since) FROM whimbrel.backfill_kept";
        gives(&stage.primary, left, "2 true").await
    })
}
