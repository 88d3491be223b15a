//! The ledger: schema `whimbrel` in the target database, the truth of what happened.
//!
//! Invariants: every write happens in a transaction that begins with [`fence`]; a unit's row is written in the unit's own
//! transaction; the plan of a run is stored whole before its first effect. Newer versions read older ledgers; a ledger
//! newer than this program is refused.

mod runs;
pub mod samples;
pub mod trash;
pub mod units;

use sqlx::{Connection, PgConnection, Row};

pub use runs::{Latest, NewRun, Run, RunChange, RunKey};
pub use units::{StatementRecord, UnitRecord, index};

use super::error::Error;
use super::identity::ServerIdentity;
use super::statement::ours;
use crate::core::lock_plan::Held;
use crate::crash::{self, Moment, Mutant, Site, planted};
use crate::sql::LockMode;

/// The version of the ledger that this program writes.
pub const VERSION: i32 = 2;

const SCHEMA: &str = include_str!("schema.sql");
/// What each version added to the one before, from the second on.
const ADDED: &[&str] = &[include_str!("backfills.sql")];

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
    crash::at(Site::LedgerMade, Moment::BeforeIntent).await;
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
    for added in ADDED {
        sqlx::raw_sql(*added).execute(&mut *tx).await?;
    }
    sqlx::query(
        "INSERT INTO whimbrel.ledger (version, side, system_identifier, timeline) VALUES ($1, $2, $3, $4)",
    )
    .bind(VERSION)
    .bind(side.as_str())
    .bind(&server.system_identifier)
    .bind(server.timeline_number())
    .execute(&mut *tx)
    .await?;
    Fenced { tx, site: Site::LedgerMade }.commit().await
}

/// Brings a ledger of an older version to this one's.
pub async fn upgrade(conn: &mut PgConnection, from: i32) -> Result<(), Error> {
    crash::at(Site::LedgerMade, Moment::BeforeIntent).await;
    let mut tx = conn.begin().await?;
    // Whoever is second finds the version changed, and changes nothing.
    let current: i32 =
        sqlx::query_scalar("SELECT version FROM whimbrel.ledger FOR UPDATE").fetch_one(&mut *tx).await?;
    let have = usize::try_from(current.max(from)).unwrap_or_default();
    for added in ADDED.iter().skip(have.saturating_sub(1)) {
        sqlx::raw_sql(*added).execute(&mut *tx).await?;
    }
    sqlx::query("UPDATE whimbrel.ledger SET version = $1").bind(VERSION).execute(&mut *tx).await?;
    Fenced { tx, site: Site::LedgerMade }.commit().await
}

/// Makes the ledger that came with a copy of the primary the copy's own: which units the copy contains stays true; what was
/// sampled and put aside there is not its business. In place, because a schema cannot be renamed or made without rights
/// on the whole database.
pub async fn adopt_copied(conn: &mut PgConnection, server: &ServerIdentity) -> Result<(), Error> {
    crash::at(Site::LedgerAdopted, Moment::BeforeIntent).await;
    let mut tx = conn.begin().await?;
    sqlx::raw_sql("DELETE FROM whimbrel.samples; DELETE FROM whimbrel.trash; UPDATE whimbrel.epoch SET epoch = epoch + 1, owner = ''")
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE whimbrel.ledger SET side = 'copy', system_identifier = $1, timeline = $2")
        .bind(&server.system_identifier)
        .bind(server.timeline_number())
        .execute(&mut *tx)
        .await?;
    Fenced { tx, site: Site::LedgerAdopted }.commit().await
}

/// Records the timeline on which the ledger was seen.
pub async fn record_timeline(conn: &mut PgConnection, epoch: i64, timeline: i32) -> Result<(), Error> {
    let mut tx = begin_fenced(conn, epoch, Site::TimelineRecorded).await?;
    sqlx::query("UPDATE whimbrel.ledger SET timeline = $1").bind(timeline).execute(&mut *tx).await?;
    tx.commit().await
}

/// Takes the next epoch for `owner`: from here on every other owner's transactions stop at the fence. Waits for an open
/// effect of the last owner as long as the session's `lock_timeout`.
pub async fn bump_epoch(conn: &mut PgConnection, owner: &str) -> Result<i64, Error> {
    crash::at(Site::EpochTaken, Moment::BeforeIntent).await;
    let step = i64::from(!planted(Mutant::EpochNotBumped));
    let bump = sqlx::query_scalar(
        "UPDATE whimbrel.epoch SET epoch = epoch + $2, owner = $1, since = clock_timestamp() RETURNING epoch",
    )
    .bind(owner)
    .bind(step)
    .fetch_one(conn);
    let epoch = crash::during(Site::EpochTaken, Moment::CommittedNotAcknowledged, bump).await?;
    crash::at(Site::EpochTaken, Moment::Recorded).await;
    Ok(epoch)
}

/// Refuses to go on unless the epoch is still ours. `FOR SHARE` conflicts with the UPDATE that bumps it (`FOR KEY
/// SHARE` would not), so a transaction past the fence is over before the next owner begins.
pub async fn fence(conn: &mut PgConnection, epoch: i64) -> Result<(), Error> {
    let row = sqlx::raw_sql(ours(fence_text(epoch))).fetch_optional(conn).await?;
    row.map(|_| ()).ok_or(Error::Fenced)
}

