//! The rules of the schema and of CEL once more, for objects that no API server has judged by today's rules: those
//! stored before an upgrade, and those that come from a file.
//!
//! Pure. Every problem of an object is found at once, each with the path of its field. What is accepted here can be
//! parsed later without an error: versions, durations and decimals.

mod analysis;
mod database;
mod metrics_provider;
mod migration;

use std::time::Duration;

pub use database::database;
pub use metrics_provider::metrics_provider;
pub use migration::migration;

use super::common::{ConfigMapKeyRef, LocalRef, SecretKeyRef};
use super::decimal::DecimalText;
use super::duration::DurationText;
use super::problem::FieldProblem;
use super::version::Version;

/// Longest name of a label: steps, streams, metrics.
const MAX_LABEL: usize = 63;
/// Longest name of an object, and longest key in one.
const MAX_NAME: usize = 253;

/// Collects what is wrong with an object.
#[derive(Default)]
struct Problems(Vec<FieldProblem>);

impl Problems {
    fn require(&mut self, holds: bool, field: &str, message: &str) {
        if !holds {
            self.0.push(FieldProblem::new(field, message));
        }
    }

    fn keep<T>(&mut self, parsed: Result<T, FieldProblem>) -> Option<T> {
        parsed.map_err(|problem| self.0.push(problem)).ok()
    }

    fn duration(&mut self, text: &DurationText, field: &str) -> Option<Duration> {
        self.keep(text.parse(field))
    }

    fn positive_duration(&mut self, text: &DurationText, field: &str) -> Option<Duration> {
        let parsed = self.duration(text, field)?;
        self.require(!parsed.is_zero(), field, "must be more than 0s");
        Some(parsed)
    }

    fn decimal(&mut self, text: &DecimalText, field: &str) -> Option<f64> {
        self.keep(text.parse(field))
    }

    fn version(&mut self, text: &str, field: &str) {
        self.keep(Version::parse(text, field));
    }

    fn exactly_one(&mut self, field: &str, one: (&str, bool), other: (&str, bool)) {
        let message = format!("exactly one of {} and {} is required", one.0, other.0);
        self.require(one.1 != other.1, field, &message);
    }

    fn length(&mut self, text: &str, least: usize, most: usize, field: &str) {
        let length = text.chars().count();
        if !(least..=most).contains(&length) {
            let message = format!("must have {least} to {most} characters, not {length}");
            self.0.push(FieldProblem::new(field, message));
        }
    }

    fn label(&mut self, text: &str, field: &str) {
        let valid = is_name(text, MAX_LABEL, |c| c == '-');
        self.require(
            valid,
            field,
            "must have 1 to 63 lower case letters, digits and hyphens, with no hyphen at either end",
        );
    }

    fn object_name(&mut self, text: &str, field: &str) {
        let valid = is_name(text, MAX_NAME, |c| c == '-' || c == '.');
        self.require(valid, field, "is not the name of an object");
    }

    fn key(&mut self, text: &str, field: &str) {
        let valid = (1..=MAX_NAME).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || ['-', '.', '_'].contains(&c));
        self.require(valid, field, "is not a key of a Secret or ConfigMap");
    }

    fn local_ref(&mut self, reference: &LocalRef, field: &str) {
        self.object_name(&reference.name, &format!("{field}.name"));
    }

    fn secret_key(&mut self, reference: &SecretKeyRef, field: &str) {
        self.object_name(&reference.name, &format!("{field}.secretKeyRef.name"));
        self.key(&reference.key, &format!("{field}.secretKeyRef.key"));
    }

    fn config_map_key(&mut self, reference: &ConfigMapKeyRef, field: &str) {
        self.object_name(&reference.name, &format!("{field}.configMapKeyRef.name"));
        self.key(&reference.key, &format!("{field}.configMapKeyRef.key"));
    }
}

/// Says whether a text is lower case letters, digits and what `inner` allows, the latter not at either end.
fn is_name(text: &str, most: usize, inner: fn(char) -> bool) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= most
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || inner(c))
}

impl super::common::CaSource {
    fn validate(&self, field: &str, problems: &mut Problems) {
        problems.exactly_one(
            field,
            ("configMapKeyRef", self.config_map_key_ref.is_some()),
            ("secretKeyRef", self.secret_key_ref.is_some()),
        );
        if let Some(reference) = &self.config_map_key_ref {
            problems.config_map_key(reference, field);
        }
        if let Some(reference) = &self.secret_key_ref {
            problems.secret_key(reference, field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DatabaseSpec, MetricsProviderSpec, MigrationSpec, SqlStep, Step};

    fn fields(problems: &[FieldProblem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.field.as_str()).collect()
    }

    #[test]
    fn all_problems_are_found_at_once() {
        assert_eq!(
            fields(&migration(&MigrationSpec::default())),
            ["spec.databaseRef.name", "spec.version", "spec"]
        );
        assert_eq!(fields(&database(&DatabaseSpec::default())), ["spec.primary"]);
        assert_eq!(fields(&metrics_provider(&MetricsProviderSpec::default())), ["spec.prometheus.url"]);
    }

    #[test]
    fn implied_names_of_steps_count_as_names() {
        let step = |name: Option<&str>| Step {
            name: name.map(str::to_owned),
            sql: Some(SqlStep { up: "SELECT 1".into(), ..SqlStep::default() }),
            backfill: None,
        };
        let mut spec = MigrationSpec { version: "1".into(), ..MigrationSpec::default() };
        spec.database_ref.name = "shop".into();
        spec.steps = Some(vec![step(Some("step-2")), step(None)]);
        assert_eq!(fields(&migration(&spec)), ["spec.steps[1].name"]);
    }

    /// The API server counts characters, the operator bytes.
    #[test]
    fn sql_is_bounded_in_bytes() {
        let mut spec = MigrationSpec { version: "1".into(), ..MigrationSpec::default() };
        spec.database_ref.name = "shop".into();
        for (text, expected) in [("a".repeat(192 * 1024), 0), ("\u{fc}".repeat(100 * 1024), 1)] {
            spec.up = Some(text);
            assert_eq!(migration(&spec).len(), expected);
        }
    }
}
