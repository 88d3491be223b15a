//! From what a provider answered to a verdict.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    AnalysisPlan, MetricPlan, OnNoData, Reduce, Tick,
    number::{format_value, maybe_infinite},
};

/// What a provider answered to one query.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// One number; infinities are numbers.
    Value(f64),
    /// No series.
    Empty,
    /// One series without a number.
    NaN,
    /// Several series.
    Many(Vec<f64>),
    /// An answer that the provider itself calls incomplete, with its warnings.
    Partial(String),
    /// No answer.
    Error(Failure, String),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The provider cannot be reached, is too slow, or says that it is unwell.
    Unreachable,
    /// It does not accept our credentials.
    Unauthorized,
    /// It does not accept the query, or the query has no numbers as its result.
    QueryInvalid,
    /// What came back is not what a provider answers.
    BadAnswer,
}

/// What the providers answered for one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricReading {
    /// The name of the metric.
    pub metric: String,
    /// The answer to its query.
    pub value: Reading,
    /// The answer to its guard's query, where it has a guard.
    pub guard: Option<Reading>,
}

/// One measurement of one metric, as it is kept in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The name of the metric.
    pub metric: String,
    /// The time that the query was evaluated at.
    pub at: Timestamp,
    /// The value, where there is one.
    #[serde(with = "maybe_infinite")]
    pub value: Option<f64>,
    /// What it means.
    pub verdict: Verdict,
    /// Why, in a line; empty for a pass.
    pub message: String,
}

/// What a sample means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Within the threshold.
    Pass,
    /// Beyond the threshold: the only bad one.
    Breach,
    /// No value.
    NoData,
    /// Too little traffic to judge.
    LowTraffic,
    /// The provider did not answer, or answered something else than one number.
    Error,
}

/// The values from before the first effect, frozen in the ledger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The value of each metric that had a finite one.
    pub values: BTreeMap<String, f64>,
}

/// What an answer says, after several series became one.
enum Measured {
    Value(f64),
    NoData(&'static str),
    Error(String),
}

impl Verdict {
    /// Returns whether the sample was judged: only those count for a breach or a pass.
    pub fn is_judged(self) -> bool {
        matches!(self, Self::Pass | Self::Breach)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "Pass",
            Self::Breach => "Breach",
            Self::NoData => "NoData",
            Self::LowTraffic => "LowTraffic",
            Self::Error => "Error",
        })
    }
}

impl Baseline {
    /// Takes the baseline from readings made before the first effect.
    pub fn capture(plan: &AnalysisPlan, readings: &[MetricReading]) -> Self {
        let value_of = |reading: &MetricReading| {
            let metric = plan.metric(&reading.metric)?;
            match measure(&reading.value, metric.reduce) {
                Measured::Value(value) if value.is_finite() => Some((reading.metric.clone(), value)),
                _ => None,
            }
        };
        Self { values: readings.iter().filter_map(value_of).collect() }
    }

    /// Returns whether the metric had data.
    pub fn had_data(&self, metric: &str) -> bool {
        self.values.contains_key(metric)
    }
}

/// Whether the guard lets a sample be judged.
enum Traffic {
    Enough,
    Low(String),
    NoData,
    Error(String),
}

/// Judges one reading. Whether the sample falls into the warm-up is not asked here but by
/// [`assess`](super::assess()).
pub fn judge(metric: &MetricPlan, tick: &Tick, reading: &MetricReading, baseline: &Baseline) -> Sample {
    // While the range still grows, a rate of nothing is no sign of a dead application.
    let absence_counts = metric.on_no_data == OnNoData::Breach
        && baseline.had_data(&metric.name)
        && tick.has_whole_range(metric);
    let absent = if absence_counts { Verdict::Breach } else { Verdict::NoData };
    let (value, verdict, message) = match (traffic(metric, reading), measure(&reading.value, metric.reduce)) {
        (_, Measured::Error(message)) | (Traffic::Error(message), _) => (None, Verdict::Error, message),
        (Traffic::Low(message), measured) => (measured.value(), Verdict::LowTraffic, message),
        (Traffic::NoData, _) => (None, absent, "no data from the guard".to_owned()),
        (Traffic::Enough, Measured::NoData(message)) => (None, absent, message.to_owned()),
        (Traffic::Enough, Measured::Value(value)) => match metric.threshold.violation(value) {
            Some(violation) => (Some(value), Verdict::Breach, violation),
            None => (Some(value), Verdict::Pass, String::new()),
        },
    };
    Sample { metric: metric.name.clone(), at: tick.at, value, verdict, message }
}

