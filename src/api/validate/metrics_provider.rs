//! Rules of a MetricsProvider.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Problems;
use crate::api::{FieldProblem, Header, HttpAuth, HttpTls, MetricsProviderSpec};

const MAX_HEADERS: usize = 16;
const MAX_URL: usize = 1024;
/// Longest timeout of a query.
const MAX_TIMEOUT: Duration = Duration::from_mins(1);

/// Finds everything that is wrong with a MetricsProvider, but for what its Secrets hold.
pub fn metrics_provider(spec: &MetricsProviderSpec) -> Vec<FieldProblem> {
    let mut problems = Problems::default();
    let prometheus = &spec.prometheus;
    problems.require(
        is_base_url(&prometheus.url),
        "spec.prometheus.url",
        "must be http:// or https:// with a host, and without user, query and fragment",
    );
    if let Some(of) = &prometheus.auth {
        auth(of, &mut problems);
    }
    if let Some(of) = &prometheus.tls {
        tls(of, &mut problems);
    }
    headers(&prometheus.headers, &mut problems);
    let field = "spec.prometheus.timeout";
    if let Some(timeout) = problems.positive_duration(&prometheus.timeout, field) {
        problems.require(timeout <= MAX_TIMEOUT, field, "must be at most 60s");
    }
    problems.positive_duration(&prometheus.scrape_interval, "spec.prometheus.scrapeInterval");
    problems.0
}

fn is_base_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return false;
    };
    let host = rest.split('/').next().unwrap_or_default();
    url.chars().count() <= MAX_URL
        && !host.is_empty()
        && !host.contains('@')
        && !rest.contains(|c: char| c.is_whitespace() || c == '?' || c == '#')
}

fn auth(auth: &HttpAuth, problems: &mut Problems) {
    let field = "spec.prometheus.auth";
    problems.exactly_one(
        field,
        ("bearerTokenFrom", auth.bearer_token_from.is_some()),
        ("basic", auth.basic.is_some()),
    );
    if let Some(source) = &auth.bearer_token_from {
        problems.secret_key(&source.secret_key_ref, &format!("{field}.bearerTokenFrom"));
    }
    if let Some(basic) = &auth.basic {
        problems.secret_key(&basic.username_from.secret_key_ref, &format!("{field}.basic.usernameFrom"));
        problems.secret_key(&basic.password_from.secret_key_ref, &format!("{field}.basic.passwordFrom"));
    }
}

fn tls(tls: &HttpTls, problems: &mut Problems) {
    if let Some(source) = &tls.ca_from {
        source.validate("spec.prometheus.tls.caFrom", problems);
    }
    if let Some(secret) = &tls.client_certificate_secret_ref {
        problems.local_ref(secret, "spec.prometheus.tls.clientCertificateSecretRef");
    }
}

fn headers(headers: &[Header], problems: &mut Problems) {
    let field = "spec.prometheus.headers";
    problems.require(headers.len() <= MAX_HEADERS, field, "must not be more than 16");
    let mut names = BTreeSet::new();
    for (index, header) in headers.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let valid = (1..=128).contains(&header.name.len())
            && header.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        problems.require(valid, &format!("{field}.name"), "is not the name of a header");
        let unique = names.insert(&header.name);
        problems.require(unique, &format!("{field}.name"), "names of headers must be unique");
        problems.exactly_one(
            &field,
            ("value", header.value.is_some()),
            ("valueFrom", header.value_from.is_some()),
        );
        if let Some(value) = &header.value {
            problems.length(value, 0, 1024, &format!("{field}.value"));
        }
        if let Some(source) = &header.value_from {
            problems.secret_key(&source.secret_key_ref, &format!("{field}.valueFrom"));
        }
    }
}
