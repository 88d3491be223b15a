//! One batch: behind the fence, its rows, its cursor and its counters in one transaction.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};

use super::leaf::{Leaf, advance};
use super::recompute;
use super::restore;
use super::sample;
use super::text::{KeyValue, Range, Which};
use crate::core::backfill::Backfill;
use crate::crash::{self, Moment, Mutant, Site, planted};
use crate::postgres::block::{Job, role, still_ours};
use crate::postgres::catalog::path;
use crate::postgres::error::Error;
use crate::postgres::guard::{self, Opened};
use crate::postgres::ledger::take_back;
use crate::postgres::session::Session;
use crate::postgres::statement::{around, ours, send_ours};
use crate::sql::IN_BATCH;

/// Rows of a table without a key that one of its blocks is taken to hold.
const ROWS_OF_A_BLOCK: u32 = 50;

/// How a batch is to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Keys of a pass.
    pub rows: u32,
    /// How many passes a new window has.
    pub passes: i32,
    /// Rows that somebody holds are left out and noted.
    pub around_locks: bool,
    /// How long it may wait for a lock.
    pub queue: Duration,
    /// How long its statement may take.
    pub limit: Duration,
    /// Before it is committed it is looked whether somebody waits for it.
    pub look: bool,
}

/// What a batch did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Did {
    /// Rows that were changed.
    pub rows: u64,
    /// From its beginning to its commit.
    pub took: Duration,
    /// Somebody waited for it.
    pub waited_for: bool,
}

/// A batch that failed, with the rows that it was about. Nothing of it remains.
#[derive(Debug)]
pub(super) struct Broken {
    /// What happened.
    pub error: Error,
    /// The rows, once they were known.
    pub range: Option<Range>,
    /// How long it had taken.
    pub took: Duration,
}

/// Runs the next batch of a leaf, and moves the leaf on when it is committed.
pub(super) async fn run(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &mut Leaf,
    size: Size,
) -> Result<Did, Broken> {
    let began = Instant::now();
    let site = super::site(session, job);
    let epoch = session.epoch();
    crash::at(site, Moment::BeforeIntent).await;
    let mut next = leaf.clone();
    let mut range = None;
    let ended = async {
        let opened = open(session, job, size).await?;
        let conn = session.conn();
        let about = window(conn, &mut next, size).await?;
        range = Some(about.clone());
        crash::at(site, Moment::IntentDurable).await;
        let changing = change(conn, backfill, leaf, (Which::Range(&about), size.around_locks));
        let changed = crash::during(site, Moment::Executing, changing).await?;
        still_ours(take_back(conn).await?, &opened.xid)?;
        changed.store(conn, job, leaf).await?;
        recompute::note(conn, (job, backfill), leaf, (&opened.xid, &about)).await?;
        move_on(&mut next, changed.rows, began.elapsed());
        let apart = planted(Mutant::CursorApart);
        if !apart {
            advance(conn, job, epoch, (&next, Some(&opened.lsn))).await?;
        }
        let waited_for = size.look && is_waited_for(conn).await?;
        commit(conn, site).await?;
        if apart {
            advance(conn, job, epoch, (&next, Some(&opened.lsn))).await?;
        }
        Ok((changed.rows, waited_for))
    }
    .await;
    let took = began.elapsed();
    match ended {
        Ok((rows, waited_for)) => {
            *leaf = next;
            Ok(Did { rows, took, waited_for })
        }
        Err(error) => {
            let error: Error = error;
            // The transaction is lost either way; an error here means that the connection is, too.
            let _ = send_ours(session.conn(), "ROLLBACK".to_owned()).await;
            Err(Broken { error, range, took })
        }
    }
}

/// Makes a batch last.
pub(super) async fn commit(conn: &mut PgConnection, site: Site) -> Result<(), Error> {
    crash::at(site, Moment::Sent).await;
    let commit = send_ours(conn, "COMMIT".to_owned());
    crash::during(site, Moment::CommittedNotAcknowledged, commit).await?;
    crash::at(site, Moment::AcknowledgedNotRecorded).await;
    Ok(())
}

async fn is_waited_for(conn: &mut PgConnection) -> Result<bool, Error> {
    let text = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE NOT l.granted \
        AND pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(l.pid)))";
    Ok(sqlx::raw_sql(text).fetch_one(conn).await?.try_get(0)?)
}

