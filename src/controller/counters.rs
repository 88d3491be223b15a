//! What the controller exports: labels are words of a closed vocabulary, never text of a tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::api::{BackfillProgress, Reason};
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
    backfill_rows: Counter,
    backfills_running: Gauge,
    backfills_throttled: Gauge,
    /// Rows done, and whether something holds it back, by object.
    backfills: Arc<Mutex<HashMap<String, (u64, bool)>>>,
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
            registry.register("backfill_rows", "Rows that backfills changed", counters.backfill_rows.clone());
            registry.register(
                "backfills_running",
                "Migrations in which a backfill runs",
                counters.backfills_running.clone(),
            );
            registry.register(
                "backfills_throttled",
                "Those of them that something holds back",
                counters.backfills_throttled.clone(),
            );
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

    /// Notes how far the backfill of an object is, as its status says; `None` where none runs.
    pub fn backfill(&self, uid: &str, progress: Option<&BackfillProgress>) {
        let mut all = self.backfills.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Some(progress) => {
                let rows = u64::try_from(progress.rows_done).unwrap_or_default();
                let before = all.insert(uid.to_owned(), (rows, progress.throttled_by.is_some()));
                self.backfill_rows.inc_by(rows.saturating_sub(before.map_or(0, |(rows, _)| rows)));
            }
            None if all.remove(uid).is_none() => return,
            None => {}
        }
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.backfills_running.set(count(all.len()));
        self.backfills_throttled.set(count(all.values().filter(|(_, throttled)| *throttled).count()));
    }

    /// Counts an event.
    pub fn event(&self, reason: Reason) {
        self.events.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_backfills_are_counted_once() {
        let counters = Counters::new(&Metrics::default());
        let at = |rows_done, throttled: Option<&str>| BackfillProgress {
            rows_done,
            throttled_by: throttled.map(str::to_owned),
            ..BackfillProgress::default()
        };
        counters.backfill("a", Some(&at(10, None)));
        counters.backfill("b", Some(&at(5, Some("a vacuum"))));
        counters.backfill("a", Some(&at(30, None)));
        assert_eq!((counters.backfill_rows.get(), counters.backfills_running.get()), (35, 2));
        assert_eq!(counters.backfills_throttled.get(), 1);
        counters.backfill("b", None);
        counters.backfill("c", None);
        assert_eq!((counters.backfills_running.get(), counters.backfills_throttled.get()), (1, 0));
    }
}
