//! Locks: what our own transaction holds, and who is in our way.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::error::Error;
use super::guard::{self, Witness};
use crate::core::observation::Blocker;
use crate::core::rehearsal::Lock;

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

/// Returns who blocks the backend `pid` now; empty when nobody does.
pub async fn blockers(conn: &mut PgConnection, pid: i32) -> Result<Vec<Blocker>, Error> {
    let rows = sqlx::query(
        "SELECT b.pid, coalesce(a.application_name, ''), extract(epoch FROM clock_timestamp() - a.xact_start)::float8, \
                coalesce(a.state || ': ' || left(regexp_replace(a.query, '\\s+', ' ', 'g'), 120), 'not visible to this login') \
         FROM unnest(pg_blocking_pids($1)) AS b(pid) LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid LIMIT 10",
    )
    .bind(pid)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Blocker {
                pid: row.try_get(0)?,
                application: row.try_get(1)?,
                age_seconds: row.try_get(2)?,
                activity: row.try_get(3)?,
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
