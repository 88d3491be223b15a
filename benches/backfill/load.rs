//! The application beside a backfill: so many statements a second, and how long each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinHandle;

use crate::harness::postgres::{APPLICATION, Database};

/// Sessions of the application; every other statement of each is a write.
const SESSIONS: u32 = 8;
/// One statement of each session: two hundred a second in all.
const EVERY: Duration = Duration::from_millis(40);
/// The clock of this program is no better; what is sent later than that had to wait for the statement before.
const CLOCK: Duration = Duration::from_millis(2);

/// What the application saw.
#[derive(Default)]
pub struct Felt {
    /// When each statement was due, and how long it took from then, milliseconds.
    took: Vec<(Instant, f64)>,
    /// Statements that failed.
    pub failed: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
}

impl Felt {
    /// How long the statements took that were due in between, milliseconds.
    pub fn between(&self, began: Instant, ended: Instant) -> Vec<f64> {
        self.took.iter().filter(|(due, _)| (began..=ended).contains(due)).map(|(_, took)| *took).collect()
    }
}

/// The application while it runs.
pub struct Load {
    stop: Arc<AtomicBool>,
    sessions: Vec<JoinHandle<Result<Felt>>>,
}

impl Load {
    /// Begins to send.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn start(database: &Database, rows: u64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut sessions = Vec::new();
        for number in 0..SESSIONS {
            let session = database.connect_as(APPLICATION).await?;
            let stop = Arc::clone(&stop);
            let first = Instant::now() + EVERY / SESSIONS * number;
            sessions.push(tokio::spawn(send(session, stop, (first, u64::from(number), rows))));
        }
        Ok(Self { stop, sessions })
    }

    /// Ends when the last statement has ended.
    ///
    /// # Errors
    /// When a session broke.
    pub async fn end(self) -> Result<Felt> {
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

async fn send(
    mut session: sqlx::PgConnection,
    stop: Arc<AtomicBool>,
    (first, number, rows): (Instant, u64, u64),
) -> Result<Felt> {
    let mut felt = Felt::default();
    // What was due while a statement hung is sent at once afterwards: nothing is left out.
    let mut clock = tokio::time::interval_at(first.into(), EVERY);
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        let due = clock.tick().await.into_std();
        turn += 1;
        // All over the table, in no order.
        let id = i64::try_from((turn * 2_654_435_761 + number * 40_503) % rows + 1)?;
        let write = turn % 2 == 0;
        let sql = if write {
            "UPDATE customers SET visits = visits + 1 WHERE id = $1"
        } else {
            "SELECT mail FROM customers WHERE id = $1"
        };
        let sent = Instant::now();
        match sqlx::query(sql).bind(id).execute(&mut session).await {
            Ok(_) => felt.writes += u64::from(write),
            Err(_) => felt.failed += 1,
        }
        let since = if sent.saturating_duration_since(due) > CLOCK { due } else { sent };
        felt.took.push((due, since.elapsed().as_secs_f64() * 1000.0));
    }
    Ok(felt)
}
