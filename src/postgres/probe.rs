//! What the catalog shows after a statement that cannot run in a transaction, and the repair of what a failed one left.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Row};

use super::catalog::{path, spelled};
use super::error::Error;
use super::session::Session;
use super::statement::send_ours;
use crate::core::plan::Plan;
use crate::crash::{self, Moment, Site};
use crate::sql::{Probe, RelationName, Statement, quote_ident};

/// How often a running build is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An index as the catalog has it.
struct Index {
    schema: String,
    valid: bool,
    /// A backend that builds it now.
    builder: Option<i32>,
    table_matches: bool,
}

/// Returns whether the statement's postcondition holds. A build of it that still runs is waited for, up to `limit`.
///
/// # Errors
/// `Unprobed` for a statement that nothing tells about; everything of the server.
pub async fn holds(
    session: &mut Session,
    plan: &Plan,
    statement: &Statement,
    limit: Duration,
) -> Result<bool, Error> {
    let Some(probe) = statement.probe() else {
        return Err(Error::Unprobed(statement.summary()));
    };
    crash::at(Site::Probed, Moment::BeforeIntent).await;
    let deadline = Instant::now() + limit;
    loop {
        let conn = session.conn();
        let answer = match &probe {
            Probe::IndexValid { index, table } => match find(conn, plan, index, Some(table)).await? {
                Some(Index { builder: Some(_), .. }) => None,
                Some(found) => Some(found.valid && found.table_matches),
                None => Some(false),
            },
            Probe::IndexesAbsent { indexes } => Some(absent(conn, plan, indexes).await?),
            Probe::IndexRebuilt { index } => Some(leftovers(conn, plan, index, true).await?.is_empty()),
            Probe::TableReindexed { table } => Some(leftovers(conn, plan, table, false).await?.is_empty()),
            Probe::PartitionDetached { parent, partition } => {
                Some(detached(conn, plan, parent, partition).await?)
            }
            Probe::Repeatable => Some(true),
        };
        match answer {
            Some(answer) => {
                crash::at(Site::Probed, Moment::Recorded).await;
                return Ok(answer);
            }
            None if Instant::now() >= deadline => {
                return Err(Error::OwnerAlive("an index build still runs".to_owned()));
            }
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Returns whether sending the statement again could do harm, so that its postcondition is looked at first.
pub fn repeatable(statement: &Statement) -> bool {
    matches!(
        statement.probe(),
        Some(Probe::Repeatable | Probe::IndexRebuilt { .. } | Probe::TableReindexed { .. })
    )
}

/// Removes what a failed attempt left: an invalid index under the statement's name, half-built copies of a rebuild.
pub async fn repair(session: &mut Session, plan: &Plan, statement: &Statement) -> Result<(), Error> {
    let conn = session.conn();
    let drop: Vec<String> = match statement.probe() {
        Some(Probe::IndexValid { index, table }) => find(conn, plan, &index, Some(&table))
            .await?
            .filter(|found| !found.valid && found.table_matches)
            .map(|found| format!("{}.{}", quote_ident(&found.schema), quote_ident(&index.name)))
            .into_iter()
            .collect(),
        Some(Probe::IndexRebuilt { index }) => leftovers(conn, plan, &index, true).await?,
        Some(Probe::TableReindexed { table }) => leftovers(conn, plan, &table, false).await?,
        Some(Probe::PartitionDetached { .. } | Probe::IndexesAbsent { .. } | Probe::Repeatable) | None => {
            Vec::new()
        }
    };
    for name in drop {
        let role = plan
            .owner_role
            .as_deref()
            .map_or_else(String::new, |role| format!("SET ROLE {};", quote_ident(role)));
        send_ours(conn, format!("{role} SET lock_timeout TO 0; SET statement_timeout TO 0")).await?;
        crash::at(Site::Repaired, Moment::BeforeIntent).await;
        let drop = send_ours(conn, format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"));
        let drop = crash::during(Site::Repaired, Moment::CommittedNotAcknowledged, drop);
        let dropped = crash::during(Site::Repaired, Moment::Executing, drop).await;
        crash::at(Site::Repaired, Moment::Recorded).await;
        send_ours(conn, "RESET ROLE; RESET lock_timeout; RESET statement_timeout".to_owned()).await?;
        dropped?;
    }
    Ok(())
}

/// Runs a query with the plan's search path, so that `to_regclass` finds what the statement finds.
macro_rules! under_path {
    ($conn:expr, $plan:expr, $query:expr) => {{
        let mut tx = $conn.begin().await?;
        sqlx::query("SELECT set_config('search_path', $1, true)")
            .bind(path(&$plan.search_path))
            .execute(&mut *tx)
            .await?;
        let rows = $query.fetch_all(&mut *tx).await?;
        tx.rollback().await?;
        rows
    }};
}

async fn find(
    conn: &mut PgConnection,
    plan: &Plan,
    index: &RelationName,
    table: Option<&RelationName>,
) -> Result<Option<Index>, Error> {
    let rows = under_path!(
        conn,
        plan,
        sqlx::query(
            "SELECT n.nspname, i.indisvalid AND i.indisready, p.pid, i.indrelid = to_regclass($2) \
             FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.index_relid = i.indexrelid AND p.pid <> pg_backend_pid() \
             WHERE c.relname = $1 AND c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = to_regclass($2))",
        )
        .bind(&index.name)
        .bind(spelled(table.unwrap_or(index)))
    );
    rows.first()
        .map(|row| {
            Ok(Index {
                schema: row.try_get(0)?,
                valid: row.try_get(1)?,
                builder: row.try_get(2)?,
                table_matches: row.try_get::<Option<bool>, _>(3)?.unwrap_or_default(),
            })
        })
        .transpose()
}

async fn absent(conn: &mut PgConnection, plan: &Plan, indexes: &[RelationName]) -> Result<bool, Error> {
    let names: Vec<String> = indexes.iter().map(spelled).collect();
    let rows = under_path!(
        conn,
        plan,
        sqlx::query("SELECT FROM unnest($1::text[]) AS n (name) WHERE to_regclass(n.name) IS NOT NULL")
            .bind(names)
    );
    Ok(rows.is_empty())
}

/// Returns the invalid `_ccnew` and `_ccold` indexes that a rebuild left.
async fn leftovers(
    conn: &mut PgConnection,
    plan: &Plan,
    relation: &RelationName,
    is_index: bool,
) -> Result<Vec<String>, Error> {
    let rows = under_path!(
        conn,
        plan,
        sqlx::query(
            "WITH t AS (SELECT CASE WHEN $2 THEN (SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = to_regclass($1)) \
                               ELSE to_regclass($1)::oid END AS oid) \
             SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index i JOIN t ON t.oid = i.indrelid \
             JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'",
        )
        .bind(spelled(relation))
        .bind(is_index)
    );
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn detached(
    conn: &mut PgConnection,
    plan: &Plan,
    parent: &RelationName,
    partition: &RelationName,
) -> Result<bool, Error> {
    let rows = under_path!(
        conn,
        plan,
        sqlx::query(
            "SELECT FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2)",
        )
        .bind(spelled(parent))
        .bind(spelled(partition))
    );
    Ok(rows.is_empty())
}
