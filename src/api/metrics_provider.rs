//! `MetricsProvider`: somebody who answers the queries of an analysis.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{CaSource, LocalRef, SecretSource, conditions};
use super::duration::DurationText;

/// What is wanted of a provider.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::duplicated_attributes)] // Every printer column has a type.
#[kube(
    group = "whimbrel.dev",
    version = "v1alpha1",
    kind = "MetricsProvider",
    plural = "metricsproviders",
    namespaced,
    status = "MetricsProviderStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "mprov",
    category = "whimbrel",
    doc = "A server that answers the queries with which Migrations are watched.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.prometheus.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
pub struct MetricsProviderSpec {
    /// A server with the Prometheus HTTP API: Prometheus, Thanos, Mimir, VictoriaMetrics.
    pub prometheus: Prometheus,
}

/// A server with the Prometheus HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('60s')")
        .message("timeout must be more than 0s and at most 60s").field_path(".timeout"),
    validation = Rule::new("duration(self.scrapeInterval) > duration('0s')")
        .message("scrapeInterval must be more than 0s").field_path(".scrapeInterval")
)]
pub struct Prometheus {
    /// Address, to which `/api/v1/query` is appended. No user, no query: see `auth` and `headers`.
    #[schemars(regex(pattern = r"^https?://[^/?#@\s]+(/[^?#\s]*)?$"), length(max = 1024))]
    pub url: String,
    /// How the operator shows who it is; absent: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<HttpAuth>,
    /// Encryption of the connection; absent: the CA certificates of the operator's system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<HttpTls>,
    /// Headers sent with each query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map"))]
    #[schemars(extend("x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
    /// Longest time of a query.
    #[serde(default = "timeout")]
    pub timeout: DurationText,
    /// How often the server collects values; a metric's range must hold at least four of them.
    #[serde(default = "scrape_interval")]
    pub scrape_interval: DurationText,
}

fn timeout() -> DurationText {
    "10s".into()
}

fn scrape_interval() -> DurationText {
    "30s".into()
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            url: String::new(),
            auth: None,
            tls: None,
            headers: Vec::new(),
            timeout: timeout(),
            scrape_interval: scrape_interval(),
        }
    }
}

/// How the operator shows who it is: exactly one way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.bearerTokenFrom) != has(self.basic)",
    "exactly one of bearerTokenFrom and basic is required"
))]
pub struct HttpAuth {
    /// Where the bearer token comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_from: Option<SecretSource>,
    /// User name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
}

/// User name and password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Basic {
    /// Where the user name comes from.
    pub username_from: SecretSource,
    /// Where the password comes from.
    pub password_from: SecretSource,
}

/// Encryption of an HTTP connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpTls {
    /// CA certificates that vouch for the server; absent: those of the operator's system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<CaSource>,
    /// Secret of type `kubernetes.io/tls` whose `tls.crt` and `tls.key` the operator shows to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<LocalRef>,
}

/// A header: exactly one of a value and a place where the value comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.value) != has(self.valueFrom)",
    "exactly one of value and valueFrom is required"
))]
pub struct Header {
    /// Name of the header.
    #[schemars(regex(pattern = r"^[A-Za-z0-9-]+$"), length(max = 128))]
    pub name: String,
    /// Its value, where that is not confidential.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Where its confidential value comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<SecretSource>,
}

/// What was observed of a provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct MetricsProviderStatus {
    /// The `metadata.generation` that this status is about; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}
