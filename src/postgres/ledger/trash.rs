//! What was put aside, in the ledger.

use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::postgres::error::Error;
use crate::sql::Aside;

/// Reads the runs that put something aside.
pub async fn runs(conn: &mut PgConnection) -> Result<Vec<Uuid>, Error> {
    let rows = sqlx::raw_sql("SELECT DISTINCT run FROM whimbrel.trash").fetch_all(conn).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Reads what a run put aside, in the order in which it did.
pub async fn of(conn: &mut PgConnection, run: Uuid) -> Result<Vec<Aside>, Error> {
    let rows = sqlx::query("SELECT aside FROM whimbrel.trash WHERE run = $1 ORDER BY seq")
        .bind(run)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(row.try_get::<Json<Aside>, _>(0)?.0)).collect()
}

/// Forgets what a run put aside, in the transaction that destroys it.
pub async fn forget(conn: &mut PgConnection, run: Uuid) -> Result<(), Error> {
    sqlx::query("DELETE FROM whimbrel.trash WHERE run = $1").bind(run).execute(conn).await?;
    Ok(())
}
