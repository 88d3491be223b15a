//! Recognises poolers that hand a session's statements to changing backends: locks and settings would not hold there.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::error::Error;

/// Proves that two sessions that are open at once have a backend each, and keep it. Returns their process ids.
///
/// Session pooling passes. Only the simple protocol is used, because a prepared statement may land elsewhere.
///
/// # Errors
/// [`Error::PoolerDetected`] with what gave it away; else what the server said.
pub async fn ensure_direct(
    address: &str,
    a: &mut PgConnection,
    b: &mut PgConnection,
) -> Result<(i32, i32), Error> {
    let detected = |evidence: &str| {
        Err(Error::PoolerDetected { target: address.to_owned(), evidence: evidence.to_owned() })
    };
    let (first_a, first_b) = (backend_pid(a).await?, backend_pid(b).await?);
    if first_a == first_b {
        return detected("two open sessions have the same backend");
    }
    // A pooler that takes turns gives two sessions two backends, and then other ones. The key of the lock is fixed: a third
    // party that holds it at this moment only takes one piece of evidence away.
    let ((second_a, got_a), (second_b, got_b)) = (pid_and_lock(a).await?, pid_and_lock(b).await?);
    tokio::try_join!(unlock(a, got_a), unlock(b, got_b))?;
    if second_a != first_a || second_b != first_b {
        return detected("a session changed its backend");
    }
    if got_a && got_b {
        return detected("two sessions got the same exclusive lock: several servers answer");
    }
    Ok((first_a, first_b))
}

async fn backend_pid(session: &mut PgConnection) -> Result<i32, Error> {
    Ok(sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(session).await?.try_get(0)?)
}

async fn pid_and_lock(session: &mut PgConnection) -> Result<(i32, bool), Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid(), pg_try_advisory_lock(8605123980112387)")
        .fetch_one(session)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

async fn unlock(session: &mut PgConnection, got: bool) -> Result<(), Error> {
    if got {
        sqlx::raw_sql("SELECT pg_advisory_unlock(8605123980112387)").execute(session).await?;
    }
    Ok(())
}
