//! The values that a backfill overwrote: kept in the transaction that overwrites them, and put in again by the way back,
//! where nobody changed the row since.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use super::batch::{Rows, Size, commit, open};
use super::leaf::{Leaf, advance};
use super::text::{KeyValue, texts};
use crate::core::backfill::Backfill;
use crate::crash::{self, Moment};
use crate::postgres::block::{Job, still_ours};
use crate::postgres::error::Error;
use crate::postgres::ledger::{index, take_back};
use crate::postgres::session::Session;
use crate::postgres::statement::{around, send_ours};

/// The values of one row, before and after it was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its number among all that are kept; 0 before it is stored.
    pub seq: i64,
    /// Its key.
    pub key: KeyValue,
    /// The values of the columns that are set, before.
    pub before: Vec<Option<String>>,
    /// The same after.
    pub after: Vec<Option<String>>,
}

/// Brings together what was in the rows and what is in them now.
pub(super) fn paired(before: Rows, after: Rows) -> Vec<Kept> {
    let mut now: BTreeMap<KeyValue, Vec<Option<String>>> = after.into_iter().collect();
    let pair = |(key, before): (KeyValue, Vec<Option<String>>)| {
        let after = now.remove(&key)?;
        Some(Kept { seq: 0, key, before, after })
    };
    before.into_iter().filter_map(pair).collect()
}

/// Stores them.
pub(super) async fn keep(
    conn: &mut PgConnection,
    job: &Job<'_>,
    leaf: i32,
    rows: &[Kept],
) -> Result<(), Error> {
    let all: Vec<_> = rows.iter().map(|row| (&row.key, &row.before, &row.after)).collect();
    sqlx::query(concat!(
        "INSERT INTO whimbrel.backfill_kept (run, unit, leaf, key, before, after) SELECT $1, $2, $3, ",
        texts!("r -> 0"),
        ", ",
        texts!("r -> 1"),
        ", ",
        texts!("r -> 2"),
        " FROM jsonb_array_elements($4) AS r"
    ))
    .bind(job.run)
    .bind(index(job.unit))
    .bind(leaf)
    .bind(Json(all))
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the last change of each row; the one before it is undone after it.
fn last_of_each(kept: Vec<Kept>) -> Vec<Kept> {
    let mut seen = BTreeSet::new();
    kept.into_iter().filter(|row| seen.insert(row.key.clone())).collect()
}

/// Puts the next values in again. Returns how many rows were looked at; 0 at the end.
pub(super) async fn batch(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &mut Leaf,
    size: Size,
) -> Result<u64, Error> {
    let site = super::site(session, job);
    let epoch = session.epoch();
    crash::at(site, Moment::BeforeIntent).await;
    let kept = last_of_each(next(session.conn(), job, leaf.number, size.rows).await?);
    let mut moved = leaf.clone();
    let ended = async {
        let opened = open(session, job, size).await?;
        let conn = session.conn();
        crash::at(site, Moment::IntentDurable).await;
        let restored: BTreeSet<KeyValue> = if kept.is_empty() {
            BTreeSet::new()
        } else {
            let update = sqlx::raw_sql(around(leaf.restore(backfill, &kept))).fetch_all(&mut *conn);
            let rows = crash::during(site, Moment::Executing, update).await?;
            rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
        };
        still_ours(take_back(conn).await?, &opened.xid)?;
        let (back, changed): (Vec<&Kept>, Vec<&Kept>) =
            kept.iter().partition(|row| restored.contains(&row.key));
        let numbers = |rows: &[&Kept]| rows.iter().map(|row| row.seq).collect::<Vec<i64>>();
        sqlx::query("DELETE FROM whimbrel.backfill_kept WHERE seq = ANY ($1)")
            .bind(numbers(&back))
            .execute(&mut *conn)
            .await?;
        sqlx::query("UPDATE whimbrel.backfill_kept SET changed_since = true WHERE seq = ANY ($1)")
            .bind(numbers(&changed))
            .execute(&mut *conn)
            .await?;
        moved.rows_done += back.len() as u64;
        moved.keys_seen += kept.len() as u64;
        moved.batches += 1;
        moved.finished = kept.is_empty();
        advance(conn, job, epoch, (&moved, Some(&opened.lsn))).await?;
        commit(conn, site).await?;
        Ok(kept.len() as u64)
    }
    .await;
    match ended {
        Ok(rows) => {
            *leaf = moved;
            Ok(rows)
        }
        Err(error) => {
            let _ = send_ours(session.conn(), "ROLLBACK".to_owned()).await;
            Err(error)
        }
    }
}

/// The changes that are undone next: the last ones first.
async fn next(conn: &mut PgConnection, job: &Job<'_>, leaf: i32, rows: u32) -> Result<Vec<Kept>, Error> {
    let rows = sqlx::query(
        "SELECT seq, key, before, after FROM whimbrel.backfill_kept WHERE run = $1 AND unit = $2 AND leaf = $3 \
         AND NOT changed_since ORDER BY seq DESC LIMIT $4",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(leaf)
    .bind(i64::from(rows))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Kept {
                seq: row.try_get(0)?,
                key: row.try_get(1)?,
                before: row.try_get(2)?,
                after: row.try_get(3)?,
            })
        })
        .collect()
}

/// Says which rows were left as they are, because somebody changed them since.
pub(super) async fn left(
    conn: &mut PgConnection,
    job: &Job<'_>,
    leaves: &[Leaf],
) -> Result<Option<String>, Error> {
    let rows = sqlx::query(
        "SELECT leaf, count(*), (array_agg(array_to_string(key, ', ') ORDER BY seq))[1:5] FROM whimbrel.backfill_kept \
         WHERE run = $1 AND unit = $2 AND changed_since GROUP BY leaf ORDER BY leaf",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .fetch_all(conn)
    .await?;
    let mut told = Vec::new();
    for row in &rows {
        let (number, count, keys): (i32, i64, Vec<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Some(leaf) = leaves.iter().find(|leaf| leaf.number == number) else { continue };
        told.push(format!("{count} rows of {} ({} {})", leaf.relation, leaf.key.named(), keys.join("; ")));
    }
    Ok((!told.is_empty())
        .then(|| format!("left as they are, because somebody changed them since: {}", told.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_changes_of_a_row_the_last_is_undone_first() {
        let kept = |seq, key: &str| Kept { seq, key: vec![key.to_owned()], ..Kept::default() };
        let next = last_of_each(vec![kept(4, "a"), kept(3, "b"), kept(2, "a"), kept(1, "c")]);
        assert_eq!(next, [kept(4, "a"), kept(3, "b"), kept(1, "c")]);
    }
}
