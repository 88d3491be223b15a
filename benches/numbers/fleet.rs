//! Many migrations of many databases at once, and a restart among them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::harness::postgres::OPERATOR;
use crate::shared::report::Number;
use crate::shared::sightings::is_ready;
use crate::shared::stage::{Shop, Stage};

/// Migrations of each database.
const EACH: usize = 20;
/// Requests of the measuring client at the same time.
const AT_ONCE: usize = 20;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After the last news: statuses of Databases are written, and sessions end.
const SETTLING: Duration = Duration::from_secs(5);
const AFTER_RESTART: Duration = Duration::from_secs(10);
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// The highest that was seen while the migrations ran.
#[derive(Default)]
struct Peak {
    sessions: AtomicU64,
    memory: AtomicU64,
    over: AtomicBool,
}

impl Peak {
    /// Looks until it is over, with one session for all looks: a login costs the machine more than a look.
    async fn watch(&self, stage: &Stage) -> Result<()> {
        let mut session = stage.primary.admin().connect().await?;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        while !self.over.load(Ordering::Relaxed) {
            let found: i64 = sqlx::query_scalar(sql).bind(OPERATOR).fetch_one(&mut session).await?;
            let sessions = found.unsigned_abs();
            self.sessions.fetch_max(sessions, Ordering::Relaxed);
            self.memory.fetch_max(stage.operator().resident_memory()?, Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

async fn shops(stage: &Stage, databases: usize) -> Result<Vec<Shop<'_>>> {
    stream::iter(1..=databases)
        .map(async |number| stage.shop(&format!("fleet{number}"), false).await)
        .buffer_unordered(4)
        .try_collect()
        .await
}

/// Creates all, and waits for the last one. Returns how long that took.
async fn apply(shops: &[Shop<'_>]) -> Result<f64> {
    let began = Instant::now();
    let all = (1..=EACH).flat_map(|version| shops.iter().map(move |shop| (shop, version)));
    stream::iter(all)
        .map(async |(shop, version)| {
            let up = format!("CREATE TABLE made_{version} (id bigint PRIMARY KEY)");
            shop.create(&shop.migration(&format!("make-{version}"), version, &json!({"up": up}))).await
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let mut last = began;
    for shop in shops {
        for version in 1..=EACH {
            let at = shop.stage.sightings.first(&shop.name, &format!("make-{version}"), is_ready).await;
            last = last.max(at.with_context(|| format!("version {version} of {}", shop.name))?);
        }
    }
    Ok((last - began).as_secs_f64())
}

/// Measures them.
///
/// # Errors
/// When something cannot be measured.
pub async fn measure(stage: &mut Stage, databases: usize) -> Result<Vec<Number>> {
    let count = databases * EACH;
    println!("{count} migrations of {databases} databases at once, then a restart");
    let (peak, took, computed) = {
        let shops = shops(stage, databases).await?;
        tokio::time::sleep(SETTLING).await;
        let (peak, before) = (Peak::default(), stage.operator().processor_time()?);
        let work = async {
            let took = apply(&shops).await;
            peak.over.store(true, Ordering::Relaxed);
            took
        };
        let (took, watched) = tokio::join!(work, peak.watch(stage));
        watched?;
        (peak, took?, stage.operator().processor_time()?.saturating_sub(before))
    };
    tokio::time::sleep(SETTLING).await;
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    let (sessions, memory) = (peak.sessions.into_inner() as f64, peak.memory.into_inner() as f64 / MEBIBYTE);
    let what = format!("{count} migrations of {databases} databases at once");
    let mut numbers = vec![
        Number::new(format!("{what}: until the last is Ready"), took, "s").at_most(20.0),
        Number::new(format!("{what}: processor time of the operator"), computed.as_secs_f64(), "s")
            .at_most(10.0),
        Number::new(format!("{what}: resident memory, most"), memory, "MiB").at_most(32.0),
        Number::new(format!("{what}: database sessions, most"), sessions, "").at_most(32.0),
    ];
    let mark = stage.now()?;
    stage.restart().await?;
    tokio::time::sleep(AFTER_RESTART).await;
    let writes = stage.writes(mark)?;
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let written = writes.len() as f64;
    let computed = stage.operator().processor_time()?.as_secs_f64();
    numbers.extend([
        Number::new(
            format!("restart with {count} finished Migrations: API writes but the Lease"),
            written,
            "",
        )
        .at_most(0.0)
        .of(writes),
        Number::new(format!("restart with {count} finished Migrations: processor time"), computed, "s")
            .at_most(1.0),
    ]);
    Ok(numbers)
}
