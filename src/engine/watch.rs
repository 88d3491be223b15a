//! Asks the providers, judges what they answer, and keeps the samples in the ledger.

use std::collections::BTreeMap;

use futures::future::join_all;
use jiff::Timestamp;

use super::subject::{ProviderSlot, Subject};
use crate::api::Reason;
use crate::core::analysis::{
    AnalysisPlan, Assessment, Baseline, Failure, MetricPlan, MetricReading, ProblemKind, Reading, Sample, Scope, Tick, Watch,
    assess, baseline_unhealthy, due_samples, judge, next_due, preflight, summarize,
};
use crate::core::observation::{BaselineRecord, WatchFacts};
use crate::core::state::{Cause, State};
use crate::core::view::WatchView;

/// Who asks, for the templates.
fn scope<'a>(subject: Option<&'a Subject>, phase: &'a str) -> Scope<'a> {
    let (namespace, name) = subject.map_or(("", ""), |subject| (subject.key.namespace.as_str(), subject.key.name.as_str()));
    Scope { namespace, name, phase }
}

async fn ask(slot: Option<&ProviderSlot>, query: &str, at: Timestamp) -> Reading {
    match slot {
        Some(Ok(ready)) => ready.provider.read(query, at).await,
        Some(Err(cause)) => Reading::Error(Failure::Unreachable, cause.message.clone()),
        None => Reading::Error(Failure::Unreachable, "the provider is not known".to_owned()),
    }
}

async fn read_metric(
    plan: &AnalysisPlan,
    metric: &MetricPlan,
    providers: &BTreeMap<String, ProviderSlot>,
    scope: Scope<'_>,
    tick: &Tick,
) -> MetricReading {
    let slot = providers.get(&metric.provider);
    let name = metric.name.clone();
    match plan.queries(metric, scope, tick) {
        Err(error) => {
            let value = Reading::Error(Failure::QueryInvalid, error.to_string());
            MetricReading { metric: name, value, guard: None }
        }
        Ok(queries) => {
            let guard = async {
                match &queries.guard {
                    Some(query) => Some(ask(slot, query, tick.at).await),
                    None => None,
                }
            };
            let (value, guard) = tokio::join!(ask(slot, &queries.query, tick.at), guard);
            MetricReading { metric: name, value, guard }
        }
    }
}

/// Asks for all metrics at once.
async fn read_all(plan: &AnalysisPlan, subject: &Subject, phase: &str, tick: &Tick) -> Vec<MetricReading> {
    let scope = scope(Some(subject), phase);
    join_all(plan.metrics.iter().map(|metric| read_metric(plan, metric, &subject.providers, scope, tick))).await
}

/// Asks everything once before any SQL.
///
/// # Errors
/// The cause, and whether it may pass by itself.
pub async fn check(plan: &AnalysisPlan, subject: &Subject, now: Timestamp) -> Result<(), (Cause, bool)> {
    for metric in &plan.metrics {
        match subject.providers.get(&metric.provider) {
            Some(Err(cause)) => return Err((cause.clone(), true)),
            None => {
                let message = format!("metric {}: there is no MetricsProvider {}", metric.name, metric.provider);
                return Err((Cause::new(Reason::ProviderNotFound, message), true));
            }
            Some(Ok(_)) => {}
        }
    }
    let readings = read_all(plan, subject, "Planning", &Tick::before(plan, now)).await;
    let scrape = |name: &str| subject.providers.get(name).and_then(|slot| slot.as_ref().ok()?.scrape_interval);
    let problems = preflight(plan, &readings, scrape);
    if problems.is_empty() {
        return Ok(());
    }
    let away = |kind: ProblemKind| matches!(kind, ProblemKind::Unreachable | ProblemKind::BadAnswer);
    let transient = problems.iter().all(|problem| away(problem.kind));
    let reason = if transient { Reason::ProviderUnreachable } else { Reason::QueryInvalid };
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Err((Cause::new(reason, message), transient))
}

/// Reads the baseline.
///
/// # Errors
/// The cause, when a metric cannot be read now.
pub async fn baseline(plan: &AnalysisPlan, subject: &Subject, now: Timestamp) -> Result<BaselineRecord, Cause> {
    let readings = read_all(plan, subject, "Applying", &Tick::before(plan, now)).await;
    let unreachable = readings.iter().find_map(|reading| match &reading.value {
        Reading::Error(_, message) => Some(format!("metric {}: {message}", reading.metric)),
        _ => None,
    });
    if let Some(message) = unreachable {
        return Err(Cause::new(Reason::ProviderUnreachable, message));
    }
    let unhealthy = baseline_unhealthy(plan, &readings).map(|text| {
        Cause::new(Reason::BaselineUnhealthy, format!("breaching before anything was applied, so nothing was: {text}"))
    });
    Ok(BaselineRecord { values: Baseline::capture(plan, &readings), unhealthy })
}

/// The span that samples are counted in, for the states that have one.
pub fn span(state: &State) -> Option<Watch> {
    match state {
        State::Watching { since, .. } => Some(Watch::completed(*since)),
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
    WatchFacts { assessment: assess(plan, watch, samples, now), due, next }
}

/// What the samples say, for the status.
pub fn view(plan: &AnalysisPlan, watch: &Watch, before: &Baseline, samples: &[Sample], now: Timestamp) -> WatchView {
    let assessment = assess(plan, watch, samples, now);
    let until = match &assessment {
        Assessment::Extend { until, .. } => Some(*until),
        _ => watch.window_end(plan),
    };
    WatchView { assessment, until, metrics: summarize(plan, watch, before, samples) }
}
