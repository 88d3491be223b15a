//! What must hold between the parts of a plan.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{AnalysisPlan, BreachRule, MetricPlan, Scope, Template, Tick, Variable};
use crate::api::FieldProblem;

/// How many metrics a plan has at most.
pub const MAX_METRICS: usize = 16;
/// How many arguments a plan has at most.
pub const MAX_ARGS: usize = 16;
/// How many samples of one metric a window with its extension may hold.
pub const MAX_SAMPLES_PER_METRIC: u64 = 20_000;

const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Collects problems.
#[derive(Default)]
struct Problems(Vec<FieldProblem>);

impl Problems {
    /// Notes `message` about the field of the analysis, unless `fine`.
    fn check(&mut self, fine: bool, field: &str, message: impl fmt::Display) {
        if !fine {
            self.0.push(FieldProblem::new(field, message.to_string()));
        }
    }
}

impl AnalysisPlan {
    /// Returns everything that is wrong with the plan, by field below `spec.analysis`; nothing for a plan that can be carried out.
    pub fn validate(&self) -> Vec<FieldProblem> {
        let mut problems = Problems::default();
        self.check_times(&mut problems);
        self.check_counts(&mut problems);
        let count = self.metrics.len();
        problems.check(count > 0, "metrics", "at least one metric is needed");
        problems.check(
            count <= MAX_METRICS,
            "metrics",
            format_args!("{count} metrics are more than {MAX_METRICS}"),
        );
        let count = self.args.len();
        problems.check(count <= MAX_ARGS, "args", format_args!("{count} arguments are more than {MAX_ARGS}"));
        let mut names = BTreeSet::new();
        for (index, metric) in self.metrics.iter().enumerate() {
            let field = format!("metrics[{index}]");
            let name = &metric.name;
            problems.check(!name.is_empty(), &format!("{field}.name"), "a name is needed");
            let taken = format_args!("{name:?} is the name of an earlier metric");
            problems.check(names.insert(name), &format!("{field}.name"), taken);
            self.check_metric(&mut problems, &field, metric);
        }
        problems.0
    }

    fn check_times(&self, problems: &mut Problems) {
        let second_grid = |span: Duration| span.subsec_nanos() == 0;
        problems.check(
            self.interval >= SHORTEST_INTERVAL && second_grid(self.interval),
            "interval",
            "must be whole seconds, at least 1s",
        );
        problems.check(self.window >= self.interval, "window", "must not be shorter than interval");
        problems.check(self.warmup < self.window, "warmup", "must be shorter than window");
        problems.check(
            !self.on_unknown.after.is_zero(),
            "onUnknown.after",
            "must be longer than zero: a single missing sample is no reason to act",
        );
        let most = self.ticks_in(self.window.saturating_add(self.max_extension));
        problems.check(
            most <= MAX_SAMPLES_PER_METRIC,
            "interval",
            format_args!("window and maxExtension hold {most} samples, more than {MAX_SAMPLES_PER_METRIC}"),
        );
    }

    fn check_counts(&self, problems: &mut Problems) {
        let longest = self.window.saturating_add(self.max_extension).saturating_sub(self.warmup);
        let possible = self.ticks_in(longest).saturating_add(1);
        problems.check(self.min_samples > 0, "minSamples", "at least one judged sample is needed for a pass");
        problems.check(
            u64::from(self.min_samples) <= possible,
            "minSamples",
            format_args!(
                "{} judged samples do not fit: window and maxExtension have room for {possible} after the warm-up",
                self.min_samples
            ),
        );
        self.check_rule(problems, "breach", self.breach);
    }

    fn check_rule(&self, problems: &mut Problems, field: &str, rule: BreachRule) {
        let samples = format!("{field}.samples");
        problems.check(rule.samples > 0, &samples, "at least one sample is needed");
        problems.check(
            rule.samples <= rule.of,
            &samples,
            format_args!("must not be more than of ({})", rule.of),
        );
        let possible = self.ticks_in(self.window.saturating_sub(self.warmup)).saturating_add(1);
        problems.check(
            self.warmup >= self.window || u64::from(rule.samples) <= possible,
            &samples,
            format_args!(
                "{} samples do not fit: the window has room for {possible} after the warm-up",
                rule.samples
            ),
        );
    }

    fn check_metric(&self, problems: &mut Problems, field: &str, metric: &MetricPlan) {
        problems.check(
            !metric.provider.is_empty(),
            &format!("{field}.providerRef"),
            "the name of a provider is needed",
        );
        let threshold = &metric.threshold;
        let bounds = [&threshold.min, &threshold.max].map(|bound| bound.as_ref().map(super::Decimal::value));
        problems.check(bounds != [None, None], &format!("{field}.threshold"), "min or max is needed");
        if let [Some(min), Some(max)] = bounds {
            let message = format_args!("{min} is more than max ({max}): no value would be fine");
            problems.check(min <= max, &format!("{field}.threshold.min"), message);
        }
        if let Some(rule) = metric.breach {
            self.check_rule(problems, &format!("{field}.breach"), rule);
        }
        let range_is_long = metric.range.is_none_or(|range| range >= Duration::from_secs(1));
        problems.check(range_is_long, &format!("{field}.range"), "must be at least 1s");
        self.check_template(problems, &format!("{field}.query"), metric, &metric.query);
        if let Some(guard) = &metric.guard {
            self.check_template(problems, &format!("{field}.guard.query"), metric, &guard.query);
        }
    }

