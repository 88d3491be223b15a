//! What holds a backfill back: signs that the server, its standbys or its archive cannot keep up. What the login may not see
//! is unknown, and holds nothing back.

use std::time::Duration;

use sqlx::{PgConnection, Row};

use super::begin::as_owner;
use super::leaf::{Leaf, advance, load};
use crate::core::backfill::Backfill;
use crate::crash::Site;
use crate::postgres::block::Job;
use crate::postgres::error::Error;
use crate::postgres::ledger;
use crate::postgres::session::Session;
use crate::postgres::statement::{around, send_ours};

/// WAL files that may wait for the archive.
const FILES: i64 = 42;
/// What has to be left of the WAL that a slot may keep, in bytes.
const SLOT: i64 = 256 * 1024 * 1024;
/// Limit of the plan's own query.
const QUERY: Duration = Duration::from_secs(2);

/// What was seen, in the order in which it counts.
const LOOK: &str = "
SELECT (SELECT format('%s is %s behind', coalesce(nullif(r.application_name, ''), 'a standby'), date_trunc('milliseconds', r.replay_lag))
        FROM pg_catalog.pg_stat_replication r
        WHERE r.state = 'streaming' AND r.replay_lag > make_interval(secs => $1) ORDER BY r.replay_lag DESC LIMIT 1),
       (SELECT format('replication slot %s may keep %s more WAL', s.slot_name, pg_size_pretty(s.safe_wal_size))
        FROM pg_catalog.pg_replication_slots s WHERE s.safe_wal_size < $2 ORDER BY s.safe_wal_size LIMIT 1),
       (SELECT format('%s WAL files wait for the archive', f.files)
        FROM pg_catalog.pg_stat_archiver a, LATERAL (
            SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 9, 8))::bit(32)::bigint * (x.per / x.size)
                   + ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 17, 8))::bit(32)::bigint
                   - ('x' || substr(a.last_archived_wal, 9, 8))::bit(32)::bigint * (x.per / x.size)
                   - ('x' || substr(a.last_archived_wal, 17, 8))::bit(32)::bigint AS files
            FROM (SELECT 4294967296 AS per, pg_size_bytes(current_setting('wal_segment_size')) AS size) x) f
        WHERE current_setting('archive_mode') <> 'off' AND a.last_archived_wal ~ '^[0-9A-F]{24}$' AND f.files > $3),
       (SELECT format('a vacuum works on %s (%s)', v.relid::regclass, v.phase)
        FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.relid = ANY ($4::int8[]::oid[]) AND v.datid = (
            SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) LIMIT 1),
       (SELECT format('a session waits for a lock on %s', l.relation::regclass)
        FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.locktype = 'relation' AND l.relation = ANY ($4::int8[]::oid[])
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) LIMIT 1),
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8,
       EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
            WHERE i.indrelid = ANY ($4::int8[]::oid[]) AND a.attname = ANY ($5) AND a.attnum = ANY (i.indkey::int2[]))
       OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity s WHERE s.datname = current_database() AND s.backend_xmin IS NOT NULL
            AND s.xact_start < clock_timestamp() - interval '10 seconds')
       OR EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts x WHERE x.database = current_database())";

/// One look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// What holds a backfill back.
    pub held: Option<Seen>,
    /// How far the server's log is, in bytes.
    pub wal: i64,
    /// Whether several passes over the same keys may help: no index has a column that is set, and no old snapshot needs what
    /// they leave behind.
    pub may_interleave: bool,
}

/// What holds a backfill back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is, for people.
    pub what: String,
    /// It is a vacuum, or somebody who waits for the table: it ends by itself and comes again, and is waited for only so long.
    pub passes: bool,
}

/// Looks once. `observer` is a session that nothing else uses meanwhile.
///
/// # Errors
/// What the server said; of the plan's own query [`Error::Backfill`].
pub async fn look(
    observer: &mut PgConnection,
    (job, backfill): (&Job<'_>, &Backfill),
    leaves: &[Leaf],
) -> Result<Look, Error> {
    let tables: Vec<i64> = leaves.iter().filter(|leaf| !leaf.finished).map(|leaf| leaf.relid).collect();
    let row = sqlx::query(LOOK)
        .bind(job.plan.guard.max_replication_lag.as_secs_f64())
        .bind(SLOT)
        .bind(FILES)
        .bind(tables)
        .bind(backfill.set.iter().map(|(column, _)| column.as_str()).collect::<Vec<_>>())
        .fetch_one(&mut *observer)
        .await?;
    let (wal, may_interleave) = (row.try_get(5)?, !row.try_get::<bool, _>(6)?);
    for column in 0..5 {
        if let Some(what) = row.try_get::<Option<String>, _>(column)? {
            return Ok(Look { held: Some(Seen { what, passes: column >= 3 }), wal, may_interleave });
        }
    }
    let held = match &backfill.throttle {
        Some((query, most)) => asked(observer, job, query, *most).await?,
        None => None,
    };
    Ok(Look { held, wal, may_interleave })
}

/// Asks the plan's own query.
async fn asked(
    observer: &mut PgConnection,
    job: &Job<'_>,
    query: &str,
    most: f64,
) -> Result<Option<Seen>, Error> {
    send_ours(observer, format!("BEGIN READ ONLY; SET LOCAL statement_timeout TO {}", QUERY.as_millis()))
        .await?;
    as_owner(observer, job.plan).await?;
    let text = format!("SELECT (\n{query}\n)::double precision");
    let answer = sqlx::raw_sql(around(text)).fetch_one(&mut *observer).await.map_err(Error::from);
    send_ours(observer, "ROLLBACK".to_owned()).await?;
    let value: Option<f64> = match answer {
        Ok(row) => row.try_get(0)?,
        Err(Error::Server(error)) => {
            return Err(Error::Backfill(format!("throttle.sql must answer with one number: {error}")));
        }
        Err(error) => return Err(error),
    };
    let over = value.filter(|value| *value > most);
    Ok(over
        .map(|value| Seen { what: format!("throttle.sql gives {value}, and max is {most}"), passes: false }))
}

/// Reads which tables a backfill is about; none before it began.
pub async fn tables(session: &mut Session, job: &Job<'_>, backfill: &Backfill) -> Result<Vec<Leaf>, Error> {
    load(session.conn(), job, job.direction, backfill).await
}

/// Stores what holds a backfill back, and for how long more it did.
pub async fn note(
    session: &mut Session,
    job: &Job<'_>,
    leaves: &mut [Leaf],
    (what, more): (Option<&str>, Duration),
) -> Result<(), Error> {
    let Some(leaf) = leaves.iter_mut().find(|leaf| !leaf.finished) else { return Ok(()) };
    let epoch = session.epoch();
    leaf.throttled += more.as_secs_f64();
    leaf.throttled_by = what.map(str::to_owned);
    let mut tx = ledger::begin_fenced(session.conn(), epoch, Site::ThrottleNoted).await?;
    advance(&mut tx, job, epoch, (leaf, None)).await?;
    tx.commit().await
}
