//! Proves that a copy is not the primary. A physical copy has the primary's system identifier and database oid, so
//! identity alone cannot tell them apart; a lock can.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::error::Error;

/// What two sessions have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Two servers.
    None,
    /// Two databases of one server.
    Server,
    /// The very same database.
    Database,
}

/// Takes a random advisory lock on the primary and looks for it from the copy.
///
/// # Errors
/// What either server said, or [`Error::Unexpected`] when no lock could be had.
pub async fn overlap(primary: &mut PgConnection, copy: &mut PgConnection) -> Result<Overlap, Error> {
    let key: i64 = rand::random();
    let locked = sqlx::query("SELECT pg_try_advisory_lock($1)").bind(key).fetch_one(&mut *primary).await?;
    if !locked.try_get::<bool, _>(0)? {
        return Err(Error::Unexpected("a random advisory lock was taken by somebody else".to_owned()));
    }
    let seen = look(copy, key).await;
    // Released whatever the copy said; a failure here means that the primary's session is gone, and the lock with it.
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(key).execute(primary).await?;
    seen
}

async fn look(copy: &mut PgConnection, key: i64) -> Result<Overlap, Error> {
    // A 64-bit key is shown in two halves, with objsubid 1 (PostgreSQL manual, pg_locks).
    let row = sqlx::query(
        "SELECT bool_or(l.database = d.oid)
         FROM pg_locks l, pg_database d
         WHERE d.datname = current_database()
           AND l.locktype = 'advisory' AND l.objsubid = 1
           AND (l.classid::bigint << 32) | l.objid::bigint = $1",
    )
    .bind(key)
    .fetch_one(copy)
    .await?;
    Ok(match row.try_get::<Option<bool>, _>(0)? {
        None => Overlap::None,
        Some(false) => Overlap::Server,
        Some(true) => Overlap::Database,
    })
}
