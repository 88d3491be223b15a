//! The application beside a backfill: it adds rows and changes rows, holds some for longer than a batch waits, and counts
//! what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::fill::Fill;
use crate::harness::postgres::{Database, execute};

/// A write takes no longer, whoever is in its way.
const LIMIT: Duration = Duration::from_secs(20);
/// Of one row in so many the column is changed that a backfill changes, too.
const RETIERED: u32 = 50;

/// Writes that were acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    /// Rows that were added.
    pub inserted: u64,
    /// Rows of which a counter was raised.
    pub updated: u64,
    /// Rows of which `tier` was changed.
    pub retiered: u64,
}

#[derive(Default)]
struct Counters {
    stop: AtomicBool,
    inserted: AtomicU64,
    updated: AtomicU64,
    retiered: AtomicU64,
}

/// Those who write.
pub struct Writers {
    counters: Arc<Counters>,
    place: watch::Sender<Database>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Begins to write.
    pub fn start(fill: Fill, database: &Database, seed: u64) -> Self {
        let (place, at) = watch::channel(database.clone());
        let counters = Arc::<Counters>::default();
        let writer = |number| tokio::spawn(again(counters.clone(), at.clone(), (fill, number), seed));
        let tasks = vec![writer(0), writer(1)];
        Self { counters, place, tasks }
    }

    /// Goes on elsewhere: what was acknowledged so far may be lost there.
    pub fn follow(&self, database: &Database) {
        self.place.send_replace(database.clone());
        for counter in [&self.counters.inserted, &self.counters.updated, &self.counters.retiered] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Lets the last writes end, and returns what was acknowledged.
    ///
    /// # Errors
    /// When they do not end.
    pub async fn stop(self) -> Result<Acknowledged> {
        self.counters.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            timeout(LIMIT, task).await.context("somebody who writes is held up for good")??;
        }
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Ok(Acknowledged {
            inserted: of(&counters.inserted),
            updated: of(&counters.updated),
            retiered: of(&counters.retiered),
        })
    }
}

/// Writes until told to stop, with a new session whenever the last one is lost.
async fn again(
    counters: Arc<Counters>,
    mut place: watch::Receiver<Database>,
    (fill, number): (Fill, u64),
    seed: u64,
) {
    let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
    while !counters.stop.load(Ordering::Relaxed) {
        let database = place.borrow_and_update().clone();
        let Ok(mut conn) = database.connect_as("app").await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !counters.stop.load(Ordering::Relaxed) && !place.has_changed().unwrap_or(true) {
            // What fails is not acknowledged, and says nothing else: servers crash here.
            let (conn, random) = (&mut conn, &mut random);
            let write = async {
                match number {
                    0 => add(&counters, conn, random, fill).await,
                    _ => change(&counters, conn, random, fill).await,
                }
            };
            let written = timeout(LIMIT, write).await;
            if !matches!(written, Ok(Ok(()))) {
                break;
            }
        }
    }
}

/// Adds one row after all others. Only one session does, so that keys become visible in their order.
async fn add(counters: &Counters, conn: &mut PgConnection, random: &mut StdRng, fill: Fill) -> Result<()> {
    sleep(Duration::from_millis(random.random_range(1..8))).await;
    let sql = format!(
        "WITH new AS (INSERT INTO public.accounts (id, name, tier) \
             SELECT greatest(max(id), {}) + 1, 'late', 'late' FROM public.accounts RETURNING id) \
         INSERT INTO obs.writes (kind, id) SELECT 'insert', id FROM new",
        fill.rows
    );
    execute(conn, &sql).await?;
    counters.inserted.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Changes some rows; now and then holds them for a while, now and then a column that is filled.
async fn change(counters: &Counters, conn: &mut PgConnection, random: &mut StdRng, fill: Fill) -> Result<()> {
    sleep(Duration::from_millis(random.random_range(1..8))).await;
    let first = random.random_range(1..=fill.rows);
    if random.random_range(0..8) == 0 {
        let row = (first - first % RETIERED).max(RETIERED);
        let sql = format!(
            "WITH new AS (UPDATE public.accounts SET tier = 'written' WHERE id = {row} RETURNING id) \
             INSERT INTO obs.writes (kind, id) SELECT 'tier', id FROM new"
        );
        execute(conn, &sql).await?;
        counters.retiered.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let last = (first + random.random_range(0..3)).min(fill.rows);
    let update = format!(
        "WITH new AS (UPDATE public.accounts SET hits = hits + 1 WHERE id BETWEEN {first} AND {last} RETURNING id) \
         INSERT INTO obs.writes (kind, id) SELECT 'update', id FROM new"
    );
    if random.random_range(0..6) == 0 {
        let held = f64::from(random.random_range(5..60)) / 1000.0;
        execute(conn, &format!("BEGIN; {update}; SELECT pg_sleep({held}); COMMIT")).await?;
    } else {
        execute(conn, &update).await?;
    }
    counters.updated.fetch_add(u64::from(last - first + 1), Ordering::Relaxed);
    Ok(())
}
