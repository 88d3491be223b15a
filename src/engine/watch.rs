//! Asks the providers, judges what they answer, and keeps the samples in the ledger.

use futures::future::join_all;
use jiff::Timestamp;

use super::subject::Subject;
use crate::api::Reason;
use crate::core::analysis::{
    AnalysisPlan, Assessment, Baseline, Failure, MetricPlan, MetricReading, Reading, Sample, Scope, Tick,
    Watch, assess, baseline_unhealthy, due_samples, judge, next_due, preflight, summarize,
};
use crate::core::observation::{BaselineRecord, UnitStatus, WatchFacts};
use crate::core::plan::Unit;
use crate::core::state::{Cause, State};
use crate::core::view::WatchView;
use crate::crash::{Mutant, planted};
use crate::postgres::ledger::Run;

async fn ask(subject: &Subject, provider: &str, query: &str, at: Timestamp) -> Reading {
    match subject.providers.by_name.get(provider) {
        Some(provider) => provider.read(query, at).await,
        None => Reading::Error(Failure::Unreachable, format!("there is no provider {provider}")),
    }
}

async fn read_metric(
    plan: &AnalysisPlan,
    metric: &MetricPlan,
    subject: &Subject,
    phase: &str,
    tick: &Tick,
) -> MetricReading {
    let scope = Scope { namespace: &subject.key.namespace, name: &subject.key.name, phase };
    let name = metric.name.clone();
    let queries = match plan.queries(metric, scope, tick) {
        Ok(queries) => queries,
        Err(error) => {
            let value = Reading::Error(Failure::QueryInvalid, error.to_string());
            return MetricReading { metric: name, value, guard: None };
        }
    };
    let guard = async {
        match &queries.guard {
            Some(query) => Some(ask(subject, &metric.provider, query, tick.at).await),
            None => None,
        }
    };
    let (value, guard) = tokio::join!(ask(subject, &metric.provider, &queries.query, tick.at), guard);
    MetricReading { metric: name, value, guard }
}

/// Asks for all metrics at once.
async fn read_all(plan: &AnalysisPlan, subject: &Subject, phase: &str, tick: &Tick) -> Vec<MetricReading> {
    join_all(plan.metrics.iter().map(|metric| read_metric(plan, metric, subject, phase, tick))).await
}

/// Asks everything once before any SQL.
///
/// # Errors
/// The cause, and whether it may pass by itself.
pub async fn check(plan: &AnalysisPlan, subject: &Subject, now: Timestamp) -> Result<(), (Cause, bool)> {
    if let Some(cause) = subject.providers.wrong.first() {
        return Err((cause.clone(), true));
    }
    let readings = read_all(plan, subject, "Planning", &Tick::before(plan, now)).await;
    let scrape = |name: &str| subject.providers.scrape_intervals.get(name).copied();
    let problems = preflight(plan, &readings, scrape);
    if problems.is_empty() {
        return Ok(());
    }
    let transient = problems.iter().all(|problem| problem.kind.is_transient());
    let reason = if transient { Reason::ProviderUnreachable } else { Reason::QueryInvalid };
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err((Cause::new(reason, message), transient))
}

/// Reads the baseline.
///
/// # Errors
/// The cause, when a metric cannot be read now.
pub async fn baseline(
    plan: &AnalysisPlan,
    subject: &Subject,
    now: Timestamp,
) -> Result<BaselineRecord, Cause> {
    let readings = read_all(plan, subject, "Applying", &Tick::before(plan, now)).await;
    let unreachable = readings.iter().find_map(|reading| match &reading.value {
        Reading::Error(_, message) => Some(format!("metric {}: {message}", reading.metric)),
        _ => None,
    });
    if let Some(message) = unreachable {
        return Err(Cause::new(Reason::ProviderUnreachable, message));
    }
    let unhealthy = baseline_unhealthy(plan, &readings).map(|text| {
        Cause::new(
            Reason::BaselineUnhealthy,
            format!("breaching before anything was applied, so nothing was: {text}"),
        )
    });
    Ok(BaselineRecord { values: Baseline::capture(plan, &readings), unhealthy })
}

/// The span that samples are counted in, for the states that have one; a backfill is watched while it runs.
pub fn span(run: &Run) -> Option<Watch> {
    let filling =
        |(unit, status): (&Unit, &UnitStatus)| unit.up.backfill.is_some() && *status != UnitStatus::Open;
    match &run.state {
        State::Watching { since, .. } => Some(Watch::completed(*since)),
        State::Applying { since } => {
            run.plan.units.iter().zip(&run.units).any(filling).then(|| Watch::running(*since))
        }
        _ => None,
    }
}

fn last(samples: &[Sample]) -> Option<Timestamp> {
    samples.iter().map(|sample| sample.at).max()
}

/// Takes every sample that is due, the missed ones included, each with the range that held at its time.
pub async fn sample(
    plan: &AnalysisPlan,
    watch: &Watch,
    subject: &Subject,
    taken: &[Sample],
    before: &Baseline,
    now: Timestamp,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    for tick in due_samples(plan, watch, last(taken), now) {
        let readings = read_all(plan, subject, "Watching", &tick).await;
        samples.extend(readings.iter().filter_map(|reading| {
            plan.metric(&reading.metric).map(|metric| judge(metric, &tick, reading, before))
        }));
    }
    samples
}

/// What the samples say, for the decision.
pub fn facts(plan: &AnalysisPlan, watch: &Watch, samples: &[Sample], now: Timestamp) -> WatchFacts {
    let next = next_due(plan, watch, last(samples));
    let due = !due_samples(plan, watch, last(samples), now).is_empty();
    let judged = assess(plan, watch, samples, now);
    let assessment = match judged {
        Assessment::Breach { .. } if planted(Mutant::BreachPasses) => Assessment::Passed,
        judged => judged,
    };
    WatchFacts { assessment, due, next }
}

/// What the samples say, for the status.
pub fn view(
    plan: &AnalysisPlan,
    watch: &Watch,
    before: &Baseline,
    samples: &[Sample],
    now: Timestamp,
) -> WatchView {
    let assessment = assess(plan, watch, samples, now);
    let until = match &assessment {
        Assessment::Extend { until, .. } => Some(*until),
        _ => watch.window_end(plan),
    };
    WatchView { assessment, until, metrics: summarize(plan, watch, before, samples) }
}