    fn check_template(&self, problems: &mut Problems, field: &str, metric: &MetricPlan, template: &Template) {
        problems.check(!template.source().trim().is_empty(), field, "a query is needed");
        for (variable, at) in template.variables() {
            if let Variable::Arg(name) = variable {
                let known = self.args.contains_key(name);
                problems.check(
                    known,
                    field,
                    format_args!("unknown argument {name:?} at {at}; args has no such key"),
                );
            }
        }
        let lacks_range = metric.range.is_none() && template.uses(&Variable::Range);
        problems.check(!lacks_range, field, "uses {{ range }}, but the metric has no range");
        let has_values = !lacks_range
            && template.variables().all(|(variable, _)| match variable {
                Variable::Arg(name) => self.args.contains_key(name),
                _ => true,
            });
        if has_values {
            // Names may contain a hyphen, which tells places that stand outside of a string.
            let scope = Scope { namespace: "name-space", name: "na-me", phase: "Phase" };
            let tick = Tick::before(self, jiff::Timestamp::UNIX_EPOCH);
            let rendered = template.render(&self.args, scope, tick.range_of(metric), tick.elapsed);
            if let Err(error) = rendered {
                problems.check(false, field, error);
            }
        }
    }

    fn ticks_in(&self, span: Duration) -> u64 {
        u64::try_from(span.as_millis() / self.interval.as_millis().max(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Guard, Threshold,
        fixture::{decimal, error_rate, plan, template},
    };
    use super::*;

    fn problems(change: impl FnOnce(&mut AnalysisPlan)) -> Vec<String> {
        let mut plan = plan();
        change(&mut plan);
        plan.validate().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_plan_has_no_problems() {
        assert_eq!(problems(|_| {}), [""; 0]);
    }

    fn check(expected: &str, change: impl FnOnce(&mut AnalysisPlan)) {
        let problems = problems(change);
        assert_eq!(problems.len(), 1, "{expected}: {problems:?}");
        assert!(problems[0].starts_with(expected), "expected {expected:?}, found {:?}", problems[0]);
    }

    #[test]
    fn problems_of_the_plan_name_their_field() {
        check("interval: must be whole seconds", |plan| {
            plan.interval = Duration::from_millis(1500);
        });
        check("interval: window and maxExtension hold", |plan| {
            plan.window = Duration::from_hours(2000);
        });
        check("warmup: must be shorter", |plan| plan.warmup = plan.window);
        check("onUnknown.after: must be longer", |plan| {
            plan.on_unknown.after = Duration::ZERO;
        });
        check("minSamples: at least one", |plan| plan.min_samples = 0);
        check("minSamples: 122 judged samples do not fit", |plan| {
            plan.min_samples = 122;
        });
        check("breach.samples: at least one", |plan| plan.breach.samples = 0);
        check("breach.samples: must not be more than of (5)", |plan| {
            plan.breach.samples = 6;
        });
        check("breach.samples: 62 samples do not fit", |plan| {
            plan.breach = BreachRule { samples: 62, of: 62 };
        });
        check("metrics: at least one", |plan| plan.metrics.clear());
        check("metrics: 17 metrics are more than 16", |plan| {
            plan.metrics = (0..17).map(|n| MetricPlan { name: n.to_string(), ..error_rate() }).collect();
        });
        check("args: 17 arguments are more than 16", |plan| {
            plan.args.extend((0..16).map(|n| (n.to_string(), String::new())));
        });
    }

    /// Expects one problem after a change of the plan's metric.
    fn check_metric(expected: &str, change: impl FnOnce(&mut MetricPlan)) {
        check(expected, |plan| change(&mut plan.metrics[0]));
    }

    #[test]
    fn problems_of_a_metric_name_their_field() {
        check("metrics[1].name: \"error-rate\" is the name", |plan| {
            plan.metrics.push(error_rate());
        });
        check("metrics[0].query: unknown argument \"app\" at line 1, column 22", |plan| plan.args.clear());
        check_metric("metrics[0].name: a name", |metric| metric.name.clear());
        check_metric("metrics[0].providerRef: the name", |metric| {
            metric.provider.clear();
        });
        check_metric("metrics[0].threshold: min or max", |metric| {
            metric.threshold = Threshold::default();
        });
        check_metric("metrics[0].threshold.min: 1 is more", |metric| {
            metric.threshold.min = Some(decimal("1"));
        });
        check_metric("metrics[0].query: uses {{ range }}", |metric| metric.range = None);
        check_metric("metrics[0].range: must be at least 1s", |metric| {
            metric.range = Some(Duration::ZERO);
        });
        check_metric("metrics[0].query: a query is needed", |metric| {
            metric.query = template(" ");
        });
        check_metric("metrics[0].query: {{ name }} stands", |metric| {
            metric.query = template("up > {{ name }}");
        });
        check_metric("metrics[0].guard.query: unknown argument \"x\"", |metric| {
            metric.guard = Some(Guard { query: template("{{ args.x }}"), min: decimal("1") });
        });
        check_metric("metrics[0].breach.samples: must not", |metric| {
            metric.breach = Some(BreachRule { samples: 2, of: 1 });
        });
    }

    #[test]
    fn a_window_shorter_than_its_interval_is_refused() {
        let found = problems(|plan| plan.window = Duration::from_secs(10));
        assert!(found.contains(&"window: must not be shorter than interval".to_owned()), "{found:?}");
    }
}
