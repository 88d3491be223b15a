//! From `spec.analysis` to a plan.

use std::time::Duration;

use super::{
    AnalysisPlan, BreachRule, Decimal, Guard, MetricPlan, Mode, OnNoData, OnUnknown, Reduce, Template,
    Threshold, UnknownAction,
};
use crate::api::{self, DecimalText, DurationText, FieldProblem};

/// Reads fields, and keeps what is wrong with them.
#[derive(Default)]
struct Reader {
    problems: Vec<FieldProblem>,
}

impl TryFrom<&api::Analysis> for AnalysisPlan {
    /// Everything that is wrong, by field below `spec.analysis`.
    type Error = Vec<FieldProblem>;

    /// Makes a plan that can be carried out.
    fn try_from(spec: &api::Analysis) -> Result<Self, Vec<FieldProblem>> {
        let mut reader = Reader::default();
        let time = |reader: &mut Reader, name: &str, text: &DurationText| reader.keep(text.parse(name));
        let plan = Self {
            window: time(&mut reader, "window", &spec.window),
            interval: time(&mut reader, "interval", &spec.interval),
            warmup: time(&mut reader, "warmup", &spec.warmup),
            min_samples: spec.min_samples,
            max_extension: time(&mut reader, "maxExtension", &spec.max_extension),
            ingest_delay: time(&mut reader, "ingestDelay", &spec.ingest_delay),
            breach: spec.breach.into(),
            on_unknown: OnUnknown {
                action: spec.on_unknown.action.into(),
                after: time(&mut reader, "onUnknown.after", &spec.on_unknown.after),
            },
            args: spec.args.clone().into_iter().collect(),
            metrics: (0..).zip(&spec.metrics).map(|(index, metric)| reader.metric(index, metric)).collect(),
        };
        // What was not read was replaced: only a plan of what was written is worth checking as a whole.
        if reader.problems.is_empty() {
            reader.problems = plan.validate();
        }
        if reader.problems.is_empty() { Ok(plan) } else { Err(reader.problems) }
    }
}

impl Reader {
    fn keep<T: Default>(&mut self, read: Result<T, FieldProblem>) -> T {
        read.unwrap_or_else(|problem| {
            self.problems.push(problem);
            T::default()
        })
    }

    fn metric(&mut self, index: usize, metric: &api::Metric) -> MetricPlan {
        let field = |name: &str| format!("metrics[{index}].{name}");
        MetricPlan {
            name: metric.name.clone(),
            provider: metric.provider_ref.name.clone(),
            query: self.template(&field("query"), &metric.query),
            range: Some(self.keep::<Duration>(metric.range.parse(&field("range")))),
            reduce: metric.reduce.into(),
            on_no_data: metric.on_no_data.into(),
            threshold: Threshold {
                min: self.decimal(&field("threshold.min"), metric.threshold.min.as_ref()),
                max: self.decimal(&field("threshold.max"), metric.threshold.max.as_ref()),
            },
            guard: metric.guard.as_ref().and_then(|guard| {
                let query = self.template(&field("guard.query"), &guard.query);
                let min = self.decimal(&field("guard.min"), Some(&guard.min))?;
                Some(Guard { query, min })
            }),
            mode: metric.mode.into(),
            breach: metric.breach.map(BreachRule::from),
        }
    }

    fn template(&mut self, field: &str, source: &str) -> Template {
        self.keep(Template::parse(source).map_err(|error| FieldProblem::new(field, error.to_string())))
    }

    fn decimal(&mut self, field: &str, text: Option<&DecimalText>) -> Option<Decimal> {
        let text = text?;
        let decimal = text.parse(field).map(|value| Decimal::of(text.as_str(), value));
        decimal.map_err(|problem| self.problems.push(problem)).ok()
    }
}

impl From<api::Breach> for BreachRule {
    fn from(breach: api::Breach) -> Self {
        Self { samples: breach.samples, of: breach.of }
    }
}

impl From<api::OnUnknownAction> for UnknownAction {
    fn from(action: api::OnUnknownAction) -> Self {
        match action {
            api::OnUnknownAction::Pause => Self::Pause,
            api::OnUnknownAction::Rollback => Self::Rollback,
            api::OnUnknownAction::Continue => Self::Continue,
        }
    }
}

impl From<api::Reduce> for Reduce {
    fn from(reduce: api::Reduce) -> Self {
        match reduce {
            api::Reduce::None => Self::None,
            api::Reduce::Max => Self::Max,
            api::Reduce::Min => Self::Min,
            api::Reduce::Sum => Self::Sum,
            api::Reduce::Avg => Self::Avg,
        }
    }
}

impl From<api::OnNoData> for OnNoData {
    fn from(on_no_data: api::OnNoData) -> Self {
        match on_no_data {
            api::OnNoData::Unknown => Self::Unknown,
            api::OnNoData::Breach => Self::Breach,
        }
    }
}

impl From<api::MetricMode> for Mode {
    fn from(mode: api::MetricMode) -> Self {
        match mode {
            api::MetricMode::Enforce => Self::Enforce,
            api::MetricMode::DryRun => Self::DryRun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn spec() -> api::Analysis {
        let query = fixture::error_rate().query.source().to_owned();
        let metric = serde_json::json!({
            "name": "error-rate", "providerRef": {"name": "prometheus"}, "query": query,
            "threshold": {"max": "0.05"},
        });
        api::Analysis {
            warmup: "0s".into(),
            args: [("app".to_owned(), "web".to_owned())].into_iter().collect(),
            metrics: vec![serde_json::from_value(metric).unwrap()],
            ..api::Analysis::default()
        }
    }

    #[test]
    fn a_spec_becomes_its_plan() {
        assert_eq!(AnalysisPlan::try_from(&spec()), Ok(fixture::plan()));
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        let mut spec = spec();
        spec.window = "soon".into();
        spec.on_unknown.after = "5 minutes".into();
        spec.metrics[0].query = "up{".to_owned() + "{ nmae }}";
        spec.metrics[0].threshold.max = Some("NaN".into());
        spec.metrics[0].guard = Some(api::MetricGuard { query: "{{".to_owned(), min: "much".into() });
        let problems = AnalysisPlan::try_from(&spec).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "window",
                "onUnknown.after",
                "metrics[0].query",
                "metrics[0].threshold.max",
                "metrics[0].guard.query",
                "metrics[0].guard.min",
            ]
        );
    }

    #[test]
    fn what_was_read_is_validated() {
        let mut spec = spec();
        spec.args.clear();
        let problems = AnalysisPlan::try_from(&spec).unwrap_err();
        assert_eq!(problems[0].field, "metrics[0].query");
    }
}