/// Returns whether the guard of `metric`, if it has one, finds too little traffic.
pub(super) fn has_low_traffic(metric: &MetricPlan, reading: &MetricReading) -> bool {
    matches!(traffic(metric, reading), Traffic::Low(_))
}

fn traffic(metric: &MetricPlan, reading: &MetricReading) -> Traffic {
    let Some(guard) = &metric.guard else {
        return Traffic::Enough;
    };
    let measured = reading.guard.as_ref().map(|reading| measure(reading, Reduce::None));
    match measured {
        None => Traffic::Error("the guard was not asked".to_owned()),
        Some(Measured::Error(message)) => Traffic::Error(format!("guard: {message}")),
        Some(Measured::NoData(_)) => Traffic::NoData,
        Some(Measured::Value(traffic)) if traffic < guard.min.value() => {
            let traffic = format_value(traffic, Some(guard.min.value()));
            Traffic::Low(format!("too little traffic: {traffic} < {}", guard.min))
        }
        Some(Measured::Value(_)) => Traffic::Enough,
    }
}

fn measure(reading: &Reading, reduce: Reduce) -> Measured {
    match reading {
        Reading::Empty => Measured::NoData("no data"),
        Reading::NaN => Measured::NoData("not a number"),
        Reading::Value(value) => Measured::of(*value),
        Reading::Many(values) => reduced(values, reduce),
        Reading::Partial(warnings) => Measured::Error(format!("the answer is incomplete: {warnings}")),
        Reading::Error(_, message) => Measured::Error(message.clone()),
    }
}

/// Makes one value of several as PromQL does: NaN is contagious in a sum, and left out of an extreme.
fn reduced(values: &[f64], reduce: Reduce) -> Measured {
    let extreme = |pick: fn(f64, f64) -> f64| values.iter().copied().fold(f64::NAN, pick);
    let sum = || values.iter().sum::<f64>();
    match reduce {
        Reduce::None => {
            let count = values.len();
            Measured::Error(format!("{count} series instead of one; aggregate in the query or set reduce"))
        }
        Reduce::Max => Measured::of(extreme(f64::max)),
        Reduce::Min => Measured::of(extreme(f64::min)),
        Reduce::Sum => Measured::of(sum()),
        // More series than a float can count do not fit into an answer.
        #[allow(clippy::cast_precision_loss)]
        Reduce::Avg => Measured::of(sum() / values.len() as f64),
    }
}

impl Measured {
    fn of(value: f64) -> Self {
        if value.is_nan() { Self::NoData("not a number") } else { Self::Value(value) }
    }

