//! Edge: asks the metric providers. The only user of the HTTP client.
//!
//! An answer, whatever it is, becomes a [`Reading`]: nothing here judges, and nothing here fails. What a
//! provider says is passed on bounded and without credentials.

mod answer;
mod prometheus;
mod secret;

use jiff::Timestamp;

pub use prometheus::{Auth, Error, PrometheusConfig, PrometheusProvider};
pub use secret::Secret;

use crate::core::analysis::Reading;

/// Who answers queries.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A server with the Prometheus HTTP API.
    Prometheus(PrometheusProvider),
}

impl Provider {
    /// Evaluates a query at a time.
    pub async fn read(&self, query: &str, at: Timestamp) -> Reading {
        match self {
            Self::Prometheus(prometheus) => prometheus.query(query, at).await,
        }
    }
}
