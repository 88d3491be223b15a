//! Runs one block of a plan behind the fence: inside a transaction with its ledger rows, or alone with its intent, its
//! postcondition probe and its repair.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::alone;
use super::backfill;
use super::catalog::path;
use super::error::Error;
use super::explain;
use super::guard::{self, Opened, Witness};
use super::ledger::{self, Back, StatementRecord, UnitRecord, units};
use super::locks;
use super::session::{Marks, Session};
use super::statement::{send, send_after, send_ours};
use crate::core::lock_plan::LockPlan;
use crate::core::observation::UnitStatus;
use crate::core::plan::{Block, Plan};
use crate::core::rehearsal::{BatchFacts, StatementFacts};
use crate::core::state::State;
use crate::crash::{self, Moment, Mutant, Site, planted};
use crate::sql::{Aside, Statement, quote_ident};

/// Which way a block goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A unit's statements.
    Up,
    /// One block of a unit's way back.
    Down {
        /// Index of the block.
        block: usize,
        /// How many blocks the way back has.
        of: usize,
    },
}

impl Direction {
    /// Returns the word that the ledger stores.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down { .. } => "down",
        }
    }

    /// Returns the index of the block in its direction.
    pub fn block(self) -> usize {
        match self {
            Self::Up => 0,
            Self::Down { block, .. } => block,
        }
    }

    /// Returns how far a unit is once this was announced.
    pub(super) fn before(self) -> UnitStatus {
        match self {
            Self::Up => UnitStatus::Intent,
            Self::Down { block, .. } => UnitStatus::Reverting { blocks: block },
        }
    }

    /// Returns whether this is what comes next for a unit that is so far; anything else was decided on an old look.
    pub(super) fn follows(self, status: UnitStatus) -> bool {
        match (self, status) {
            (Self::Up, UnitStatus::Open | UnitStatus::Intent | UnitStatus::Undone)
            | (Self::Down { block: 0, .. }, UnitStatus::Intent | UnitStatus::Done) => true,
            (Self::Down { block, .. }, UnitStatus::Reverting { blocks }) => block == blocks,
            _ => false,
        }
    }

    /// Returns how far a unit is after this.
    pub(super) fn after(self) -> UnitStatus {
        match self {
            Self::Up => UnitStatus::Done,
            Self::Down { block, of } if block + 1 >= of => UnitStatus::Undone,
            Self::Down { block, .. } => UnitStatus::Reverting { blocks: block + 1 },
        }
    }
}

/// The time limits of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a statement may queue for a lock that blocks others.
    pub queue: Duration,
    /// Waiting plus holding, from the first statement that blocks others to the commit.
    pub stall: Duration,
    /// Limit of a statement while nobody is blocked.
    pub statement: Duration,
    /// Limit of a statement that cannot run in a transaction.
    pub alone: Duration,
}

/// One block of one run, about to be run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The run.
    pub run: Uuid,
    /// Its plan.
    pub plan: &'a Plan,
    /// Index into the plan's units.
    pub unit: usize,
    /// Which way.
    pub direction: Direction,
    /// The statements.
    pub block: &'a Block,
    /// The time limits.
    pub limits: Limits,
    /// The end of the run, recorded in the unit's own transaction where this is its last one.
    pub then: Option<&'a State>,
    /// Whether the locks of each statement are read after it; on the copy only.
    pub measure: bool,
    /// The locks that it may take; where there are several, they are taken in order before the first statement that blocks
    /// somebody.
    pub locks: Option<&'a LockPlan>,
    /// A session that sees the catalog as it was before the transaction.
    pub witness: Option<&'a Witness>,
    /// Whether a part of the rows of a large table is enough; on the copy only.
    pub sampled: bool,
    /// Whether a transaction is rolled back at its end instead of committed; on the copy only.
    pub rehearse_only: bool,
}

/// What a block did.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// From its first statement to its commit.
    pub duration: Duration,
    /// From the first statement that blocks others to the commit.
    pub held: Duration,
    /// Its statements.
    pub statements: Vec<StatementFacts>,
    /// What its batches did, if it is a backfill.
    pub batches: Option<BatchFacts>,
}

