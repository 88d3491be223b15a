//! What batches read: their own rows, whatever the server's statistics say and however large the table is.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::stage;
use crate::guard::stage::Stage;
use crate::harness::postgres::{Database, execute};
use crate::harness::{SOON, await_until, run};

const ROWS: u64 = 20_000;

/// So many rows of the table were read so far, by whom that has gone.
async fn read(database: &Database) -> Result<u64> {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    await_until("the sessions' end", SOON, async || super::gives(database, others, "0").await).await?;
    let read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'people'";
    Ok(database.value(read).await?.parse()?)
}

/// A table of which the statistics say that no row matches, and all do.
async fn stale(name: &str, rows: u64, index: &str) -> Result<Stage> {
    let stage = stage(name, 0, false).await?;
    let rows = |n| {
        format!("INSERT INTO people SELECT g, 'person ' || g, true, {n} FROM generate_series(1, {rows}) g")
    };
    let (before, now) = (rows(0), rows(2));
    stage
        .primary
        .execute(&format!(
            "SET ROLE app_owner; ALTER TABLE people SET (autovacuum_enabled = off); {index}; \
             {before}; ANALYZE people; TRUNCATE people; {now}; RESET ROLE"
        ))
        .await?;
    Ok(stage)
}

fn fill(capture: bool, rows: u32) -> Value {
    json!({"steps": [{"backfill": {
        "table": "people", "set": {"n": "people.n - 10"}, "where": "n = 2", "capture": capture,
        "irreversible": if capture { Value::Null } else { json!({"reason": "a test"}) },
        "batch": {"rows": rows, "pause": "0s", "adaptive": false},
    }}]})
}

#[test]
fn an_index_on_what_is_changed_is_not_gone_over_for_each_batch() -> Result<()> {
    run(async {
        let stage = stale("fill_stale", ROWS, "CREATE INDEX people_n ON people (n)").await?;
        let before = read(&stage.primary).await?;
        stage.applied("1", &fill(false, 100)).await?;
        let more = read(&stage.primary).await? - before;
        // Each key is read in every pass over it, and again to be changed and looked at.
        ensure!(more < 20 * ROWS, "{more} rows were read");
        Ok(())
    })
}

#[test]
fn the_rows_of_a_batch_are_not_compared_with_those_of_the_table() -> Result<()> {
    run(async {
        let stage = stale("fill_stale_kept", 8000, "").await?;
        stage.applied("1", &fill(true, 500)).await?;
        // Sixteen, and some more on a slow machine. Each pair of rows compared, every batch is late, and is made smaller.
        let batches = stage.primary.value("SELECT batches FROM whimbrel.backfill_progress").await?;
        ensure!(batches.parse::<u64>()? <= 24, "{batches}");
        Ok(())
    })
}

#[test]
fn rows_that_are_visited_again_are_looked_up() -> Result<()> {
    run(async {
        let stage = stale("fill_stale_held", ROWS, "").await?;
        let before = read(&stage.primary).await?;
        let mut holder = stage.primary.connect().await?;
        execute(&mut holder, "BEGIN; UPDATE people SET name = 'held' WHERE id IN (700, 2100, 2101)").await?;
        stage.migrate("1", &fill(false, 100))?;
        stage
            .until("1", "waiting for the rows for the tenth time", |run| {
                run.attempt.as_ref().is_some_and(|attempt| {
                    attempt.count >= 10 && attempt.cause.message.contains("holds 3 rows")
                })
            })
            .await?;
        execute(&mut holder, "COMMIT").await?;
        drop(holder);
        stage.succeeded("1").await?;
        let more = read(&stage.primary).await? - before;
        ensure!(more < 20 * ROWS, "{more} rows were read");
        Ok(())
    })
}
