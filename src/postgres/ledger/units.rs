//! Units and statements in the ledger. Nothing here opens a transaction: the rows belong to the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::types::Json;
use sqlx::{Executor, PgConnection, Postgres, Row, Type};
use uuid::Uuid;

use super::begin_fenced;
use crate::core::observation::UnitStatus;
use crate::core::state::State;
use crate::crash::Site;
use crate::postgres::error::Error;
use crate::postgres::identity::ServerIdentity;
use crate::sql::Aside;

/// What one committed block leaves in the ledger: the unit's row, and one row of the history for each statement.
#[derive(Clone, Debug)]
pub struct UnitRecord<'a> {
    /// The run.
    pub run: Uuid,
    /// Index into the plan's units.
    pub unit: usize,
    /// How far it is.
    pub status: UnitStatus,
    /// The end of the run, where this unit is its last one.
    pub then: Option<&'a State>,
    /// `up` or `down`.
    pub direction: &'static str,
    /// Index into the blocks of that direction.
    pub block: usize,
    /// The server that it ran on.
    pub server: &'a ServerIdentity,
    /// Backend that ran it.
    pub pid: i32,
    /// The owner's epoch.
    pub epoch: i64,
}

/// One statement's row in the history.
#[derive(Clone, Copy, Debug)]
pub struct StatementRecord<'a> {
    /// The text as it was sent.
    pub sql: &'a str,
    /// `intent`, `done` or `found` (it was in force already).
    pub outcome: &'static str,
    /// From sending it to its answer.
    pub duration: Option<Duration>,
}

/// Returns an index as the ledger holds it.
pub fn index(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

const WRITE: &str = "
WITH trash AS (
    INSERT INTO whimbrel.trash (run, unit, aside) SELECT $1, $2, a.aside FROM unnest($15::jsonb[]) AS a (aside)
), history AS (
    INSERT INTO whimbrel.statements (run, unit, direction, block, ordinal, sql, checksum, outcome, milliseconds, epoch)
    SELECT $1, $2, $9, $10, s.ordinal - 1, s.sql, encode(sha256(convert_to(s.sql, 'UTF8')), 'hex'), s.outcome, s.ms, $8
    FROM unnest($11::text[], $12::text[], $13::float8[]) WITH ORDINALITY AS s (sql, outcome, ms, ordinal)
), run AS (
    UPDATE whimbrel.runs SET phase = $16, state = $17, finished_at = clock_timestamp(),
        applied_at = CASE WHEN $18 THEN coalesce(applied_at, clock_timestamp()) ELSE applied_at END
    WHERE id = $1 AND $16 IS NOT NULL
)
INSERT INTO whimbrel.units AS u (run, unit, status, in_force, attempts, pid, backend_start, xid, lsn, system_identifier, timeline, epoch)
VALUES ($1, $2, $3, $4, 1, $5, (SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid())), $14, pg_current_wal_insert_lsn()::text, $6, $7, $8)
ON CONFLICT (run, unit) DO UPDATE SET status = excluded.status, in_force = excluded.in_force, attempts = u.attempts + 1,
    pid = excluded.pid, backend_start = excluded.backend_start, xid = excluded.xid, lsn = excluded.lsn,
    system_identifier = excluded.system_identifier, timeline = excluded.timeline, epoch = excluded.epoch,
    changed_at = clock_timestamp()";

/// Has the server parse the statement of [`UnitRecord::write`] while nobody waits for a lock.
pub async fn prepare(conn: &mut PgConnection) -> Result<(), Error> {
    fn of<T: Type<Postgres> + ?Sized>() -> sqlx::postgres::PgTypeInfo {
        T::type_info()
    }
    let (text, number) = (of::<str>(), of::<i32>());
    let types = [
        of::<Uuid>(),
        number.clone(),
        of::<Json<UnitStatus>>(),
        of::<bool>(),
        number.clone(),
        text.clone(),
        number.clone(),
        of::<i64>(),
        text.clone(),
        number,
        of::<Vec<String>>(),
        of::<Vec<String>>(),
        of::<Vec<Option<f64>>>(),
        text.clone(),
        of::<Vec<Json<Aside>>>(),
        text,
        of::<Json<State>>(),
        of::<bool>(),
    ];
    conn.prepare_with(sqlx::SqlSafeStr::into_sql_str(WRITE), &types).await?;
    Ok(())
}

