//! The everyday case: a new column of a large table, a thousand rows at a time with a pause of 100 ms, by operators that are
//! killed again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::task::JoinHandle;

use super::gives;
use crate::harness::operator::Operator;
use crate::harness::postgres::Database;
use crate::harness::{await_until, run};
use crate::scenarios::world::{SOON, World, figure};

/// Rows of the table.
const ROWS: u64 = 60_000;
/// How often an operator is killed.
const KILLS: u64 = 5;

/// Reads the progress with `psql` until it is told to stop, and returns the rows that were done each time.
fn reads(database: &Database, stop: &Arc<AtomicBool>) -> JoinHandle<Result<Vec<u64>>> {
    let (database, stop) = (database.clone(), stop.clone());
    tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let told = database.psql("SELECT rows_done FROM whimbrel.backfill_progress")?;
            let rows = told.lines().nth(2).with_context(|| told.clone())?.trim();
            seen.push(rows.parse().with_context(|| told.clone())?);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(seen)
    })
}

async fn rows_done(world: &World) -> Result<u64> {
    let sum = "SELECT coalesce(sum(rows_done), 0)::bigint FROM whimbrel.backfill_progress";
    Ok(world.value(sum).await?.parse()?)
}

/// Waits until more than so many rows are done, and keeps an operator alive that ended by itself. Returns how many are.
async fn more_than(world: &World, operator: &mut Operator, rows: u64) -> Result<u64> {
    let there = "SELECT (to_regclass('whimbrel.backfill_progress') IS NOT NULL)::text";
    await_until("more rows being done", SOON, async || {
        if operator.process().exited()?.is_some() {
            *operator = Operator::spawn(&world.options)?;
        }
        ensure!(world.value(there).await? == "true", "no ledger");
        let done = rows_done(world).await?;
        ensure!(done > rows, "{done} rows");
        Ok(done)
    })
    .await
}

#[test]
fn killed_five_times_each_row_is_filled_once_and_progress_is_readable_throughout() -> Result<()> {
    run(async {
        let seed = u64::from(rand::random::<u32>());
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::new("fill_everyday").await?.with_short_lease();
        let grow = format!(
            "INSERT INTO users SELECT g, 'more ' || g, true FROM generate_series(10001, {ROWS}) g; ANALYZE users"
        );
        world.primary.execute(&grow).await?;
        let mut operator = world.operator().await?;
        let fill = json!({
            "table": "users", "set": {"visits": "coalesce(visits, 0) + 1"},
            "batch": {"rows": 1000, "pause": "100ms", "adaptive": false},
            "validate": [format!("SELECT count(*) = {ROWS} FROM users WHERE visits = 1")],
        });
        let steps = json!({"steps": [
            {"sql": {"up": "ALTER TABLE users ADD COLUMN visits int"}},
            {"backfill": fill},
        ]});
        world.migrate("m0", "1", steps).await?;
        more_than(&world, &mut operator, 0).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let reading = reads(&world.primary, &stop);
        let mut moments = Vec::new();
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
            operator.process().signal(Signal::SIGKILL)?;
            let was = rows_done(&world).await?;
            ensure!(was < ROWS, "it was done before it was killed for the last time");
            moments.push(was);
            operator = Operator::start(&world.options).await?;
            more_than(&world, &mut operator, was).await?;
        }
        more_than(&world, &mut operator, ROWS - 1).await?;
        let migration = world.ready("m0").await.with_context(|| format!("seed {seed}, at {moments:?}"))?;
        stop.store(true, Ordering::Relaxed);
        let seen = reading.await??;
        ensure!(seen.is_sorted(), "seed {seed}: progress went back: {seen:?}");
        let mut different = seen.clone();
        different.dedup();
        ensure!(different.len() > 20, "seed {seed}: progress was hardly to be seen: {different:?}");
        let once =
            "SELECT count(*) || ' ' || sum(visits) || ' ' || min(visits) || ' ' || max(visits) FROM users";
        gives(&world.primary, once, &format!("{ROWS} {ROWS} 1 1")).await?;
        let told =
            "SELECT rows_done || ' ' || rows_expected || ' ' || percent FROM whimbrel.backfill_progress";
        gives(&world.primary, told, &format!("{ROWS} {ROWS} 100")).await?;
        ensure!(migration["status"]["applied"] == true, "{}", migration["status"]);
        let owners: u64 = world.value("SELECT epoch FROM whimbrel.epoch").await?.parse()?;
        ensure!(owners > KILLS, "seed {seed}: {owners} owners for {KILLS} kills");
        figure(&format!(
            "backfill of {ROWS} rows, SIGKILL at {moments:?} rows, {} reads of its progress",
            seen.len()
        ));
        world.finish().await
    })
}
