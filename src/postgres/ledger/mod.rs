//! The ledger: schema `whimbrel` in the target database, the truth of what happened.
//!
//! Invariants: every write happens in a transaction that begins with [`fence`]; a unit's row is written in the unit's own
//! transaction; the plan of a run is stored whole before its first effect. Newer versions read older ledgers; a ledger
//! newer than this program is refused.

mod runs;
pub mod samples;
pub mod units;

use sqlx::types::Json;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

pub use runs::{NewRun, Run, RunChange, RunKey};
pub use units::{StatementRecord, UnitRecord};

use super::error::Error;
use super::identity::ServerIdentity;
use crate::core::observation::UnitStatus;

/// The version of the ledger that this program writes.
pub const VERSION: i32 = 1;

const SCHEMA: &str = include_str!("schema.sql");

/// On which side of a replica a ledger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The database that serves the application.
    Primary,
    /// The writable copy where migrations run first.
    Copy,
}

impl Side {
    /// Returns the word that the ledger stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Copy => "copy",
        }
    }
}

/// What the ledger says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Version of its tables.
    pub version: i32,
    /// `primary` or `copy`.
    pub side: String,
    /// The cluster in which it was made.
    pub system_identifier: String,
    /// The timeline that was seen last.
    pub timeline: i32,
}

/// Reads the ledger's head; `None` where there is no ledger yet.
pub async fn head(conn: &mut PgConnection) -> Result<Option<Head>, Error> {
    let exists =
        sqlx::raw_sql("SELECT to_regclass('whimbrel.ledger') IS NOT NULL").fetch_one(&mut *conn).await?;
    if !exists.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let row = sqlx::raw_sql("SELECT version, side, system_identifier, timeline FROM whimbrel.ledger")
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let head = Head {
        version: row.try_get(0)?,
        side: row.try_get(1)?,
        system_identifier: row.try_get(2)?,
        timeline: row.try_get(3)?,
    };
    if head.version > VERSION {
        return Err(Error::LedgerNewer { found: head.version, known: VERSION });
    }
    Ok(Some(head))
}

