//! Rows that somebody held when their batch came: noted in its transaction, and visited again until they are done.

use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use super::batch::{Size, change, commit, open};
use super::leaf::{Leaf, advance};
use super::text::{KeyValue, Which, texts};
use super::{culprit, is_about_a_row};
use crate::core::backfill::Backfill;
use crate::crash::{self, Moment};
use crate::postgres::block::{Job, still_ours};
use crate::postgres::error::Error;
use crate::postgres::ledger::{index, take_back};
use crate::postgres::session::Session;
use crate::postgres::statement::send_ours;

/// Most rows of a transaction that visits some again.
const ROWS: u32 = 200;

/// Notes rows.
pub(super) async fn note(
    conn: &mut PgConnection,
    job: &Job<'_>,
    leaf: i32,
    keys: &[KeyValue],
) -> Result<(), Error> {
    sqlx::query(concat!(
        "INSERT INTO whimbrel.backfill_locked (run, unit, direction, leaf, key) SELECT $1, $2, $3, $4, ",
        texts!("r"),
        " FROM jsonb_array_elements($5) AS r ON CONFLICT DO NOTHING"
    ))
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .bind(leaf)
    .bind(Json(keys))
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts them, over all leaves.
pub(super) async fn count(conn: &mut PgConnection, job: &Job<'_>) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM whimbrel.backfill_locked WHERE run = $1 AND unit = $2 AND direction = $3",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// Counts those of one leaf.
pub(super) async fn count_of(conn: &mut PgConnection, job: &Job<'_>, leaf: i32) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM whimbrel.backfill_locked WHERE run = $1 AND unit = $2 AND direction = $3 AND leaf = $4",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .bind(leaf)
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

async fn noted(conn: &mut PgConnection, job: &Job<'_>, leaf: i32, most: u32) -> Result<Vec<KeyValue>, Error> {
    let rows = sqlx::query(
        "SELECT key FROM whimbrel.backfill_locked WHERE run = $1 AND unit = $2 AND direction = $3 AND leaf = $4 \
         ORDER BY random() LIMIT $5",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .bind(leaf)
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Visits some of a leaf's rows again. Returns those that are still held.
pub(super) async fn batch(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &mut Leaf,
    size: Size,
) -> Result<Vec<KeyValue>, Error> {
    let keys = noted(session.conn(), job, leaf.number, size.rows.min(ROWS)).await?;
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let site = super::site(session, job);
    let epoch = session.epoch();
    crash::at(site, Moment::BeforeIntent).await;
    let mut next = leaf.clone();
    let about = Which::Keys(&keys);
    let ended = async {
        let opened = open(session, job, size).await?;
        let conn = session.conn();
        crash::at(site, Moment::IntentDurable).await;
        let changing = change(conn, backfill, leaf, (about, true));
        let changed = crash::during(site, Moment::Executing, changing).await?;
        still_ours(take_back(conn).await?, &opened.xid)?;
        changed.store(conn, job, leaf).await?;
        let held = changed.locked;
        // What is not there any more, or need not be changed any more, is done as well.
        let done: Vec<KeyValue> = keys.iter().filter(|key| !held.contains(key)).cloned().collect();
        forget(conn, job, leaf.number, &done).await?;
        next.rows_done += changed.rows;
        next.batches += 1;
        advance(conn, job, epoch, (&next, Some(&opened.lsn))).await?;
        commit(conn, site).await?;
        Ok(held)
    }
    .await;
    match ended {
        Ok(held) => {
            *leaf = next;
            Ok(held)
        }
        Err(error) => {
            let _ = send_ours(session.conn(), "ROLLBACK".to_owned()).await;
            if !is_about_a_row(&error) {
                return Err(error);
            }
            Err(culprit::named(session, (job, backfill), leaf, (about, error, size)).await)
        }
    }
}

async fn forget(conn: &mut PgConnection, job: &Job<'_>, leaf: i32, keys: &[KeyValue]) -> Result<(), Error> {
    sqlx::query(concat!(
        "DELETE FROM whimbrel.backfill_locked WHERE run = $1 AND unit = $2 AND direction = $3 AND leaf = $4 AND key IN (SELECT ",
        texts!("r"),
        " FROM jsonb_array_elements($5) AS r)"
    ))
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .bind(leaf)
    .bind(Json(keys))
    .execute(conn)
    .await?;
    Ok(())
}
