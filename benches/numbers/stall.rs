//! What the application feels while a column is added and somebody is on the table: by the operator, and by others.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::peers::{Peer, Way};
use crate::harness::await_until;
use crate::harness::postgres::{Database, execute, text};
use crate::shared::load::{Application, Felt, Load};
use crate::shared::report::{Number, Report, duration};
use crate::shared::stage::{SOON, Stage};
use crate::shared::statistics::{median, quantile, worst};

/// The application before and after.
const AROUND: Duration = Duration::from_millis(500);
/// A statement that takes longer was held up, milliseconds.
const FELT: f64 = 50.0;
/// What the operator may make the application feel, milliseconds.
const GOAL: f64 = 25.0;

/// Two hundred statements a second.
const APPLICATION: Application = Application {
    sessions: 4,
    every: Duration::from_millis(20),
    rows: 100_000,
    write: "UPDATE users SET visits = visits + 1 WHERE id = $1",
    read: "SELECT name FROM users WHERE id = $1",
};

/// Who is on the table when the change begins.
#[derive(Clone, Copy, Debug)]
enum Obstacle {
    /// One query.
    Reader,
    /// A transaction that writes a row that nobody else wants.
    Writer,
    /// A transaction that has read and does nothing.
    Idle,
}

impl Obstacle {
    const ALL: [Self; 3] = [Self::Reader, Self::Writer, Self::Idle];

    fn name(self) -> &'static str {
        match self {
            Self::Reader => "a reader of 2.5 s",
            Self::Writer => "a writer of 2.5 s",
            Self::Idle => "a session idle in its transaction for 5 s",
        }
    }

    fn lasts(self) -> Duration {
        match self {
            Self::Reader | Self::Writer => Duration::from_millis(2500),
            Self::Idle => Duration::from_secs(5),
        }
    }

    /// Stands in the way for as long as it lasts.
    async fn stand(self, mut session: PgConnection) -> Result<Instant> {
        let seconds = self.lasts().as_secs_f64();
        match self {
            Self::Reader => {
                let reads = format!("SELECT name, pg_sleep({seconds}) FROM users WHERE id = 1");
                execute(&mut session, &reads).await?;
            }
            Self::Writer => {
                let writes = format!("INSERT INTO users SELECT 0, 'nobody', 0 FROM pg_sleep({seconds})");
                execute(&mut session, &format!("BEGIN; {writes}; ROLLBACK")).await?;
            }
            Self::Idle => {
                execute(&mut session, "BEGIN; SELECT count(*) FROM users").await?;
                tokio::time::sleep(self.lasts()).await;
                execute(&mut session, "COMMIT").await?;
            }
        }
        Ok(Instant::now())
    }
}

/// Several rounds of one way.
#[derive(Default)]
struct Rounds {
    took: Vec<f64>,
    worst: Vec<f64>,
    stalled: Vec<f64>,
    late: Vec<f64>,
    /// From the end of the obstacle until the column was told to be there, milliseconds.
    after: Vec<f64>,
    failed: u64,
    lost: u64,
}

impl Rounds {
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn add(&mut self, felt: &Felt, lost: u64) {
        let took = felt.took();
        self.worst.push(worst(&took));
        self.took.extend(took);
        self.stalled.push(felt.stalled(FELT));
        self.late.push(felt.late(FELT) as f64);
        self.failed += felt.failed;
        self.lost += lost;
    }

    fn row(&self, way: &Way) -> Vec<String> {
        let after = if self.after.is_empty() { String::new() } else { duration(median(&self.after)) };
        vec![
            way.name().to_owned(),
            duration(worst(&self.worst)),
            duration(median(&self.stalled)),
            format!("{:.0}", median(&self.late)),
            (self.failed + self.lost).to_string(),
            after,
        ]
    }

