//! Replica first: the round trip on a writable copy, and keeping the copy where the primary is.
//!
//! Invariants: the copy is never the primary; a rehearsal begins and ends where the primary stands, as far as the plan can
//! come back; what an interrupted rehearsal left is undone by the next one, from the copy's own ledger.

mod align;
mod trial;
mod verdict;

use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgConnection;
use tracing::warn;
use uuid::Uuid;

pub use self::align::align;
use self::verdict::{Stop, cannot_align, compare_back, judge, left_behind, told, verdict, way_back_failed};
use super::block::{self, Direction, Failed, Job, Limits, Ran, role};
use super::catalog::path;
use super::copy::{self, Overlap};
use super::error::Error;
use super::fingerprint::{self, Fingerprint};
use super::guard::Witness;
use super::heartbeat::Heard;
use super::ledger::{self, NewRun, Run, RunChange, Side, trash, units};
use super::session::Session;
use super::snapshot;
use super::statement::send_ours;
use super::takeover::Builds;
use crate::api::Reason;
use crate::core::observation::{RehearsalVerdict, UnitStatus};
use crate::core::plan::{Block, Plan, Unit};
use crate::core::preview::predict;
use crate::core::rehearsal::{Rehearsal, RoundTrip, UnitFacts};
use crate::core::state::Cause;
use crate::crash::{Mutant, Site, planted};
use crate::sql::{self, Snapshot};

/// Time limits on the copy, where nobody waits behind us.
const ON_COPY: Limits = Limits {
    queue: Duration::from_secs(10),
    stall: Duration::from_hours(24),
    statement: Duration::from_hours(24),
    alone: Duration::from_hours(24),
};

/// Makes the copy ours: not the primary, a ledger of its own, the epoch bumped.
///
/// # Errors
/// `CopyIsPrimary`, and everything of [`Session::own`].
pub async fn take(primary: &mut Session, copy: &mut Session, owner: &str) -> Result<(), Error> {
    if copy::overlap(primary.conn(), copy.conn()).await? == Overlap::Database {
        return Err(Error::CopyIsPrimary);
    }
    copy.ensure_ledger(Side::Copy).await?;
    copy.own(owner, None, Builds::End).await?;
    Ok(())
}

/// Runs the round trip for a run whose primary nothing was done to, and returns its record.
///
/// # Errors
/// Only what may be different at the next attempt; everything else is the record's verdict.
pub async fn rehearse(
    primary: &mut Session,
    copy: &mut Session,
    run: &Run,
    replica: &str,
    (clock, heard): (fn() -> Timestamp, Heard<'_>),
) -> Result<Rehearsal, Error> {
    let started_at = clock();
    let mut trip = Trip {
        copy,
        run: run.id,
        plan: &run.plan,
        units: Vec::new(),
        fingerprint: String::new(),
        reached: Vec::new(),
        catalog: None,
    };
    let ended = trip.whole(primary, run, heard).await;
    let (round_trip, verdict) = match ended {
        Ok(round_trip) => (round_trip, RehearsalVerdict::Passed),
        Err(Stop::Verdict(cause)) => (RoundTrip::Broken, RehearsalVerdict::Failed(cause)),
        Err(Stop::Error(error)) => return Err(error),
    };
    let prediction = trip.catalog.and_then(|catalog| predict(&run.plan, &trip.units, &catalog));
    Ok(Rehearsal {
        replica: replica.to_owned(),
        started_at,
        finished_at: clock(),
        round_trip,
        fingerprint: trip.fingerprint,
        reached: trip.reached,
        units: trip.units,
        verdict,
        prediction: prediction.map(Box::new),
    })
}

struct Trip<'a> {
    copy: &'a mut Session,
    run: Uuid,
    plan: &'a Plan,
    units: Vec<UnitFacts>,
    fingerprint: String,
    reached: Vec<String>,
    /// The catalog of the copy before, with its sizes.
    catalog: Option<Snapshot>,
}

