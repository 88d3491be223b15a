//! What runs came to, as tables for people.

use serde::Serialize;

use crate::shared::report::{Number, duration};
use crate::shared::statistics::{median, quantile, worst};
use crate::table::Size;
use crate::ways::Way;

/// One run of one way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub way: Way,
    /// The application was beside it.
    pub loaded: bool,
    pub round: usize,
    /// How many rows were filled.
    pub rows: u64,
    pub seconds: f64,
    /// Of that in batches and pauses, as the ledger says; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worked: Option<f64>,
    pub wal_bytes: f64,
    pub before: Size,
    pub after: Size,
    pub statements: usize,
    pub failed: u64,
    /// Of the application's statements, milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub worst: f64,
    #[serde(skip)]
    pub took: Vec<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "some millions")]
fn number(count: u64) -> f64 {
    count as f64
}

impl Run {
    fn rate(&self) -> f64 {
        number(self.rows) / self.seconds
    }
}

/// All runs of one way, with or without the application.
struct All<'a>(Vec<&'a Run>);

impl<'a> All<'a> {
    fn of(runs: &'a [Run], way: Way, loaded: bool) -> Option<Self> {
        let of: Vec<&Run> = runs.iter().filter(|run| run.way == way && run.loaded == loaded).collect();
        (!of.is_empty()).then_some(Self(of))
    }

    fn middle(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(&self.0.iter().map(|run| of(run)).collect::<Vec<_>>())
    }

    fn rate(&self) -> f64 {
        self.middle(Run::rate)
    }

    fn growth(&self) -> f64 {
        self.middle(|run| run.after.total() / run.before.total())
    }

    fn took(&self) -> Vec<f64> {
        self.0.iter().flat_map(|run| run.took.iter().copied()).collect()
    }

    fn cells(&self, way: Way, loaded: bool) -> Vec<String> {
        let took = self.took();
        let felt = |value: f64| if loaded { duration(value) } else { String::new() };
        let filled = |text: String| if way == Way::Nothing { String::new() } else { text };
        let whole = |text: String| if way.is_for_a_while() { String::new() } else { text };
        vec![
            way.name().to_owned(),
            filled(format!("{:.1} k", self.rate() / 1000.0)),
            felt(quantile(&took, 0.5)),
            felt(quantile(&took, 0.99)),
            felt(worst(&took)),
            filled(format!("{:.0} B", self.middle(|run| run.wal_bytes / number(run.rows.max(1))))),
            whole(format!("{:.0} MB", self.middle(|run| run.after.total() / 1e6))),
            whole(format!("×{:.2}", self.growth())),
        ]
    }
}

/// The ways beside each other; the first row is the head.
pub fn table(runs: &[Run], loaded: bool) -> Vec<Vec<String>> {
    let head =
        ["", "rows/s", "p50", "p99", "worst", "WAL per row", "table after", "growth"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows.extend(Way::ALL.into_iter().filter_map(|way| Some(All::of(runs, way, loaded)?.cells(way, loaded))));
    if !loaded {
        for row in &mut rows {
            row.drain(2..5);
        }
    }
    rows
}

/// What is wanted, as far as it was measured.
pub fn goals(runs: &[Run]) -> Vec<Number> {
    let mut goals = Vec::new();
    let percent = |share: f64| share * 100.0 - 100.0;
    if let Some(fast) = All::of(runs, Way::Fast, true) {
        goals.push(
            Number::new("without pauses, beside the application: rows/s", fast.rate(), "")
                .at_least(150_000.0),
        );
        goals.push(
            Number::new("the same: worst statement of the application", worst(&fast.took()), "ms")
                .at_most(20.0),
        );
        goals.push(
            Number::new("the same: growth of the table with its indexes", percent(fast.growth()), "%")
                .at_most(20.0),
        );
    }
    if let (Some(gentle), Some(alone)) = (All::of(runs, Way::Gentle, true), All::of(runs, Way::Nothing, true))
    {
        let p99 = |all: &All<'_>| quantile(&all.took(), 0.99);
        let more = percent(p99(&gentle) / p99(&alone));
        goals.push(
            Number::new("with pauses: p99 of the application, over no backfill", more, "%").at_most(10.0),
        );
        goals.push(Number::new("the same: rows/s", gentle.rate(), ""));
    }
    if let (Some(fast), Some(update)) = (All::of(runs, Way::Fast, false), All::of(runs, Way::Update, false)) {
        let share = fast.rate() / update.rate() * 100.0;
        goals.push(
            Number::new("without pauses, alone: speed of the single UPDATE", share, "%").at_least(100.0),
        );
    }
    let failed: u64 = runs.iter().filter(|run| run.way.is_ours()).map(|run| run.failed).sum();
    goals.push(
        Number::new("failed statements of the application, all runs of Whimbrel", number(failed), "")
            .at_most(0.0),
    );
    goals
}
