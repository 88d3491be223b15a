//! Backfills: rows that are changed in batches, each row exactly once, whatever dies.
//!
//! Invariants: a batch, its cursor and its counters commit together behind the fence; the upper bound is frozen before the
//! first batch; nothing but the ledger knows how far it is. What cannot be done now is tried with fewer rows, or around what
//! somebody holds; nothing is left out without being noted.

mod batch;
mod begin;
mod culprit;
mod finish;
mod holders;
mod leaf;
mod pacer;
mod recompute;
pub mod restore;
mod revisit;
mod sample;
pub mod table;
mod text;
pub mod throttle;

use std::time::{Duration, Instant};

use self::batch::Size;
pub use self::holders::holders;
pub use self::leaf::Leaf;
pub use self::pacer::Pacer;
use self::text::Which;
use super::block::{Direction, Failed, Job, Ran};
use super::error::{Class, Error, ServerError};
use super::ledger::{Side, units};
use super::session::Session;
use crate::core::backfill::{Backfill, Ended, Progress};
use crate::core::observation::UnitStatus;
use crate::core::rehearsal::StatementFacts;
use crate::crash::Site;

/// How long a batch may wait for a row or a lock that somebody holds, while it holds rows itself.
const QUEUE: Duration = Duration::from_millis(20);
/// How often the same batch is tried again at once.
const TRIES: u32 = 8;
/// How often it is noted how far a backfill is on the copy.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What a slice of a backfill came to.
#[derive(Clone, Debug)]
pub enum Slice {
    /// There is more to do, after a pause.
    More {
        /// How long until the next batch.
        pause: Duration,
        /// How far it is.
        progress: Progress,
    },
    /// It is done, and recorded.
    Finished(Ran),
}

/// Which effect a batch is.
fn site(session: &Session, job: &Job<'_>) -> Site {
    let copy = session.head().is_some_and(|head| head.side == Side::Copy.as_str());
    match (copy, job.direction) {
        (false, Direction::Up) => Site::BatchUp,
        (false, Direction::Down { .. }) => Site::BatchDown,
        (true, _) => Site::CopyBatch,
    }
}

/// Runs batches of a backfill until `enough` says so, or it is done; the first ones of a backfill that has not begun freeze
/// its bounds. On the copy nobody waits for rows, so nothing is paced there.
///
/// # Errors
/// What stopped it, with the row where it is about one; the batches before stay, and the next call goes on behind them.
pub async fn slice(
    session: &mut Session,
    job: &Job<'_>,
    backfill: &Backfill,
    (pacer, enough): (&mut Pacer, impl Fn() -> bool),
) -> Result<Slice, Failed> {
    let failed = |error| Failed { statement: Some(0), error };
    let before = units::status(session.conn(), job.run, job.unit).await?;
    if !job.direction.follows(before) {
        return Err(Error::LedgerMoved { unit: job.unit + 1, status: before }.into());
    }
    let mut leaves = if is_begun(before, job.direction) {
        leaf::load(session.conn(), job, job.direction, backfill).await?
    } else {
        begin::begin(session, job, backfill).await.map_err(failed)?
    };
    while let Some(leaf) = leaves.iter_mut().find(|leaf| !leaf.finished) {
        let pause = if backfill.restore {
            put_back(session, (job, backfill), leaf, pacer).await.map_err(failed)?
        } else {
            step(session, (job, backfill), leaf, pacer).await.map_err(failed)?
        };
        if enough() || pause > Duration::ZERO && !pacer.rest(pause, &enough).await {
            return Ok(Slice::More { pause, progress: progress(session, job, &leaves).await? });
        }
    }
    match finish::finish(session, (job, backfill), (&mut leaves, pacer, &enough)).await.map_err(failed)? {
        finish::End::Done(duration) => {
            let facts = StatementFacts {
                summary: job.block.statements.first().map(crate::sql::Statement::summary).unwrap_or_default(),
                duration,
                locks: Vec::new(),
            };
            let done = leaf::load(session.conn(), job, job.direction, backfill).await.map_err(failed)?;
            let batches = Some(leaf::facts(&done));
            Ok(Slice::Finished(Ran { duration, held: Duration::ZERO, statements: vec![facts], batches }))
        }
        finish::End::More => {
            Ok(Slice::More { pause: Duration::ZERO, progress: progress(session, job, &leaves).await? })
        }
    }
}

fn is_begun(status: UnitStatus, direction: Direction) -> bool {
    status == direction.before()
}

/// Sums up how far a backfill is.
///
/// # Errors
/// What the server said.
pub async fn progress(session: &mut Session, job: &Job<'_>, leaves: &[Leaf]) -> Result<Progress, Error> {
    let locked = revisit::count(session.conn(), job).await?;
    Ok(leaf::progress(leaves, locked))
}