    fn value(&self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(*value),
            Self::NoData(_) | Self::Error(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{
        Guard,
        fixture::{at, decimal, error_rate, plan, template},
    };
    use super::*;

    fn reading(value: Reading, guard: Option<Reading>) -> MetricReading {
        MetricReading { metric: "error-rate".to_owned(), value, guard }
    }

    fn tick(elapsed: u64) -> Tick {
        Tick { at: at(elapsed), elapsed: Duration::from_secs(elapsed) }
    }

    fn judged(metric: &MetricPlan, reading: &MetricReading) -> (Option<f64>, Verdict, String) {
        let sample = judge(metric, &tick(90), reading, &Baseline::default());
        (sample.value, sample.verdict, sample.message)
    }

    fn unreachable() -> Reading {
        Reading::Error(Failure::Unreachable, "no route".to_owned())
    }

    #[test]
    fn every_answer_has_its_verdict() {
        let check = |value: Reading, expected: Option<f64>, verdict: Verdict, message: &str| {
            let text = format!("{value:?}");
            let actual = judged(&error_rate(), &reading(value, None));
            assert_eq!((actual.0, actual.1), (expected, verdict), "{text}");
            assert!(actual.2.contains(message), "{text}: {}", actual.2);
        };
        check(Reading::Value(0.01), Some(0.01), Verdict::Pass, "");
        check(Reading::Value(0.05), Some(0.05), Verdict::Pass, "");
        check(Reading::Value(0.41), Some(0.41), Verdict::Breach, "0.41 > 0.05");
        check(Reading::Value(f64::INFINITY), Some(f64::INFINITY), Verdict::Breach, "+Inf > 0.05");
        check(Reading::Value(f64::NEG_INFINITY), Some(f64::NEG_INFINITY), Verdict::Pass, "");
        check(Reading::Value(f64::NAN), None, Verdict::NoData, "not a number");
        check(Reading::NaN, None, Verdict::NoData, "not a number");
        check(Reading::Empty, None, Verdict::NoData, "no data");
        check(Reading::Many(vec![0.0, 0.0]), None, Verdict::Error, "2 series");
        check(Reading::Partial("store down".to_owned()), None, Verdict::Error, "store down");
        check(unreachable(), None, Verdict::Error, "no route");
    }

    #[test]
    fn several_series_are_reduced_as_promql_does() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let check = |reduce: Reduce, values: &[f64], expected: Option<f64>| {
            let metric = MetricPlan { reduce, ..error_rate() };
            let actual = judged(&metric, &reading(Reading::Many(values.to_vec()), None)).0;
            assert_eq!(actual, expected, "{reduce:?} of {values:?}");
        };
        check(Reduce::Max, &[1.0, 3.0, 2.0], Some(3.0));
        check(Reduce::Min, &[1.0, 3.0, 2.0], Some(1.0));
        check(Reduce::Sum, &[1.0, 3.0, 2.0], Some(6.0));
        check(Reduce::Avg, &[1.0, 3.0, 2.0], Some(2.0));
        check(Reduce::Max, &[nan, 3.0], Some(3.0));
        check(Reduce::Min, &[nan, nan], None);
        check(Reduce::Sum, &[nan, 3.0], None);
        check(Reduce::Avg, &[inf, -inf], None);
        check(Reduce::Max, &[inf, 1.0], Some(inf));
    }

    #[test]
    fn the_guard_decides_whether_there_is_enough_to_judge() {
        let guard = Guard { query: template("sum(rate(all[1m]))"), min: decimal("1") };
        let metric = MetricPlan { guard: Some(guard), ..error_rate() };
        let check = |value: Reading, guard: Option<Reading>, verdict: Verdict, message: &str| {
            let reading = reading(value, guard);
            let actual = judged(&metric, &reading);
            assert_eq!(actual.1, verdict, "{reading:?}");
            assert!(actual.2.contains(message), "{reading:?}: {}", actual.2);
        };
        check(Reading::Value(0.5), Some(Reading::Value(0.2)), Verdict::LowTraffic, "0.2 < 1");
        check(Reading::NaN, Some(Reading::Value(0.0)), Verdict::LowTraffic, "0 < 1");
        check(Reading::Value(0.5), Some(Reading::Value(1.0)), Verdict::Breach, "0.5 > 0.05");
        check(Reading::Value(0.0), Some(Reading::Value(9.0)), Verdict::Pass, "");
        check(Reading::Value(0.5), Some(Reading::Empty), Verdict::NoData, "guard");
        check(Reading::Value(0.5), Some(Reading::NaN), Verdict::NoData, "guard");
        check(Reading::Value(0.5), Some(unreachable()), Verdict::Error, "guard: no route");
        check(Reading::Value(0.5), None, Verdict::Error, "guard");
        check(unreachable(), Some(Reading::Value(0.0)), Verdict::Error, "no route");
    }

    #[test]
    fn absence_is_a_breach_only_where_there_was_data_and_the_range_is_whole() {
        let had_data = Baseline::capture(&plan(), &[reading(Reading::Value(0.0), None)]);
        let never = Baseline::capture(&plan(), &[reading(Reading::Empty, None)]);
        let check = |on_no_data: OnNoData, baseline: &Baseline, elapsed: u64, verdict: Verdict| {
            let metric = MetricPlan { on_no_data, ..error_rate() };
            for absent in [Reading::Empty, Reading::NaN] {
                let sample = judge(&metric, &tick(elapsed), &reading(absent, None), baseline);
                assert_eq!(sample.verdict, verdict, "{on_no_data:?} after {elapsed} s");
            }
            let error = judge(&metric, &tick(elapsed), &reading(unreachable(), None), baseline);
            assert_eq!(error.verdict, Verdict::Error, "an unreachable provider is never absence");
        };
        check(OnNoData::Unknown, &had_data, 90, Verdict::NoData);
        check(OnNoData::Breach, &never, 90, Verdict::NoData);
        check(OnNoData::Breach, &had_data, 45, Verdict::NoData);
        check(OnNoData::Breach, &had_data, 60, Verdict::Breach);
    }

    #[test]
    fn infinite_samples_survive_the_ledger() {
        for value in [Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(0.41), Some(3.0), None] {
            let sample = Sample {
                metric: "m".to_owned(),
                at: at(15),
                value,
                verdict: Verdict::Breach,
                message: String::new(),
            };
            let json = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Sample>(&json).unwrap(), sample, "{json}");
        }
    }
}
