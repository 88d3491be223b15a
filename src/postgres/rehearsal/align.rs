//! Brings a copy to where the primary is.
//!
//! Invariant: it can be cut off anywhere and begun again; what is half done on the copy counts as neither there nor gone.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{job, measured, purge, register, undo};
use crate::core::observation::UnitStatus;
use crate::crash::{Mutant, planted};
use crate::postgres::block::Direction;
use crate::postgres::error::Error;
use crate::postgres::heartbeat::Heard;
use crate::postgres::ledger::{Run, trash, units};
use crate::postgres::session::Session;

/// How far each unit of each run is, on one side.
struct Levels(BTreeMap<Uuid, BTreeMap<usize, UnitStatus>>);

impl Levels {
    fn of(&self, run: Uuid, unit: usize) -> UnitStatus {
        self.0.get(&run).and_then(|units| units.get(&unit)).copied().unwrap_or_default()
    }

    fn in_force(&self, run: Uuid) -> BTreeSet<usize> {
        let units = self.0.get(&run).into_iter().flatten();
        units.filter(|(_, status)| status.in_force()).map(|(unit, _)| *unit).collect()
    }

    fn half_way(&self, run: Uuid) -> bool {
        self.in_force(run).into_iter().any(|unit| self.of(run, unit) != UnitStatus::Done)
    }

    /// The block of a unit's way back that comes next.
    fn next_back(&self, run: Uuid, unit: usize) -> usize {
        match self.of(run, unit) {
            UnitStatus::Reverting { blocks } => blocks,
            _ => 0,
        }
    }
}

/// Brings the copy to where the primary is: replays what is in force there and not here, undoes what is here and not there.
///
/// # Errors
/// The first error; the copy is then somewhere between, which the next call goes on from.
pub async fn align(primary: &mut Session, copy: &mut Session, heard: Heard<'_>) -> Result<(), Error> {
    // A way back that was cut off put things aside, whose names the next one needs.
    let left = if planted(Mutant::TrashKept) { Vec::new() } else { trash::runs(copy.conn()).await? };
    for id in left {
        if let Some(run) = Run::by_id(copy.conn(), id).await? {
            purge(copy, id, &run.plan).await?;
        }
    }
    let there = Levels(units::all(primary.conn()).await?);
    let here = Levels(units::all(copy.conn()).await?);
    let mut runs = Vec::new();
    for id in there.0.keys().chain(here.0.keys()).copied().collect::<BTreeSet<_>>() {
        if here.half_way(id) || there.in_force(id) != here.in_force(id) {
            let found = match Run::by_id(primary.conn(), id).await? {
                Some(run) => Some(run),
                None => Run::by_id(copy.conn(), id).await?,
            };
            runs.extend(found);
        }
    }
    runs.sort_by_key(|run| run.started_at);
    primary.beside(heard, Box::pin(bring(copy, &runs, (&there, &here)))).await
}

async fn bring(copy: &mut Session, runs: &[Run], (there, here): (&Levels, &Levels)) -> Result<(), Error> {
    // First back, newest first; then forward, oldest first.
    for run in runs.iter().rev() {
        let kept = there.in_force(run.id);
        for unit in here.in_force(run.id).into_iter().rev().filter(|unit| !kept.contains(unit)) {
            let from = here.next_back(run.id, unit);
            undo(copy, run.id, &run.plan, unit, from).await.map_err(|(_, failed)| failed.error)?;
        }
    }
    for run in runs {
        register(copy, run).await?;
        for index in there.in_force(run.id) {
            forward(copy, run, index, here).await?;
        }
    }
    Ok(())
}

/// Brings one unit into force on the copy. A way back that was cut off is finished first.
async fn forward(copy: &mut Session, run: &Run, index: usize, here: &Levels) -> Result<(), Error> {
    let Some(unit) = run.plan.units.get(index) else { return Ok(()) };
    match here.of(run.id, index) {
        UnitStatus::Done => return Ok(()),
        UnitStatus::Reverting { blocks } => {
            undo(copy, run.id, &run.plan, index, blocks).await.map_err(|(_, failed)| failed.error)?;
        }
        UnitStatus::Open | UnitStatus::Intent | UnitStatus::Undone => {}
    }
    let job = job(run.id, &run.plan, index, Direction::Up, &unit.up);
    measured(copy, job).await.map(|_| ()).map_err(|failed| failed.error)
}