impl UnitRecord<'_> {
    /// Writes everything in one round trip, because the caller's transaction may hold locks that others wait for.
    pub async fn write(
        &self,
        conn: &mut PgConnection,
        xid: &str,
        statements: &[StatementRecord<'_>],
        aside: &[Aside],
    ) -> Result<(), Error> {
        let texts: Vec<&str> = statements.iter().map(|one| one.sql).collect();
        let outcomes: Vec<&str> = statements.iter().map(|one| one.outcome).collect();
        let times: Vec<Option<f64>> = statements
            .iter()
            .map(|one| one.duration.map(|duration| duration.as_secs_f64() * 1000.0))
            .collect();
        let aside: Vec<Json<&Aside>> = aside.iter().map(Json).collect();
        sqlx::query(WRITE)
            .bind(self.run)
            .bind(index(self.unit))
            .bind(Json(self.status))
            .bind(self.status.in_force())
            .bind(self.pid)
            .bind(&self.server.system_identifier)
            .bind(self.server.timeline_number())
            .bind(self.epoch)
            .bind(self.direction)
            .bind(index(self.block))
            .bind(texts)
            .bind(outcomes)
            .bind(times)
            .bind(xid)
            .bind(aside)
            .bind(self.then.map(State::phase))
            .bind(self.then.map(Json))
            .bind(self.then.is_some_and(State::applied))
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// Notes a statement that failed for good, for the history; the unit's own row says nothing of it, since nothing remains.
pub async fn note_failure(
    conn: &mut PgConnection,
    epoch: i64,
    run: Uuid,
    (unit, direction, block): (usize, &str, usize),
    (sql, error): (&str, &str),
) -> Result<(), Error> {
    let mut tx = begin_fenced(conn, epoch, Site::FailureNoted).await?;
    sqlx::query(
        "INSERT INTO whimbrel.statements (run, unit, direction, block, ordinal, sql, checksum, outcome, epoch, error) \
         VALUES ($1, $2, $3, $4, 0, $5, encode(sha256(convert_to($5, 'UTF8')), 'hex'), 'failed', $6, $7)",
    )
    .bind(run)
    .bind(index(unit))
    .bind(direction)
    .bind(index(block))
    .bind(sql)
    .bind(epoch)
    .bind(error)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
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

/// The query of a unit's status, as text.
pub fn status_text(run: Uuid, unit: usize) -> String {
    format!("SELECT status FROM whimbrel.units WHERE run = '{run}' AND unit = {}", index(unit))
}

/// Reads a status that was read as text.
pub fn read_status(text: Option<&str>) -> Result<UnitStatus, Error> {
    text.map_or(Ok(UnitStatus::Open), |text| {
        serde_json::from_str(text).map_err(|error| Error::Unexpected(format!("status of a unit: {error}")))
    })
}

/// Returns whether a unit was ever announced, which is what a unit outside a transaction begins with; one that was found in
/// force was not.
pub async fn announced(conn: &mut PgConnection, run: Uuid, unit: usize) -> Result<bool, Error> {
    let announced = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM whimbrel.statements WHERE run = $1 AND unit = $2 AND direction = 'up' AND outcome = 'intent')",
    )
    .bind(run)
    .bind(index(unit))
    .fetch_one(conn)
    .await?;
    Ok(announced)
}

/// Reads the statuses of every unit of every run that has any.
pub async fn all(conn: &mut PgConnection) -> Result<BTreeMap<Uuid, BTreeMap<usize, UnitStatus>>, Error> {
    let rows = sqlx::raw_sql("SELECT run, unit, status FROM whimbrel.units").fetch_all(conn).await?;
    let mut found: BTreeMap<Uuid, BTreeMap<usize, UnitStatus>> = BTreeMap::new();
    for row in rows {
        let (run, unit): (Uuid, i32) = (row.try_get(0)?, row.try_get(1)?);
        let status: Json<UnitStatus> = row.try_get(2)?;
        found.entry(run).or_default().insert(usize::try_from(unit).unwrap_or_default(), status.0);
    }
    Ok(found)
}