/// Runs a whole backfill on the copy, where it tells now and then how far it is.
pub(super) async fn whole(session: &mut Session, job: &Job<'_>, backfill: &Backfill) -> Result<Ran, Failed> {
    let mut pacer = Pacer::unpaced();
    loop {
        let began = Instant::now();
        let enough = || began.elapsed() >= TELL_EVERY;
        match slice(session, job, backfill, (&mut pacer, enough)).await {
            Ok(Slice::More { progress, .. }) => session.note_filled(Some(progress)),
            Ok(Slice::Finished(ran)) => {
                session.note_filled(None);
                return Ok(ran);
            }
            Err(failed) => return Err(failed),
        }
    }
}

/// Runs one batch, smaller or around locks where that is what it takes. Returns the pause after it.
async fn step(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &mut Leaf,
    pacer: &mut Pacer,
) -> Result<Duration, Error> {
    let mut was_late = false;
    for _ in 0..TRIES * 4 {
        let mut size = pacer.size(job.limits, &backfill.pace);
        // A window of several passes is as long as it was when it began: its rows get the time that they take.
        let fixed = leaf.pass > 0;
        if fixed && was_late {
            size.limit = size.limit.max(job.limits.statement);
        }
        leaf.rate = pacer.rate();
        let broken = match batch::run(session, (job, backfill), leaf, size).await {
            Ok(did) => {
                pacer.committed(&backfill.pace, did.rows, did.took, size);
                if did.waited_for {
                    pacer.ended(&backfill.pace, Ended::Late);
                }
                return Ok(pacer.pause(&backfill.pace));
            }
            Err(broken) => broken,
        };
        match &broken.error {
            // A row or the table is held by somebody: what can be done is done, the rest is noted.
            Error::Server(error) if is_in_the_way(error) => {
                pacer.held(&backfill.pace);
            }
            Error::Server(error) if error.is_cancelled() && broken.took >= size.limit => {
                let is_least = if fixed { was_late } else { size.rows == 1 };
                if is_least {
                    let what = if fixed { "the rows of one pass" } else { "a single row" };
                    return Err(too_slow(leaf, what, size));
                }
                was_late = true;
                pacer.ended(&backfill.pace, Ended::Late);
            }
            error if is_about_a_row(error) => {
                let Some(range) = &broken.range else { return Err(broken.error) };
                let rows = Which::Range(range);
                return Err(culprit::named(session, (job, backfill), leaf, (rows, broken.error, size)).await);
            }
            _ => return Err(broken.error),
        }
    }
    Err(Error::RowsHeld(format!("{}: somebody holds rows or the table, and does not let go", place(leaf))))
}

async fn put_back(
    session: &mut Session,
    (job, backfill): (&Job<'_>, &Backfill),
    leaf: &mut Leaf,
    pacer: &mut Pacer,
) -> Result<Duration, Error> {
    for _ in 0..TRIES {
        let size = pacer.size(job.limits, &backfill.pace);
        let began = Instant::now();
        match restore::batch(session, (job, backfill), leaf, size).await {
            Ok(rows) => {
                pacer.committed(&backfill.pace, rows, began.elapsed(), size);
                return Ok(pacer.pause(&backfill.pace));
            }
            Err(Error::Server(error)) if is_in_the_way(&error) || error.is_cancelled() => {
                pacer.ended(&backfill.pace, Ended::Late);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::RowsHeld(format!("{}: somebody holds rows, and does not let go", place(leaf))))
}

/// Says how far a leaf is.
fn place(leaf: &Leaf) -> String {
    match &leaf.cursor {
        Some(cursor) => format!("{} after {} {}", leaf.relation, leaf.key.named(), cursor.join(", ")),
        None => leaf.relation.clone(),
    }
}

fn too_slow(leaf: &Leaf, what: &str, size: Size) -> Error {
    Error::Backfill(format!("{}: changing {what} takes longer than {:?}", place(leaf), size.limit))
}

/// Whether somebody else was in the way: a lock was not to be had, or another transaction won a race for rows.
fn is_in_the_way(error: &ServerError) -> bool {
    error.is_lock_timeout() || matches!(error.sqlstate.as_str(), "40001" | "40P01")
}

/// Whether it is the row that a statement fails at: its data, a constraint, a trigger that raises.
fn is_about_a_row(error: &Error) -> bool {
    match error {
        Error::Server(server) => {
            let spared = server.is_disk_full() || server.is_denied() || server.is_cancelled();
            !spared && matches!(error.class(), Class::User | Class::Terminal)
        }
        _ => false,
    }
}
