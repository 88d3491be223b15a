//! The round trip in one transaction that is rolled back: finds a written way back that is none before anything is
//! committed on the copy, which could not be brought back by it.
//!
//! Invariant: it leaves nothing on the copy. What fails only because everything shares one transaction is left to the
//! round trip that follows.

use sqlx::PgConnection;

use super::verdict::{Stop, compare_back, way_back_failed};
use crate::core::observation::Class;
use crate::core::plan::{Block, Plan, Unit};
use crate::crash::{self, Moment, Site};
use crate::postgres::block::{Failed, role};
use crate::postgres::catalog::path;
use crate::postgres::fingerprint::{self, Fingerprint};
use crate::postgres::guard::Witness;
use crate::postgres::ledger;
use crate::postgres::session::Session;
use crate::postgres::statement::{send, send_ours};

/// Tries the way back of the units that come before the first statement that cannot run in a transaction, if a person
/// wrote any of it.
pub(super) async fn run(copy: &mut Session, plan: &Plan, zero: &Fingerprint) -> Result<(), Stop> {
    let all_in_one = |unit: &&Unit| {
        let mut blocks = unit.way_back.iter().flatten().chain([&unit.up]);
        blocks.all(|block| block.transactional)
    };
    let units: Vec<&Unit> = plan.units.iter().take_while(all_in_one).collect();
    let is_written = |unit: &&Unit| plan.steps.get(unit.step).is_some_and(|step| step.written_back);
    if !units.iter().any(is_written) {
        return Ok(());
    }
    let epoch = copy.epoch();
    crash::at(Site::Trial, Moment::BeforeIntent).await;
    send_ours(copy.conn(), "BEGIN".to_owned()).await?;
    let witness = Witness::new(copy.take_observer());
    let tried = witness.beside(&|| (), there_and_back(copy.conn(), plan, &units, zero, epoch)).await;
    copy.give_back(witness.into_session());
    crash::at(Site::Trial, Moment::Executing).await;
    send_ours(copy.conn(), "ROLLBACK".to_owned()).await?;
    crash::at(Site::Trial, Moment::Recorded).await;
    tried
}

async fn there_and_back(
    conn: &mut PgConnection,
    plan: &Plan,
    units: &[&Unit],
    zero: &Fingerprint,
    epoch: i64,
) -> Result<(), Stop> {
    ledger::fence(conn, epoch).await?;
    send_ours(
        conn,
        format!(
            "{} SET LOCAL search_path TO {}; SET LOCAL lock_timeout TO '10s'",
            role(plan),
            path(&plan.search_path)
        ),
    )
    .await?;
    let mut before = vec![zero.clone()];
    for (index, unit) in units.iter().enumerate() {
        // The round trip that follows tells why this way is not passable, if it is not.
        if let Err(failed) = send_all(conn, &unit.up).await {
            return unless_the_server_answered(failed);
        }
        if index + 1 < units.len() {
            before.push(fingerprint::read(conn).await?);
        }
    }
    for (index, unit) in units.iter().enumerate().rev() {
        for block in unit.way_back.iter().flatten() {
            match send_all(conn, block).await {
                Ok(()) => {}
                Err(failed) if failed.error.class() == Class::User => {
                    return Err(way_back_failed(plan, index, block, failed));
                }
                Err(failed) => return unless_the_server_answered(failed),
            }
        }
        let now = fingerprint::read(conn).await?;
        compare_back(plan, index, before.get(index).unwrap_or(zero), &now)?;
    }
    Ok(())
}

/// An answer of the server says nothing yet; without one, the session is lost.
fn unless_the_server_answered(failed: Failed) -> Result<(), Stop> {
    match failed.error.sqlstate() {
        Some(_) => Ok(()),
        None => Err(Stop::Error(failed.error)),
    }
}

async fn send_all(conn: &mut PgConnection, block: &Block) -> Result<(), Failed> {
    for (ordinal, statement) in block.statements.iter().enumerate() {
        send(conn, statement).await.map_err(|error| Failed { statement: Some(ordinal), error })?;
    }
    Ok(())
}
