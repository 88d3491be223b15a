//! The row at which a batch failed, for the person who is to correct it.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::sleep;

use super::batch::{Size, open};
use super::leaf::Leaf;
use super::text::{KeyValue, Which};
use super::{is_about_a_row, is_in_the_way};
use crate::core::backfill::Backfill;
use crate::postgres::block::Job;
use crate::postgres::error::{Class, Error};
use crate::postgres::session::Session;
use crate::postgres::statement::{around, send_ours};

/// Pauses between looks at the same rows, where somebody or the clock cuts them short: in milliseconds.
const PAUSES: [u64; 4] = [20, 40, 80, 160];

/// How far a search got.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Row(KeyValue),
    /// One of several, the first and the last of them.
    Among(KeyValue, KeyValue),
    /// No row fails by itself, or nobody knows.
    Nowhere,
}

/// Returns what stopped some rows, with the one at which it fails. The backfill waits for a person then, whether the
/// search ended or not: what it found is for the message only.
pub(super) async fn named(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &Leaf,
    (which, error, size): (Which<'_>, Error, Size),
) -> Error {
    let place = match search(session, (job, backfill), leaf, (which, size)).await {
        Ok(found) => told(leaf, &found),
        // The connection is gone: whoever has a new one meets the row again.
        Err(error) if error.class() == Class::Ambiguous => return error,
        Err(_) => told(leaf, &Found::Nowhere),
    };
    let done = leaf.rows_done;
    Error::Backfill(format!(
        "{place}: {error}; {done} rows are done and stay; correct the row or the expression, and request a retry: it goes on from there"
    ))
}

fn told(leaf: &Leaf, found: &Found) -> String {
    match found {
        Found::Row(key) => format!("{} at {} {}", leaf.relation, leaf.key.named(), key.join(", ")),
        Found::Among(first, last) => {
            format!("{} from {} {} to {}", leaf.relation, leaf.key.named(), first.join(", "), last.join(", "))
        }
        Found::Nowhere => super::place(leaf),
    }
}

/// Tries halves, in transactions that are rolled back.
async fn search(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &Leaf,
    (which, size): (Which<'_>, Size),
) -> Result<Found, Error> {
    let rows = look(session, (job, size), leaf.rows(backfill, which, "")).await?;
    let keys = rows.iter().flatten().map(|row| row.try_get(0)).collect::<Result<Vec<KeyValue>, _>>();
    let mut keys = keys?;
    // Invariant: one of the keys fails, if any fails by itself.
    while keys.len() > 1 {
        let mut rest = keys.split_off(keys.len() / 2);
        match fails(session, (job, backfill), leaf, (&keys, size)).await? {
            Some(true) => {}
            Some(false) => keys = rest,
            None => {
                keys.append(&mut rest);
                // Only those of a range come in their order.
                return Ok(match (which, keys.first(), keys.last()) {
                    (Which::Range(_), Some(first), Some(last)) => Found::Among(first.clone(), last.clone()),
                    _ => Found::Nowhere,
                });
            }
        }
    }
    // The last one is left over where no other fails: nobody is accused without having failed.
    match (fails(session, (job, backfill), leaf, (&keys, size)).await?, keys.pop()) {
        (Some(true), Some(key)) => Ok(Found::Row(key)),
        _ => Ok(Found::Nowhere),
    }
}

/// Whether rows cannot be changed; nothing where that is cut short.
async fn fails(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &Leaf,
    (keys, size): (&[KeyValue], Size),
) -> Result<Option<bool>, Error> {
    // Only the commit is missing: what is deferred fails there.
    let change = leaf.update(backfill, Which::Keys(keys), false) + "; SET CONSTRAINTS ALL IMMEDIATE";
    match look(session, (job, size), change).await {
        Ok(looked) => Ok(looked.map(|_| false)),
        Err(error) if is_about_a_row(&error) => Ok(Some(true)),
        Err(error) => Err(error),
    }
}

/// Looks at rows as a batch does, and rolls that back; nothing where it is cut short each time.
async fn look(
    session: &mut Session,
    (job, size): (&Job<'_>, Size),
    text: String,
) -> Result<Option<Vec<PgRow>>, Error> {
    let mut pauses = PAUSES.iter();
    loop {
        let looked = async {
            open(session, job, size).await?;
            Ok::<_, Error>(sqlx::raw_sql(around(text.clone())).fetch_all(session.conn()).await?)
        }
        .await;
        send_ours(session.conn(), "ROLLBACK".to_owned()).await?;
        match (looked, pauses.next()) {
            (Err(error), Some(pause)) if is_cut_short(&error) => sleep(Duration::from_millis(*pause)).await,
            (Err(error), None) if is_cut_short(&error) => return Ok(None),
            (looked, _) => return looked.map(Some),
        }
    }
}

/// Whether that says nothing about the rows: they took too long, or somebody held them.
fn is_cut_short(error: &Error) -> bool {
    matches!(error, Error::Server(server) if server.is_cancelled() || is_in_the_way(server))
}
