//! Runs a statement that cannot run in a transaction: announce, look, repair, send, look again, record.
//!
//! Invariants: the intent is durable before the statement is sent; whether it took effect is said by the catalog, never by
//! the absence of an error; what was in force before we announced anything is not ours to undo.

use std::time::{Duration, Instant};

use super::block::{Direction, Failed, Job, Ran, millis, record, site};
use super::catalog::path;
use super::error::{Class, Error};
use super::ledger::{StatementRecord, units};
use super::probe::{self, Look};
use super::session::Session;
use super::statement::{send, send_ours};
use crate::core::observation::UnitStatus;
use crate::core::rehearsal::StatementFacts;
use crate::crash::{self, Moment, Mutant, Site, planted};
use crate::sql::{Probe, Statement, quote_ident};

/// How long it may take to remove what a failed statement left; if it takes longer, the way back sees to it.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);

/// Runs a block of one statement that cannot run in a transaction.
pub(super) async fn run(session: &mut Session, job: &Job<'_>) -> Result<Ran, Failed> {
    let Some(statement) = job.block.statements.first() else {
        return Ok(Ran::default());
    };
    let failed = |error| Failed { statement: Some(0), error };
    session.label(job.unit).await?;
    session.still_owner().await?;
    let before = units::status(session.conn(), job.run, job.unit).await?;
    if !job.direction.follows(before) {
        return Err(Error::LedgerMoved { unit: job.unit + 1, status: before }.into());
    }
    let started = Instant::now();
    let found = found(session, job, statement, before).await.map_err(failed)?;
    if !found {
        announce(session, job, statement).await?;
        if planted(Mutant::LedgerBeforeEffect) {
            let marks = session.marks();
            record(session, job, (&marks, Site::OutcomeStored), job.direction.after(), &[], &[]).await?;
            return carry_out(session, job, statement).await.map(|()| Ran::default()).map_err(failed);
        }
        if let Err(error) = carry_out(session, job, statement).await {
            let error = job.ours_if_cancelled(error);
            settle(session, job, statement, (before, &error)).await;
            return Err(failed(error));
        }
    }
    let duration = started.elapsed();
    crash::at(site(session, job), Moment::AcknowledgedNotRecorded).await;
    let outcome = if found { "found" } else { "done" };
    let row = StatementRecord { sql: &statement.sql, outcome, duration: Some(duration) };
    let marks = session.marks();
    session
        .unchanged(job.run, job.unit, if found { before } else { job.direction.before() })
        .await
        .map_err(failed)?;
    let stored = (&marks, Site::OutcomeStored);
    record(session, job, stored, job.direction.after(), &[row], &job.block.aside).await?;
    crash::at(site(session, job), Moment::Recorded).await;
    let facts = StatementFacts { summary: statement.summary(), duration, locks: Vec::new() };
    Ok(Ran { duration, statements: vec![facts], ..Ran::default() })
}

/// Returns whether the statement is in force already. An index is looked up by its name at once; for everything else only an
/// attempt of ours that went missing may have made it so, or the statement itself must say.
async fn found(
    session: &mut Session,
    job: &Job<'_>,
    statement: &Statement,
    before: UnitStatus,
) -> Result<bool, Error> {
    if planted(Mutant::BlindRetry) {
        return Ok(false);
    }
    let announced = before == UnitStatus::Intent || matches!(job.direction, Direction::Down { .. });
    if !announced && !matches!(statement.probe(), Some(Probe::IndexValid { .. })) {
        return Ok(false);
    }
    match probe::look(session, job, statement, job.limits.alone).await? {
        Look::InForce => Ok(true),
        Look::Absent | Look::Halfway | Look::Repeatable => Ok(false),
        Look::Different(how) => Err(Error::NameTaken { what: statement.summary(), how }),
    }
}

async fn announce(session: &mut Session, job: &Job<'_>, statement: &Statement) -> Result<(), Error> {
    let marks = session.marks();
    let row = StatementRecord { sql: &statement.sql, outcome: "intent", duration: None };
    crash::at(site(session, job), Moment::BeforeIntent).await;
    record(session, job, (&marks, Site::IntentStored), job.direction.before(), &[row], &[]).await?;
    crash::at(site(session, job), Moment::IntentDurable).await;
    Ok(())
}

/// Repairs, sends, and makes sure that it took effect.
async fn carry_out(session: &mut Session, job: &Job<'_>, statement: &Statement) -> Result<(), Error> {
    if probe::repair(session, job.plan, statement, None).await?
        && probe::look(session, job, statement, job.limits.alone).await? == Look::InForce
    {
        // The repair was the end of it.
        return Ok(());
    }
    send_alone(session, job, statement).await?;
    match probe::look(session, job, statement, job.limits.alone).await? {
        Look::InForce | Look::Repeatable => Ok(()),
        Look::Different(how) => Err(Error::NameTaken { what: statement.summary(), how }),
        Look::Absent | Look::Halfway => Err(Error::PostconditionMissing(statement.summary())),
    }
}

