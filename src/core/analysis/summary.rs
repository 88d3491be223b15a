//! What status shows of each metric.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AnalysisPlan, Baseline, Mode, Sample, Verdict, Watch, number::maybe_infinite};

/// How many samples a summary lists.
pub const RECENT_SAMPLES: usize = 10;

/// One metric at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricSummary {
    /// Its name.
    pub name: String,
    /// Whether it decides.
    pub mode: Mode,
    /// Its value before the first effect.
    pub baseline: Option<f64>,
    /// The last value that was measured.
    #[serde(with = "maybe_infinite")]
    pub last: Option<f64>,
    /// The values that are fine, as `<= 0.05`.
    pub limit: String,
    /// How many samples, the warm-up left out.
    pub counts: VerdictCounts,
    /// The last samples, oldest first, the warm-up included.
    pub recent: Vec<Recent>,
    /// What is wrong with the last sample; empty where nothing is.
    pub message: String,
}

/// How many samples of each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictCounts {
    /// Within the threshold.
    pub pass: u32,
    /// Beyond the threshold.
    pub breach: u32,
    /// Without a value.
    pub no_data: u32,
    /// With too little traffic.
    pub low_traffic: u32,
    /// Without an answer.
    pub error: u32,
}

/// One of the last samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// Its time.
    pub at: Timestamp,
    /// Its value.
    #[serde(with = "maybe_infinite")]
    pub value: Option<f64>,
    /// Its verdict.
    pub verdict: Verdict,
}

/// Summarizes the samples of a run, in the order of the plan.
pub fn summarize(
    plan: &AnalysisPlan,
    watch: &Watch,
    baseline: &Baseline,
    samples: &[Sample],
) -> Vec<MetricSummary> {
    let mut ordered: Vec<_> = samples.iter().collect();
    ordered.sort_by_key(|sample| sample.at);
    let summary = |metric: &super::MetricPlan| {
        let of_metric = || ordered.iter().filter(|sample| sample.metric == metric.name);
        let mut counts = VerdictCounts::default();
        for sample in of_metric().filter(|sample| !watch.is_warmup(plan, sample.at)) {
            counts.add(sample.verdict);
        }
        let recent = of_metric().skip(of_metric().count().saturating_sub(RECENT_SAMPLES));
        MetricSummary {
            name: metric.name.clone(),
            mode: metric.mode,
            baseline: baseline.values.get(&metric.name).copied(),
            last: of_metric().rev().find_map(|sample| sample.value),
            limit: metric.threshold.to_string(),
            counts,
            message: of_metric().next_back().map(|sample| sample.message.clone()).unwrap_or_default(),
            recent: recent
                .map(|sample| Recent { at: sample.at, value: sample.value, verdict: sample.verdict })
                .collect(),
        }
    };
    plan.metrics.iter().map(summary).collect()
}

impl VerdictCounts {
    fn add(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Pass => &mut self.pass,
            Verdict::Breach => &mut self.breach,
            Verdict::NoData => &mut self.no_data,
            Verdict::LowTraffic => &mut self.low_traffic,
            Verdict::Error => &mut self.error,
        };
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{at, plan, samples};
    use super::*;

    #[test]
    fn a_summary_counts_and_lists_the_last_samples() {
        let plan = AnalysisPlan { warmup: Duration::from_secs(30), ..plan() };
        let baseline = Baseline { values: [("error-rate".to_owned(), 0.002)].into() };
        let mut samples = samples("PBPPPBBNLEPPN");
        samples.reverse();
        let summaries = summarize(&plan, &Watch::completed(at(0)), &baseline, &samples);
        let [summary] = summaries.as_slice() else { panic!("{summaries:?}") };
        assert_eq!(summary.limit, "<= 0.05");
        assert_eq!(summary.baseline, Some(0.002));
        assert_eq!(summary.last, Some(0.01));
        // The first sample, at 15 s, is in the warm-up; the second, at 30 s, is not.
        assert_eq!(
            summary.counts,
            VerdictCounts { pass: 5, breach: 3, no_data: 2, low_traffic: 1, error: 1 }
        );
        let ats: Vec<_> = summary.recent.iter().map(|recent| recent.at).collect();
        assert_eq!(ats, (4..=13).map(|tick| at(tick * 15)).collect::<Vec<_>>());
    }

    #[test]
    fn a_metric_without_samples_is_listed() {
        let summaries = summarize(&plan(), &Watch::completed(at(0)), &Baseline::default(), &[]);
        assert_eq!(summaries[0].counts, VerdictCounts::default());
        assert_eq!((summaries[0].last, summaries[0].recent.len()), (None, 0));
    }
}
