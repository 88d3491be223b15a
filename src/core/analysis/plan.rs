//! What is watched, how often, and what counts as bad.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Decimal, Template, number::format_value};

/// The analysis of one run, as it is stored in the ledger before the first effect.
///
/// Queries and decimals are parsed when the plan is built; [`AnalysisPlan::validate`] checks the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisPlan {
    /// How long is watched after the last step on the primary.
    #[serde(with = "compact::required")]
    pub window: Duration,
    /// The time between two samples.
    #[serde(with = "compact::required")]
    pub interval: Duration,
    /// How long after the apply samples are recorded but not judged.
    #[serde(with = "compact::required")]
    pub warmup: Duration,
    /// How many judged samples each metric needs for a pass.
    pub min_samples: u32,
    /// How long a window that ends short of `min_samples` goes on.
    #[serde(with = "compact::required")]
    pub max_extension: Duration,
    /// How late a provider may be: a tick is sampled this long after its time.
    #[serde(with = "compact::required")]
    pub ingest_delay: Duration,
    /// How many breaching samples are a breach, unless a metric says otherwise.
    pub breach: BreachRule,
    /// What happens when a metric cannot be measured.
    pub on_unknown: OnUnknown,
    /// Values for `{{ args.NAME }}`; nothing secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// What is measured.
    pub metrics: Vec<MetricPlan>,
}

/// `samples` breaching ones among the last `of` judged ones are a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreachRule {
    /// Breaching samples needed.
    pub samples: u32,
    /// Judged samples looked at.
    pub of: u32,
}

/// The policy for metrics that cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnUnknown {
    /// What to do.
    pub action: UnknownAction,
    /// After how much unbroken unknown time.
    #[serde(with = "compact::required")]
    pub after: Duration,
}

/// What to do about a metric that cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnknownAction {
    /// Hold and tell a person; goes on by itself when data comes back.
    Pause,
    /// Roll back.
    Rollback,
    /// Go on watching; the window may end inconclusive.
    Continue,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricPlan {
    /// Its name, unique in the plan.
    pub name: String,
    /// The name of the provider that is asked.
    pub provider: String,
    /// The query.
    pub query: Template,
    /// The longest `{{ range }}`.
    #[serde(default, with = "compact::optional", skip_serializing_if = "Option::is_none")]
    pub range: Option<Duration>,
    /// What to do with several series.
    #[serde(default)]
    pub reduce: Reduce,
    /// What an empty answer means.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// The values that are fine.
    pub threshold: Threshold,
    /// The traffic that is needed to judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// Whether the metric decides.
    #[serde(default)]
    pub mode: Mode,
    /// Overrides the plan's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach: Option<BreachRule>,
}

/// What to do with an answer of several series; as PromQL's aggregations of the same names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduce {
    /// Several series are an error.
    #[default]
    None,
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
    /// The sum.
    Sum,
    /// The mean.
    Avg,
}

/// What an empty answer, or NaN, means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNoData {
    /// Nothing is known.
    #[default]
    Unknown,
    /// The application is gone: a breach, where there was data before the migration.
    Breach,
}

/// Whether a metric decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It is recorded only.
    DryRun,
}

/// The values that are fine: both bounds inclusive, at least one given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The smallest value that is fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// The largest value that is fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
}

/// Too little traffic to judge: below `min`, a sample is `LowTraffic`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// What measures the traffic.
    pub query: Template,
    /// The least traffic.
    pub min: Decimal,
}

impl Threshold {
    /// Returns how `value` breaks the threshold, as `0.41 > 0.05`, if it does.
    pub fn violation(&self, value: f64) -> Option<String> {
        let broken = |limit: &Decimal, sign: &str| {
            format!("{} {sign} {limit}", format_value(value, Some(limit.value())))
        };
        if let Some(max) = self.max.as_ref().filter(|max| value > max.value()) {
            return Some(broken(max, ">"));
        }
        self.min.as_ref().filter(|min| value < min.value()).map(|min| broken(min, "<"))
    }
}

impl fmt::Display for Threshold {
    /// Writes the values that are fine, as `<= 0.05`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => write!(f, ">= {min} and <= {max}"),
            (Some(min), None) => write!(f, ">= {min}"),
            (None, Some(max)) => write!(f, "<= {max}"),
            (None, None) => f.write_str("none"),
        }
    }
}

impl AnalysisPlan {
    /// Returns the hash of the analysis: `sha256:` and the hex digest of its canonical JSON.
    ///
    /// # Errors
    /// Only where serialization fails, which no plan can cause.
    pub fn hash(&self) -> Result<String, serde_json::Error> {
        // Fields have a fixed order, and the only map is sorted: the text is canonical.
        let digest = Sha256::digest(serde_json::to_vec(self)?);
        let hex = digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Ok(format!("sha256:{hex}"))
    }

    /// Returns the rule that holds for `metric`.
    pub fn rule_of(&self, metric: &MetricPlan) -> BreachRule {
        metric.breach.unwrap_or(self.breach)
    }

