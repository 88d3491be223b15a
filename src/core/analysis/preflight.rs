//! What must hold before any SQL runs: every query can be asked and answers with one number, and nothing is
//! bad already.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    AnalysisPlan, Baseline, Failure, MetricPlan, MetricReading, Mode, Reading, Reduce, Tick, Verdict, judge,
    number::{format_duration, format_value},
    sample::has_low_traffic,
};

/// How many scrapes a range must hold at least, so that a rate survives a missed one.
const SCRAPES_PER_RANGE: u32 = 4;

/// Why a metric cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("metric {metric}: {message}")]
pub struct ProviderProblem {
    /// The name of the metric.
    pub metric: String,
    /// What kind of problem.
    pub kind: ProblemKind,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Kinds of problems that only the provider's answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProblemKind {
    /// The provider cannot be reached.
    Unreachable,
    /// The provider does not accept our credentials.
    Unauthorized,
    /// The provider does not accept the query.
    QueryInvalid,
    /// The answer cannot be used, or is incomplete.
    BadAnswer,
    /// There is no series.
    NoValue,
    /// There are several series, and no `reduce`.
    SeveralValues,
    /// The value is NaN or infinite.
    NotANumber,
    /// The range holds fewer than four scrapes.
    RangeTooShort,
}

impl ProblemKind {
    /// Returns whether the problem is the provider's or that of its credentials, and may pass without any change of the
    /// query.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Unauthorized | Self::BadAnswer)
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Returns what keeps the plan's metrics from being watched. `readings` were made at [`Tick::before`];
/// `scrape_interval` tells that of a provider, where it is known.
pub fn preflight(
    plan: &AnalysisPlan,
    readings: &[MetricReading],
    scrape_interval: impl Fn(&str) -> Option<Duration>,
) -> Vec<ProviderProblem> {
    let mut problems = Vec::new();
    for metric in &plan.metrics {
        let mut report = |kind, message| {
            problems.push(ProviderProblem { metric: metric.name.clone(), kind, message });
        };
        if let Some((kind, message)) = short_range(metric, scrape_interval(&metric.provider)) {
            report(kind, message);
        }
        let Some(reading) = readings.iter().find(|reading| reading.metric == metric.name) else {
            report(ProblemKind::Unreachable, "the provider was not asked".to_owned());
            continue;
        };
        // A ratio of nothing is what a guard is for.
        let excused = reading.value == Reading::NaN && has_low_traffic(metric, reading);
        if let Some((kind, message)) = unusable(&reading.value, metric.reduce).filter(|_| !excused) {
            report(kind, message);
        }
        match (&metric.guard, &reading.guard) {
            (None, _) => {}
            (Some(_), None) => report(ProblemKind::Unreachable, "the guard was not asked".to_owned()),
            (Some(_), Some(guard)) => {
                if let Some((kind, message)) = unusable(guard, Reduce::None) {
                    report(kind, format!("guard: {message}"));
                }
            }
        }
    }
    problems
}

/// Returns which metrics are beyond their threshold already, as `error-rate 0.41 > 0.05`, if any: a migration must not be blamed for
/// that, so it does not start.
pub fn baseline_unhealthy(plan: &AnalysisPlan, readings: &[MetricReading]) -> Option<String> {
    let no_baseline = Baseline::default();
    let unhealthy = plan.metrics.iter().filter(|metric| metric.mode == Mode::Enforce).filter_map(|metric| {
        let reading = readings.iter().find(|reading| reading.metric == metric.name)?;
        let sample = judge(metric, &Tick::before(plan, jiff::Timestamp::UNIX_EPOCH), reading, &no_baseline);
        let breach = sample.verdict == Verdict::Breach;
        breach.then(|| format!("{} {}", metric.name, sample.message))
    });
    let unhealthy: Vec<_> = unhealthy.collect();
    (!unhealthy.is_empty()).then(|| unhealthy.join(", "))
}

fn short_range(metric: &MetricPlan, scrape_interval: Option<Duration>) -> Option<(ProblemKind, String)> {
    let (range, scrape_interval) = (metric.range?, scrape_interval?);
    let least = scrape_interval.saturating_mul(SCRAPES_PER_RANGE);
    let message = || {
        format!(
            "range {} is shorter than four scrape intervals of provider {}; set at least {}",
            format_duration(range),
            metric.provider,
            format_duration(least),
        )
    };
    (range < least).then(|| (ProblemKind::RangeTooShort, message()))
}

fn unusable(reading: &Reading, reduce: Reduce) -> Option<(ProblemKind, String)> {
    let not_a_number = |value| {
        let what = format!("the query gives {value} instead of a number; a divisor may be zero, see guard");
        Some((ProblemKind::NotANumber, what))
    };
    match reading {
        Reading::Value(value) if value.is_finite() => None,
        Reading::Many(_) if reduce != Reduce::None => None,
        Reading::NaN => not_a_number("NaN".to_owned()),
        Reading::Value(value) if value.is_nan() => not_a_number("NaN".to_owned()),
        Reading::Value(value) => not_a_number(format_value(*value, None)),
        Reading::Empty => Some((
            ProblemKind::NoValue,
            "the query gives no value; where a series may not exist yet, add \"or vector(0)\"".to_owned(),
        )),
        Reading::Many(values) => Some((
            ProblemKind::SeveralValues,
            format!("the query gives {} values; aggregate them in the query or set reduce", values.len()),
        )),
        Reading::Partial(warnings) => {
            Some((ProblemKind::BadAnswer, format!("the answer is incomplete: {warnings}")))
        }
        Reading::Error(failure, message) => Some((kind_of(*failure), message.clone())),
    }
}

fn kind_of(failure: Failure) -> ProblemKind {
    match failure {
        Failure::Unreachable => ProblemKind::Unreachable,
        Failure::Unauthorized => ProblemKind::Unauthorized,
        Failure::QueryInvalid => ProblemKind::QueryInvalid,
        Failure::BadAnswer => ProblemKind::BadAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Guard,
        fixture::{decimal, error_rate, plan, template},
    };
    use super::*;

    fn guarded() -> MetricPlan {
        let guard = Guard { query: template("sum(rate(all[1m]))"), min: decimal("1") };
        MetricPlan { guard: Some(guard), ..error_rate() }
    }

    fn problems(
        metric: MetricPlan,
        value: Reading,
        guard: Option<Reading>,
        scrape: u64,
    ) -> Vec<ProviderProblem> {
        let readings = [MetricReading { metric: metric.name.clone(), value, guard }];
        let plan = AnalysisPlan { metrics: vec![metric], ..plan() };
        preflight(&plan, &readings, |provider| {
            (provider == "prometheus").then_some(Duration::from_secs(scrape))
        })
    }

    #[test]
    fn every_answer_but_one_number_is_a_problem() {
        let check = |value: Reading, expected: Option<ProblemKind>| {
            let text = format!("{value:?}");
            let kinds: Vec<_> =
                problems(error_rate(), value, None, 15).iter().map(|found| found.kind).collect();
            assert_eq!(kinds, Vec::from_iter(expected), "{text}");
        };
        let error = |failure| Reading::Error(failure, "said so".to_owned());
        check(Reading::Value(0.01), None);
        check(Reading::Empty, Some(ProblemKind::NoValue));
        check(Reading::NaN, Some(ProblemKind::NotANumber));
        check(Reading::Value(f64::NAN), Some(ProblemKind::NotANumber));
        check(Reading::Value(f64::INFINITY), Some(ProblemKind::NotANumber));
        check(Reading::Many(vec![1.0, 2.0]), Some(ProblemKind::SeveralValues));
        check(Reading::Partial("store down".to_owned()), Some(ProblemKind::BadAnswer));
        check(error(Failure::Unreachable), Some(ProblemKind::Unreachable));
        check(error(Failure::Unauthorized), Some(ProblemKind::Unauthorized));
        check(error(Failure::QueryInvalid), Some(ProblemKind::QueryInvalid));
        check(error(Failure::BadAnswer), Some(ProblemKind::BadAnswer));
    }

    #[test]
    fn several_values_are_fine_where_they_are_reduced() {
        let metric = MetricPlan { reduce: Reduce::Max, ..error_rate() };
        assert_eq!(problems(metric, Reading::Many(vec![1.0, 2.0]), None, 15), []);
    }

    #[test]
    fn a_range_holds_four_scrapes() {
        assert_eq!(problems(error_rate(), Reading::Value(0.0), None, 15), []);
        let short = problems(error_rate(), Reading::Value(0.0), None, 16);
        assert_eq!(short[0].kind, ProblemKind::RangeTooShort);
        assert_eq!(
            short[0].to_string(),
            "metric error-rate: range 1m is shorter than four scrape intervals of provider prometheus; \
             set at least 64s"
        );
        let elsewhere = MetricPlan { provider: "unknown".to_owned(), ..error_rate() };
        assert_eq!(problems(elsewhere, Reading::Value(0.0), None, 16), []);
    }

    #[test]
    fn the_guard_is_looked_at_too() {
        let check = |value: Reading, guard: Option<Reading>, expected: &[ProblemKind]| {
            let text = format!("{value:?} guarded by {guard:?}");
            let kinds: Vec<_> =
                problems(guarded(), value, guard, 15).iter().map(|found| found.kind).collect();
            assert_eq!(kinds, expected, "{text}");
        };
        check(Reading::Value(0.0), Some(Reading::Value(5.0)), &[]);
        check(Reading::Value(0.0), Some(Reading::Empty), &[ProblemKind::NoValue]);
        check(Reading::Value(0.0), Some(Reading::Many(vec![])), &[ProblemKind::SeveralValues]);
        check(Reading::Value(0.0), None, &[ProblemKind::Unreachable]);
        check(Reading::NaN, Some(Reading::Value(0.0)), &[]);
        check(Reading::NaN, Some(Reading::Value(5.0)), &[ProblemKind::NotANumber]);
        check(Reading::Empty, Some(Reading::Value(0.0)), &[ProblemKind::NoValue]);
    }

    #[test]
    fn a_metric_that_nobody_asked_is_a_problem() {
        assert_eq!(preflight(&plan(), &[], |_| None)[0].kind, ProblemKind::Unreachable);
    }

    #[test]
    fn what_is_bad_already_is_said() {
        let check = |metric: MetricPlan, value: Reading, guard: Option<Reading>, expected: Option<&str>| {
            let text = format!("{value:?}");
            let readings = [MetricReading { metric: metric.name.clone(), value, guard }];
            let plan = AnalysisPlan { metrics: vec![metric], ..plan() };
            assert_eq!(baseline_unhealthy(&plan, &readings).as_deref(), expected, "{text}");
        };
        let bad = || Reading::Value(0.41);
        check(error_rate(), bad(), None, Some("error-rate 0.41 > 0.05"));
        check(error_rate(), Reading::Value(0.05), None, None);
        check(error_rate(), Reading::Empty, None, None);
        check(MetricPlan { mode: Mode::DryRun, ..error_rate() }, bad(), None, None);
        check(guarded(), bad(), Some(Reading::Value(0.0)), None);
    }
}
