//! `spec.analysis` of a Migration: what is watched, and when it is a breach.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::common::StringMap;
use super::decimal::DecimalText;
use super::duration::DurationText;

/// What is watched after the last step on the primary, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.interval) >= duration('1s')")
        .message("interval must be at least 1s").field_path(".interval"),
    validation = Rule::new("duration(self.window) >= duration(self.interval)")
        .message("window must be at least one interval").field_path(".window"),
    validation = Rule::new("duration(self.warmup) < duration(self.window)")
        .message("warmup must be shorter than window").field_path(".warmup"),
    validation = Rule::new(
        "self.minSamples * duration(self.interval).getSeconds() <= \
         (duration(self.window) - duration(self.warmup) + duration(self.maxExtension)).getSeconds()"
    )
    .message("minSamples intervals must fit into window - warmup + maxExtension").field_path(".minSamples")
)]
pub struct Analysis {
    /// How long the migration is watched after its last step.
    #[serde(default = "window")]
    pub window: DurationText,
    /// Time between two samples; at least one second.
    #[serde(default = "interval")]
    pub interval: DurationText,
    /// Time at the start of the window whose samples are recorded, not judged.
    #[serde(default = "warmup")]
    pub warmup: DurationText,
    /// Judged samples that a metric needs to pass. A breach needs only its own count.
    #[serde(default = "min_samples")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_samples: u32,
    /// How long a window that ends short of `minSamples` goes on.
    #[serde(default = "max_extension")]
    pub max_extension: DurationText,
    /// How far in the past samples are evaluated, because providers are late.
    #[serde(default = "ingest_delay")]
    pub ingest_delay: DurationText,
    /// How many bad samples make a breach.
    #[serde(default)]
    pub breach: Breach,
    /// What happens when nothing is known.
    #[serde(default)]
    pub on_unknown: OnUnknown,
    /// Values for `{{ args.NAME }}` in queries; nothing secret.
    #[serde(default, skip_serializing_if = "StringMap::is_empty")]
    #[schemars(schema_with = "args")]
    pub args: StringMap,
    /// The metrics, by name.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map"))]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]))]
    pub metrics: Vec<Metric>,
}

fn window() -> DurationText {
    "15m".into()
}

fn interval() -> DurationText {
    "15s".into()
}

fn warmup() -> DurationText {
    "30s".into()
}

fn min_samples() -> u32 {
    10
}

fn max_extension() -> DurationText {
    "15m".into()
}

fn ingest_delay() -> DurationText {
    "5s".into()
}

fn range() -> DurationText {
    "1m".into()
}

fn args(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 253},
        "x-kubernetes-validations": [{
            "rule": "self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]{0,62}$'))",
            "message": "names of args are letters, digits and underscores",
        }],
    })
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            window: window(),
            interval: interval(),
            warmup: warmup(),
            min_samples: min_samples(),
            max_extension: max_extension(),
            ingest_delay: ingest_delay(),
            breach: Breach::default(),
            on_unknown: OnUnknown::default(),
            args: StringMap::new(),
            metrics: Vec::new(),
        }
    }
}

/// How many bad samples make a breach: `samples` of the last `of` judged ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.samples <= self.of", "samples must not be more than of"))]
pub struct Breach {
    /// Bad samples that are needed.
    #[schemars(range(min = 1, max = 100))]
    pub samples: u32,
    /// Judged samples that are looked at, newest first.
    #[schemars(range(min = 1, max = 100))]
    pub of: u32,
}

impl Default for Breach {
    fn default() -> Self {
        Self { samples: 3, of: 5 }
    }
}

/// What happens when nothing is known for some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OnUnknown {
    /// What is done.
    pub action: OnUnknownAction,
    /// How long nothing must be known before it is done.
    pub after: DurationText,
}

impl Default for OnUnknown {
    fn default() -> Self {
        Self { action: OnUnknownAction::default(), after: "5m".into() }
    }
}

/// What is done when nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnknownAction {
    /// The migration stops and waits for a person.
    #[default]
    Pause,
    /// The migration is undone.
    Rollback,
    /// The watch goes on.
    Continue,
}

/// One metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.range) || duration(self.range) >= duration('1s')")
    .message("range must be at least 1s").field_path(".range"))]
pub struct Metric {
    /// Name, unique in the analysis.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub name: String,
    /// Who answers the query.
    pub provider_ref: ProviderRef,
    /// The query, for one number. `{{ args.NAME }}`, `{{ range }}`, `{{ elapsed }}`, `{{ namespace }}`, `{{ name }}`
    /// and `{{ phase }}` are filled in.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// Length of `{{ range }}`; shorter in the beginning, so that no sample looks back beyond the change. Default:
    /// `1m`.
    #[serde(default = "range")]
    pub range: DurationText,
    /// What to do with several series. Default: `None`.
    #[serde(default)]
    pub reduce: Reduce,
    /// What an empty answer means. Default: `Unknown`.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// The limits of a good value.
    pub threshold: Threshold,
    /// Says when there is too little traffic to judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<MetricGuard>,
    /// How many bad samples make a breach; absent: as the analysis says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breach: Option<Breach>,
    /// Whether the verdict counts. Default: `Enforce`.
    #[serde(default)]
    pub mode: MetricMode,
}

/// Names the provider of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderRef {
    /// Kind of the provider. Default: `MetricsProvider`.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Name of the provider.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Kind of a provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProviderKind {
    /// A `MetricsProvider` of the same namespace.
    #[default]
    MetricsProvider,
}

/// What to do with several series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reduce {
    /// Several series are an error.
    #[default]
    None,
    /// The largest value counts.
    Max,
    /// The smallest value counts.
    Min,
    /// The sum counts.
    Sum,
    /// The average counts.
    Avg,
}

/// What an empty answer means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It is a breach, where there was data before the migration.
    Breach,
}

/// The limits of a good value: at least one of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.max) || has(self.min)", "at least one of max and min is required"),
    validation = (
        "!has(self.max) || !has(self.min) || double(self.min) <= double(self.max)",
        "min must not be more than max"
    )
)]
pub struct Threshold {
    /// The largest good value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<DecimalText>,
    /// The smallest good value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<DecimalText>,
}

/// Says when there is too little traffic to judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricGuard {
    /// The query for the traffic, in the language of the metric's own query.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// The least traffic with which the metric is judged.
    pub min: DecimalText,
}

/// Whether a verdict counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricMode {
    /// A breach leads to what `rollback.onBreach` says.
    #[default]
    Enforce,
    /// A breach is recorded, and nothing else happens.
    DryRun,
}