/// Begins a transaction behind the fence, as the role and with the limits of a batch.
pub(super) async fn open(session: &mut Session, job: &Job<'_>, size: Size) -> Result<Opened, Error> {
    let name = session.name(job.unit);
    let epoch = session.epoch();
    // A crash of the server may take the last batches back, each whole with its cursor, and they are made again: that needs no
    // wait for the disk. The unit's own end is waited for, and with it all before it.
    // Batches are found by the key: neither a plan that sorts the table nor one that is compiled first suits them.
    let settings = format!(
        "SET LOCAL synchronous_commit TO off; SET LOCAL search_path TO {}; {}; SET LOCAL enable_seqscan TO off; SET LOCAL enable_sort TO off; SET LOCAL jit TO off; \
         SET LOCAL max_parallel_workers_per_gather TO 0; SET LOCAL {IN_BATCH} TO 'on'",
        path(&job.plan.search_path),
        guard::limits(size.queue, size.limit)
    );
    let about = (epoch, job.run, job.unit);
    let opened = guard::open(session.conn(), about, &name, (&role(job.plan), &settings), None).await?;
    if opened.status != job.direction.before() {
        return Err(Error::LedgerMoved { unit: job.unit + 1, status: opened.status });
    }
    Ok(opened)
}

/// Returns the rows of the next batch; a new window begins where the last one is done.
async fn window(conn: &mut PgConnection, leaf: &mut Leaf, size: Size) -> Result<Range, Error> {
    if planted(Mutant::BoundNotFrozen) && !leaf.key.by_place {
        leaf.bound = there(conn, leaf, &format!("({})", leaf.bound())).await?;
    }
    let Some(bound) = leaf.bound.clone() else {
        return Err(Error::Unexpected("a table without rows is gone through".to_owned()));
    };
    if leaf.window_end.is_none() {
        begin_window(conn, leaf, &bound, size).await?;
    }
    let to = leaf.window_end.clone().unwrap_or_default();
    Ok(Range { after: leaf.cursor.clone(), to, pass: (leaf.pass, leaf.passes) })
}

async fn begin_window(
    conn: &mut PgConnection,
    leaf: &mut Leaf,
    bound: &KeyValue,
    size: Size,
) -> Result<(), Error> {
    (leaf.passes, leaf.pass) = (1, 0);
    if !leaf.ranges.is_empty() {
        there(conn, leaf, "NULL::text[]").await?;
        let Some((after, to)) = sample::next(leaf).cloned() else {
            return Err(Error::Unexpected("a sample that is done is gone over".to_owned()));
        };
        leaf.window_keys = leaf.keys_total / (leaf.ranges.len() as u64).max(1);
        (leaf.cursor, leaf.window_end) = (after, Some(to));
        return Ok(());
    }
    if leaf.key.by_place {
        there(conn, leaf, "NULL::text[]").await?;
        leaf.window_keys = u64::from(size.rows.max(ROWS_OF_A_BLOCK));
        leaf.window_end = Some(further(leaf, bound, size.rows));
        return Ok(());
    }
    // Where fewer keys are left than a window has, several passes would make many small batches.
    for passes in [size.passes.max(1), 1] {
        let keys = u64::from(size.rows) * u64::try_from(passes).unwrap_or(1);
        let end = leaf.window_end(leaf.cursor.as_ref(), bound, keys);
        if let Some(end) = there(conn, leaf, &format!("({end})")).await? {
            (leaf.passes, leaf.window_keys, leaf.window_end) = (passes, keys, Some(end));
            return Ok(());
        }
    }
    leaf.window_keys = leaf.keys_total.saturating_sub(leaf.keys_seen);
    leaf.window_end = Some(bound.clone());
    Ok(())
}

/// Asks for a key, where the leaf is still what it was.
async fn there(conn: &mut PgConnection, leaf: &Leaf, key: &str) -> Result<Option<KeyValue>, Error> {
    let text = format!("SELECT {key} WHERE {}", leaf.is_there());
    let row = sqlx::raw_sql(ours(text)).fetch_optional(conn).await?;
    let Some(row) = row else {
        return Err(Error::Backfill(format!(
            "{} is no partition of the table any more; attach it again, or roll back",
            leaf.relation
        )));
    };
    Ok(row.try_get(0)?)
}

fn block_of(place: Option<&KeyValue>) -> u64 {
    let text = place.and_then(|place| place.first()).map_or("(0,0)", String::as_str);
    text.trim_start_matches('(').split(',').next().and_then(|block| block.parse().ok()).unwrap_or_default()
}

/// The place so many rows further on in a table without a key.
fn further(leaf: &Leaf, bound: &KeyValue, rows: u32) -> KeyValue {
    let blocks = u64::from((rows / ROWS_OF_A_BLOCK).max(1));
    let block = (block_of(leaf.cursor.as_ref()) + blocks).min(block_of(Some(bound)));
    vec![format!("({block},0)")]
}

/// Moves a leaf past a pass.
fn move_on(leaf: &mut Leaf, rows: u64, took: Duration) {
    leaf.rows_done += rows;
    leaf.batches += 1;
    leaf.worked += took.as_secs_f64();
    leaf.throttled_by = None;
    leaf.pass += 1;
    if leaf.pass < leaf.passes {
        return;
    }
    leaf.cursor = leaf.window_end.take();
    leaf.keys_seen += leaf.window_keys;
    (leaf.window_keys, leaf.pass) = (0, 0);
    leaf.finished = leaf.cursor == leaf.bound;
}

