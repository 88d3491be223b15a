//! Rules of an analysis.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Problems;
use crate::api::{Analysis, Breach, FieldProblem, Metric, Threshold};

const FIELD: &str = "spec.analysis";
const MAX_METRICS: usize = 16;
const MAX_ARGS: usize = 16;
const MAX_QUERY: usize = 4096;
const MAX_SAMPLES: u32 = 1000;
const MAX_BREACH: u32 = 100;
/// Shortest interval and range.
const SECOND: Duration = Duration::from_secs(1);

/// Finds everything that is wrong with an analysis, but for its queries.
pub(super) fn analysis(analysis: &Analysis, problems: &mut Problems) {
    times(analysis, problems);
    breach(analysis.breach, &format!("{FIELD}.breach"), problems);
    problems.duration(&analysis.on_unknown.after, &format!("{FIELD}.onUnknown.after"));
    problems.duration(&analysis.ingest_delay, &format!("{FIELD}.ingestDelay"));
    args(analysis, problems);
    let count = analysis.metrics.len();
    let metrics = format!("{FIELD}.metrics");
    problems.require((1..=MAX_METRICS).contains(&count), &metrics, "must have 1 to 16 metrics");
    let mut names = BTreeSet::new();
    for (index, of) in analysis.metrics.iter().enumerate() {
        let field = format!("{metrics}[{index}]");
        metric(of, &field, problems);
        let unique = names.insert(&of.name);
        problems.require(unique, &format!("{field}.name"), "names of metrics must be unique");
    }
}

fn times(analysis: &Analysis, problems: &mut Problems) {
    let mut read =
        |text: &crate::api::DurationText, name: &str| problems.duration(text, &format!("{FIELD}.{name}"));
    let window = read(&analysis.window, "window");
    let interval = read(&analysis.interval, "interval");
    let warmup = read(&analysis.warmup, "warmup");
    let extension = read(&analysis.max_extension, "maxExtension");
    let field = |name: &str| format!("{FIELD}.{name}");
    let bounded = (1..=MAX_SAMPLES).contains(&analysis.min_samples);
    problems.require(bounded, &field("minSamples"), "must be 1 to 1000");
    let (Some(window), Some(interval), Some(warmup), Some(extension)) = (window, interval, warmup, extension)
    else {
        return;
    };
    problems.require(interval >= SECOND, &field("interval"), "must be at least 1s");
    problems.require(window >= interval, &field("window"), "must be at least one interval");
    problems.require(warmup < window, &field("warmup"), "must be shorter than window");
    let needed = interval.saturating_mul(analysis.min_samples);
    problems.require(
        needed <= window.saturating_sub(warmup).saturating_add(extension),
        &field("minSamples"),
        "so many intervals must fit into window - warmup + maxExtension",
    );
}

fn breach(breach: Breach, field: &str, problems: &mut Problems) {
    let bounded = [breach.samples, breach.of].iter().all(|count| (1..=MAX_BREACH).contains(count));
    problems.require(bounded, field, "samples and of must be 1 to 100");
    problems.require(breach.samples <= breach.of, field, "samples must not be more than of");
}

fn args(analysis: &Analysis, problems: &mut Problems) {
    let field = format!("{FIELD}.args");
    problems.require(analysis.args.len() <= MAX_ARGS, &field, "must not be more than 16");
    for (name, value) in &analysis.args {
        let valid = (1..=super::MAX_LABEL).contains(&name.len())
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        problems.require(
            valid,
            &field,
            "names are letters, digits and underscores, at most 63, and no digit first",
        );
        problems.length(value, 0, super::MAX_NAME, &format!("{field}.{name}"));
    }
}

fn metric(metric: &Metric, field: &str, problems: &mut Problems) {
    problems.label(&metric.name, &format!("{field}.name"));
    problems.object_name(&metric.provider_ref.name, &format!("{field}.providerRef.name"));
    problems.length(&metric.query, 1, MAX_QUERY, &format!("{field}.query"));
    let range = format!("{field}.range");
    if let Some(length) = problems.duration(&metric.range, &range) {
        problems.require(length >= SECOND, &range, "must be at least 1s");
    }
    threshold(&metric.threshold, &format!("{field}.threshold"), problems);
    if let Some(guard) = &metric.guard {
        problems.length(&guard.query, 1, MAX_QUERY, &format!("{field}.guard.query"));
        problems.decimal(&guard.min, &format!("{field}.guard.min"));
    }
    if let Some(own) = metric.breach {
        breach(own, &format!("{field}.breach"), problems);
    }
}

fn threshold(threshold: &Threshold, field: &str, problems: &mut Problems) {
    let mut read = |text: &Option<crate::api::DecimalText>, name: &str| {
        problems.decimal(text.as_ref()?, &format!("{field}.{name}"))
    };
    let (max, min) = (read(&threshold.max, "max"), read(&threshold.min, "min"));
    let given = threshold.max.is_some() || threshold.min.is_some();
    problems.require(given, field, "at least one of max and min is required");
    if let (Some(max), Some(min)) = (max, min)
        && min > max
    {
        problems.0.push(FieldProblem::new(field, "min must not be more than max"));
    }
}