impl Trip<'_> {
    async fn whole(&mut self, primary: &mut Session, run: &Run, heard: Heard<'_>) -> Result<RoundTrip, Stop> {
        align(primary, self.copy, heard).await.map_err(cannot_align)?;
        let zero = fingerprint::read(self.copy.conn()).await?;
        let there = fingerprint::read(primary.conn()).await?;
        self.fingerprint.clone_from(&zero.hash);
        if zero.hash != there.hash {
            let differences = fingerprint::diff(&there, &zero);
            let message = format!(
                "the copy differs from the primary: {}; refresh the copy, then request a retry",
                told(&differences)
            );
            return verdict(Reason::Drifted, message);
        }
        register(self.copy, run).await?;
        primary.beside(heard, Box::pin(self.there_and_back(zero))).await
    }

    async fn there_and_back(&mut self, zero: Fingerprint) -> Result<RoundTrip, Stop> {
        self.catalog = sizes(self.copy, self.plan).await?;
        if self.plan.no_way_back(&vec![UnitStatus::Done; self.plan.units.len()]).is_some() {
            return self.forward_only().await;
        }
        trial::run(self.copy, self.plan, &zero).await?;
        let reached = self.up(true).await?;
        self.reached = reached.iter().map(|one| one.hash.clone()).collect();
        self.down(&zero, &reached).await.map_err(left_behind)?;
        let again = self.up(false).await?;
        if let (Some(first), Some(second)) = (reached.last(), again.last())
            && first.hash != second.hash
        {
            let differences = told(&fingerprint::changes(first, second));
            return verdict(
                Reason::RoundTripFailed,
                format!("the second time up ends elsewhere than the first: {differences}"),
            );
        }
        self.down(&zero, &again).await.map_err(left_behind)?;
        Ok(RoundTrip::Complete)
    }

    /// A plan that cannot come back runs in one transaction that is rolled back, where its statements allow it; else it
    /// stays on the copy, which is then ahead.
    async fn forward_only(&mut self) -> Result<RoundTrip, Stop> {
        if self.plan.units.iter().any(|unit| !unit.up.transactional) {
            self.up(true).await?;
            return Ok(RoundTrip::UpOnly);
        }
        let statements = self.plan.units.iter().flat_map(|unit| unit.up.statements.iter().cloned()).collect();
        let all = Block::of(statements);
        let job =
            Job { rehearse_only: true, measure: true, ..job(self.run, self.plan, 0, Direction::Up, &all) };
        match measured(self.copy, job).await {
            Ok(ran) => self.units.extend(apart(self.plan, ran)),
            Err(failed) => return Err(judge(self.plan, 0, &all, failed, "on the copy")),
        }
        Ok(RoundTrip::UpOnly)
    }

    /// Applies every unit and returns the fingerprint after each.
    async fn up(&mut self, measure: bool) -> Result<Vec<Fingerprint>, Stop> {
        let mut reached = Vec::new();
        let plan = self.plan;
        for (index, unit) in plan.units.iter().enumerate() {
            let job = Job { measure, ..job(self.run, plan, index, Direction::Up, &unit.up) };
            match measured(self.copy, job).await {
                Ok(ran) if measure => self.units.push(facts(index, ran)),
                Ok(ran) => self.again(index, &ran),
                Err(failed) => {
                    let stop = judge(plan, index, &unit.up, failed, "on the copy");
                    if matches!(stop, Stop::Verdict(_)) {
                        back(self.copy, self.run, plan).await?;
                    }
                    return Err(stop);
                }
            }
            reached.push(fingerprint::read(self.copy.conn()).await?);
        }
        Ok(reached)
    }

    /// The second time counts where it was shorter: nothing was read for the first time, and nothing was measured.
    fn again(&mut self, unit: usize, ran: &Ran) {
        let Some(facts) = self.units.iter_mut().find(|facts| facts.unit == unit) else { return };
        facts.held = facts.held.min(ran.held);
        for (statement, again) in facts.statements.iter_mut().zip(&ran.statements) {
            statement.duration = statement.duration.min(again.duration);
        }
    }

    /// Undoes every unit in reverse order; after each, the catalog must be what it was before that unit.
    async fn down(&mut self, zero: &Fingerprint, reached: &[Fingerprint]) -> Result<(), Stop> {
        for index in (0..self.plan.units.len()).rev() {
            undo(self.copy, self.run, self.plan, index, 0).await.map_err(|(block, failed)| {
                let unit = self.plan.units.get(index).and_then(|unit| unit.way_back.as_ref()?.get(block));
                unit.map_or_else(
                    || Stop::Verdict(Cause::new(Reason::RoundTripFailed, "a unit has no way back")),
                    |block| way_back_failed(self.plan, index, block, failed),
                )
            })?;
            let now = fingerprint::read(self.copy.conn()).await?;
            let before = index.checked_sub(1).and_then(|index| reached.get(index)).unwrap_or(zero);
            compare_back(self.plan, index, before, &now)?;
        }
        Ok(())
    }
}

/// Reads the catalog of the copy for what its sizes say of the primary. Foresight is advice: a copy without it is as good.
async fn sizes(copy: &mut Session, plan: &Plan) -> Result<Option<Snapshot>, Error> {
    let statements: Vec<_> = plan.units.iter().flat_map(|unit| unit.up.statements.iter().cloned()).collect();
    match snapshot::read_for(copy.conn(), &plan.search_path, &statements).await {
        Err(Error::Server(error)) => {
            warn!("the catalog of the copy cannot be read for the prediction: {error}");
            Ok(None)
        }
        read => read,
    }
}

fn job<'a>(run: Uuid, plan: &'a Plan, unit: usize, direction: Direction, block: &'a Block) -> Job<'a> {
    Job { limits: ON_COPY, ..Job::plain(run, plan, unit, (direction, block)) }
}

/// Runs a block while a second session of the copy sees the names as they were before it.
async fn measured(copy: &mut Session, job: Job<'_>) -> Result<Ran, Failed> {
    let witness = Witness::new(copy.take_observer());
    let ran =
        witness.beside(&|| (), Box::pin(block::run(copy, &Job { witness: Some(&witness), ..job }))).await;
    copy.give_back(witness.into_session());
    ran
}

