//! The tables whose rows a backfill goes through, one after the other, and how far it is in each: rows of the ledger.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use super::sample::KeyRange;
use super::text::KeyValue;
use crate::core::backfill::{Backfill, Progress};
use crate::core::rehearsal::BatchFacts;
use crate::postgres::block::{Direction, Job};
use crate::postgres::error::Error;
use crate::postgres::ledger::index;
use crate::sql::quote_ident;

/// Columns of a table, each with its type.
pub type Columns = Vec<(String, String)>;

/// By what the rows of a table are gone through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Its columns in order, each with its type.
    pub columns: Columns,
    /// It is the place of the rows (`ctid`), because the table has no key.
    pub by_place: bool,
}

/// A table without partitions, or a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leaf {
    /// Its number in the backfill.
    pub number: i32,
    /// Its qualified name, quoted.
    pub relation: String,
    /// Its OID.
    pub relid: i64,
    /// The OID of the table that the plan names.
    pub root: i64,
    /// The name, quoted, under which expressions know it.
    pub alias: String,
    /// By what it is gone through.
    pub key: Key,
    /// The columns that are set.
    pub columns: Columns,
    /// The last key when it began; absent where there was no row.
    pub bound: Option<KeyValue>,
    /// The last key that is done.
    pub cursor: Option<KeyValue>,
    /// The only keys that are gone over, in their order; all up to the bound where it is empty.
    pub ranges: Vec<KeyRange>,
    /// The end of the keys that several passes go over, while they do.
    pub window_end: Option<KeyValue>,
    /// How many keys that are.
    pub window_keys: u64,
    /// Of so many passes.
    pub passes: i32,
    /// The next one.
    pub pass: i32,
    /// How often it was gone through once more for rows that match again.
    pub sweeps: i32,
    /// Nothing is left to do in it.
    pub finished: bool,
    /// Rows that were changed.
    pub rows_done: u64,
    /// Rows that were expected to be.
    pub rows_expected: u64,
    /// Keys gone over.
    pub keys_seen: u64,
    /// Keys in all, as estimated when it began.
    pub keys_total: u64,
    /// Batches committed.
    pub batches: u64,
    /// Bytes that the server wrote to its log while batches ran, as the ledger said last.
    pub wal_bytes: u64,
    /// Seconds in which it ran or paused.
    pub worked: f64,
    /// Seconds in which something held it back.
    pub throttled: f64,
    /// Rows a second of late.
    pub rate: Option<f64>,
    /// What holds it back.
    pub throttled_by: Option<String>,
}

impl Key {
    /// Names its columns.
    pub fn named(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        match names.as_slice() {
            [one] => format!("{one} ="),
            many => format!("({}) =", many.join(", ")),
        }
    }
}

fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

impl Leaf {
    fn read(row: &PgRow, alias: &str) -> Result<Self, Error> {
        let Json(columns): Json<Columns> = row.try_get("key")?;
        let Json(set): Json<Columns> = row.try_get("columns")?;
        let by_place = columns.iter().any(|(name, _)| name == "ctid");
        Ok(Self {
            number: row.try_get("leaf")?,
            relation: row.try_get("relation")?,
            relid: row.try_get("relid")?,
            root: row.try_get("root")?,
            alias: alias.to_owned(),
            key: Key { columns, by_place },
            columns: set,
            bound: row.try_get("bound")?,
            cursor: row.try_get("cursor")?,
            ranges: row
                .try_get::<Option<Json<Vec<KeyRange>>>, _>("ranges")?
                .map(|Json(ranges)| ranges)
                .unwrap_or_default(),
            window_end: row.try_get("window_end")?,
            window_keys: natural(row.try_get("window_keys")?),
            passes: row.try_get("passes")?,
            pass: row.try_get("pass")?,
            sweeps: row.try_get("sweeps")?,
            finished: row.try_get("finished")?,
            rows_done: natural(row.try_get("rows_done")?),
            rows_expected: natural(row.try_get("rows_expected")?),
            keys_seen: natural(row.try_get("keys_seen")?),
            keys_total: natural(row.try_get("keys_total")?),
            batches: natural(row.try_get("batches")?),
            wal_bytes: natural(row.try_get("wal_bytes")?),
            worked: row.try_get("worked")?,
            throttled: row.try_get("throttled")?,
            rate: row.try_get("rate")?,
            throttled_by: row.try_get("throttled_by")?,
        })
    }
}

/// Reads how far a backfill is; nothing where it has not begun.
pub async fn load(
    conn: &mut PgConnection,
    job: &Job<'_>,
    direction: Direction,
    backfill: &Backfill,
) -> Result<Vec<Leaf>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM whimbrel.backfills WHERE run = $1 AND unit = $2 AND direction = $3 ORDER BY leaf",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(direction.word())
    .fetch_all(conn)
    .await?;
    let alias = quote_ident(&backfill.table.name);
    rows.iter().map(|row| Leaf::read(row, &alias)).collect()
}

