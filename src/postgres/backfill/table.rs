//! What the catalog says of a table whose rows are to be changed.

use sqlx::{PgConnection, Row};

use crate::postgres::catalog::spelled;
use crate::postgres::error::Error;
use crate::sql::{RelationName, RowColumn, RowsFact};

/// Reads a table and the functions that are called, under the search path of the session.
///
/// # Errors
/// What the server said.
pub async fn facts(
    conn: &mut PgConnection,
    relation: &RelationName,
    functions: &[RelationName],
) -> Result<RowsFact, Error> {
    let names: Vec<String> = functions.iter().map(spelled).collect();
    let row = sqlx::query(include_str!("table.sql"))
        .bind(spelled(relation))
        .bind(names)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(RowsFact::default()) };
    let columns: String = row.try_get("columns")?;
    let columns: Vec<(String, bool, bool)> = serde_json::from_str(&columns)
        .map_err(|error| Error::Unexpected(format!("the columns of a table: {error}")))?;
    let list = |column: &str| -> Result<Vec<String>, Error> {
        Ok(row.try_get::<Option<Vec<String>>, _>(column)?.unwrap_or_default())
    };
    Ok(RowsFact {
        kind: row.try_get("kind")?,
        columns: columns
            .into_iter()
            .map(|(name, generated, always_identity)| RowColumn { name, generated, always_identity })
            .collect(),
        key: list("key")?,
        partitioned_by: list("partitioned_by")?,
        foreign_part: row.try_get("foreign_part")?,
        volatile: list("volatile")?,
    })
}