/// A block that failed: which statement and why. Nothing of a transactional block remains.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Index of the statement in the block, if one of them failed.
    pub statement: Option<usize>,
    /// What happened.
    pub error: Error,
}

impl<'a> Job<'a> {
    /// Makes a job without lock plan, witness or end of the run, under limits that let nothing through.
    pub fn plain(run: Uuid, plan: &'a Plan, unit: usize, (direction, block): (Direction, &'a Block)) -> Self {
        let zero = Duration::ZERO;
        let limits = Limits { queue: zero, stall: zero, statement: zero, alone: zero };
        Self {
            run,
            plan,
            unit,
            direction,
            block,
            limits,
            then: None,
            measure: false,
            locks: None,
            witness: None,
            sampled: false,
            rehearse_only: false,
        }
    }
}

impl Job<'_> {
    /// Whether a statement that took so long was cancelled by us: its limit passed, or others waited for it.
    pub(super) fn cancelled(&self, took: Duration, limit: Duration) -> bool {
        // The server counts whole milliseconds.
        took + Duration::from_millis(1) >= limit || self.witness.is_some_and(Witness::has_cancelled)
    }

    /// Marks an error as one that we caused, if others waited for the work and it was cancelled.
    pub(super) fn ours_if_cancelled(&self, error: Error) -> Error {
        if self.witness.is_some_and(Witness::has_cancelled) { error.with_own_timer(true) } else { error }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { statement: None, error }
    }
}

/// Runs one block. After an error of class ambiguous the session is not used again.
pub async fn run(session: &mut Session, job: &Job<'_>) -> Result<Ran, Failed> {
    match run_unexplained(session, job).await {
        Err(failed) => Err(explain::explain(session, job, failed).await),
        ran => ran,
    }
}

async fn run_unexplained(session: &mut Session, job: &Job<'_>) -> Result<Ran, Failed> {
    if let Some(backfill) = &job.block.backfill {
        return backfill::whole(session, job, backfill).await;
    }
    if alone::nothing_to_undo(session, job).await? {
        return alone::forget(session, job).await;
    }
    if job.block.statements.is_empty() {
        return record_only(session, job).await;
    }
    if job.block.transactional { in_transaction(session, job).await } else { alone::run(session, job).await }
}

/// A way back without statements (of `VALIDATE CONSTRAINT`, of `VACUUM`): only the ledger changes.
async fn record_only(session: &mut Session, job: &Job<'_>) -> Result<Ran, Failed> {
    let marks = session.marks();
    record(session, job, (&marks, Site::OutcomeStored), job.direction.after(), &[], &[]).await?;
    Ok(Ran::default())
}