/// Notes a leaf that is about to be gone through.
pub async fn insert(conn: &mut PgConnection, job: &Job<'_>, epoch: i64, leaf: &Leaf) -> Result<(), Error> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO whimbrel.backfills (run, unit, direction, leaf, relation, relid, root, key, columns, bound, cursor, \
         rows_expected, keys_total, finished, epoch, ranges) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .bind(leaf.number)
    .bind(&leaf.relation)
    .bind(leaf.relid)
    .bind(leaf.root)
    .bind(Json(&leaf.key.columns))
    .bind(Json(&leaf.columns))
    .bind(&leaf.bound)
    .bind(&leaf.cursor)
    .bind(signed(leaf.rows_expected))
    .bind(signed(leaf.keys_total))
    .bind(leaf.finished)
    .bind(epoch)
    .bind((!leaf.ranges.is_empty()).then_some(Json(&leaf.ranges)))
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores how far a leaf is, in the transaction of the batch that got it there, and what the server's log has grown by since
/// the batch began at a place in it.
pub async fn advance(
    conn: &mut PgConnection,
    job: &Job<'_>,
    epoch: i64,
    (leaf, began): (&Leaf, Option<&str>),
) -> Result<(), Error> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    sqlx::query(
        "UPDATE whimbrel.backfills SET bound = $5, cursor = $6, window_end = $7, window_keys = $8, passes = $9, pass = $10, \
         sweeps = $11, finished = $12, rows_done = $13, keys_seen = $14, batches = $15, worked = $16, throttled = $17, rate = $18, \
         throttled_by = $19, epoch = $20, \
         wal_bytes = wal_bytes + coalesce(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $21::text::pg_lsn), 0)::bigint, \
         changed_at = clock_timestamp() WHERE run = $1 AND unit = $2 AND direction = $3 AND leaf = $4",
    )
    .bind(job.run)
    .bind(index(job.unit))
    .bind(job.direction.word())
    .bind(leaf.number)
    .bind(&leaf.bound)
    .bind(&leaf.cursor)
    .bind(&leaf.window_end)
    .bind(signed(leaf.window_keys))
    .bind(leaf.passes)
    .bind(leaf.pass)
    .bind(leaf.sweeps)
    .bind(leaf.finished)
    .bind(signed(leaf.rows_done))
    .bind(signed(leaf.keys_seen))
    .bind(signed(leaf.batches))
    .bind(leaf.worked)
    .bind(leaf.throttled)
    .bind(leaf.rate)
    .bind(&leaf.throttled_by)
    .bind(epoch)
    .bind(began)
    .execute(conn)
    .await?;
    Ok(())
}

/// Sums up how far a backfill is.
pub fn progress(leaves: &[Leaf], locked: u64) -> Progress {
    let sum = |of: fn(&Leaf) -> u64| leaves.iter().map(of).sum::<u64>();
    let seconds =
        |of: fn(&Leaf) -> f64| Duration::try_from_secs_f64(leaves.iter().map(of).sum()).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let number = |count: u64| count as f64;
    let seen = |leaf: &Leaf| if leaf.finished { leaf.keys_total.max(leaf.keys_seen) } else { leaf.keys_seen };
    let total = |leaf: &Leaf| leaf.keys_total.max(leaf.keys_seen).max(1);
    let keys = leaves.iter().map(total).sum::<u64>();
    let share = if leaves.iter().all(|leaf| leaf.finished) {
        1.0
    } else {
        (number(leaves.iter().map(seen).sum()) / number(keys.max(1))).min(0.99)
    };
    // What was found in the keys so far says more than what was expected before.
    let rows_total = leaves.iter().map(expected).sum::<u64>();
    Progress {
        rows_done: sum(|leaf| leaf.rows_done),
        rows_total: rows_total.max(sum(|leaf| leaf.rows_done)),
        share,
        batches: sum(|leaf| leaf.batches),
        locked,
        working: seconds(|leaf| leaf.worked),
        throttled: seconds(|leaf| leaf.throttled),
        rate: leaves.iter().rev().find_map(|leaf| leaf.rate),
        throttled_by: leaves.iter().find_map(|leaf| leaf.throttled_by.clone()),
    }
}

/// Sums up what was done, for what it says of another server.
pub fn facts(leaves: &[Leaf]) -> BatchFacts {
    let sum = |of: fn(&Leaf) -> u64| leaves.iter().map(of).sum::<u64>();
    BatchFacts {
        keys: sum(|leaf| leaf.keys_seen),
        rows: sum(|leaf| leaf.rows_done),
        batches: sum(|leaf| leaf.batches),
        worked: Duration::try_from_secs_f64(leaves.iter().map(|leaf| leaf.worked).sum()).unwrap_or_default(),
        wal_bytes: sum(|leaf| leaf.wal_bytes),
    }
}

/// The rows that a leaf has in all, corrected by what was found so far.
fn expected(leaf: &Leaf) -> u64 {
    if leaf.finished {
        return leaf.rows_done;
    }
    let in_window = leaf.window_keys * u64::try_from(leaf.pass).unwrap_or_default()
        / u64::try_from(leaf.passes).unwrap_or_default().max(1);
    let gone = leaf.keys_seen + in_window;
    let left = leaf.keys_total.saturating_sub(gone);
    let found = u128::from(leaf.rows_done) * u128::from(left) / u128::from(gone.max(1));
    let found = leaf.rows_done + u64::try_from(found).unwrap_or_default();
    // The first keys need not be like the others; of a new column the planner knows nothing, and expects too little.
    if gone.saturating_mul(20) < leaf.keys_total { leaf.rows_expected.max(found) } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_corrects_what_was_expected() {
        let check = |keys_seen: u64, (pass, rows_done): (i32, u64), rows_expected: u64, told: u64| {
            let (window_keys, passes, keys_total) = (800, 8, 100_000);
            let leaf = Leaf {
                window_keys,
                passes,
                pass,
                rows_done,
                rows_expected,
                keys_seen,
                keys_total,
                ..Leaf::default()
            };
            assert_eq!(expected(&leaf), told, "{keys_seen} {pass} {rows_done}");
        };
        check(0, (0, 0), 500, 500);
        check(0, (1, 100), 500, 100_000);
        check(0, (1, 0), 500, 500);
        check(1000, (0, 10), 5000, 5000);
        check(50_000, (0, 500), 5000, 1000);
    }
}
