//! What the catalog shows of a statement that cannot run in a transaction, and the repair of what an interrupted one left.
//!
//! Invariants: that a name is there proves nothing, an index must be valid and be the index that the statement asks for; a
//! rebuilt one must be younger than the announcement; a build that still runs is waited for, whoever runs it; what is
//! repaired is never an index that is valid.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection, Row};

use super::block::Job;
use super::catalog::{path, spelled};
use super::error::{Class, Error};
use super::ledger::units;
use super::session::Session;
use super::statement::{ours, send_ours};
use crate::core::plan::Plan;
use crate::crash::{self, Moment, Mutant, Site, planted};
use crate::sql::{Probe, RelationName, Statement, index_on_temporary, quote_ident};

/// How often a running build is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What the catalog shows of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is in force.
    InForce,
    /// Nothing of it is.
    Absent,
    /// It was interrupted: [`repair`] makes it one of the others.
    Halfway,
    /// Something else has its name: how it differs.
    Different(String),
    /// Nothing tells; to send it again does no harm.
    Repeatable,
}

/// Looks what is there of a statement. A build of it that still runs is waited for, up to `limit`.
///
/// # Errors
/// `Unprobed` for a statement that nothing tells about; everything of the server.
pub(super) async fn look(
    session: &mut Session,
    job: &Job<'_>,
    statement: &Statement,
    limit: Duration,
) -> Result<Look, Error> {
    let Some(probe) = statement.probe() else {
        return Err(Error::Unprobed(statement.summary()));
    };
    crash::at(Site::Probed, Moment::BeforeIntent).await;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look_once(session.conn(), job, statement, &probe).await? {
            crash::at(Site::Probed, Moment::Recorded).await;
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Error::OwnerAlive("an index build still runs".to_owned()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks once; `None` while a build is under way.
async fn look_once(
    conn: &mut PgConnection,
    job: &Job<'_>,
    statement: &Statement,
    probe: &Probe,
) -> Result<Option<Look>, Error> {
    let plan = job.plan;
    Ok(Some(match probe {
        Probe::IndexValid { index, table } => match find(conn, plan, index, table).await? {
            Some(found) if found.built_now => return Ok(None),
            Some(found) if !found.table_matches => {
                Look::Different("it is an index of another table".to_owned())
            }
            Some(found) if !found.valid && !planted(Mutant::InvalidIndexAccepted) => Look::Halfway,
            Some(found) => compare(conn, plan, statement, table, found.oid).await?,
            None => Look::Absent,
        },
        Probe::IndexesAbsent { indexes } => match present(conn, plan, indexes).await? {
            (0, _) => Look::InForce,
            (_, true) => Look::Absent,
            (_, false) => Look::Halfway,
        },
        Probe::IndexRebuilt { index } => return rebuild(conn, job, index, true).await,
        Probe::TableReindexed { table } => return rebuild(conn, job, table, false).await,
        Probe::PartitionDetached { parent, partition } => match pending(conn, plan, parent, partition).await?
        {
            None => Look::InForce,
            Some(true) => Look::Halfway,
            Some(false) => Look::Absent,
        },
        Probe::Repeatable => Look::Repeatable,
    }))
}

/// Removes or ends what an interrupted attempt left: an invalid index under the statement's name, half-built copies of a
/// rebuild, a detach that waits for its end. Returns whether there was anything. A `limit` bounds what waits for others.
pub async fn repair(
    session: &mut Session,
    plan: &Plan,
    statement: &Statement,
    limit: Option<Duration>,
) -> Result<bool, Error> {
    if planted(Mutant::NoRepair) {
        return Ok(false);
    }
    let conn = session.conn();
    let drop = |name: String| format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
    let repairs: Vec<String> = match statement.probe() {
        Some(Probe::IndexValid { index, table }) => find(conn, plan, &index, &table)
            .await?
            .filter(|found| !found.valid && found.table_matches && !found.built_now)
            .map(|found| drop(format!("{}.{}", quote_ident(&found.schema), quote_ident(&index.name))))
            .into_iter()
            .collect(),
        Some(Probe::IndexRebuilt { index }) => {
            leftovers(conn, plan, &index, true).await?.unwrap_or_default().into_iter().map(drop).collect()
        }
        Some(Probe::TableReindexed { table }) => {
            leftovers(conn, plan, &table, false).await?.unwrap_or_default().into_iter().map(drop).collect()
        }
        Some(Probe::PartitionDetached { parent, partition }) => {
            let pending = pending(conn, plan, &parent, &partition).await? == Some(true);
            let end = || {
                let (parent, partition) = (spelled(&parent), spelled(&partition));
                format!("ALTER TABLE {parent} DETACH PARTITION {partition} FINALIZE")
            };
            pending.then(end).into_iter().collect()
        }
        // An interrupted DROP is sent once more.
        Some(Probe::IndexesAbsent { .. } | Probe::Repeatable) | None => Vec::new(),
    };
    let any = !repairs.is_empty();
    for sql in repairs {
        session.still_owner().await?;
        let role = plan
            .owner_role
            .as_deref()
            .map_or_else(String::new, |role| format!("SET ROLE {};", quote_ident(role)));
        let settings = format!(
            "{role} SET search_path TO {}; SET lock_timeout TO 0; SET statement_timeout TO {}",
            path(&plan.search_path),
            limit.map_or(0, |limit| limit.as_millis()),
        );
        send_ours(session.conn(), settings).await?;
        crash::at(Site::Repaired, Moment::BeforeIntent).await;
        let repair = send_ours(session.conn(), sql);
        let repair = crash::during(Site::Repaired, Moment::CommittedNotAcknowledged, repair);
        let repaired = crash::during(Site::Repaired, Moment::Executing, repair).await;
        crash::at(Site::Repaired, Moment::Recorded).await;
        session.restore_settings().await?;
        repaired?;
    }
    Ok(any)
}

/// Begins a transaction with the plan's search path, so that `to_regclass` finds what the statement finds.
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

/// Whether another backend builds an index of the table of `pg_index AS i` now: which table it is, its lock tells, because
/// the progress of another login's build cannot be read.
const BUILT_NOW: &str = "EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p \
    JOIN pg_catalog.pg_locks l ON l.pid = p.pid AND l.locktype = 'relation' AND l.granted AND l.relation = i.indrelid \
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = current_database() \
    WHERE p.pid <> pg_backend_pid() AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock'))";

/// An index as the catalog has it.
struct Index {
    oid: i64,
    schema: String,
    valid: bool,
    /// A backend builds it now.
    built_now: bool,
    table_matches: bool,
}

async fn find(
    conn: &mut PgConnection,
    plan: &Plan,
    index: &RelationName,
    table: &RelationName,
) -> Result<Option<Index>, Error> {
    let rows = under_path!(
        conn,
        plan,
        sqlx::query(ours(format!(
            "SELECT n.nspname, i.indisvalid AND i.indisready, i.indrelid = to_regclass($2), c.oid::int8, \
                    NOT i.indisvalid AND {BUILT_NOW} \
             FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = $1 AND c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = to_regclass($2))",
        )))
        .bind(&index.name)
        .bind(spelled(table))
    );
    rows.first()
        .map(|row| {
            Ok(Index {
                schema: row.try_get(0)?,
                valid: row.try_get(1)?,
                table_matches: row.try_get::<Option<bool>, _>(2)?.unwrap_or_default(),
                oid: row.try_get(3)?,
                built_now: row.try_get(4)?,
            })
        })
        .transpose()
}

/// Compares a valid index with what the statement would make, by making that on an empty temporary table, which is rolled
/// back: the server itself writes both definitions down.
async fn compare(
    conn: &mut PgConnection,
    plan: &Plan,
    statement: &Statement,
    table: &RelationName,
    oid: i64,
) -> Result<Look, Error> {
    let Some(like) = index_on_temporary(&statement.sql, "whimbrel_like_index", "whimbrel_like") else {
        return Ok(Look::Different("its definition cannot be compared".to_owned()));
    };
    let role = plan
        .owner_role
        .as_deref()
        .map_or_else(String::new, |role| format!("SET LOCAL ROLE {};", quote_ident(role)));
    let make = format!(
        "{role} SET LOCAL search_path TO {}; CREATE TEMPORARY TABLE whimbrel_like (LIKE {}) ON COMMIT DROP; {like}",
        path(&plan.search_path),
        spelled(table),
    );
    let definition = "SELECT (CASE WHEN i.indisunique THEN 'UNIQUE' ELSE 'INDEX' END) || d.text FROM pg_catalog.pg_index i, \
        LATERAL (SELECT substring(t FROM position(' USING ' IN t)) FROM pg_get_indexdef(i.indexrelid) t) d (text) \
        WHERE i.indexrelid = ";
    let mut tx = conn.begin().await?;
    if let Err(error) = send_ours(&mut tx, make).await {
        return match error {
            // Somebody's cancellation says nothing of the index, nor does what passes.
            Error::Server(error)
                if error.sqlstate != "57014"
                    && !matches!(error.class(), Class::Transient | Class::Ambiguous) =>
            {
                Ok(Look::Different(format!("its definition cannot be compared: {error}")))
            }
            error => Err(error),
        };
    }
    let there: String =
        sqlx::query_scalar(ours(format!("{definition} $1::int8::oid"))).bind(oid).fetch_one(&mut *tx).await?;
    let wanted: String =
        sqlx::query_scalar(ours(format!("{definition} 'pg_temp.whimbrel_like_index'::regclass")))
            .fetch_one(&mut *tx)
            .await?;
    tx.rollback().await?;
    Ok(if there == wanted {
        Look::InForce
    } else {
        Look::Different(format!("it is {there}; wanted is {wanted}"))
    })
}

/// Counts the indexes that are there, and tells whether all of these are whole.
async fn present(
    conn: &mut PgConnection,
    plan: &Plan,
    indexes: &[RelationName],
) -> Result<(usize, bool), Error> {
    let names: Vec<String> = indexes.iter().map(spelled).collect();
    let rows = under_path!(
        conn,
        plan,
        sqlx::query(
            "SELECT coalesce(i.indisvalid AND i.indislive, true) FROM unnest($1::text[]) AS n (name) \
             JOIN pg_catalog.pg_class c ON c.oid = to_regclass(n.name) LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid"
        )
        .bind(names)
    );
    let whole: Vec<bool> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok((whole.len(), whole.into_iter().all(|whole| whole)))
}

/// What there is of a rebuild; `None` while one is under way.
async fn rebuild(
    conn: &mut PgConnection,
    job: &Job<'_>,
    relation: &RelationName,
    is_index: bool,
) -> Result<Option<Look>, Error> {
    let Some(left) = leftovers(conn, job.plan, relation, is_index).await? else { return Ok(None) };
    Ok(Some(if !left.is_empty() {
        Look::Halfway
    } else if rebuilt(conn, job, relation, is_index).await? {
        Look::InForce
    } else {
        Look::Repeatable
    }))
}

/// The relation `$1`, an index if `$2`, its partitions, and the tables of all of them.
const FAMILY: &str = "named AS (SELECT to_regclass($1)::oid AS oid), \
    family AS (SELECT oid FROM named UNION SELECT p.relid FROM named, pg_partition_tree(named.oid::regclass) p), \
    tables AS (SELECT CASE WHEN $2 THEN (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = f.oid) ELSE f.oid END AS oid \
        FROM family f)";

/// Returns the invalid `_ccnew` and `_ccold` indexes that a rebuild left, on partitions, too; `None` while a build on that
/// table is under way. Those of a TOAST table only a superuser can remove; they take space, and do no harm.
async fn leftovers(
    conn: &mut PgConnection,
    plan: &Plan,
    relation: &RelationName,
    is_index: bool,
) -> Result<Option<Vec<String>>, Error> {
    let rows = under_path!(
        conn,
        plan,
        sqlx::query(ours(format!(
            "WITH {FAMILY} SELECT format('%I.%I', n.nspname, c.relname), {BUILT_NOW} FROM tables t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid \
             JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'",
        )))
        .bind(spelled(relation))
        .bind(is_index)
    );
    let mut names = Vec::new();
    for row in &rows {
        if row.try_get(1)? {
            return Ok(None);
        }
        names.push(row.try_get(0)?);
    }
    Ok(Some(names))
}

/// Tells whether every index that the statement rebuilds is younger than the unit's row, which announced it: a concurrent
/// rebuild puts a new index in the place of each. TOAST indexes are among those of a table; indexes that are invalid or of
/// an exclusion constraint it leaves out.
async fn rebuilt(
    conn: &mut PgConnection,
    job: &Job<'_>,
    relation: &RelationName,
    is_index: bool,
) -> Result<bool, Error> {
    let rows = under_path!(
        conn,
        job.plan,
        sqlx::query(ours(format!(
            "WITH {FAMILY}, indexes AS ( \
                 SELECT i.xmin FROM family f JOIN pg_catalog.pg_index i ON $2 AND i.indexrelid = f.oid \
                     JOIN pg_catalog.pg_class c ON c.oid = f.oid AND c.relkind = 'i' \
                 UNION ALL SELECT i.xmin FROM tables t JOIN pg_catalog.pg_class c ON NOT $2 AND c.oid = t.oid AND c.relkind <> 'p' \
                     JOIN pg_catalog.pg_index i ON i.indrelid IN (c.oid, c.reltoastrelid) AND i.indisvalid AND NOT i.indisexclusion) \
             SELECT coalesce(bool_and(age(i.xmin) < age(u.xid::xid8::xid)), false) \
             FROM indexes i, whimbrel.units u WHERE u.run = $3 AND u.unit = $4",
        )))
        .bind(spelled(relation))
        .bind(is_index)
        .bind(job.run)
        .bind(units::index(job.unit))
    );
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
}

/// Tells whether a detach of the partition is pending; `None` where it is no partition of the parent.
async fn pending(
    conn: &mut PgConnection,
    plan: &Plan,
    parent: &RelationName,
    partition: &RelationName,
) -> Result<Option<bool>, Error> {
    let rows = under_path!(
        conn,
        plan,
        sqlx::query(
            "SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2)",
        )
        .bind(spelled(parent))
        .bind(spelled(partition))
    );
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}
