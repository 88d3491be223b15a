//! The beginning of a backfill: what is gone through, by what, and up to where; and whether that can be done at all.

use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::leaf::{Columns, Key, Leaf, insert, load};
use super::text::{KeyValue, Range, Which};
use super::{sample, table};
use crate::core::backfill::Backfill;
use crate::core::plan::Plan;
use crate::crash::Site;
use crate::postgres::block::{Direction, Job, record_in, role};
use crate::postgres::catalog::{path, spelled};
use crate::postgres::error::Error;
use crate::postgres::ledger::{self, StatementRecord};
use crate::postgres::session::Session;
use crate::postgres::statement::{around, ours, send_ours};
use crate::sql::{RelationName, quote_ident};

/// What a query of an expression may cost for each row that is changed, as the planner counts: some 20,000 rows.
const MOST_COST_OF_A_QUERY: f64 = 500.0;
/// The same for each batch: some 200,000 rows.
const MOST_COST_OF_A_BATCH: f64 = 5000.0;

/// Becomes who runs the plan's statements, under its search path; the way back is [`as_ourselves`].
pub(super) async fn as_owner(conn: &mut PgConnection, plan: &Plan) -> Result<(), Error> {
    let (role, path) = (role(plan), path(&plan.search_path));
    send_ours(conn, format!("{role} SET LOCAL search_path TO {path}")).await
}

/// Becomes our own login again, with names looked up nowhere.
pub(super) async fn as_ourselves(conn: &mut PgConnection) -> Result<(), Error> {
    send_ours(conn, "RESET ROLE; SET LOCAL search_path TO ''".to_owned()).await
}

/// Begins a backfill: freezes its bounds and announces the unit.
///
/// # Errors
/// [`Error::Backfill`] for what a person has to change.
pub(super) async fn begin(
    session: &mut Session,
    job: &Job<'_>,
    backfill: &Backfill,
) -> Result<Vec<Leaf>, Error> {
    let marks = session.marks();
    let mut tx = ledger::begin_fenced(session.conn(), marks.epoch, Site::BackfillBegun).await?;
    // What an earlier time left says nothing of this one.
    for table in ["backfills", "backfill_locked"] {
        send_ours(&mut tx, format!("DELETE FROM whimbrel.{table} WHERE {}", of_this(job))).await?;
    }
    let leaves = if matches!(job.direction, Direction::Down { .. }) {
        let gone_over = load(&mut tx, job, Direction::Up, backfill).await?;
        let mut leaves: Vec<Leaf> = gone_over.into_iter().map(back_over).collect();
        for leaf in leaves.iter_mut().filter(|leaf| leaf.key.by_place && !leaf.finished) {
            // What was changed is in another place since.
            leaf.bound = Some(end_of(&mut tx, leaf.relid).await?);
        }
        leaves
    } else {
        for table in ["backfill_kept", "backfill_marks"] {
            send_ours(&mut tx, format!("DELETE FROM whimbrel.{table} WHERE {}", of_this(job))).await?;
        }
        as_owner(&mut tx, job.plan).await?;
        let mut leaves = survey(&mut tx, backfill).await?;
        if job.sampled {
            for leaf in &mut leaves {
                sample::draw(&mut tx, leaf).await?;
            }
        }
        as_ourselves(&mut tx).await?;
        leaves
    };
    for leaf in &leaves {
        insert(&mut tx, job, marks.epoch, leaf).await?;
    }
    let row = job.block.statements.first().map(|statement| StatementRecord {
        sql: &statement.sql,
        outcome: "intent",
        duration: None,
    });
    record_in(&mut tx, job, (&marks, job.direction.before()), row.as_slice()).await?;
    tx.commit().await?;
    Ok(leaves)
}

/// What belongs to this direction of a unit; with the way forward, the way back goes as well.
fn of_this(job: &Job<'_>) -> String {
    let of = format!("run = '{}' AND unit = {}", job.run, job.unit);
    match job.direction {
        Direction::Up => of,
        Direction::Down { .. } => format!("{of} AND direction = 'down'"),
    }
}

