//! From the ledger's rows to the view of a run.

use std::sync::Arc;

use super::{clock, watch as watching};
use crate::core::analysis::{Baseline, Sample, Watch};
use crate::core::observation::Attempt;
use crate::core::state::Cause;
use crate::core::view::{RunView, WatchView};
use crate::postgres::Error;
use crate::postgres::ledger::{Run, samples};

/// Projects a run without its samples.
pub fn run(run: &Run, attempt: Option<Attempt>, waiting: Option<Cause>) -> RunView {
    RunView {
        id: run.id.to_string(),
        plan: Arc::new(run.plan.clone()),
        analysis_hash: run.plan.analysis.as_ref().and_then(|analysis| analysis.hash().ok()),
        state: run.state.clone(),
        units: run.units.clone(),
        rehearsal: run.rehearsal.clone(),
        copy: run.copy,
        note: run.note.clone(),
        from_version: run.from_version.clone(),
        started_at: run.started_at,
        applied_at: run.applied_at,
        finished_at: run.finished_at,
        attempt,
        waiting,
        watch: None,
        backfill: None,
    }
}

/// Projects the watch of a run that is in one, or had one.
pub fn watch(run: &Run, taken: &[Sample]) -> Option<WatchView> {
    let analysis = run.plan.analysis.as_ref()?;
    let span = watching::span(run).or_else(|| run.watched_since.map(Watch::completed))?;
    let taken: Vec<Sample> = taken.iter().filter(|sample| sample.at >= span.applied_at).cloned().collect();
    let before = run.baseline.as_ref().map_or_else(Baseline::default, |record| record.values.clone());
    let now = run.finished_at.unwrap_or_else(clock::now);
    Some(watching::view(analysis, &span, &before, &taken, now))
}

/// Projects a run with its samples.
pub async fn with_samples(
    conn: &mut crate::postgres::Connection,
    ledger_run: &Run,
    attempt: Option<Attempt>,
    waiting: Option<Cause>,
) -> Result<RunView, Error> {
    let mut view = run(ledger_run, attempt, waiting);
    if ledger_run.plan.analysis.is_some() {
        let taken = samples::since(conn, ledger_run.id, ledger_run.started_at).await?;
        view.watch = watch(ledger_run, &taken);
    }
    Ok(view)
}
