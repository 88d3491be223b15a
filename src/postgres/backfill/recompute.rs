//! A sample of rows that is computed again at the end: whether they still hold what was meant.
//!
//! Invariant: only what a row holds by our own transaction can be wrong. Of some batches the ledger keeps the transaction and
//! the keys; a row whose version is another transaction's was changed since, and is its business.

use sqlx::{PgConnection, Row};

use super::finish::begin_look;
use super::leaf::Leaf;
use super::text::Range;
use crate::core::backfill::Backfill;
use crate::postgres::block::{Direction, Job};
use crate::postgres::error::Error;
use crate::postgres::ledger::units::index;
use crate::postgres::session::Session;
use crate::postgres::statement::{around, send_ours};
use crate::sql::steady_functions;

/// So many batches are noted at first; of later ones fewer and fewer.
const NOTED: u64 = 16;
/// How many of them are looked at, and how many rows of each.
const LOOKED_AT: i64 = 64;
const ROWS: u32 = 500;

/// Whether a batch after so many is one of those that are noted.
fn is_due(batches: u64) -> bool {
    batches.is_multiple_of((batches / NOTED + 1).next_power_of_two())
}

/// Notes a batch for the end, in its own transaction.
pub(super) async fn note(
    conn: &mut PgConnection,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &Leaf,
    (xid, about): (&str, &Range),
) -> Result<(), Error> {
    let again = backfill.repeatable && job.direction == Direction::Up && !leaf.key.by_place;
    if !again || !is_due(leaf.batches) {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO whimbrel.backfill_marks (run, unit, leaf, xid, after, upto, pass, passes) \
         VALUES ($1, $2, $3, $4::text::bigint, $5, $6, $7, $8)",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(leaf.number)
    .bind(xid)
    .bind(&about.after)
    .bind(&about.to)
    .bind(about.pass.0)
    .bind(about.pass.1)
    .execute(conn)
    .await?;
    Ok(())
}

/// Computes rows again that are as their batch left them.
///
/// # Errors
/// [`Error::Validation`] if some do not hold what was computed.
pub(super) async fn check(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaves: &[Leaf],
) -> Result<(), Error> {
    let again = backfill.repeatable && job.direction == Direction::Up;
    if !again || !is_steady(session.conn(), backfill).await? {
        return Ok(());
    }
    for (number, xid, about) in noted(session.conn(), job).await? {
        let Some(leaf) = leaves.iter().find(|leaf| leaf.number == number) else { continue };
        let conn = session.conn();
        begin_look(conn, job).await?;
        let text = leaf.again(backfill, &about, xid, ROWS);
        let answer = sqlx::raw_sql(around(text)).fetch_one(&mut *conn).await;
        send_ours(conn, "ROLLBACK".to_owned()).await?;
        let row = answer?;
        let (rows, differ): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        if differ > 0 {
            let such: Option<String> = row.try_get(2)?;
            let such = such.map_or_else(String::new, |key| format!(", such as {} {key}", leaf.key.named()));
            return Err(Error::Validation(format!(
                "{differ} of {rows} rows of {} that were looked at again do not hold what is computed for them{such}, and nobody \
                 changed them since: does a trigger change them afterwards?",
                leaf.relation
            )));
        }
    }
    Ok(())
}

/// Whether the expressions give the same whenever they are computed: every function of theirs is IMMUTABLE in all its forms.
async fn is_steady(conn: &mut PgConnection, backfill: &Backfill) -> Result<bool, Error> {
    let mut names = Vec::new();
    for (_, expression) in &backfill.set {
        match steady_functions(expression) {
            Some(functions) => names.extend(functions.into_iter().map(|function| function.name)),
            None => return Ok(false),
        }
    }
    let changing: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proname = ANY ($1) AND p.provolatile <> 'i')",
    )
    .bind(names)
    .fetch_one(conn)
    .await?;
    Ok(!changing)
}

/// Some of the batches that were noted: their leaf, the lower half of their transaction's id, which rows have, and their keys.
async fn noted(conn: &mut PgConnection, job: &Job<'_>) -> Result<Vec<(i32, u32, Range)>, Error> {
    let rows = sqlx::query(
        "SELECT leaf, xid % 4294967296, after, upto, pass, passes FROM whimbrel.backfill_marks WHERE run = $1 AND unit = $2 \
         ORDER BY random() LIMIT $3",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(LOOKED_AT)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let xid = u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default();
            let pass = (row.try_get(4)?, row.try_get(5)?);
            Ok((row.try_get(0)?, xid, Range { after: row.try_get(2)?, to: row.try_get(3)?, pass }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_many_batches_few_are_noted() {
        let noted = |batches: u64| (0..batches).filter(|batch| super::is_due(*batch)).count();
        assert_eq!((noted(1), noted(16), noted(32)), (1, 16, 24));
        assert!((60..120).contains(&noted(50_000)), "{}", noted(50_000));
    }
}