/// Writes a unit's rows in a transaction of their own.
pub(super) async fn record(
    session: &mut Session,
    job: &Job<'_>,
    (marks, site): (&Marks, Site),
    status: UnitStatus,
    statements: &[StatementRecord<'_>],
    aside: &[Aside],
) -> Result<(), Error> {
    let mut tx = ledger::begin_fenced(session.conn(), marks.epoch, site).await?;
    let xid = current_xid(&mut tx).await?;
    unit_record(job, status, marks).write(&mut tx, &xid, statements, aside).await?;
    tx.commit().await
}

/// The same in a transaction of the caller's.
pub(super) async fn record_in(
    conn: &mut PgConnection,
    job: &Job<'_>,
    (marks, status): (&Marks, UnitStatus),
    statements: &[StatementRecord<'_>],
) -> Result<(), Error> {
    let xid = current_xid(conn).await?;
    unit_record(job, status, marks).write(conn, &xid, statements, &[]).await
}

fn unit_record<'a>(job: &Job<'a>, status: UnitStatus, marks: &'a Marks) -> UnitRecord<'a> {
    UnitRecord {
        run: job.run,
        unit: job.unit,
        status,
        then: job.then,
        direction: job.direction.word(),
        block: job.direction.block(),
        server: &marks.server,
        pid: marks.pid,
        epoch: marks.epoch,
    }
}

async fn current_xid(conn: &mut PgConnection) -> Result<String, Error> {
    Ok(sqlx::raw_sql("SELECT pg_current_xact_id()::text").fetch_one(conn).await?.try_get(0)?)
}

/// Which effect a block is.
pub(super) fn site(session: &Session, job: &Job<'_>) -> Site {
    let copy = session.head().is_some_and(|head| head.side == ledger::Side::Copy.as_str());
    match (copy, job.direction, job.block.transactional) {
        (false, Direction::Up, true) => Site::UnitUp,
        (false, Direction::Up, false) => Site::AloneUp,
        (false, Direction::Down { .. }, true) => Site::UnitDown,
        (false, Direction::Down { .. }, false) => Site::AloneDown,
        (true, Direction::Up, true) => Site::CopyUp,
        (true, Direction::Up, false) => Site::CopyAloneUp,
        (true, Direction::Down { .. }, true) => Site::CopyDown,
        (true, Direction::Down { .. }, false) => Site::CopyAloneDown,
    }
}

pub(super) fn millis(duration: Duration) -> u128 {
    // Zero would mean "no limit" to the server.
    duration.as_millis().max(1)
}

pub(super) fn role(plan: &Plan) -> String {
    plan.owner_role
        .as_deref()
        .map_or_else(String::new, |role| format!("SET LOCAL ROLE {};", quote_ident(role)))
}

async fn in_transaction(session: &mut Session, job: &Job<'_>) -> Result<Ran, Failed> {
    let marks = session.marks();
    let site = site(session, job);
    let name = session.name(job.unit);
    let conn = session.conn();
    units::prepare(conn).await?;
    crash::at(site, Moment::BeforeIntent).await;
    match transaction_body(conn, (job, site), &marks, &name).await {
        Ok((mut ran, started, first_block)) => {
            // A failed COMMIT that the server answered is definite; one without an answer is ambiguous by its class.
            crash::at(site, Moment::Sent).await;
            let commit = send_ours(conn, if job.rehearse_only { "ROLLBACK" } else { "COMMIT" }.to_owned());
            let committed = crash::during(site, Moment::CommittedNotAcknowledged, commit).await;
            committed.map_err(|error| job.ours_if_cancelled(error))?;
            crash::at(site, Moment::AcknowledgedNotRecorded).await;
            ran.duration = started.elapsed();
            ran.held = first_block.map_or(Duration::ZERO, |at| at.elapsed());
            if planted(Mutant::LedgerAfterCommit) && !job.rehearse_only {
                record(session, job, (&marks, Site::OutcomeStored), job.direction.after(), &[], &[]).await?;
            }
            Ok(ran)
        }
        Err(failed) => {
            // The transaction is lost either way; an error here means that the connection is, too.
            let _ = send_ours(conn, "ROLLBACK".to_owned()).await;
            Err(failed)
        }
    }
}

type Body = (Ran, Instant, Option<Instant>);

async fn transaction_body(
    conn: &mut PgConnection,
    (job, site): (&Job<'_>, Site),
    marks: &Marks,
    name: &str,
) -> Result<Body, Failed> {
    let first = match job.block.statements.first() {
        Some(statement) if statement.blocking => job.limits.stall,
        _ => job.limits.statement,
    };
    let path = path(&job.plan.search_path);
    let settings = format!("SET LOCAL search_path TO {path}; {}", guard::limits(job.limits.queue, first));
    let about = (marks.epoch, job.run, job.unit);
    let opened = guard::open(conn, about, name, (&role(job.plan), &settings), job.locks).await?;
    let is_stale = !job.direction.follows(opened.status);
    if is_stale && !planted(Mutant::StaleAfterLostCommit) && !planted(Mutant::StaleAfterTakeover) {
        return Err(Error::LedgerMoved { unit: job.unit + 1, status: opened.status }.into());
    }
    crash::at(site, Moment::IntentDurable).await;
    let started = Instant::now();
    let mut first_block: Option<Instant> = None;
    let mut ran = Ran::default();
    let mut seen = Vec::new();
    for (ordinal, statement) in job.block.statements.iter().enumerate() {
        let failed = |error| Failed { statement: Some(ordinal), error };
        let mut limits_set = ordinal == 0;
        if statement.blocking && first_block.is_none() {
            first_block = Some(Instant::now());
            limits_set |= take_locks(conn, job, &opened).await.map_err(failed)?;
        }
        let duration =
            send_within(conn, (job, site), statement, (first_block, limits_set)).await.map_err(failed)?;
        let locks = if job.measure { locks::added(conn, &mut seen, job.witness).await? } else { Vec::new() };
        ran.statements.push(StatementFacts { summary: statement.summary(), duration, locks });
    }
    check_and_record(conn, job, (marks, &opened), &ran).await?;
    Ok((ran, started, first_block))
}

/// Ends the user's part of a transaction, checks what it did, and writes the ledger rows.
async fn check_and_record(
    conn: &mut PgConnection,
    job: &Job<'_>,
    (marks, opened): (&Marks, &Opened),
    ran: &Ran,
) -> Result<(), Error> {
    if let Some(plan) = job.locks {
        let back = still_ours(ledger::take_back_with_locks(conn).await?, &opened.xid)?;
        guard::within(plan, &opened.found, &back, job.witness).await?;
    } else {
        still_ours(ledger::take_back(conn).await?, &opened.xid)?;
    }
    let rows: Vec<StatementRecord<'_>> = job
        .block
        .statements
        .iter()
        .zip(&ran.statements)
        .map(|(statement, facts)| StatementRecord {
            sql: &statement.sql,
            outcome: "done",
            duration: Some(facts.duration),
        })
        .collect();
    if planted(Mutant::LedgerAfterCommit) {
        return Ok(());
    }
    unit_record(job, job.direction.after(), marks).write(conn, &opened.xid, &rows, &job.block.aside).await
}

/// Takes the tables of the lock plan, where their order matters. Returns whether that left the limits of the next statement
/// set.
async fn take_locks(conn: &mut PgConnection, job: &Job<'_>, opened: &Opened) -> Result<bool, Error> {
    let tables = job.locks.map(|plan| plan.to_take(&opened.found)).unwrap_or_default();
    if tables.is_empty() {
        return Ok(false);
    }
    let at = Instant::now();
    let limits = (job.limits.queue, job.limits.stall);
    let sent = send_ours(conn, guard::take(&tables, limits, &path(&job.plan.search_path))).await;
    sent.map_err(|error| error.with_own_timer(job.cancelled(at.elapsed(), job.limits.stall)))?;
    Ok(true)
}

/// Sends one statement under what is left of the budget. Returns how long it took.
async fn send_within(
    conn: &mut PgConnection,
    (job, site): (&Job<'_>, Site),
    statement: &Statement,
    (first_block, limits_set): (Option<Instant>, bool),
) -> Result<Duration, Error> {
    let (lock, limit) = match first_block {
        Some(at) => {
            let left = job.limits.stall.saturating_sub(at.elapsed());
            (job.limits.queue.min(left), left)
        }
        None => (job.limits.queue, job.limits.statement),
    };
    let at = Instant::now();
    let sending = async {
        if limits_set {
            send(conn, statement).await.map(|_| ())
        } else {
            send_after(conn, &guard::limits(lock, limit), statement).await
        }
    };
    let sent = crash::during(site, Moment::Executing, sending).await;
    sent.map_err(|error| error.with_own_timer(job.cancelled(at.elapsed(), limit)))?;
    Ok(at.elapsed())
}

/// Checks that the user's SQL neither ended our transaction nor touched the ledger.
pub(super) fn still_ours(back: Back, xid: &str) -> Result<Back, Error> {
    if back.xid.as_deref() != Some(xid) {
        return Err(Error::TransactionEscaped);
    }
    match back.touched {
        Some(what) => Err(Error::LedgerTouched(what)),
        None => Ok(back),
    }
}
