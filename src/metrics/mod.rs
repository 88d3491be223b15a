//! Edge: asks the metric providers. The only user of the HTTP client.
//!
//! An answer, whatever it is, becomes a [`Reading`]: nothing here judges, and nothing here fails. What a
//! provider says is passed on bounded and without credentials.

mod answer;
mod prometheus;
mod secret;

use std::collections::BTreeMap;

use futures::future::{join, join_all};
use jiff::Timestamp;

pub use prometheus::{Auth, Error, PrometheusConfig, PrometheusProvider};
pub use secret::Secret;

use crate::core::analysis::{AnalysisPlan, Failure, MetricPlan, MetricReading, Reading, Scope, Tick};

/// Who answers queries.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A server with the Prometheus HTTP API.
    Prometheus(PrometheusProvider),
    /// One that cannot be asked, and why: its object, or what that refers to, is not there.
    Unavailable(String),
}

impl Provider {
    /// Evaluates a query at a time.
    pub async fn read(&self, query: &str, at: Timestamp) -> Reading {
        match self {
            Self::Prometheus(prometheus) => prometheus.query(query, at).await,
            Self::Unavailable(reason) => Reading::Error(Failure::Unreachable, reason.clone()),
        }
    }
}

/// Asks for all metrics of a plan, and for their guards, at once; returns the readings in the plan's order.
pub async fn read_all(
    plan: &AnalysisPlan,
    scope: Scope<'_>,
    tick: &Tick,
    providers: &BTreeMap<String, Provider>,
) -> Vec<MetricReading> {
    join_all(
        plan.metrics
            .iter()
            .map(|metric| read_metric(plan, metric, scope, tick, providers)),
    )
    .await
}

async fn read_metric(
    plan: &AnalysisPlan,
    metric: &MetricPlan,
    scope: Scope<'_>,
    tick: &Tick,
    providers: &BTreeMap<String, Provider>,
) -> MetricReading {
    let failed = |failure, message| MetricReading {
        metric: metric.name.clone(),
        value: Reading::Error(failure, message),
        guard: None,
    };
    let Some(provider) = providers.get(&metric.provider) else {
        return failed(
            Failure::Unreachable,
            format!("there is no provider {}", metric.provider),
        );
    };
    let queries = match plan.queries(metric, scope, tick) {
        Ok(queries) => queries,
        Err(error) => return failed(Failure::QueryInvalid, error.to_string()),
    };
    let guard = async {
        match &queries.guard {
            Some(guard) => Some(provider.read(guard, tick.at).await),
            None => None,
        }
    };
    let (value, guard) = join(provider.read(&queries.query, tick.at), guard).await;
    MetricReading {
        metric: metric.name.clone(),
        value,
        guard,
    }
}
