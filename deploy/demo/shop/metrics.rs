//! What the shop counts, in the form that Prometheus scrapes.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Routes by their pattern, so that the number of series is bounded.
pub const ROUTES: [(&str, &str); 3] =
    [("GET", "/orders/{id}"), ("GET", "/customers/{id}/orders"), ("POST", "/orders")];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    app: String,
    method: String,
    route: String,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct App {
    app: String,
}

/// The service's metrics.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    latency: Family<App, Histogram, fn() -> Histogram>,
    registry: Arc<Registry>,
}

impl Metrics {
    /// New metrics, in which a series that has not happened yet is there and 0: a ratio over it has a value.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Labels, Counter>::default();
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 13));
        let latency = Family::new_with_constructor(histogram);
        registry.register("http_requests", "Requests by route and status code", requests.clone());
        registry.register("http_request_duration_seconds", "Time to answer", latency.clone());
        for (method, route) in ROUTES {
            for code in [200, 500] {
                drop(requests.get_or_create(&labels(method, route, code)));
            }
        }
        Self { requests, latency, registry: Arc::new(registry) }
    }

    /// Counts one answered request.
    pub fn count(&self, method: &str, route: &str, code: u16, took: Duration) {
        self.requests.get_or_create(&labels(method, route, code)).inc();
        self.latency.get_or_create(&App { app: "shop".to_owned() }).observe(took.as_secs_f64());
    }

    /// All metrics, in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry)?;
        Ok(encoded)
    }
}

fn labels(method: &str, route: &str, code: u16) -> Labels {
    Labels { app: "shop".to_owned(), method: method.to_owned(), route: route.to_owned(), code }
}
