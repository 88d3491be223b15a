//! The application beside what is measured: so many statements a second, and how long each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinHandle;

use crate::harness::postgres::{APPLICATION, Database};

/// The clock of this program is no better; what is sent later than that had to wait for the statement before.
const CLOCK: Duration = Duration::from_millis(2);

/// What it does.
#[derive(Clone, Copy, Debug)]
pub struct Application {
    /// Sessions; every other statement of each is a write.
    pub sessions: u32,
    /// One statement of each session.
    pub every: Duration,
    /// Keys go from 1 to this.
    pub rows: u64,
    /// Adds one to `visits` of the row with key `$1`.
    pub write: &'static str,
    /// Reads the row with key `$1`.
    pub read: &'static str,
}

impl Application {
    /// Statements a second, of all sessions.
    pub fn rate(&self) -> f64 {
        f64::from(self.sessions) / self.every.as_secs_f64()
    }
}

/// A statement that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it was to be sent.
    pub due: Instant,
    /// How long it took from then, milliseconds.
    pub took: f64,
}

/// What the application saw.
#[derive(Default)]
pub struct Felt {
    /// Every statement.
    pub answers: Vec<Answer>,
    /// Statements that failed.
    pub failed: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
}

impl Felt {
    /// How long all statements took, milliseconds.
    pub fn took(&self) -> Vec<f64> {
        self.answers.iter().map(|answer| answer.took).collect()
    }

    /// How long the statements took that were due in between, milliseconds.
    pub fn between(&self, began: Instant, ended: Instant) -> Vec<f64> {
        let within = |answer: &&Answer| (began..=ended).contains(&answer.due);
        self.answers.iter().filter(within).map(|answer| answer.took).collect()
    }

    /// How many statements took longer than this, milliseconds.
    pub fn late(&self, limit: f64) -> usize {
        self.answers.iter().filter(|answer| answer.took > limit).count()
    }

    /// For how long in all some statement was held up for longer than this; both milliseconds.
    pub fn stalled(&self, limit: f64) -> f64 {
        let Some(origin) = self.answers.iter().map(|answer| answer.due).min() else { return 0.0 };
        let late = self.answers.iter().filter(|answer| answer.took > limit);
        let mut spans: Vec<(f64, f64)> = late
            .map(|answer| (answer.due.saturating_duration_since(origin).as_secs_f64() * 1000.0, answer.took))
            .map(|(from, took)| (from, from + took))
            .collect();
        spans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut total, mut reached) = (0.0, 0.0_f64);
        for (from, to) in spans {
            total += (to - from.max(reached)).max(0.0);
            reached = reached.max(to);
        }
        total
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
    pub async fn start(database: &Database, application: Application) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut sessions = Vec::new();
        for number in 0..application.sessions {
            let session = database.connect_as(APPLICATION).await?;
            let stop = Arc::clone(&stop);
            let first = Instant::now() + application.every / application.sessions * number;
            sessions.push(tokio::spawn(send(session, stop, application, (first, u64::from(number)))));
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
            all.answers.extend(felt.answers);
            all.failed += felt.failed;
            all.writes += felt.writes;
        }
        Ok(all)
    }
}

async fn send(
    mut session: sqlx::PgConnection,
    stop: Arc<AtomicBool>,
    application: Application,
    (first, number): (Instant, u64),
) -> Result<Felt> {
    let mut felt = Felt::default();
    // What was due while a statement hung is sent at once afterwards: nothing is left out.
    let mut clock = tokio::time::interval_at(first.into(), application.every);
    let mut turn = number;
    while !stop.load(Ordering::Relaxed) {
        let due = clock.tick().await.into_std();
        turn += 1;
        // All over the table, in no order.
        let id = i64::try_from((turn * 2_654_435_761 + number * 40_503) % application.rows + 1)?;
        let write = turn % 2 == 0;
        let sql = if write { application.write } else { application.read };
        let sent = Instant::now();
        match sqlx::query(sql).bind(id).execute(&mut session).await {
            Ok(_) => felt.writes += u64::from(write),
            Err(_) => felt.failed += 1,
        }
        let since = if sent.saturating_duration_since(due) > CLOCK { due } else { sent };
        felt.answers.push(Answer { due: since, took: since.elapsed().as_secs_f64() * 1000.0 });
    }
    Ok(felt)
}