/// The way back goes over the same keys, up to where the way forward came; all of them, if it had begun once more.
fn back_over(leaf: Leaf) -> Leaf {
    let all = leaf.finished || leaf.sweeps > 0;
    let came = if all { leaf.bound.clone() } else { leaf.window_end.clone().or(leaf.cursor.clone()) };
    let keys = if all { leaf.keys_total } else { leaf.keys_seen + leaf.window_keys };
    Leaf {
        finished: came.is_none(),
        bound: came,
        cursor: None,
        window_end: None,
        window_keys: 0,
        passes: 1,
        pass: 0,
        sweeps: 0,
        rows_expected: leaf.rows_done,
        rows_done: 0,
        keys_seen: 0,
        keys_total: keys,
        batches: 0,
        wal_bytes: 0,
        worked: 0.0,
        throttled: 0.0,
        rate: None,
        throttled_by: None,
        ..leaf
    }
}

async fn survey(conn: &mut PgConnection, backfill: &Backfill) -> Result<Vec<Leaf>, Error> {
    let name = spelled(&backfill.table);
    let row = sqlx::query(
        "SELECT c.oid::int8, c.relkind::text, row_security_active(c.oid) FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)::oid",
    )
    .bind(&name)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        return Err(Error::Backfill(format!("there is no table {}", backfill.table)));
    };
    let (root, kind, hidden): (i64, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if kind != "r" && kind != "p" {
        return Err(Error::Backfill(format!("{} is not a table", backfill.table)));
    }
    if hidden {
        return Err(Error::Backfill(format!(
            "row security hides rows of {} from the role that runs this; let it run as the owner (ownerRole) or with BYPASSRLS",
            backfill.table
        )));
    }
    let rows = sqlx::query(
        "WITH RECURSIVE tree (oid) AS (SELECT $1::int8::oid UNION ALL \
             SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid) \
         SELECT c.oid::int8, n.nspname, c.relname, c.relkind::text FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind <> 'p' ORDER BY c.oid",
    )
    .bind(root)
    .fetch_all(&mut *conn)
    .await?;
    let mut leaves = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let relation = RelationName::qualified(row.try_get::<String, _>(1)?, row.try_get::<String, _>(2)?);
        if row.try_get::<&str, _>(3)? != "r" {
            return Err(Error::Backfill(format!("its partition {relation} is not a table of this database")));
        }
        let leaf = Leaf {
            number: i32::try_from(number).unwrap_or(i32::MAX),
            relid: row.try_get(0)?,
            root,
            alias: quote_ident(&backfill.table.name),
            relation: spelled(&relation),
            passes: 1,
            ..Leaf::default()
        };
        leaves.push(of_leaf(conn, backfill, &relation, leaf).await?);
    }
    Ok(leaves)
}

async fn of_leaf(
    conn: &mut PgConnection,
    backfill: &Backfill,
    relation: &RelationName,
    mut leaf: Leaf,
) -> Result<Leaf, Error> {
    let key = table::facts(conn, relation, &[]).await?.key;
    let types = types(conn, leaf.relid).await?;
    let typed = |name: &String| types.iter().find(|(column, _)| column == name).cloned();
    for (column, _) in &backfill.set {
        match typed(column) {
            Some(found) => leaf.columns.push(found),
            None => return Err(Error::Backfill(format!("{relation} has no column {column}"))),
        }
        if key.contains(column) {
            return Err(Error::Backfill(format!("column {column} belongs to the key of {relation}")));
        }
    }
    if key.is_empty() && (!backfill.until_done || backfill.capture) {
        return Err(Error::Backfill(format!(
            "{relation} has neither a primary key nor a unique index over columns that are NOT NULL"
        )));
    }
    if key.is_empty() {
        leaf.key = Key { columns: vec![("ctid".to_owned(), "tid".to_owned())], by_place: true };
        leaf.bound = Some(end_of(conn, leaf.relid).await?);
    } else {
        leaf.key = Key { columns: key.iter().filter_map(typed).collect(), by_place: false };
        let bound = sqlx::raw_sql(ours(leaf.bound())).fetch_optional(&mut *conn).await?;
        leaf.bound = bound.map(|row| row.try_get(0)).transpose()?;
    }
    let Some(bound) = leaf.bound.clone() else {
        return Ok(Leaf { finished: true, ..leaf });
    };
    let whole = Range { after: None, to: bound, pass: (0, 1) };
    leaf.keys_total = estimate(conn, &format!("SELECT FROM ONLY {}", leaf.relation)).await?;
    leaf.rows_expected = estimate(conn, &leaf.matching(backfill, Which::Range(&whole))).await?;
    refuse_queries(conn, &leaf.update(backfill, Which::Range(&whole), true)).await?;
    Ok(leaf)
}

