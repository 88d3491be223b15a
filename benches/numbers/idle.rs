//! What the operator does when there is nothing to do, and at a restart among Migrations that are done.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::harness::postgres::OPERATOR;
use crate::shared::report::Number;
use crate::shared::sightings::is_ready;
use crate::shared::stage::{Shop, Stage};

const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// After the last news: statuses of Databases are written, and what was read because of them.
const SETTLING: Duration = Duration::from_secs(5);
/// How long a restarted operator is looked at.
const AFTER_RESTART: Duration = Duration::from_secs(15);

/// Sessions that the operator's login has opened in a database since it was made; the observer asks from elsewhere.
async fn sessions(shop: &Shop<'_>) -> Result<f64> {
    let sql = format!("SELECT sessions FROM pg_stat_database WHERE datname = '{}'", shop.name);
    Ok(shop.stage.primary.admin().value(&sql).await?.parse()?)
}

/// Sessions of the operator on both servers.
async fn connected(stage: &Stage) -> Result<f64> {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{OPERATOR}'");
    let (primary, copy) = (stage.primary.admin(), stage.copy.admin());
    Ok(primary.value(&sql).await?.parse::<f64>()? + copy.value(&sql).await?.parse::<f64>()?)
}

/// Statements of the operator that the server logged because they change something.
async fn changes(shop: &Shop<'_>) -> Result<Vec<String>> {
    let log = shop.stage.primary.server_log(&shop.name).await?;
    let own =
        log.into_iter().filter(|line| line.application.starts_with("whimbrel") && line.severity == "LOG");
    let sent =
        own.filter(|line| line.message.starts_with("statement:") || line.message.starts_with("execute"));
    Ok(sent.map(|line| line.message).collect())
}

/// Applies so many migrations that each make a table, all at once; returns how long the last one took.
async fn fill(shop: &Shop<'_>, count: usize) -> Result<f64> {
    let began = Instant::now();
    for version in 1..=count {
        let up = format!("CREATE TABLE made_{version} (id bigint PRIMARY KEY)");
        shop.create(&shop.migration(&format!("make-{version}"), version, &json!({"up": up}))).await?;
    }
    let mut last = began;
    for version in 1..=count {
        let at = shop.stage.sightings.first(&shop.name, &format!("make-{version}"), is_ready).await;
        last = last.max(at.with_context(|| format!("of {count} at once"))?);
    }
    shop.settled(count).await?;
    Ok((last - began).as_secs_f64())
}

fn memory(stage: &Stage) -> Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    Ok(stage.operator().resident_memory()? as f64 / MEBIBYTE)
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn count(of: &[String]) -> f64 {
    of.len() as f64
}

/// Measures an idle operator and then a restarted one.
///
/// # Errors
/// When something cannot be measured.
pub async fn measure(stage: &mut Stage, finished: usize, seconds: u64) -> Result<Vec<Number>> {
    println!("{finished} migrations at once, then {seconds} s of nothing, then a restart");
    let filled = {
        let shop = stage.shop("idle", false).await?;
        fill(&shop, finished).await?
    };
    tokio::time::sleep(SETTLING).await;
    let peak = memory(stage)?;
    let mut numbers =
        vec![Number::new(format!("{finished} migrations of one database, created at once"), filled, "s")];
    numbers.extend(quiet(stage, seconds).await?);
    numbers.push(
        Number::new("resident memory after all that, idle", peak.max(memory(stage)?), "MiB").at_most(32.0),
    );
    numbers.extend(restarted(stage, finished).await?);
    Ok(numbers)
}

async fn quiet(stage: &Stage, seconds: u64) -> Result<Vec<Number>> {
    let shop = again(stage);
    let (mark, opened, mut open) = (stage.now()?, sessions(&shop).await?, connected(stage).await?);
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        open = open.max(connected(stage).await?);
    }
    let (writes, requests) = (stage.writes(mark)?, stage.requests(mark)?);
    let opened = sessions(&shop).await? - opened;
    Ok(vec![
        Number::new(format!("idle for {seconds} s: API writes but the Lease"), count(&writes), "")
            .at_most(0.0)
            .of(writes),
        Number::new(format!("idle for {seconds} s: all API requests but the Lease"), count(&requests), "")
            .of(requests),
        Number::new(format!("idle for {seconds} s: database sessions, open or opened"), open.max(opened), "")
            .at_most(0.0),
    ])
}

async fn restarted(stage: &mut Stage, finished: usize) -> Result<Vec<Number>> {
    stage.primary.admin().execute(&format!("ALTER ROLE {OPERATOR} SET log_statement = 'mod'")).await?;
    let (before, opened) = (changes(&again(stage)).await?.len(), sessions(&again(stage)).await?);
    let mark = stage.now()?;
    stage.restart().await?;
    let ready = memory(stage)?;
    tokio::time::sleep(AFTER_RESTART).await;
    let (writes, requests) = (stage.writes(mark)?, stage.requests(mark)?);
    let shop = again(stage);
    let changes: Vec<String> = changes(&shop).await?.into_iter().skip(before).collect();
    let opened = sessions(&shop).await? - opened;
    let what = format!("restart with {finished} finished Migrations");
    Ok(vec![
        Number::new(format!("{what}: API writes but the Lease"), count(&writes), "").at_most(0.0).of(writes),
        Number::new(format!("{what}: SQL that changes anything"), count(&changes), "")
            .at_most(0.0)
            .of(changes),
        Number::new(format!("{what}: all API requests but the Lease"), count(&requests), "").of(requests),
        Number::new(format!("{what}: database sessions opened"), opened, ""),
        Number::new(format!("{what}: resident memory"), ready.max(memory(stage)?), "MiB").at_most(32.0),
    ])
}

/// The namespace and database that were filled.
fn again(stage: &Stage) -> Shop<'_> {
    Shop { stage, name: "idle".to_owned(), database: stage.primary.named("idle") }
}
