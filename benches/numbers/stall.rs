//! What the application feels while a column is added and a long reader is on the table: the operator, and `psql`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::postgres::{self, APPLICATION, Database};
use crate::report::Number;
use crate::sightings::is_ready;
use crate::stage::{Shop, Stage};
use crate::statistics::{quantile, worst};

const READING: Duration = Duration::from_millis(2500);
/// The load before and after the reader.
const AROUND: Duration = Duration::from_millis(500);
/// Sessions of the application; each sends fifty statements a second, every other one a write.
const SESSIONS: u32 = 4;
const EVERY: Duration = Duration::from_millis(20);
/// A statement that takes longer was held up.
const FELT: f64 = 50.0;

/// What one session saw: how long each statement took (milliseconds), and how many writes were acknowledged.
#[derive(Default)]
struct Felt {
    took: Vec<f64>,
    failed: usize,
    writes: u64,
}

struct Load {
    stop: Arc<AtomicBool>,
    sessions: Vec<JoinHandle<Result<Felt>>>,
}

impl Load {
    async fn start(database: &Database) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut sessions = Vec::new();
        for number in 0..SESSIONS {
            let mut session = database.connect_as(APPLICATION).await?;
            let stop = Arc::clone(&stop);
            sessions.push(tokio::spawn(async move {
                let mut felt = Felt::default();
                // What was due while a statement hung is sent at once afterwards: nothing is left out.
                let mut clock = tokio::time::interval(EVERY);
                let mut turn = number;
                while !stop.load(Ordering::Relaxed) {
                    clock.tick().await;
                    turn += 1;
                    let id = turn * SESSIONS % 100_000 + number + 1;
                    let write = turn % 2 == 0;
                    let sql = if write {
                        format!("UPDATE users SET visits = visits + 1 WHERE id = {id}")
                    } else {
                        format!("SELECT name FROM users WHERE id = {id}")
                    };
                    let sent = Instant::now();
                    match postgres::execute(&mut session, &sql).await {
                        Ok(()) => felt.writes += u64::from(write),
                        Err(_) => felt.failed += 1,
                    }
                    felt.took.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
                Ok(felt)
            }));
        }
        Ok(Self { stop, sessions })
    }

    async fn end(self) -> Result<Felt> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Felt::default();
        for session in self.sessions {
            let felt = session.await??;
            all.took.extend(felt.took);
            all.failed += felt.failed;
            all.writes += felt.writes;
        }
        Ok(all)
    }
}

/// Several rounds of one way.
#[derive(Default)]
struct Rounds {
    took: Vec<f64>,
    worst: Vec<f64>,
    failed: usize,
    lost: u64,
}

impl Rounds {
    async fn add(&mut self, shop: &Shop<'_>, load: Load, before: u64) -> Result<()> {
        let felt = load.end().await?;
        self.worst.push(worst(&felt.took));
        self.took.extend(felt.took);
        self.failed += felt.failed;
        self.lost += felt.writes.abs_diff(visits(shop).await? - before);
        Ok(())
    }

    fn raw(&self) -> Value {
        let held = self.took.iter().filter(|took| **took > FELT).count();
        json!({
            "worstOfEachRound": self.worst, "statements": self.took.len(), "failed": self.failed, "lostWrites": self.lost,
            "heldUpOver50ms": held, "p50": quantile(&self.took, 0.5), "p99": quantile(&self.took, 0.99), "p999": quantile(&self.took, 0.999),
        })
    }
}

async fn visits(shop: &Shop<'_>) -> Result<u64> {
    Ok(shop.database.value("SELECT sum(visits)::bigint FROM users").await?.parse()?)
}

/// Reads for [`READING`] in a transaction, while `change` is under way.
async fn beside_a_reader<T>(shop: &Shop<'_>, change: impl Future<Output = Result<T>>) -> Result<T> {
    let mut reader = shop.database.connect().await?;
    postgres::execute(&mut reader, "BEGIN; SELECT count(*) FROM users").await?;
    let read = async {
        tokio::time::sleep(READING).await;
        postgres::execute(&mut reader, "COMMIT").await
    };
    let (read, changed) = tokio::join!(read, change);
    read?;
    changed
}

async fn by_operator(shop: &Shop<'_>, round: usize) -> Result<f64> {
    let name = format!("add-column-{round}");
    let up = format!("ALTER TABLE users ADD COLUMN by_operator_{round} text DEFAULT 'none'");
    let began = Instant::now();
    shop.create(&shop.migration(&name, round, &json!({"up": up}))).await?;
    let ready = shop.stage.sightings.first(&shop.name, &name, is_ready).await?;
    let took = ready - began;
    ensure!(took >= READING, "Ready after {took:?}, before the reader had ended");
    Ok(took.saturating_sub(READING).as_secs_f64() * 1000.0)
}

async fn by_psql(shop: &Shop<'_>, round: usize) -> Result<()> {
    let sql = format!("ALTER TABLE users ADD COLUMN by_psql_{round} text DEFAULT 'none'");
    let database = shop.database.clone();
    tokio::task::spawn_blocking(move || database.psql(&sql)).await??;
    Ok(())
}

/// Measures the operator, `psql`, and the load alone, in turns.
///
/// # Errors
/// When something cannot be measured.
pub async fn measure(stage: &Stage, rounds: usize) -> Result<Vec<Number>> {
    println!("{rounds} rounds of a column that is added beside a reader of {READING:?}");
    let shop = stage.shop("stall", false).await?;
    // The first migration makes the ledger.
    shop.create(&shop.migration("first", 1, &json!({"up": "CREATE TABLE carts (id bigint PRIMARY KEY)"})))
        .await?;
    shop.stage.sightings.first(&shop.name, "first", is_ready).await?;
    let (mut operator, mut psql, mut alone) = (Rounds::default(), Rounds::default(), Rounds::default());
    let mut after = Vec::new();
    for round in 2..rounds + 2 {
        for way in 0..3 {
            let before = visits(&shop).await?;
            let load = Load::start(&shop.database).await?;
            tokio::time::sleep(AROUND).await;
            match way {
                0 => after.push(beside_a_reader(&shop, by_operator(&shop, round)).await?),
                1 => beside_a_reader(&shop, by_psql(&shop, round)).await?,
                _ => beside_a_reader(&shop, async { Ok(()) }).await?,
            }
            tokio::time::sleep(AROUND).await;
            let all = match way {
                0 => &mut operator,
                1 => &mut psql,
                _ => &mut alone,
            };
            all.add(&shop, load, before).await?;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let missing = operator.failed as f64 + operator.lost as f64;
    Ok(vec![
        Number::new("worst stall, operator", worst(&operator.worst), "ms").at_most(50.0).of(operator.raw()),
        Number::new("failed and lost requests, operator", missing, "").at_most(0.0),
        Number::new("worst stall, psql -c", worst(&psql.worst), "ms").of(psql.raw()),
        Number::new("worst statement, nobody changes anything", worst(&alone.worst), "ms").of(alone.raw()),
        Number::new("Ready after the reader ended, worst", worst(&after), "ms").of(after),
    ])
}
