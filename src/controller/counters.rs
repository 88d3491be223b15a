//! What the controller exports: labels are words of a closed vocabulary, never text of a tenant.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::api::Reason;
use crate::server::Metrics;

/// A reason as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    reason: &'static str,
}

/// The controller's counters.
#[derive(Clone, Default)]
pub struct Counters {
    reconciles: Counter,
    failures: Counter,
    status_writes: Counter,
    events: Family<ReasonLabel, Counter>,
}

impl Counters {
    /// Makes the counters and registers them.
    pub fn new(metrics: &Metrics) -> Self {
        let counters = Self::default();
        metrics.register(|registry| {
            registry.register("reconciles", "Passes over objects", counters.reconciles.clone());
            registry.register(
                "reconcile_failures",
                "Passes that learned nothing and are repeated",
                counters.failures.clone(),
            );
            registry.register(
                "status_writes",
                "Statuses written to the API server",
                counters.status_writes.clone(),
            );
            registry.register("events", "Events by reason", counters.events.clone());
        });
        counters
    }

    /// Counts a pass.
    pub fn reconcile(&self) {
        self.reconciles.inc();
    }

    /// Counts a pass that failed.
    pub fn failure(&self) {
        self.failures.inc();
    }

    /// Counts a written status.
    pub fn status_write(&self) {
        self.status_writes.inc();
    }

    /// Counts an event.
    pub fn event(&self, reason: Reason) {
        self.events.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }
}
