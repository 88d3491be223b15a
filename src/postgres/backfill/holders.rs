//! Who holds what a backfill waits for: it is asked for once, for a moment, and looked who is in the way.

use std::time::Duration;

use sqlx::{PgConnection, Row};
use tokio::time::sleep;

use super::begin::as_owner;
use super::leaf::{Leaf, load};
use super::text::{KeyValue, Range, Which};
use crate::core::backfill::Backfill;
use crate::core::observation::Blocker;
use crate::postgres::block::Job;
use crate::postgres::catalog::spelled;
use crate::postgres::error::Error;
use crate::postgres::ledger::units::index;
use crate::postgres::locks;
use crate::postgres::session::Session;
use crate::postgres::statement::{around, send_ours};

/// How long a row is asked for: so long somebody may queue behind us.
const ASKED: Duration = Duration::from_millis(100);
/// How often it is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns who holds rows of a backfill, or its table; nobody where nothing is held any more.
///
/// # Errors
/// What the server said, other than that a lock was not to be had.
pub async fn holders(
    session: &mut Session,
    job: &Job<'_>,
    backfill: &Backfill,
) -> Result<Vec<Blocker>, Error> {
    let leaves = load(session.conn(), job, job.direction, backfill).await?;
    let (table, rows) = match wanted(session.conn(), job, &leaves).await? {
        Some((leaf, Wanted::Noted(keys))) => (leaf.relation.clone(), leaf.asked(Which::Keys(&keys))),
        Some((leaf, Wanted::Next(range))) => (leaf.relation.clone(), leaf.asked(Which::Range(&range))),
        None => (spelled(&backfill.table), String::new()),
    };
    let text = format!("LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE; {rows}");
    let pid = session.pid();
    let (conn, observer) = session.both();
    let Some(observer) = observer.as_mut() else { return Ok(Vec::new()) };
    let limit = ASKED.as_millis();
    send_ours(conn, format!("BEGIN; SET LOCAL lock_timeout TO {limit}")).await?;
    as_owner(conn, job.plan).await?;
    let asking = async {
        let asked = sqlx::raw_sql(around(text)).fetch_all(&mut *conn).await.map_err(Error::from);
        send_ours(conn, "ROLLBACK".to_owned()).await?;
        match asked {
            Err(Error::Server(error)) if error.is_lock_timeout() => Ok(()),
            asked => asked.map(drop),
        }
    };
    let (asked, seen) = tokio::join!(asking, look(observer, pid));
    asked?;
    seen
}

/// Looks who is in the way of a session, until somebody is or it must have given up.
async fn look(observer: &mut PgConnection, pid: i32) -> Result<Vec<Blocker>, Error> {
    let mut waited = Duration::ZERO;
    while waited < ASKED {
        sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
        let by: Vec<i32> =
            sqlx::query_scalar("SELECT pg_blocking_pids($1)").bind(pid).fetch_one(&mut *observer).await?;
        if !by.is_empty() {
            return locks::blockers(observer, pid, &by).await;
        }
    }
    Ok(Vec::new())
}

/// Rows that are asked for.
enum Wanted {
    /// Some that are noted as held.
    Noted(Vec<KeyValue>),
    /// Those that come next.
    Next(Range),
}

async fn wanted<'a>(
    conn: &mut PgConnection,
    job: &Job<'_>,
    leaves: &'a [Leaf],
) -> Result<Option<(&'a Leaf, Wanted)>, Error> {
    let noted = sqlx::query(
        "SELECT leaf, key FROM whimbrel.backfill_locked WHERE run = $1 AND unit = $2 AND direction = $3 ORDER BY leaf, key LIMIT 20",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .fetch_all(conn)
    .await?;
    if let Some(first) = noted.first() {
        let number: i32 = first.try_get(0)?;
        let mut keys: Vec<KeyValue> = Vec::new();
        for row in &noted {
            if row.try_get::<i32, _>(0)? == number {
                keys.push(row.try_get(1)?);
            }
        }
        let leaf = leaves.iter().find(|leaf| leaf.number == number);
        return Ok(leaf.map(|leaf| (leaf, Wanted::Noted(keys))));
    }
    let next = leaves.iter().find(|leaf| !leaf.finished);
    Ok(next.and_then(|leaf| Some((leaf, Wanted::Next(leaf.rest(leaf.bound.as_ref()?))))))
}
