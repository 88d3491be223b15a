//! Taking a database over: what an earlier owner left running is found, ended or awaited, before anything else is done.
//!
//! Invariants: the epoch is bumped before an earlier owner's sessions are ended, unless one of them holds up the bump
//! itself; nobody else's session is ever ended; this call returns only when no statement of an earlier owner runs any more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

use super::build::{Build, PROGRESS};
use super::error::Error;
use super::ledger;
use crate::crash::{self, Moment, Mutant, Site, planted};

/// First key of the advisory lock ("whim"); the second says what for.
const LOCK_CLASS: i32 = 2_002_873_965;
const LOCK_WORK: i32 = 1;

/// How long a terminated predecessor may take to disappear.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// What is done about a concurrent index build, or rebuild, of an earlier owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builds {
    /// It goes on: the server finishes it, and its index is found valid afterwards.
    Adopt,
    /// It ends, because a person wants the end of the run.
    End,
}

/// A session of an earlier owner.
struct Predecessor {
    pid: i32,
    /// When it began, as text; not visible where its login is another one.
    began: Option<String>,
    login: String,
    /// What it builds, if it builds an index concurrently.
    build: Option<Build>,
}

/// Takes the next epoch. A transaction of an earlier owner that is past the fence and does not end holds this up: then its
/// session is ended.
pub(super) async fn bump(conn: &mut PgConnection, owner: &str, ours: &[i32]) -> Result<i64, Error> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        match ledger::bump_epoch(conn, owner).await {
            Err(Error::Server(error)) if error.is_lock_timeout() && Instant::now() < deadline => {
                for old in predecessors(conn, ours).await? {
                    // A build is no transaction that is past the fence.
                    if old.build.is_none() {
                        end(conn, &old).await?;
                    }
                }
            }
            Err(Error::Server(error)) if error.is_lock_timeout() => {
                return Err(Error::OwnerAlive("a session that is not ours holds the epoch row".to_owned()));
            }
            bumped => return bumped,
        }
    }
}

/// Ends what earlier owners left running, and waits until it is gone.
///
/// # Errors
/// `OwnerAlive` while an adoptable build runs, while a session may not be ended by this login, and where one does not end.
pub(super) async fn clear(conn: &mut PgConnection, ours: &[i32], builds: Builds) -> Result<(), Error> {
    if planted(Mutant::LockResultIgnored) {
        return Ok(());
    }
    crash::at(Site::PredecessorsEnded, Moment::BeforeIntent).await;
    let deadline = Instant::now() + GONE_WITHIN;
    let mut told = BTreeSet::new();
    loop {
        let left = predecessors(conn, ours).await?;
        if left.is_empty() {
            crash::at(Site::PredecessorsEnded, Moment::Recorded).await;
            return Ok(());
        }
        for old in &left {
            if let (Some(build), Builds::Adopt) = (&old.build, builds) {
                return Err(Error::OwnerAlive(format!("backend {} still builds an index{build}", old.pid)));
            }
            if told.insert(old.pid) {
                end(conn, old).await?;
            }
        }
        crash::at(Site::PredecessorsEnded, Moment::Executing).await;
        if Instant::now() >= deadline {
            let pids = left.iter().map(|old| old.pid.to_string()).collect::<Vec<_>>().join(", ");
            return Err(Error::OwnerAlive(format!("backend {pids} was told to end and is still there")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the advisory lock of whoever works on this database; taking it once more is harmless.
pub(super) async fn lock(conn: &mut PgConnection) -> Result<(), Error> {
    let query = format!("SELECT pg_try_advisory_lock({LOCK_CLASS}, {LOCK_WORK})");
    let row = sqlx::raw_sql(super::statement::ours(query)).fetch_one(conn).await?;
    if row.try_get(0)? || planted(Mutant::LockResultIgnored) {
        Ok(())
    } else {
        Err(Error::OwnerAlive("another session holds the work lock".to_owned()))
    }
}

/// Finds the sessions in this database that carry our name or hold our lock, our own left out.
async fn predecessors(conn: &mut PgConnection, ours: &[i32]) -> Result<Vec<Predecessor>, Error> {
    let ours = ours.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let query = format!(
        "SELECT a.pid, a.backend_start::text, coalesce(a.usename::text, ''), p.pid IS NOT NULL, {PROGRESS} \
         FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_stat_progress_create_index p \
           ON p.pid = a.pid AND coalesce(p.command LIKE '%CONCURRENTLY', true) \
         WHERE a.datname = current_database() AND a.pid NOT IN ({ours}) AND (a.application_name LIKE 'whimbrel/%' \
           OR a.pid IN (SELECT l.pid FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database \
                        WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database() \
                          AND l.classid = {LOCK_CLASS} AND l.objid = {LOCK_WORK} AND l.objsubid = 2))"
    );
    let rows = sqlx::raw_sql(super::statement::ours(query)).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let builds: bool = row.try_get(3)?;
            Ok(Predecessor {
                pid: row.try_get(0)?,
                began: row.try_get(1)?,
                login: row.try_get(2)?,
                build: if builds { Some(Build::read(row, 4)?) } else { None },
            })
        })
        .collect()
}

/// Ends a session, unless its process number went to somebody else meanwhile.
async fn end(conn: &mut PgConnection, old: &Predecessor) -> Result<(), Error> {
    let ended = sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
         WHERE pid = $1 AND backend_start::text IS NOT DISTINCT FROM $2",
    )
    .bind(old.pid)
    .bind(&old.began)
    .execute(conn)
    .await;
    match ended.map_err(Error::from) {
        Err(Error::Server(error)) if error.is_denied() => Err(Error::OwnerAlive(format!(
            "backend {} is logged in as {}, whose sessions this login may not end; it goes on when that session is gone \
             (or: GRANT pg_signal_backend to this login)",
            old.pid, old.login
        ))),
        ended => ended.map(drop),
    }
}
