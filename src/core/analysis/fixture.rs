//! Plans and times for tests.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    AnalysisPlan, BreachRule, Decimal, MetricPlan, Mode, OnNoData, OnUnknown, Reduce, Sample, Template,
    Threshold, UnknownAction, Verdict,
};

/// Returns the time that many seconds after the apply.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_secs(seconds)
}

pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn template(source: &str) -> Template {
    Template::parse(source).unwrap()
}

/// A metric that must stay at or below 0.05.
pub(super) fn error_rate() -> MetricPlan {
    MetricPlan {
        name: "error-rate".to_owned(),
        provider: "prometheus".to_owned(),
        query: template(r#"sum(rate(errors{app="{{ args.app }}"}[{{ range }}]))"#),
        range: Some(Duration::from_mins(1)),
        reduce: Reduce::None,
        on_no_data: OnNoData::Unknown,
        threshold: Threshold { min: None, max: Some(decimal("0.05")) },
        guard: None,
        mode: Mode::Enforce,
        breach: None,
    }
}

/// A quarter of an hour of one metric every 15 seconds, without warm-up.
pub(super) fn plan() -> AnalysisPlan {
    let seconds = Duration::from_secs;
    AnalysisPlan {
        window: seconds(900),
        interval: seconds(15),
        warmup: seconds(0),
        min_samples: 10,
        max_extension: seconds(900),
        ingest_delay: seconds(5),
        breach: BreachRule { samples: 3, of: 5 },
        on_unknown: OnUnknown { action: UnknownAction::Pause, after: seconds(300) },
        args: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        metrics: vec![error_rate()],
    }
}

pub(super) fn sample(metric: &str, seconds: u64, verdict: Verdict) -> Sample {
    let (value, message) = match verdict {
        Verdict::Pass => (Some(0.01), ""),
        Verdict::Breach => (Some(0.41), "0.41 > 0.05"),
        Verdict::NoData => (None, "no data"),
        Verdict::LowTraffic => (Some(0.01), "too little traffic: 0 < 1"),
        Verdict::Error => (None, "could not reach the provider"),
    };
    Sample { metric: metric.to_owned(), at: at(seconds), value, verdict, message: message.to_owned() }
}

/// Returns samples of `error-rate` at the first ticks, one per letter: P(ass), B(reach), N(oData),
/// L(owTraffic), E(rror).
pub(super) fn samples(letters: &str) -> Vec<Sample> {
    let verdict = |letter| match letter {
        'P' => Verdict::Pass,
        'B' => Verdict::Breach,
        'N' => Verdict::NoData,
        'L' => Verdict::LowTraffic,
        _ => Verdict::Error,
    };
    (1..)
        .zip(letters.chars())
        .map(|(tick, letter)| sample("error-rate", tick * 15, verdict(letter)))
        .collect()
}