/// Runs the statement as the owner, without lock or statement timeout: a lock timeout would leave an invalid index. The
/// deadline is ours, and the statement is cancelled in the server when it passes.
async fn send_alone(session: &mut Session, job: &Job<'_>, statement: &Statement) -> Result<(), Error> {
    session.still_owner().await?;
    let site = site(session, job);
    let role = job
        .plan
        .owner_role
        .as_deref()
        .map_or_else(String::new, |role| format!("SET ROLE {};", quote_ident(role)));
    let settings = format!(
        "{role} SET search_path TO {}; SET lock_timeout TO 0; SET statement_timeout TO {}; SET client_connection_check_interval TO 0",
        path(&job.plan.search_path),
        millis(job.limits.alone),
    );
    send_ours(session.conn(), settings).await?;
    crash::at(site, Moment::Sent).await;
    let at = Instant::now();
    let request = send(session.conn(), statement);
    let request = crash::during(site, Moment::CommittedNotAcknowledged, request);
    let sent = crash::during(site, Moment::Executing, request)
        .await
        .map_err(|error| error.with_own_timer(job.cancelled(at.elapsed(), job.limits.alone)));
    session.restore_settings().await?;
    sent?;
    session.still_owner().await
}

/// After the server refused the statement for good: nothing of it is in force, and what it left is removed, so that there
/// is nothing to undo. Where that does not succeed, the unit stays announced, and is looked at again.
async fn settle(
    session: &mut Session,
    job: &Job<'_>,
    statement: &Statement,
    (before, error): (UnitStatus, &Error),
) {
    // A person who cancelled it wants to see the end of it, not a wait for whoever is in the way.
    let cancelled = error.is_cancelled();
    let passes = matches!(error.class(), Class::Ambiguous | Class::Transient);
    if job.direction != Direction::Up || passes || cancelled {
        return;
    }
    let settled = async {
        let repaired = probe::repair(session, job.plan, statement, Some(SETTLE_WITHIN)).await?;
        let look = probe::look(session, job, statement, SETTLE_WITHIN).await?;
        // What looks like it is so for another reason, unless an attempt went missing before this one.
        let by_us = repaired || before == UnitStatus::Intent;
        if look == Look::Halfway || (look == Look::InForce && by_us) {
            return Ok(());
        }
        let marks = session.marks();
        record(session, job, (&marks, Site::OutcomeStored), UnitStatus::Undone, &[], &[]).await
    };
    if let Err(error) = settled.await {
        tracing::warn!(run = %job.run, unit = job.unit + 1, "what the failed statement left is not removed yet: {error}");
    }
}

/// Returns whether a unit outside a transaction has nothing to undo: it was announced and never took effect, or it was in
/// force before it was announced. What it left is removed.
pub(super) async fn nothing_to_undo(session: &mut Session, job: &Job<'_>) -> Result<bool, Error> {
    let Some((unit, statement)) = job
        .plan
        .units
        .get(job.unit)
        .filter(|unit| !unit.up.transactional && unit.up.backfill.is_none())
        .and_then(|unit| Some((unit, unit.up.statements.first()?)))
    else {
        return Ok(false);
    };
    if !matches!(job.direction, Direction::Down { block: 0, .. }) || unit.up.statements.len() != 1 {
        return Ok(false);
    }
    match units::status(session.conn(), job.run, job.unit).await? {
        UnitStatus::Done => Ok(!units::announced(session.conn(), job.run, job.unit).await?),
        UnitStatus::Intent => {
            let look = probe::look(session, job, statement, job.limits.alone).await?;
            if look == Look::Halfway {
                probe::repair(session, job.plan, statement, None).await?;
            }
            let drops = matches!(statement.probe(), Some(Probe::IndexesAbsent { .. }));
            Ok(match probe::look(session, job, statement, job.limits.alone).await? {
                Look::Absent | Look::Different(_) => true,
                Look::Halfway if drops => {
                    // The index is of no use any more: gone for good, so that the way back can build it.
                    send_alone(session, job, statement).await?;
                    false
                }
                Look::InForce | Look::Halfway | Look::Repeatable => false,
            })
        }
        UnitStatus::Open | UnitStatus::Reverting { .. } | UnitStatus::Undone => Ok(false),
    }
}

/// Records that a unit that never took effect is undone.
pub(super) async fn forget(session: &mut Session, job: &Job<'_>) -> Result<Ran, Failed> {
    let marks = session.marks();
    record(session, job, (&marks, Site::OutcomeStored), UnitStatus::Undone, &[], &[]).await?;
    Ok(Ran::default())
}