/// Creates the ledger where there is none. The schema itself may have been made by an administrator.
pub async fn create(conn: &mut PgConnection, side: Side, server: &ServerIdentity) -> Result<(), Error> {
    let mut tx = conn.begin().await?;
    // Two first contacts at once: the second waits here and then finds the ledger made.
    sqlx::query("SELECT pg_advisory_xact_lock(2002873965, 0)").execute(&mut *tx).await?;
    if sqlx::query_scalar::<_, bool>("SELECT to_regclass('whimbrel.ledger') IS NOT NULL")
        .fetch_one(&mut *tx)
        .await?
    {
        return Ok(());
    }
    let schema: bool =
        sqlx::query_scalar("SELECT to_regnamespace('whimbrel') IS NOT NULL").fetch_one(&mut *tx).await?;
    if !schema {
        sqlx::query("CREATE SCHEMA whimbrel").execute(&mut *tx).await?;
    }
    sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
    sqlx::query(
        "INSERT INTO whimbrel.ledger (version, side, system_identifier, timeline) VALUES ($1, $2, $3, $4)",
    )
    .bind(VERSION)
    .bind(side.as_str())
    .bind(&server.system_identifier)
    .bind(server.timeline_number())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Makes the ledger that came with a copy of the primary the copy's own: which units the copy contains stays true; what was
/// sampled and put aside there is not its business. In place, because a schema cannot be renamed or made without rights
/// on the whole database.
pub async fn adopt_copied(conn: &mut PgConnection, server: &ServerIdentity) -> Result<(), Error> {
    let mut tx = conn.begin().await?;
    sqlx::raw_sql("DELETE FROM whimbrel.samples; DELETE FROM whimbrel.trash; UPDATE whimbrel.epoch SET epoch = epoch + 1, owner = ''")
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE whimbrel.ledger SET side = 'copy', system_identifier = $1, timeline = $2")
        .bind(&server.system_identifier)
        .bind(server.timeline_number())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

/// Records the timeline on which the ledger was seen.
pub async fn record_timeline(conn: &mut PgConnection, epoch: i64, timeline: i32) -> Result<(), Error> {
    let mut tx = begin_fenced(conn, epoch).await?;
    sqlx::query("UPDATE whimbrel.ledger SET timeline = $1").bind(timeline).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Takes the next epoch for `owner`: from here on every other owner's transactions stop at the fence. Waits for an open
/// effect of the last owner as long as the session's `lock_timeout`.
pub async fn bump_epoch(conn: &mut PgConnection, owner: &str) -> Result<i64, Error> {
    let epoch = sqlx::query_scalar(
        "UPDATE whimbrel.epoch SET epoch = epoch + 1, owner = $1, since = clock_timestamp() RETURNING epoch",
    )
    .bind(owner)
    .fetch_one(conn)
    .await?;
    Ok(epoch)
}

/// Refuses to go on unless the epoch is still ours. `FOR SHARE` conflicts with the UPDATE that bumps it (`FOR KEY
/// SHARE` would not), so a transaction past the fence is over before the next owner begins.
pub async fn fence(conn: &mut PgConnection, epoch: i64) -> Result<(), Error> {
    let row = sqlx::query("SELECT FROM whimbrel.epoch WHERE epoch = $1 FOR SHARE")
        .bind(epoch)
        .fetch_optional(conn)
        .await?;
    row.map(|_| ()).ok_or(Error::Fenced)
}

/// Fences like [`fence`], and returns how far a unit is in the same round trip.
pub async fn fence_unit(
    conn: &mut PgConnection,
    epoch: i64,
    (run, unit): (Uuid, usize),
) -> Result<UnitStatus, Error> {
    let row = sqlx::query(
        "SELECT (SELECT status FROM whimbrel.units WHERE run = $2 AND unit = $3) FROM whimbrel.epoch WHERE epoch = $1 FOR SHARE",
    )
    .bind(epoch)
    .bind(run)
    .bind(i32::try_from(unit).unwrap_or(i32::MAX))
    .fetch_optional(conn)
    .await?
    .ok_or(Error::Fenced)?;
    let status: Option<Json<UnitStatus>> = row.try_get(0)?;
    Ok(status.map_or(UnitStatus::Open, |json| json.0))
}

/// Begins a transaction behind the fence.
pub async fn begin_fenced(
    conn: &mut PgConnection,
    epoch: i64,
) -> Result<sqlx::Transaction<'_, sqlx::Postgres>, Error> {
    let mut tx = conn.begin().await?;
    fence(&mut tx, epoch).await?;
    Ok(tx)
}

/// Ends the user's part of a transaction: back to our own role, path and limits, in one round trip, because locks are held.
/// Returns the current transaction's id, and what its locks say about user SQL that touched the ledger: the first lock on
/// an object of schema `whimbrel` above ROW SHARE, or on the schema itself.
pub async fn take_back(conn: &mut PgConnection) -> Result<(Option<String>, Option<String>), Error> {
    let row = sqlx::raw_sql(
        "RESET ROLE; SET LOCAL search_path TO ''; SET LOCAL lock_timeout TO '5s'; SET LOCAL statement_timeout TO '10s';
         SELECT pg_current_xact_id_if_assigned()::text, (
            SELECT CASE WHEN l.locktype = 'object' THEN 'schema whimbrel' ELSE 'whimbrel.' || c.relname END || ' (' || l.mode || ')'
            FROM pg_catalog.pg_locks l
            LEFT JOIN pg_catalog.pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
            WHERE l.pid = pg_backend_pid() AND l.granted
              AND ((c.relnamespace = to_regnamespace('whimbrel') AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
                OR (l.locktype = 'object' AND l.classid = 'pg_catalog.pg_namespace'::regclass
                    AND l.objid = to_regnamespace('whimbrel') AND l.mode <> 'AccessShareLock'))
            LIMIT 1)",
    )
    .fetch_one(conn)
    .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