/// What each unit did of a plan that ran as one.
fn apart(plan: &Plan, ran: Ran) -> Vec<UnitFacts> {
    let mut statements = ran.statements.into_iter();
    let of_unit = |(index, unit): (usize, &Unit)| {
        let mine: Vec<_> = statements.by_ref().take(unit.up.statements.len()).collect();
        let first = unit.up.statements.iter().position(|statement| statement.blocking);
        let held =
            first.map_or(Duration::ZERO, |first| mine.iter().skip(first).map(|one| one.duration).sum());
        UnitFacts { unit: index, duration: mine.iter().map(|one| one.duration).sum(), held, statements: mine }
    };
    plan.units.iter().enumerate().map(of_unit).collect()
}

fn facts(unit: usize, ran: Ran) -> UnitFacts {
    UnitFacts { unit, duration: ran.duration, held: ran.held, statements: ran.statements }
}

/// Puts the run's row into the copy's ledger, which the units refer to.
async fn register(copy: &mut Session, run: &Run) -> Result<(), Error> {
    let epoch = copy.epoch();
    if let Some(there) = Run::by_id(copy.conn(), run.id).await? {
        if there.plan != run.plan {
            let change = RunChange { plan: Some(&run.plan), ..RunChange::default() };
            Run::change(copy.conn(), epoch, run.id, &change).await?;
        }
        return Ok(());
    }
    let new = NewRun {
        id: run.id,
        key: &run.key,
        plan: &run.plan,
        analysis_hash: None,
        from_version: run.from_version.as_deref(),
        tokens: &run.tokens,
        state: &run.state,
        after: None,
    };
    Run::insert(copy.conn(), epoch, &new).await.map(drop)
}

/// Undoes one unit on the copy from a block on, and destroys what that put aside: nothing on a copy is worth keeping.
async fn undo(
    copy: &mut Session,
    run: Uuid,
    plan: &Plan,
    unit: usize,
    from: usize,
) -> Result<(), (usize, Failed)> {
    let blocks = plan.units.get(unit).and_then(|unit| unit.way_back.as_deref()).unwrap_or_default();
    if blocks.is_empty() {
        let nothing = Block::of(Vec::new());
        return one_back(copy, run, plan, unit, &nothing, 0, 1)
            .await
            .map(|_| ())
            .map_err(|failed| (0, failed));
    }
    for (index, block) in blocks.iter().enumerate().skip(from) {
        one_back(copy, run, plan, unit, block, index, blocks.len())
            .await
            .map_err(|failed| (index, failed))?;
    }
    purge(copy, run, plan).await.map_err(|error| (0, error.into()))
}

async fn one_back(
    copy: &mut Session,
    run: Uuid,
    plan: &Plan,
    unit: usize,
    block: &Block,
    index: usize,
    of: usize,
) -> Result<Ran, Failed> {
    measured(copy, job(run, plan, unit, Direction::Down { block: index, of }, block)).await
}

/// Destroys what a run put aside: its names are needed the next time.
async fn purge(copy: &mut Session, run: Uuid, plan: &Plan) -> Result<(), Error> {
    let asides = trash::of(copy.conn(), run).await?;
    if asides.is_empty() {
        return Ok(());
    }
    let epoch = copy.epoch();
    let mut tx = ledger::begin_fenced(copy.conn(), epoch, Site::Purged).await?;
    send_ours(&mut tx, format!("{} SET LOCAL search_path TO {}", role(plan), path(&plan.search_path)))
        .await?;
    for statement in sql::purge(&asides) {
        send_ours(&mut tx, statement).await?;
    }
    send_ours(&mut tx, "RESET ROLE; SET LOCAL search_path TO ''".to_owned()).await?;
    trash::forget(&mut tx, run).await?;
    tx.commit().await?;
    Ok(())
}

/// Undoes whatever of the run is in force on the copy.
async fn back(copy: &mut Session, run: Uuid, plan: &Plan) -> Result<(), Error> {
    if planted(Mutant::RehearsalStays) {
        return Ok(());
    }
    for index in (0..plan.units.len()).rev() {
        let status = units::status(copy.conn(), run, index).await?;
        let from = match status {
            UnitStatus::Reverting { blocks } => blocks,
            _ => 0,
        };
        if status.in_force() {
            undo(copy, run, plan, index, from).await.map_err(|(_, failed)| failed.error)?;
        }
    }
    Ok(())
}

/// Reads the first differences between primary and copy, for the Database's status; `None` when there are none.
pub async fn drift(primary: &mut PgConnection, copy: &mut PgConnection) -> Result<Option<String>, Error> {
    let there = fingerprint::read(primary).await?;
    let here = fingerprint::read(copy).await?;
    Ok((there.hash != here.hash).then(|| told(&fingerprint::diff(&there, &here))))
}
