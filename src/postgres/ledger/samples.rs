//! Samples in the ledger.

use jiff::Timestamp;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::begin_fenced;
use crate::core::analysis::Sample;
use crate::crash::Site;
use crate::postgres::error::Error;

/// Records samples in one fenced transaction; a sample that is there already stays as it is.
pub async fn record(conn: &mut PgConnection, epoch: i64, run: Uuid, samples: &[Sample]) -> Result<(), Error> {
    let mut tx = begin_fenced(conn, epoch, Site::SamplesStored).await?;
    let times: Vec<String> = samples.iter().map(|sample| sample.at.to_string()).collect();
    let metrics: Vec<&str> = samples.iter().map(|sample| sample.metric.as_str()).collect();
    let values: Vec<Json<&Sample>> = samples.iter().map(Json).collect();
    sqlx::query(
        "INSERT INTO whimbrel.samples (run, at, metric, sample) \
         SELECT $1, s.at::timestamptz, s.metric, s.sample FROM unnest($2::text[], $3::text[], $4::jsonb[]) AS s (at, metric, sample) \
         ON CONFLICT DO NOTHING",
    )
    .bind(run)
    .bind(times)
    .bind(metrics)
    .bind(values)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Reads the samples of a run that were taken since a time.
pub async fn since(conn: &mut PgConnection, run: Uuid, from: Timestamp) -> Result<Vec<Sample>, Error> {
    let rows = sqlx::query("SELECT sample FROM whimbrel.samples WHERE run = $1 AND at >= $2::text::timestamptz ORDER BY at, metric")
        .bind(run)
        .bind(from.to_string())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| Ok(row.try_get::<Json<Sample>, _>(0)?.0)).collect()
}