/// The query of the fence: one row, or none if the epoch is not ours any more.
pub fn fence_text(epoch: i64) -> String {
    if planted(Mutant::NoFence) {
        return "SELECT 1 FROM whimbrel.epoch FOR SHARE".to_owned();
    }
    let lock = if planted(Mutant::KeyShareFence) { "FOR KEY SHARE" } else { "FOR SHARE" };
    format!("SELECT epoch FROM whimbrel.epoch WHERE epoch = {epoch} {lock}")
}

/// Begins a transaction behind the fence, for one effect on the ledger.
pub async fn begin_fenced(conn: &mut PgConnection, epoch: i64, site: Site) -> Result<Fenced<'_>, Error> {
    crash::at(site, Moment::BeforeIntent).await;
    let mut tx = conn.begin().await?;
    fence(&mut tx, epoch).await?;
    Ok(Fenced { tx, site })
}

/// A transaction behind the fence; one that is not committed is rolled back.
pub struct Fenced<'c> {
    tx: sqlx::Transaction<'c, sqlx::Postgres>,
    site: Site,
}

impl Fenced<'_> {
    /// Makes it last.
    pub async fn commit(self) -> Result<(), Error> {
        crash::at(self.site, Moment::Sent).await;
        crash::during(self.site, Moment::CommittedNotAcknowledged, self.tx.commit()).await?;
        crash::at(self.site, Moment::Recorded).await;
        Ok(())
    }
}

impl std::ops::Deref for Fenced<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl std::ops::DerefMut for Fenced<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// What a transaction looks like after the user's part of it.
#[derive(Clone, Debug, Default)]
pub struct Back {
    /// Its id; absent if none is assigned.
    pub xid: Option<String>,
    /// What its locks say about user SQL that touched the ledger: the first lock on an object of schema `whimbrel` above
    /// ROW SHARE, or on the schema itself.
    pub touched: Option<String>,
    /// The locks on relations from SHARE UPDATE EXCLUSIVE on, of catalogs and TOAST tables none.
    pub held: Vec<Held>,
}

/// A lock as `pg_locks` has it: relation, mode, name, and whether this transaction made the relation.
type HeldRow = (u32, String, Option<String>, bool);

/// Goes back to our own role, path and limits, and begins a look at the transaction.
macro_rules! take_back {
    () => {
        "RESET ROLE; SET LOCAL search_path TO ''; SET LOCAL lock_timeout TO '5s'; SET LOCAL statement_timeout TO '10s';
         SELECT pg_current_xact_id_if_assigned()::text, (
            SELECT CASE WHEN l.locktype = 'object' THEN 'schema whimbrel' ELSE 'whimbrel.' || c.relname END || ' (' || l.mode || ')'
            FROM pg_catalog.pg_locks l
            LEFT JOIN pg_catalog.pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
            WHERE l.pid = pg_backend_pid() AND l.granted
              AND ((c.relnamespace = to_regnamespace('whimbrel') AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
                OR (l.locktype = 'object' AND l.classid = 'pg_catalog.pg_namespace'::regclass
                    AND l.objid = to_regnamespace('whimbrel') AND l.mode <> 'AccessShareLock'))
            LIMIT 1)"
    };
}

/// Ends the user's part of a transaction as [`take_back_with_locks()`] does, where nobody asks for its locks.
pub async fn take_back(conn: &mut PgConnection) -> Result<Back, Error> {
    let row = sqlx::raw_sql(take_back!()).fetch_one(conn).await?;
    Ok(Back { xid: row.try_get(0)?, touched: row.try_get(1)?, held: Vec::new() })
}

/// Ends the user's part of a transaction: back to our own role, path and limits, and a look at what it holds, in one round
/// trip, because locks are held. Of what a transaction makes, the first column of the catalog's description is younger than
/// the transaction: the row of a system column is never written again.
pub async fn take_back_with_locks(conn: &mut PgConnection) -> Result<Back, Error> {
    let row = sqlx::raw_sql(concat!(
        take_back!(),
        ", (SELECT coalesce(json_agg(json_build_array(l.relation::int8, l.mode, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
                       coalesce((SELECT age(a.xmin) <= 0 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid
                            AND a.attnum = CASE WHEN c.relkind IN ('i', 'I', 'v', 'c') THEN 1 ELSE -1 END), false))), '[]')::text
            FROM pg_catalog.pg_locks l
            LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation'
              AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
              AND coalesce(n.nspname NOT IN ('pg_catalog', 'pg_toast', 'whimbrel'), true))",
    ))
    .fetch_one(conn)
    .await?;
    let text: String = row.try_get(2)?;
    let held: Vec<HeldRow> = serde_json::from_str(&text)
        .map_err(|error| Error::Unexpected(format!("the locks of this transaction: {error}")))?;
    let held = held.into_iter().filter_map(|(oid, mode, name, created)| {
        Some(Held { oid, name, mode: LockMode::from_pg_locks(&mode)?, created })
    });
    Ok(Back { xid: row.try_get(0)?, touched: row.try_get(1)?, held: held.collect() })
}