/// The place after the last row of a table without a key.
pub(super) async fn end_of(conn: &mut PgConnection, relid: i64) -> Result<KeyValue, Error> {
    let text: String = sqlx::query_scalar(
        "SELECT format('(%s,0)', pg_relation_size($1::int8::oid) / current_setting('block_size')::int)",
    )
    .bind(relid)
    .fetch_one(conn)
    .await?;
    Ok(vec![text])
}

async fn types(conn: &mut PgConnection, relid: i64) -> Result<Columns, Error> {
    let rows = sqlx::query(
        "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped",
    )
    .bind(relid)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn explain(conn: &mut PgConnection, text: &str) -> Result<Value, Error> {
    let row = sqlx::raw_sql(around(format!("EXPLAIN (FORMAT JSON) {text}"))).fetch_one(conn).await?;
    // The type of the answer is json; in the simple protocol everything is text.
    let plan: String = row.try_get_unchecked(0)?;
    serde_json::from_str(&plan).map_err(|error| Error::Unexpected(format!("EXPLAIN: {error}")))
}

/// The rows that the planner expects.
async fn estimate(conn: &mut PgConnection, text: &str) -> Result<u64, Error> {
    let plan = explain(conn, text).await?;
    let rows = plan.pointer("/0/Plan/Plan Rows").and_then(Value::as_f64).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
    let rows = rows.max(0.0) as u64;
    Ok(rows)
}

/// Refuses an expression that would go over a table for each row, or a large one for each batch.
async fn refuse_queries(conn: &mut PgConnection, text: &str) -> Result<(), Error> {
    let plan = explain(conn, text).await?;
    match costly(&plan) {
        Some((relation, Often::Row)) => Err(Error::Backfill(format!(
            "an expression would go over the whole of {relation} for each row that is changed; an index on what it looks for \
             makes it a look-up"
        ))),
        Some((relation, Often::Batch)) => Err(Error::Backfill(format!(
            "an expression would go over the whole of {relation} once more for each batch; compute it before, and write the value"
        ))),
        None => Ok(()),
    }
}

/// How often a query within an expression runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Often {
    Row,
    Batch,
}

/// Finds a query within an expression that costs too much for how often it runs, and a table that it reads.
fn costly(plan: &Value) -> Option<(String, Often)> {
    match plan {
        Value::Object(node) => {
            let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default();
            let often = match text("Parent Relationship") {
                "SubPlan" if !text("Subplan Name").contains("hashed") => {
                    Some((Often::Row, MOST_COST_OF_A_QUERY))
                }
                "SubPlan" | "InitPlan" => Some((Often::Batch, MOST_COST_OF_A_BATCH)),
                _ => None,
            };
            let cost = node.get("Total Cost").and_then(Value::as_f64).unwrap_or_default();
            if let Some((often, most)) = often
                && cost > most
                && let Some(relation) = relation_of(plan)
            {
                return Some((relation, often));
            }
            node.values().find_map(costly)
        }
        Value::Array(items) => items.iter().find_map(costly),
        _ => None,
    }
}

fn relation_of(plan: &Value) -> Option<String> {
    match plan {
        Value::Object(node) => match node.get("Relation Name").and_then(Value::as_str) {
            Some(relation) => Some(relation.to_owned()),
            None => node.values().find_map(relation_of),
        },
        Value::Array(items) => items.iter().find_map(relation_of),
        _ => None,
    }
}