    /// Returns the metric of that name.
    pub fn metric(&self, name: &str) -> Option<&MetricPlan> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Returns the longest time from a fault to its breach that the plan allows, over all metrics that
    /// decide: a value just beyond its limit has to fill the whole range first.
    pub fn worst_detection(&self, scrape_interval: Duration) -> Duration {
        let enforced = self.metrics.iter().filter(|metric| metric.mode == Mode::Enforce);
        enforced.map(|metric| self.detection(metric, scrape_interval, 1.0)).max().unwrap_or_default()
    }

    /// Returns how long `metric` takes to notice a fault that lifts the value from `base` to `bad`: the
    /// share of the range that the fault must fill before the limit is crossed is (limit - base) / (bad -
    /// base). `None` where `bad` does not cross a limit at all.
    pub fn detection_of(
        &self,
        metric: &MetricPlan,
        scrape_interval: Duration,
        base: f64,
        bad: f64,
    ) -> Option<Duration> {
        let Threshold { min, max } = &metric.threshold;
        let max = max.as_ref().filter(|max| bad > max.value());
        let limit = max.or(min.as_ref().filter(|min| bad < min.value()))?;
        let share = (limit.value() - base) / (bad - base);
        Some(self.detection(metric, scrape_interval, if share.is_finite() { share } else { 1.0 }))
    }

    fn detection(&self, metric: &MetricPlan, scrape_interval: Duration, share: f64) -> Duration {
        let filling = metric.range.unwrap_or_default().mul_f64(share.clamp(0.0, 1.0));
        // During the warm-up nothing is judged, but the range fills.
        let visible = scrape_interval.saturating_add(filling).max(self.warmup);
        let sampling = self.interval.saturating_mul(self.rule_of(metric).samples);
        visible.saturating_add(sampling).saturating_add(self.ingest_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{decimal, error_rate, plan};
    use super::*;

    #[test]
    fn a_plan_survives_the_ledger_and_reads_well_there() {
        let plan = plan();
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(json["window"], "15m");
        assert_eq!(json["metrics"][0]["range"], "1m");
        assert_eq!(json["metrics"][0]["threshold"]["max"], "0.05");
        assert_eq!(serde_json::from_value::<AnalysisPlan>(json).unwrap(), plan);
    }

    #[test]
    fn an_unparsable_plan_does_not_deserialize() {
        let mut json = serde_json::to_value(plan()).unwrap();
        json["metrics"][0]["query"] = "up{x=\"{{ secret }}\"}".into();
        assert!(serde_json::from_value::<AnalysisPlan>(json.clone()).is_err());
        json["metrics"][0]["query"] = "up".into();
        json["metrics"][0]["threshold"]["max"] = "NaN".into();
        assert!(serde_json::from_value::<AnalysisPlan>(json).is_err());
    }

    #[test]
    fn the_hash_covers_every_part_and_no_accident() {
        let hash = plan().hash().unwrap();
        assert_eq!(hash.len(), "sha256:".len() + 64);
        assert_eq!(hash, plan().hash().unwrap());
        let changes: [fn(&mut AnalysisPlan); 5] = [
            |plan| plan.window += Duration::from_secs(1),
            |plan| plan.breach.samples = 4,
            |plan| plan.metrics[0].threshold.max = Some(decimal("0.06")),
            |plan| plan.metrics[0].mode = Mode::DryRun,
            |plan| plan.args = BTreeMap::from([("app".to_owned(), "other".to_owned())]),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = plan();
            change(&mut changed);
            assert_ne!(changed.hash().unwrap(), hash, "change {index}");
        }
    }

    #[test]
    fn violations_quote_value_and_limit() {
        let check = |min: Option<&str>, max: Option<&str>, value: f64, expected: Option<&str>| {
            let threshold = Threshold { min: min.map(decimal), max: max.map(decimal) };
            assert_eq!(threshold.violation(value).as_deref(), expected, "{threshold} of {value}");
        };
        check(None, Some("0.05"), 0.41, Some("0.41 > 0.05"));
        check(None, Some("0.05"), 0.05, None);
        check(Some("0.9"), None, 0.4, Some("0.4 < 0.9"));
        check(Some("0.9"), None, 0.9, None);
        check(Some("1"), Some("2"), 1.5, None);
        check(None, Some("5"), f64::INFINITY, Some("+Inf > 5"));
        check(None, Some("5"), f64::NEG_INFINITY, None);
        check(Some("5"), None, f64::NEG_INFINITY, Some("-Inf < 5"));
    }

    #[test]
    fn detection_follows_the_formula() {
        let seconds = Duration::from_secs;
        let plan = AnalysisPlan { warmup: seconds(0), ..plan() };
        // scrape 10 + range 60 + 3 x 15 + ingest delay 5
        assert_eq!(plan.worst_detection(seconds(10)), seconds(120));
        // (0.05 - 0) / (0.5 - 0) of the range
        assert_eq!(plan.detection_of(&error_rate(), seconds(10), 0.0, 0.5), Some(seconds(10 + 6 + 45 + 5)));
        assert_eq!(plan.detection_of(&error_rate(), seconds(10), 0.0, 0.01), None);
        let warm = AnalysisPlan { warmup: seconds(100), ..plan };
        assert_eq!(warm.worst_detection(seconds(10)), seconds(150));
    }
}
