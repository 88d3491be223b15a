//! Whether the primary still is what was rehearsed, just before a unit is applied to it.

use super::runner::Runner;
use super::subject::{Database, Desired};
use crate::api::Reason;
use crate::core::state::Cause;
use crate::postgres::ledger::Run;
use crate::postgres::{Error, Session, fingerprint, rehearsal};

/// Of the attempts at a unit, every so many-th looks again.
const EVERY: u32 = 16;

impl Runner {
    /// Compares the primary's structure with the one that the rehearsal met before this unit. Returns why the unit must not
    /// be applied.
    pub(super) async fn drifted(
        &mut self,
        desired: &Desired,
        run: &Run,
        unit: usize,
    ) -> Result<Option<Cause>, Error> {
        let tries = self.attempt.as_ref().map_or(0, |(_, attempt)| attempt.count);
        let rehearsed = run.rehearsal.as_ref().filter(|_| tries.is_multiple_of(EVERY));
        let Some(expected) = rehearsed.and_then(|rehearsal| rehearsal.before(unit, &run.units)) else {
            return Ok(None);
        };
        let session = self.own(&desired.database).await?;
        if fingerprint::read(session.conn()).await?.hash == expected {
            return Ok(None);
        }
        let what = if unit == 0 {
            let differences = differences(session, &desired.database).await;
            format!(
                "the primary changed since the rehearsal: {differences}; request a retry to rehearse again"
            )
        } else {
            format!(
                "somebody changed the primary between two units of this migration, before unit {}",
                unit + 1
            )
        };
        Ok(Some(Cause::new(Reason::Drifted, what)))
    }
}

/// Names the first differences: the copy is where the primary was.
async fn differences(primary: &mut Session, database: &Database) -> String {
    let look = async {
        let Some(target) = &database.copy else { return Ok(None) };
        let mut copy = Session::open(target, "whimbrel survey").await?;
        let found = rehearsal::drift(primary.conn(), copy.conn()).await;
        copy.close().await;
        found
    };
    look.await.ok().flatten().unwrap_or_else(|| "the copy cannot tell how".to_owned())
}