/// What the statements of a batch left to be stored with it.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub rows: u64,
    pub locked: Vec<KeyValue>,
    kept: Vec<restore::Kept>,
}

impl Changed {
    pub async fn store(&self, conn: &mut PgConnection, job: &Job<'_>, leaf: &Leaf) -> Result<(), Error> {
        if !self.locked.is_empty() {
            super::revisit::note(conn, job, leaf.number, &self.locked).await?;
        }
        if !self.kept.is_empty() {
            restore::keep(conn, job, leaf.number, &self.kept).await?;
        }
        Ok(())
    }
}

/// Changes rows; around those that somebody holds, if that is asked for.
pub(super) async fn change(
    conn: &mut PgConnection,
    backfill: &Backfill,
    leaf: &Leaf,
    (which, around_locks): (Which<'_>, bool),
) -> Result<Changed, Error> {
    if !around_locks && !backfill.capture {
        let rows = update(conn, backfill, leaf, which).await?;
        return Ok(Changed { rows, ..Changed::default() });
    }
    let lock = if around_locks { " FOR NO KEY UPDATE SKIP LOCKED" } else { " FOR NO KEY UPDATE" };
    let held = read(conn, &leaf.rows(backfill, which, lock)).await?;
    let mut changed = Changed::default();
    if around_locks && !leaf.key.by_place {
        let ours: BTreeSet<&KeyValue> = held.iter().map(|(key, _)| key).collect();
        let all = read(conn, &leaf.rows(backfill, which, "")).await?;
        changed.locked = all.iter().map(|(key, _)| key).filter(|key| !ours.contains(key)).cloned().collect();
    }
    let keys: Vec<KeyValue> = held.iter().map(|(key, _)| key.clone()).collect();
    let mine = Which::Keys(&keys);
    if backfill.capture {
        let after = update_each(conn, backfill, leaf, mine).await?;
        changed.rows = after.len() as u64;
        changed.kept = restore::paired(held, after);
    } else {
        changed.rows = update(conn, backfill, leaf, mine).await?;
    }
    Ok(changed)
}

/// Changes rows, and makes sure that what is in them now is what was meant.
async fn update(
    conn: &mut PgConnection,
    backfill: &Backfill,
    leaf: &Leaf,
    which: Which<'_>,
) -> Result<u64, Error> {
    let text = leaf.update(backfill, which, false);
    let row = sqlx::raw_sql(around(text)).fetch_one(conn).await?;
    let counts = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
    let such: Option<String> = row.try_get(3)?;
    as_meant(leaf, counts, such.as_deref())?;
    Ok(u64::try_from(counts[0]).unwrap_or_default())
}

/// The same with what is in each row now.
async fn update_each(
    conn: &mut PgConnection,
    backfill: &Backfill,
    leaf: &Leaf,
    which: Which<'_>,
) -> Result<Rows, Error> {
    let text = leaf.update(backfill, which, true);
    let rows = sqlx::raw_sql(around(text)).fetch_all(conn).await?;
    let mut counts = [0, 0, 0];
    let (mut such, mut changed) = (None, Rows::new());
    for row in &rows {
        let (key, again, differs): (KeyValue, bool, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let [all, match_again, differ] = &mut counts;
        (*all, *match_again, *differ) =
            (*all + 1, *match_again + i64::from(again), *differ + i64::from(differs));
        if again || differs {
            such.get_or_insert_with(|| key.join(", "));
        }
        changed.push((key, row.try_get(3)?));
    }
    as_meant(leaf, counts, such.as_deref())?;
    Ok(changed)
}

fn as_meant(leaf: &Leaf, [rows, again, differ]: [i64; 3], such: Option<&str>) -> Result<(), Error> {
    let such = such.map_or_else(String::new, |key| format!(", such as {} {key}", leaf.key.named()));
    if again > 0 {
        return Err(Error::Backfill(format!(
            "where still holds for {again} of {rows} rows of {} after they were changed{such}: it would never come to an end",
            leaf.relation
        )));
    }
    if differ > 0 {
        return Err(Error::Backfill(format!(
            "{differ} of {rows} rows of {} do not hold what was computed for them{such}: does a trigger change it?",
            leaf.relation
        )));
    }
    Ok(())
}

/// Rows as keys, each with the values of the columns that are set.
pub(super) type Rows = Vec<(KeyValue, Vec<Option<String>>)>;

async fn read(conn: &mut PgConnection, text: &str) -> Result<Rows, Error> {
    let rows = sqlx::raw_sql(around(text.to_owned())).fetch_all(conn).await?;
    // The key is the first column, the values are the last.
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(row.len() - 1)?))).collect()
}
