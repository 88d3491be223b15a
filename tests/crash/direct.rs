//! What one defence would hide of another: the fence, the epoch and the work lock, each asked alone. In a run of the matrix a
//! successor ends its predecessor's sessions, so that a fence that does not hold does no harm there.

use std::time::Duration;

use anyhow::{Result, ensure};
use whimbrel::crash::{Mutant, Site};
use whimbrel::postgres::ledger::{Side, begin_fenced, bump_epoch};
use whimbrel::postgres::{Builds, Error, Session};

use super::driver::target;
use crate::harness::postgres::{Database, execute};

/// The bugs that these show.
pub const SHOWS: &[Mutant] =
    &[Mutant::NoFence, Mutant::KeyShareFence, Mutant::EpochNotBumped, Mutant::LockResultIgnored];

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks each defence.
///
/// # Errors
/// Which one does not hold.
pub async fn check(port: u16, database: &str) -> Result<()> {
    tokio::time::timeout(LIMIT, ask(port, database)).await?
}

async fn ask(port: u16, name: &str) -> Result<()> {
    let database = Database::new(name, port, false);
    let mut owner = Session::open(&target(port, name)?, "whimbrel/direct").await?;
    owner.ensure_ledger(Side::Primary).await?;
    let epoch = owner.own("direct", None, Builds::Adopt).await?;
    let mut successor = database.connect().await?;
    execute(&mut successor, "SET lock_timeout TO '200ms'").await?;

    let open = begin_fenced(owner.conn(), epoch, Site::StateMoved).await?;
    let bumped = bump_epoch(&mut successor, "successor").await;
    ensure!(bumped.is_err(), "the epoch was bumped while an effect of the last owner was open");
    open.commit().await?;

    let next = bump_epoch(&mut successor, "successor").await?;
    ensure!(next > epoch, "a new owner has the epoch of the old one");
    let late = begin_fenced(owner.conn(), epoch, Site::StateMoved).await.map(drop);
    ensure!(matches!(late, Err(Error::Fenced)), "a fenced owner began a transaction");
    owner.close().await;

    // A session of somebody else's holds the lock, and may not be ended.
    execute(&mut successor, "SELECT pg_advisory_lock(2002873965, 1)").await?;
    let mut third = Session::open(&target(port, name)?, "whimbrel/third").await?;
    let owned = third.own("third", None, Builds::Adopt).await;
    ensure!(matches!(owned, Err(Error::OwnerAlive(_))), "the database was owned without the work lock");
    third.close().await;
    Ok(())
}