    fn raw(&self) -> Value {
        json!({
            "worst": self.worst, "stalled": self.stalled, "late": self.late, "after": self.after, "failed": self.failed,
            "lostWrites": self.lost, "statements": self.took.len(), "p50": quantile(&self.took, 0.5),
            "p99": quantile(&self.took, 0.99), "p999": quantile(&self.took, 0.999),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    fn numbers(&self, beside: &str) -> Vec<Number> {
        let missing = (self.failed + self.lost) as f64;
        vec![
            Number::new(format!("beside {beside}: worst stall"), worst(&self.worst), "ms").at_most(GOAL),
            Number::new(format!("beside {beside}: stalled in all"), worst(&self.stalled), "ms").at_most(0.0),
            Number::new(format!("beside {beside}: failed and lost requests"), missing, "").at_most(0.0),
        ]
    }
}

/// The sum of what the application has written.
pub async fn visits(database: &Database) -> Result<u64> {
    Ok(database.value("SELECT sum(visits)::bigint FROM users").await?.parse()?)
}

/// Returns when somebody is on the table.
async fn stands(database: &Database, pid: &str) -> Result<()> {
    let sql = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND relation = 'users'::regclass");
    await_until("somebody on the table", SOON, async || {
        ensure!(database.value(&sql).await? != "0", "nobody");
        Ok(())
    })
    .await
}

async fn once(peer: &Peer<'_>, obstacle: Obstacle, round: usize, rounds: &mut Rounds) -> Result<()> {
    let before = visits(&peer.database).await?;
    let load = Load::start(&peer.database, APPLICATION).await?;
    tokio::time::sleep(AROUND).await;
    let mut session = peer.database.connect().await?;
    let pid = text(&mut session, "SELECT pg_backend_pid()").await?.remove(0).remove(0).context("a pid")?;
    let standing = tokio::spawn(obstacle.stand(session));
    stands(&peer.database, &pid).await?;
    peer.add(round).await?;
    let added = Instant::now();
    let left = standing.await??;
    if peer.way != Way::Nobody {
        ensure!(added >= left, "{} was told to be done before {} was", peer.way.name(), obstacle.name());
        rounds.after.push((added - left).as_secs_f64() * 1000.0);
    }
    tokio::time::sleep(AROUND).await;
    let felt = load.end().await?;
    let lost = felt.writes.abs_diff(visits(&peer.database).await? - before);
    rounds.add(&felt, lost);
    Ok(())
}

/// Measures all ways beside all obstacles, in turns.
///
/// # Errors
/// When something cannot be measured.
pub async fn measure(stage: &Stage, ways: &[Way], rounds: usize, report: &mut Report) -> Result<()> {
    println!("{rounds} rounds of a column that is added beside somebody, by each of {} ways", ways.len());
    let mut peers = Vec::new();
    for way in ways {
        peers.push(Peer::new(stage, way).await.with_context(|| way.name())?);
    }
    let mut next = 1;
    for obstacle in Obstacle::ALL {
        let mut all: Vec<Rounds> = peers.iter().map(|_| Rounds::default()).collect();
        for _ in 0..rounds {
            for (peer, rounds) in peers.iter().zip(&mut all) {
                let done = once(peer, obstacle, next, rounds).await;
                done.with_context(|| format!("{} beside {}", peer.way.name(), obstacle.name()))?;
            }
            next += 1;
        }
        let head = ["", "worst", "stalled in all", "later than 50 ms", "failed, lost", "done after"]
            .map(str::to_owned);
        let rows = peers.iter().zip(&all).map(|(peer, rounds)| rounds.row(&peer.way));
        let title = format!(
            "A column is added beside {}, and {} statements a second",
            obstacle.name(),
            APPLICATION.rate()
        );
        report.add_table(title, std::iter::once(head.to_vec()).chain(rows).collect());
        let raw: Value =
            peers.iter().zip(&all).map(|(peer, all)| (peer.way.name().to_owned(), all.raw())).collect();
        report.keep(&format!("stall{obstacle:?}"), raw);
        for (peer, rounds) in peers.iter().zip(&all).filter(|(peer, _)| peer.way == Way::Operator) {
            println!("{}", peer.way.name());
            report.extend(rounds.numbers(obstacle.name()));
        }
    }
    super::crowd::measure(&peers, rounds, next, report).await
}
