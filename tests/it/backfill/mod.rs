//! Backfills on real servers: every row once, whatever is in the way, and back again.

mod back;
mod everyday;
mod inputs;
mod late;
mod numbers;
mod plans;
mod rows;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use whimbrel::core::view::RunView;

use crate::guard::stage::{Stage, budget};
use crate::harness::postgres::Database;

/// A table of so many rows.
async fn people(database: &Database, rows: u32) -> Result<()> {
    database
        .execute(&format!(
            "SET ROLE app_owner; CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, paid boolean NOT NULL, n int); \
             INSERT INTO people SELECT g, 'person ' || g, g % 3 = 0, NULL FROM generate_series(1, {rows}) g; \
             CREATE INDEX people_name ON people (name); ANALYZE people; RESET ROLE"
        ))
        .await
        .map(drop)
}

/// A stage with that table on both sides.
async fn stage(name: &str, rows: u32, copy: bool) -> Result<Stage> {
    let stage = Stage::new(name, copy, budget(250)).await?;
    for database in stage.copy.iter().chain([&stage.primary]) {
        people(database, rows).await?;
    }
    Ok(stage)
}

/// No pauses: tests are in a hurry.
fn quick(mut backfill: Value) -> Value {
    backfill["batch"] = json!({"rows": 500, "pause": "0s", "adaptive": false});
    json!({"backfill": backfill})
}

/// Makes sure that a query gives this.
async fn gives(database: &Database, query: &str, expected: &str) -> Result<()> {
    let found = database.value(query).await?;
    ensure!(found == expected, "{query}: {found}, not {expected}");
    Ok(())
}

/// Makes sure that a message tells all of this.
fn tells(message: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(message.contains(part), "{part}: {message}");
    }
    Ok(())
}

/// Waits until a backfill tells that somebody holds so many rows.
async fn tells_of_held(stage: &Stage, rows: u32) -> Result<RunView> {
    let told = format!("holds {rows} rows");
    let tells = |run: &RunView| run.attempt.as_ref().is_some_and(|one| one.cause.message.contains(&told));
    stage.until("1", "telling who holds rows", tells).await
}
