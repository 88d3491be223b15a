//! Units and statements in the ledger. Nothing here opens a transaction: the rows belong to the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::core::observation::UnitStatus;
use crate::postgres::error::Error;
use crate::postgres::identity::ServerIdentity;
use crate::sql::Aside;

/// A unit's row: what is in force now and who made it so.
#[derive(Clone, Debug)]
pub struct UnitRecord<'a> {
    /// The run.
    pub run: Uuid,
    /// Index into the plan's units.
    pub unit: usize,
    /// How far it is.
    pub status: UnitStatus,
    /// The server that it ran on.
    pub server: &'a ServerIdentity,
    /// Backend that ran it.
    pub pid: i32,
    /// The owner's epoch.
    pub epoch: i64,
}

/// One statement's row in the history.
#[derive(Clone, Debug)]
pub struct StatementRecord<'a> {
    /// The run.
    pub run: Uuid,
    /// Index into the plan's units.
    pub unit: usize,
    /// `up` or `down`.
    pub direction: &'static str,
    /// Index into the blocks of that direction.
    pub block: usize,
    /// Position in the block.
    pub ordinal: usize,
    /// The text as it was sent.
    pub sql: &'a str,
    /// `intent`, `done`, `found` (it was in force already) or `failed`.
    pub outcome: &'static str,
    /// From sending it to its answer.
    pub duration: Option<Duration>,
    /// The owner's epoch.
    pub epoch: i64,
    /// What the server said.
    pub error: Option<&'a str>,
}

fn index(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl UnitRecord<'_> {
    /// Writes the row; with the transaction id and the LSN of the transaction that it is part of.
    pub async fn write(&self, conn: &mut PgConnection) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO whimbrel.units AS u (run, unit, status, in_force, attempts, pid, backend_start, xid, lsn, system_identifier, timeline, epoch) \
             VALUES ($1, $2, $3, $4, 1, $5, (SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()), \
                     pg_current_xact_id()::text, pg_current_wal_insert_lsn()::text, $6, $7, $8) \
             ON CONFLICT (run, unit) DO UPDATE SET status = excluded.status, in_force = excluded.in_force, attempts = u.attempts + 1, \
                 pid = excluded.pid, backend_start = excluded.backend_start, xid = excluded.xid, lsn = excluded.lsn, \
                 system_identifier = excluded.system_identifier, timeline = excluded.timeline, epoch = excluded.epoch, \
                 changed_at = clock_timestamp()",
        )
        .bind(self.run)
        .bind(index(self.unit))
        .bind(Json(self.status))
        .bind(self.status.in_force())
        .bind(self.pid)
        .bind(&self.server.system_identifier)
        .bind(self.server.timeline_number())
        .bind(self.epoch)
        .execute(conn)
        .await?;
        Ok(())
    }
}

impl StatementRecord<'_> {
    /// Appends the row.
    pub async fn write(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let checksum: String = Sha256::digest(self.sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        sqlx::query(
            "INSERT INTO whimbrel.statements (run, unit, direction, block, ordinal, sql, checksum, outcome, milliseconds, epoch, error) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(self.run)
        .bind(index(self.unit))
        .bind(self.direction)
        .bind(index(self.block))
        .bind(index(self.ordinal))
        .bind(self.sql)
        .bind(checksum)
        .bind(self.outcome)
        .bind(self.duration.map(|duration| duration.as_secs_f64() * 1000.0))
        .bind(self.epoch)
        .bind(self.error)
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Records what a way back put aside.
pub async fn put_aside(conn: &mut PgConnection, run: Uuid, unit: usize, aside: &[Aside]) -> Result<(), Error> {
    for one in aside {
        sqlx::query("INSERT INTO whimbrel.trash (run, unit, aside) VALUES ($1, $2, $3)")
            .bind(run)
            .bind(index(unit))
            .bind(Json(one))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Reads one unit's status.
pub async fn status(conn: &mut PgConnection, run: Uuid, unit: usize) -> Result<UnitStatus, Error> {
    let found: Option<Json<UnitStatus>> =
        sqlx::query_scalar("SELECT status FROM whimbrel.units WHERE run = $1 AND unit = $2")
            .bind(run)
            .bind(index(unit))
            .fetch_optional(conn)
            .await?;
    Ok(found.map_or(UnitStatus::Open, |json| json.0))
}

/// Reads the statuses of every unit of every run that has any.
pub async fn all(conn: &mut PgConnection) -> Result<BTreeMap<Uuid, BTreeMap<usize, UnitStatus>>, Error> {
    let rows = sqlx::query("SELECT run, unit, status FROM whimbrel.units").fetch_all(conn).await?;
    let mut found: BTreeMap<Uuid, BTreeMap<usize, UnitStatus>> = BTreeMap::new();
    for row in rows {
        let (run, unit): (Uuid, i32) = (row.try_get(0)?, row.try_get(1)?);
        let status: Json<UnitStatus> = row.try_get(2)?;
        found.entry(run).or_default().insert(usize::try_from(unit).unwrap_or_default(), status.0);
    }
    Ok(found)
}
