//! What a statement does that cannot run in a transaction: another session looks at its locks.
//!
//! Such a statement runs several transactions of its own, and what one of them holds may be there for microseconds only.
//! So each of them is stopped where it holds everything, at its commit: the session waits there for a standby that does
//! not exist. It is looked at, and sent on by cancelling the wait (the server then commits without the standby). And its tables
//! are locked when it begins, each until the session is seen waiting for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sqlx::{Connection as _, PgConnection};

use super::measure::{Effect, LOCKS, Names, Relations, SESSION, Seen, Statistics};
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

/// Runs a statement outside of a transaction and tells its effect; `observer` is another session of the database.
pub async fn measure(database: &Database, observer: &mut PgConnection, statement: &str) -> Result<Effect> {
    let mut session = database.connect().await?;
    // A vacuum writes nothing that a commit would wait for; it is slowed down instead.
    let slow = "SET vacuum_cost_delay = '20ms'; SET vacuum_cost_limit = 1; SET synchronous_commit = on";
    execute(&mut session, &format!("{SESSION}; {slow}")).await?;
    let pid = text(&mut session, "SELECT pg_backend_pid()::text").await?;
    let pid = pid.first().and_then(|row| row.first().cloned()).flatten().context("no process id")?;
    let before = Relations::read(observer, Statistics::Database).await?;
    let mut watch = Watch { pid, names: before.names(), barriers: BTreeMap::new(), seen: BTreeSet::new() };
    watch.put_up(database, &before, statement).await?;
    let done = AtomicBool::new(false);
    let running = async {
        let outcome = execute(&mut session, statement).await;
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let both = async { tokio::join!(running, watch.until(observer, &done)) };
    let (outcome, watched) = tokio::time::timeout(PATIENCE, both)
        .await
        .with_context(|| format!("not done within {PATIENCE:?}"))?;
    outcome?;
    watched?;
    for barrier in watch.barriers.into_values() {
        barrier.close().await?;
    }
    execute(&mut session, "SET synchronous_commit = local; SELECT count(*) FROM marker").await?;
    session.close().await?;
    statistics_arrive(observer).await?;
    let after = Relations::read(observer, Statistics::Database).await?;
    Ok(before.effect(&after, &watch.seen, &watch.names))
}

/// What is seen of a session.
struct Watch {
    pid: String,
    names: Names,
    /// By table: a session that locks it, until the one that is watched has come to it.
    barriers: BTreeMap<String, PgConnection>,
    seen: BTreeSet<Seen>,
}

impl Watch {
    /// Locks the tables that the statement may be about, so that the session waits where it does more with one than read and
    /// write its rows. So it is seen to want that even in a transaction that writes nothing, and therefore does not stop at
    /// its commit.
    async fn put_up(&mut self, database: &Database, relations: &Relations, statement: &str) -> Result<()> {
        let words: Vec<&str> = statement.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for (oid, name) in relations.tables() {
            let bare = name.rsplit('.').next().unwrap_or_default();
            // Partitions and indexes are called after their tables.
            let akin = |word: &&str| word.len() > 2 && (bare.starts_with(*word) || word.starts_with(bare));
            if words.iter().any(akin) {
                let mut barrier = database.connect().await?;
                let lock = format!("BEGIN; LOCK TABLE ONLY {name} IN SHARE UPDATE EXCLUSIVE MODE");
                execute(&mut barrier, &lock).await?;
                self.barriers.insert(oid, barrier);
            }
        }
        Ok(())
    }

    /// Gathers the locks of the session until it is done; lets it pass at each table, and at each commit.
    async fn until(&mut self, observer: &mut PgConnection, done: &AtomicBool) -> Result<()> {
        let at_commit = AT_COMMIT.replace("{pid}", &self.pid);
        let (mut before, mut sent_on) = (String::new(), String::new());
        while !done.load(Ordering::Relaxed) {
            let at = text(observer, &at_commit).await?;
            let at = at.into_iter().flatten().flatten().next().unwrap_or_default();
            self.look(observer).await?;
            // The server tells the wait and the transaction one after the other, so that a wait which has just ended can
            // seem to be the next transaction's; it does not twice.
            if !at.is_empty() && at == before && at != sent_on {
                execute(observer, &format!("SELECT pg_cancel_backend({})", self.pid)).await?;
                sent_on.clone_from(&at);
            }
            before = at;
        }
        Ok(())
    }

    /// Notes the locks that the session has or waits for, by the names that the relations have now: what is renamed, to be
    /// dropped, is no longer what others know by its old name.
    async fn look(&mut self, observer: &mut PgConnection) -> Result<()> {
        for row in text(observer, &format!("{LOCKS} AND pid = {}", self.pid)).await? {
            let [Some(oid), Some(mode), Some(granted), name] =
                <[Option<String>; 4]>::try_from(row).unwrap_or_default()
            else {
                continue;
            };
            let known = self.names.iter().find(|(_, known)| Some(*known) == name.as_ref());
            self.seen.extend(known.map(|(oid, _)| (oid.clone(), mode)));
            if granted == "false"
                && let Some(barrier) = self.barriers.remove(&oid)
            {
                barrier.close().await?;
            }
        }
        Ok(())
    }
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
