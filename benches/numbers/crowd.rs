//! A column that is added to a table that is never free: forty clients write to it as fast as they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::peers::{Peer, Way};
use super::stall::visits;
use crate::harness::postgres::{self, Database, execute};
use crate::shared::report::{Number, Report, duration};
use crate::shared::statistics::{median, quantile, worst};

const CLIENTS: u32 = 40;
/// The clients before and after.
const AROUND: Duration = Duration::from_millis(500);
/// How often it is looked before each change whether the table is free.
const LOOKS: u32 = 20;

/// What the clients felt.
#[derive(Default)]
struct Felt {
    took: Vec<f64>,
    failed: u64,
}

/// The clients while they run.
struct Crowd {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Felt>>>,
}

impl Crowd {
    async fn start(database: &Database) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for client in 1..=CLIENTS {
            let mut session = database.connect_as(postgres::APPLICATION).await?;
            let stop = Arc::clone(&stop);
            // Each has a row of its own: they wait for the table only.
            let sql = format!("BEGIN; UPDATE users SET visits = visits + 1 WHERE id = {client}; COMMIT");
            clients.push(tokio::spawn(async move {
                let mut felt = Felt::default();
                while !stop.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    felt.failed += u64::from(execute(&mut session, &sql).await.is_err());
                    felt.took.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
                Ok(felt)
            }));
        }
        Ok(Self { stop, clients })
    }

    async fn end(self) -> Result<Felt> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Felt::default();
        for client in self.clients {
            let felt = client.await??;
            all.took.extend(felt.took);
            all.failed += felt.failed;
        }
        Ok(all)
    }
}

/// Several rounds of one way.
#[derive(Default)]
struct Rounds {
    /// From the beginning to the commit, milliseconds: of the program, or from the creation of the object.
    applied: Vec<f64>,
    /// From when the run was stored to the commit, milliseconds.
    from_run: Vec<f64>,
    took: Vec<f64>,
    worst: Vec<f64>,
    failed: u64,
    lost: u64,
    /// Looks at which nobody was on the table.
    free: u32,
}

/// When the column was committed, in milliseconds after a moment that SQL gives.
async fn after(database: &Database, round: usize, moment: &str) -> Result<f64> {
    let column = Peer::column(round);
    let sql = format!(
        "SELECT 1000 * extract(epoch FROM pg_xact_commit_timestamp(xmin) - ({moment})::timestamptz) FROM pg_attribute \
         WHERE attrelid = 'users'::regclass AND attname = '{column}'"
    );
    Ok(database.value(&sql).await?.parse()?)
}

async fn once(peer: &Peer<'_>, round: usize, rounds: &mut Rounds) -> Result<()> {
    let database = &peer.database;
    let before = visits(database).await?;
    let crowd = Crowd::start(database).await?;
    tokio::time::sleep(AROUND).await;
    let mut looker = database.connect().await?;
    let held = "SELECT count(*) FROM pg_locks WHERE relation = 'users'::regclass AND mode = 'RowExclusiveLock' AND granted";
    for _ in 0..LOOKS {
        let count = postgres::text(&mut looker, held).await?.remove(0).remove(0);
        rounds.free += u32::from(count.as_deref() == Some("0"));
    }
    let began = database.value("SELECT clock_timestamp()").await?;
    peer.add(round).await?;
    tokio::time::sleep(AROUND).await;
    let felt = crowd.end().await?;
    if peer.way != Way::Nobody {
        rounds.applied.push(after(database, round, &format!("'{began}'")).await?);
    }
    if peer.way == Way::Operator {
        let stored =
            format!("SELECT started_at FROM whimbrel.runs WHERE name = '{}'", Peer::migration(round));
        rounds.from_run.push(after(database, round, &stored).await?);
    }
    let done = u64::try_from(felt.took.len())? - felt.failed;
    rounds.lost += done.abs_diff(visits(database).await? - before);
    rounds.failed += felt.failed;
    rounds.worst.push(worst(&felt.took));
    rounds.took.extend(felt.took);
    Ok(())
}

impl Rounds {
    fn row(&self, way: &Way) -> Vec<String> {
        let applied = |of: fn(&[f64]) -> f64| {
            if self.applied.is_empty() { String::new() } else { duration(of(&self.applied)) }
        };
        vec![
            way.name().to_owned(),
            applied(median),
            applied(worst),
            duration(quantile(&self.took, 0.99)),
            duration(worst(&self.worst)),
            (self.failed + self.lost).to_string(),
        ]
    }

    fn raw(&self) -> Value {
        json!({
            "applied": self.applied, "fromRun": self.from_run, "worst": self.worst, "transactions": self.took.len(),
            "failed": self.failed, "lostWrites": self.lost, "looksAtWhichTheTableWasFree": self.free,
        })
    }
}

/// Measures all ways, in turns.
///
/// # Errors
/// When something cannot be measured.
pub async fn measure(peers: &[Peer<'_>], rounds: usize, first: usize, report: &mut Report) -> Result<()> {
    println!(
        "{rounds} rounds of a column that is added beside {CLIENTS} clients, by each of {} ways",
        peers.len()
    );
    let mut all: Vec<Rounds> = peers.iter().map(|_| Rounds::default()).collect();
    for round in first..first + rounds {
        for (peer, rounds) in peers.iter().zip(&mut all) {
            once(peer, round, rounds).await.with_context(|| format!("{} in a crowd", peer.way.name()))?;
        }
    }
    let head =
        ["", "applied after", "worst", "p99 of the clients", "worst", "failed, lost"].map(str::to_owned);
    let rows = peers.iter().zip(&all).map(|(peer, rounds)| rounds.row(&peer.way));
    let title = format!("A column is added to a table that {CLIENTS} clients write to without a pause");
    report.add_table(title, std::iter::once(head.to_vec()).chain(rows).collect());
    let raw: Value =
        peers.iter().zip(&all).map(|(peer, all)| (peer.way.name().to_owned(), all.raw())).collect();
    report.keep("crowd", raw);
    let ours = peers.iter().zip(&all).find(|(peer, _)| peer.way == Way::Operator);
    let (_, ours) = ours.context("the operator was not measured")?;
    ensure!(!ours.from_run.is_empty(), "no round");
    let what = format!("added beside {CLIENTS} clients");
    report.extend(vec![
        Number::new(format!("{what}: run stored to commit, worst"), worst(&ours.from_run), "ms")
            .at_most(100.0),
        Number::new(format!("{what}: Migration created to commit, worst"), worst(&ours.applied), "ms"),
    ]);
    Ok(())
}
