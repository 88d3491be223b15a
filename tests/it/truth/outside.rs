//! What a statement does that cannot run in a transaction: another session looks at its locks.
//!
//! Such a statement runs several transactions of its own, and what one of them holds may be there for microseconds only.
//! So each of them is stopped where it holds everything, at its commit: the session waits there for a standby that does
//! not exist. It is looked at, and sent on by cancelling the wait (the server then commits without the standby).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sqlx::{Connection as _, PgConnection};

use super::measure::{Effect, Relations, Statistics, locks};
use crate::harness::await_until;
use crate::harness::postgres::{Database, execute, text};

/// How long one statement may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The session waits at a commit: its transaction.
const AT_COMMIT: &str = "SELECT coalesce((SELECT l.virtualtransaction FROM pg_stat_activity a JOIN pg_locks l USING (pid) \
    WHERE a.pid = {pid} AND a.wait_event = 'SyncRep' LIMIT 1), '')";

/// Settings of the cluster under which [`measure`] works: only who asks for it waits for the standby.
pub const SETTINGS: [(&str, &str); 2] =
    [("synchronous_standby_names", "nobody"), ("synchronous_commit", "local")];

/// Runs a statement outside of a transaction and tells its effect.
pub async fn measure(database: &Database, statement: &str) -> Result<Effect> {
    let mut observer = database.connect().await?;
    let mut session = database.connect().await?;
    // A vacuum writes nothing that a commit would wait for; it is slowed down instead.
    let slow = "SET vacuum_cost_delay = '20ms'; SET vacuum_cost_limit = 1; SET max_parallel_maintenance_workers = 0; \
        SET synchronous_commit = on";
    execute(&mut session, slow).await?;
    let pid = text(&mut session, "SELECT pg_backend_pid()::text").await?;
    let pid = pid.first().and_then(|row| row.first().cloned()).flatten().context("no process id")?;
    let before = Relations::read(&mut observer, Statistics::Database).await?;
    let done = AtomicBool::new(false);
    let running = async {
        let outcome = execute(&mut session, statement).await;
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let both = async { tokio::join!(running, watch(&mut observer, &pid, &done)) };
    let (outcome, seen) = tokio::time::timeout(PATIENCE, both)
        .await
        .with_context(|| format!("not done within {PATIENCE:?}"))?;
    outcome?;
    execute(&mut session, "SET synchronous_commit = local; SELECT count(*) FROM marker").await?;
    session.close().await?;
    statistics_arrive(&mut observer).await?;
    let after = Relations::read(&mut observer, Statistics::Database).await?;
    Ok(before.effect(&after, &seen?.into_iter().collect::<Vec<_>>()))
}

/// Gathers the locks of a session until it is done, and sends it on from each commit.
async fn watch(
    observer: &mut PgConnection,
    pid: &str,
    done: &AtomicBool,
) -> Result<BTreeSet<(String, String)>> {
    let mut seen = BTreeSet::new();
    let (mut before, mut sent_on) = (String::new(), String::new());
    while !done.load(Ordering::Relaxed) {
        let at = text(observer, &AT_COMMIT.replace("{pid}", pid)).await?;
        let at = at.into_iter().flatten().flatten().next().unwrap_or_default();
        seen.extend(locks(observer, pid).await?);
        // The server tells the wait and the transaction one after the other, so that a wait which has just ended can seem
        // to be the next transaction's; it does not twice.
        if !at.is_empty() && at == before && at != sent_on {
            execute(observer, &format!("SELECT pg_cancel_backend({pid})")).await?;
            sent_on.clone_from(&at);
        }
        before = at;
    }
    Ok(seen)
}

/// Waits until the statistics of the sessions that ended are there: they arrive in order.
async fn statistics_arrive(observer: &mut PgConnection) -> Result<()> {
    await_until("the statistics", PATIENCE, async || {
        let sql = "SELECT seq_scan::text FROM pg_stat_all_tables WHERE relname = 'marker'";
        let rows = text(observer, sql).await?;
        let scans = rows.into_iter().flatten().flatten().next().unwrap_or_default();
        if scans.is_empty() || scans == "0" {
            bail!("the marker was scanned {scans} times");
        }
        Ok(())
    })
    .await
}
