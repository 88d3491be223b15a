//! Locks: what our own transaction holds, and who is in our way.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::error::Error;
use super::guard::{self, Witness};
use crate::core::observation::Blocker;
use crate::core::rehearsal::Lock;
use crate::core::waiting::Waiter;
use crate::sql::LockMode;

/// What is said of a session that this login may not look at.
const INVISIBLE: &str = "not visible to this login; pg_read_all_stats shows it";

/// Spells a lock mode as the PostgreSQL manual does: `AccessExclusiveLock` becomes `ACCESS EXCLUSIVE`.
pub fn spell(mode: &str) -> String {
    let mut text = String::new();
    for letter in mode.strip_suffix("Lock").unwrap_or(mode).chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// Returns the relation locks that this transaction holds and did not hold at the last call, catalogs and the ledger left
/// out; adds them to `seen`. Relations have the names that they had before the transaction, as the witness sees them.
pub async fn added(
    conn: &mut PgConnection,
    seen: &mut Vec<Lock>,
    witness: Option<&Witness>,
) -> Result<Vec<Lock>, Error> {
    let rows = sqlx::query(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), l.mode, l.relation::int8 \
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE l.pid = pg_backend_pid() AND l.granted AND l.locktype = 'relation' \
           AND n.nspname IS DISTINCT FROM 'pg_catalog' AND n.nspname IS DISTINCT FROM 'whimbrel' \
           AND n.nspname IS DISTINCT FROM 'pg_toast' ORDER BY 1, 2",
    )
    .fetch_all(conn)
    .await?;
    let oid = |row: &PgRow| Ok::<_, Error>(u32::try_from(row.try_get::<i64, _>(2)?).unwrap_or_default());
    let oids = rows.iter().map(oid).collect::<Result<Vec<_>, _>>()?;
    let before = match witness {
        Some(witness) if !oids.is_empty() => guard::names(witness, &oids).await?,
        _ => BTreeMap::new(),
    };
    let mut fresh = Vec::new();
    for (row, oid) in rows.iter().zip(&oids) {
        let (now, mode): (Option<String>, String) = (row.try_get(0)?, row.try_get(1)?);
        // What is gone and was not there before came and went within the transaction, as the new file of a rewrite does.
        let Some(relation) = before.get(oid).cloned().or(now) else { continue };
        let lock = Lock { relation, mode: spell(&mode) };
        if !seen.contains(&lock) {
            seen.push(lock.clone());
            fresh.push(lock);
        }
    }
    Ok(fresh)
}

/// Returns everybody who waits for a lock now, whoever waits longest first; no privilege is needed for that.
pub async fn waiters(conn: &mut PgConnection) -> Result<Vec<Waiter>, Error> {
    let rows = sqlx::query(
        "SELECT l.pid, CASE WHEN l.locktype = 'relation' THEN l.mode END, \
                coalesce(extract(epoch FROM clock_timestamp() - l.waitstart), 0)::float8, pg_blocking_pids(l.pid) \
         FROM pg_catalog.pg_locks l WHERE NOT l.granted AND l.pid IS NOT NULL ORDER BY l.waitstart LIMIT 200",
    )
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let mode: Option<String> = row.try_get(1)?;
            Ok(Waiter {
                pid: row.try_get(0)?,
                mode: mode.and_then(|mode| LockMode::from_pg_locks(&mode)),
                waited: Duration::try_from_secs_f64(row.try_get(2)?).unwrap_or_default(),
                blocked_by: row.try_get(3)?,
            })
        })
        .collect()
}

/// Returns who the sessions are that the backend `pid` waits for; 0 stands for prepared transactions.
pub async fn blockers(conn: &mut PgConnection, pid: i32, by: &[i32]) -> Result<Vec<Blocker>, Error> {
    let rows = sqlx::query(
        "SELECT b.pid, coalesce(nullif(a.application_name, ''), nullif(a.backend_type, 'client backend'), ''), \
                extract(epoch FROM clock_timestamp() - a.xact_start)::float8, \
                coalesce(coalesce(a.state || ': ', '') || nullif(left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120), '<insufficient privilege>'), \
                    CASE WHEN v.pid IS NOT NULL THEN 'a vacuum' END) \
         FROM unnest($1::int4[]) AS b (pid) LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid \
         LEFT JOIN pg_catalog.pg_stat_progress_vacuum v ON v.pid = b.pid WHERE b.pid <> 0 LIMIT 10",
    )
    .bind(by)
    .fetch_all(&mut *conn)
    .await?;
    let mut blockers = if by.contains(&0) { prepared(conn, pid).await? } else { Vec::new() };
    for row in rows {
        let activity: Option<String> = row.try_get(3)?;
        blockers.push(Blocker {
            pid: row.try_get(0)?,
            application: row.try_get(1)?,
            age_seconds: row.try_get(2)?,
            activity: activity.unwrap_or_else(|| INVISIBLE.to_owned()),
            prepared: None,
        });
    }
    Ok(blockers)
}

/// Returns the prepared transactions that hold what the backend `pid` waits for. They have no process, and end by a
/// person's command only.
async fn prepared(conn: &mut PgConnection, pid: i32) -> Result<Vec<Blocker>, Error> {
    let rows = sqlx::query(
        "SELECT DISTINCT p.gid, p.owner::text, extract(epoch FROM clock_timestamp() - p.prepared)::float8 \
         FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype \
             AND (h.database, h.relation, h.transactionid) IS NOT DISTINCT FROM (w.database, w.relation, w.transactionid) \
         JOIN pg_catalog.pg_locks x ON x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = h.virtualtransaction \
         JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid \
         WHERE NOT w.granted AND w.pid = $1 LIMIT 10",
    )
    .bind(pid)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let (gid, owner): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Blocker {
                pid: 0,
                application: String::new(),
                age_seconds: row.try_get(2)?,
                activity: format!("prepared transaction {gid} of {owner}"),
                prepared: Some(gid),
            })
        })
        .collect()
}

/// Cancels what the backend `pid` runs now.
pub async fn cancel(conn: &mut PgConnection, pid: i32) -> Result<(), Error> {
    sqlx::query("SELECT pg_cancel_backend($1)").bind(pid).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn modes_are_spelled_as_the_manual_does() {
        for (catalog, manual) in [
            ("AccessExclusiveLock", "ACCESS EXCLUSIVE"),
            ("ShareUpdateExclusiveLock", "SHARE UPDATE EXCLUSIVE"),
            ("ShareLock", "SHARE"),
        ] {
            assert_eq!(super::spell(catalog), manual);
        }
    }
}
