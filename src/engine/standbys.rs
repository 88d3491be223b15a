//! The standbys around a unit that locks readers out: looked at before it, waited for after it.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::failure;
use super::runner::Runner;
use super::subject::{Desired, Standby};
use crate::api::Reason;
use crate::core::lock_plan::LockPlan;
use crate::core::observation::{Attempt, Class};
use crate::core::preview::duration;
use crate::core::state::Cause;
use crate::postgres::ledger::Run;
use crate::postgres::standby::{self, Obstacle};
use crate::postgres::{Error, Target};

/// Who reads for longer than this on a standby is waited for.
const READING: Duration = Duration::from_secs(1);

impl Runner {
    /// Says what stands in the way of a unit on a standby, if it locks readers out of a table.
    pub(super) async fn held_up(
        &mut self,
        desired: &Desired,
        run: &Run,
        unit: usize,
    ) -> Result<Option<Cause>, Error> {
        let database = &desired.database;
        if database.standbys.is_empty() {
            return Ok(None);
        }
        let closed = LockPlan::closed_to_readers(&run.plan, run.rehearsal.as_ref(), unit);
        if closed.is_empty() {
            return Ok(None);
        }
        let server = self.own(database).await?.server().system_identifier.clone();
        let step = run.plan.step_of(unit).map_or("?", |step| step.name.as_str());
        for one in &database.standbys {
            let limits = (READING, run.plan.guard.max_replication_lag);
            let found = standby::obstacle(&one.target, &server, &closed, limits).await;
            if let Some(what) = told(one, found) {
                let message = format!("step {step} waits before it locks anything: {what}");
                return Ok(Some(Cause::new(Reason::WaitingForStandby, message)));
            }
        }
        Ok(None)
    }

    /// Waits until the standbys have replayed what locked readers out; not longer than they may lag.
    pub(super) async fn await_replay(
        &mut self,
        desired: &Desired,
        run: &Run,
        unit: usize,
    ) -> Result<(), Error> {
        let database = &desired.database;
        if database.standbys.is_empty()
            || LockPlan::closed_to_readers(&run.plan, run.rehearsal.as_ref(), unit).is_empty()
        {
            return Ok(());
        }
        let position = standby::position(self.own(database).await?.conn()).await?;
        let most = run.plan.guard.max_replication_lag;
        let replay = |one: &Standby| replay(one.name.clone(), one.target.clone(), position.clone(), most);
        self.beside(futures::future::join_all(database.standbys.iter().map(replay))).await.map(drop)
    }
}

async fn replay(name: String, target: Target, position: String, most: Duration) {
    // The next unit looks again before it locks anything.
    match standby::replayed(&target, &position, most).await {
        Ok(true) => {}
        Ok(false) => warn!(standby = name, "has not replayed the unit within {most:?}"),
        Err(error) => warn!(standby = name, "cannot be looked at after the unit: {error}"),
    }
}

/// What stands in the way, for people.
fn told(standby: &Standby, found: Result<Option<Obstacle>, Error>) -> Option<String> {
    let name = &standby.name;
    Some(match found {
        Ok(None) => return None,
        Ok(Some(Obstacle::Reader(reader))) => {
            let application =
                if reader.application.is_empty() { "unknown application" } else { &reader.application };
            let age =
                reader.age_seconds.map_or_else(String::new, |age| format!(" for {}", duration(age * 1000.0)));
            format!(
                "on standby {name}, pid {} ({application}) reads {} in a transaction{age}, and the replay would stop behind it",
                reader.pid, reader.relation
            )
        }
        Ok(Some(Obstacle::Paused)) => {
            format!("the replay of standby {name} is paused; pg_wal_replay_resume() goes on")
        }
        Ok(Some(Obstacle::Lag(lag))) => {
            format!("standby {name} is {} behind", duration(lag.as_secs_f64() * 1000.0))
        }
        Ok(Some(Obstacle::Foreign)) => {
            format!("{name} is no standby of the primary; correct spec.standbys of the Database")
        }
        Err(error) => {
            format!(
                "standby {name} cannot be looked at: {error}; take it out of spec.standbys of the Database if it is gone"
            )
        }
    })
}

/// An attempt that did not begin, because of a standby.
pub(super) fn attempt(cause: Cause, before: Option<&Attempt>, now: Timestamp) -> Attempt {
    let count = before.map_or(1, |attempt| attempt.count + 1);
    let first = before.map_or(now, |attempt| attempt.first);
    let retry_at = now + failure::wait(Class::Transient, true, count);
    Attempt { first, at: now, count, class: Class::Transient, cause, retry_at, blockers: Vec::new() }
}
