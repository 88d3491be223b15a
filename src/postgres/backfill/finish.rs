//! The end of a backfill: rows that were held, rows that match again, and whether what it was to bring about is so.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

use super::begin::{as_owner, end_of};
use super::leaf::{Leaf, advance};
use super::pacer::Pacer;
use super::text::KeyValue;
use super::{is_about_a_row, is_in_the_way, recompute, restore, revisit, too_slow};
use crate::core::backfill::{Backfill, Ended};
use crate::crash::Site;
use crate::postgres::block::{Job, record};
use crate::postgres::error::Error;
use crate::postgres::ledger::{self, StatementRecord};
use crate::postgres::session::Session;
use crate::postgres::statement::{around, send_ours};

/// How often rows that match again are visited before that is an error.
const SWEEPS: i32 = 5;
/// Rows that match again and are visited one by one.
const FEW: u32 = 1000;
/// How often rows that are held are visited in vain before that is told.
const VISITS: u32 = 5;

/// What the end came to.
pub(super) enum End {
    /// It is recorded; so long it worked in all.
    Done(Duration),
    /// Rows are to be visited again.
    More,
}

/// Ends a backfill that has gone over all keys.
pub(super) async fn finish(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    (leaves, pacer, enough): (&mut Vec<Leaf>, &mut Pacer, &impl Fn() -> bool),
) -> Result<End, Error> {
    if !backfill.restore {
        let mut stuck = None;
        for leaf in leaves.iter_mut() {
            match visit_held(session, (job, backfill), leaf, (&mut *pacer, enough)).await {
                Ok(true) => {}
                Ok(false) => return Ok(End::More),
                Err(error @ Error::RowsHeld(_)) => stuck = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = stuck {
            return Err(error);
        }
        // Of a part nothing can be said that holds for all rows.
        let whole = leaves.iter().all(|leaf| leaf.ranges.is_empty());
        if whole && backfill.until_done && !sweep(session, (job, backfill), leaves).await? {
            return Ok(End::More);
        }
        recompute::check(session, (job, backfill), leaves).await?;
        if whole {
            validate(session, job, backfill).await?;
        }
    } else if let Some(told) = restore::left(session.conn(), job, leaves).await? {
        tracing::warn!(run = %job.run, unit = job.unit + 1, "{told}");
        note(session, job, &told).await?;
    }
    let worked = Duration::try_from_secs_f64(leaves.iter().map(|leaf| leaf.worked).sum()).unwrap_or_default();
    let row = job.block.statements.first().map(|statement| StatementRecord {
        sql: &statement.sql,
        outcome: "done",
        duration: Some(worked),
    });
    let marks = session.marks();
    let stored = (&marks, Site::OutcomeStored);
    record(session, job, stored, job.direction.after(), row.as_slice(), &[]).await?;
    Ok(End::Done(worked))
}

/// Visits the rows that were held until none is left. Returns false where that is not over yet.
async fn visit_held(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &mut Leaf,
    (pacer, enough): (&mut Pacer, &impl Fn() -> bool),
) -> Result<bool, Error> {
    let mut fruitless = 0;
    let mut before = revisit::count_of(session.conn(), job, leaf.number).await?;
    while before > 0 {
        let (size, began) = (pacer.size(job.limits, &backfill.pace), Instant::now());
        let held = match revisit::batch(session, (job, backfill), leaf, size).await {
            Ok(held) => held,
            Err(Error::Server(error)) if is_in_the_way(&error) || error.is_cancelled() && size.rows > 1 => {
                pacer.ended(&backfill.pace, Ended::Late);
                Vec::new()
            }
            Err(error) if error.is_cancelled() && began.elapsed() >= size.limit => {
                return Err(too_slow(leaf, "a single row", size));
            }
            Err(error) => return Err(error),
        };
        let count = revisit::count_of(session.conn(), job, leaf.number).await?;
        fruitless = if count < before { 0 } else { fruitless + 1 };
        before = count;
        if fruitless >= VISITS {
            let such = held
                .first()
                .map_or_else(String::new, |key| format!(", such as {} {}", leaf.key.named(), key.join(", ")));
            return Err(Error::RowsHeld(format!(
                "all other rows are done; somebody holds {count} rows of {}{such}",
                leaf.relation
            )));
        }
        if enough() && fruitless == 0 {
            return Ok(before == 0);
        }
        if fruitless > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(true)
}

/// Looks for rows up to the frozen bounds that match again or still. Returns false where some are to be visited.
async fn sweep(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaves: &mut [Leaf],
) -> Result<bool, Error> {
    let epoch = session.epoch();
    let mut clean = true;
    for leaf in leaves.iter_mut() {
        let Some(bound) = leaf.bound.clone() else { continue };
        let left = match looked(session, job, &leaf.left(backfill, &bound, FEW)).await {
            Err(error) if is_about_a_row(&error) => {
                return Err(Error::Backfill(format!(
                    "{}: all rows are done, and where cannot be told of one that was changed since: {error}; correct the row or \
                     the expression, and request a retry",
                    leaf.relation
                )));
            }
            left => left?,
        };
        let Some(first) = left.first() else { continue };
        if leaf.sweeps >= SWEEPS {
            return Err(Error::Validation(format!(
                "{}{} rows of {} up to {} {} match where again after they were done, such as {} {}: somebody writes them so; \
                 sync: Trigger keeps them right",
                left.len(),
                if left.len() >= FEW as usize { " or more" } else { "" },
                leaf.relation,
                leaf.key.named(),
                bound.join(", "),
                leaf.key.named(),
                first.join(", ")
            )));
        }
        clean = false;
        let mut next = Leaf { sweeps: leaf.sweeps + 1, ..leaf.clone() };
        let again = leaf.key.by_place || left.len() >= FEW as usize;
        let mut tx = ledger::begin_fenced(session.conn(), epoch, Site::OutcomeStored).await?;
        if again {
            (next.finished, next.cursor, next.keys_seen) = (false, None, 0);
            if leaf.key.by_place {
                next.bound = Some(end_of(&mut tx, leaf.relid).await?);
            }
        } else {
            revisit::note(&mut tx, job, leaf.number, &left).await?;
        }
        advance(&mut tx, job, epoch, (&next, None)).await?;
        tx.commit().await?;
        *leaf = next;
    }
    Ok(clean)
}

/// Asks as the owner, in a transaction that changes nothing, without a limit but our deadline.
async fn looked(session: &mut Session, job: &Job<'_>, text: &str) -> Result<Vec<KeyValue>, Error> {
    let conn = session.conn();
    begin_look(conn, job).await?;
    let rows = sqlx::raw_sql(around(text.to_owned())).fetch_all(&mut *conn).await;
    send_ours(conn, "ROLLBACK".to_owned()).await?;
    rows?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

pub(super) async fn begin_look(conn: &mut PgConnection, job: &Job<'_>) -> Result<(), Error> {
    let limit = job.limits.alone.as_millis();
    send_ours(conn, format!("BEGIN READ ONLY; SET LOCAL statement_timeout TO {limit}")).await?;
    as_owner(conn, job.plan).await
}

/// Asks the queries of the plan.
async fn validate(session: &mut Session, job: &Job<'_>, backfill: &Backfill) -> Result<(), Error> {
    for (index, query) in backfill.validate.iter().enumerate() {
        let conn = session.conn();
        begin_look(conn, job).await?;
        let answer = sqlx::raw_sql(around(query.clone())).fetch_all(&mut *conn).await;
        send_ours(conn, "ROLLBACK".to_owned()).await?;
        let told = |what: &str| Error::Validation(format!("validate[{index}] {what}: {}", one_line(query)));
        let rows = match answer.map_err(Error::from) {
            Ok(rows) => rows,
            Err(Error::Server(error)) => return Err(told(&format!("failed with {error}"))),
            Err(error) => return Err(error),
        };
        let value = match rows.as_slice() {
            [row] if row.len() == 1 => row.try_get::<Option<bool>, _>(0),
            _ => return Err(told("did not answer with one row of one boolean")),
        };
        match value {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Err(told("is false")),
            Ok(None) => return Err(told("is null")),
            Err(_) => return Err(told("did not answer with one row of one boolean")),
        }
    }
    Ok(())
}

fn one_line(query: &str) -> String {
    let text = query.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(200).collect()
}

/// Leaves a note at the run, for people.
async fn note(session: &mut Session, job: &Job<'_>, text: &str) -> Result<(), Error> {
    let epoch = session.epoch();
    let change = ledger::RunChange { note: Some(text), ..ledger::RunChange::default() };
    ledger::Run::change(session.conn(), epoch, job.run, &change).await
}
