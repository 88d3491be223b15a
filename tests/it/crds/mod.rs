//! The definitions in a real API server: what it accepts, what it refuses and in which words, and that the operator's
//! own check says the same of every object.
//!
//! The rules stand in one table for each kind (`*.yaml`): a valid `spec`, and cases that are merge patches (RFC 7396)
//! of it, or of the part of it at the JSON pointer `at`.

mod clients;
mod edits;
mod status;

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use whimbrel::api::{FieldProblem, validate};

use crate::harness::kubernetes::{self, ApiServer};
use crate::harness::run;

/// The rules of one kind.
#[derive(Deserialize)]
struct Table {
    kind: String,
    spec: Value,
    cases: Vec<Case>,
}

/// A change of a valid `spec`, which is accepted, or refused with the name of a field and in certain words.
#[derive(Deserialize)]
struct Case {
    accepts: Option<Value>,
    refuses: Option<Value>,
    #[serde(default)]
    at: String,
    #[serde(default)]
    field: String,
    #[serde(default)]
    says: String,
}

const MIGRATION: &str = include_str!("migration.yaml");
const ANALYSIS: &str = include_str!("analysis.yaml");
const DATABASE: &str = include_str!("database.yaml");
const METRICS_PROVIDER: &str = include_str!("metricsprovider.yaml");

fn table(text: &str) -> Table {
    // By way of a JSON value, as everywhere.
    let value: Value = serde_yaml::from_str(text).unwrap();
    serde_json::from_value(value).unwrap()
}

/// Merges as RFC 7396 says.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

impl Case {
    fn accepts(patch: Value) -> Self {
        Self {
            accepts: Some(patch),
            refuses: None,
            at: String::new(),
            field: String::new(),
            says: String::new(),
        }
    }

    fn refuses(patch: Value, field: &str, says: &str) -> Self {
        Self {
            accepts: None,
            refuses: Some(patch),
            at: String::new(),
            field: field.into(),
            says: says.into(),
        }
    }

    fn patch(&self) -> &Value {
        self.accepts.as_ref().or(self.refuses.as_ref()).unwrap()
    }

    fn apply(&self, spec: &Value) -> Value {
        let mut spec = spec.clone();
        let part = self.at.split('/').skip(1).fold(&mut spec, |part, key| match key.parse::<usize>() {
            Ok(index) => &mut part[index],
            Err(_) => &mut part[key],
        });
        merge(part, self.patch());
        spec
    }

    /// Checks what the API server answered.
    fn compare(&self, answer: kube::Result<DynamicObject>) -> Result<()> {
        let (field, says) = (&self.field, &self.says);
        match (answer, &self.refuses) {
            (Ok(_), None) => Ok(()),
            (Err(kube::Error::Api(status)), Some(_)) => {
                let message = &status.message;
                ensure!(status.code == 422, "not refused as invalid: {message}");
                ensure!(message.contains(&format!("{field}: ")), "does not name {field}: {message}");
                ensure!(message.contains(says.as_str()), "does not say {says:?}: {message}");
                Ok(())
            }
            (Ok(_), Some(_)) => bail!("accepted, though of {field} it should say {says:?}"),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Checks what the operator found; `None` where the types cannot even hold the object.
    fn compare_own(&self, problems: Option<Vec<FieldProblem>>) -> Result<()> {
        match (problems, &self.refuses) {
            (Some(problems), None) => ensure!(problems.is_empty(), "refused: {problems:?}"),
            (None, None) => bail!("the types cannot hold it"),
            (Some(problems), Some(_)) => {
                let near = |own: &str| own.starts_with(&self.field) || self.field.starts_with(own);
                let named = problems.iter().any(|problem| near(&problem.field));
                ensure!(named, "no problem of {} among {problems:?}", self.field);
            }
            (None, Some(_)) => {}
        }
        Ok(())
    }
}

/// Runs the operator's own check, unless the types cannot hold the object.
fn own_check(kind: &str, spec: &Value) -> Option<Vec<FieldProblem>> {
    fn of<S: DeserializeOwned>(
        spec: &Value,
        check: fn(&S) -> Vec<FieldProblem>,
    ) -> Option<Vec<FieldProblem>> {
        Some(check(&serde_json::from_value(spec.clone()).ok()?))
    }
    match kind {
        "Migration" => of(spec, validate::migration),
        "Database" => of(spec, validate::database),
        "MetricsProvider" => of(spec, validate::metrics_provider),
        _ => panic!("no such kind: {kind}"),
    }
}

async fn server() -> Result<&'static ApiServer> {
    let server = kubernetes::shared().await?;
    server.install_crds().await?;
    Ok(server)
}

fn api(client: Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("whimbrel.dev", "v1alpha1", kind);
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&gvk))
}

fn object(kind: &str, name: &str, spec: &Value) -> DynamicObject {
    let value = json!({
        "apiVersion": "whimbrel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(value).unwrap()
}

/// Sends each case to the API server, without storing it, and to the operator's own check.
fn check(Table { kind, spec, cases }: &Table) -> Result<()> {
    run(async {
        let server = server().await?;
        let namespace = server.namespace("crds").await?;
        let api = api(server.admin().await?, kind, &namespace);
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        for case in cases {
            let changed = case.apply(spec);
            let shown: String = case.patch().to_string().chars().take(300).collect();
            let answer = api.create(&dry_run, &object(kind, "example", &changed)).await;
            case.compare(answer).with_context(|| format!("API server, {kind} {shown}"))?;
            let problems = own_check(kind, &changed);
            case.compare_own(problems).with_context(|| format!("operator, {kind} {shown}"))?;
        }
        Ok(())
    })
}

/// Checks generated cases of a kind.
fn check_cases(text: &str, cases: Vec<Case>) -> Result<()> {
    check(&Table { cases, ..table(text) })
}

#[test]
fn migration_is_checked() -> Result<()> {
    check(&table(MIGRATION))
}

#[test]
fn analysis_is_checked() -> Result<()> {
    check(&table(ANALYSIS))
}

#[test]
fn database_is_checked() -> Result<()> {
    check(&table(DATABASE))
}

#[test]
fn metrics_provider_is_checked() -> Result<()> {
    check(&table(METRICS_PROVIDER))
}

#[test]
fn migration_is_bounded() -> Result<()> {
    let step = |index: usize| json!({"name": format!("s{index}"), "sql": {"up": "SELECT 1"}});
    let steps = |count: usize| json!({"up": null, "steps": (0..count).map(step).collect::<Value>()});
    let path = |count: usize| json!({"searchPath": vec!["public"; count]});
    let sql = |kib: usize| "-".repeat(kib * 1024);
    let halves = |up: usize, down: usize| {
        json!({"up": null, "steps": [
            {"sql": {"up": sql(48), "down": sql(48)}}, {"sql": {"up": sql(up), "down": sql(down)}},
        ]})
    };
    let cases = vec![
        Case::accepts(steps(64)),
        Case::refuses(steps(65), "spec.steps", "must have at most 64 items"),
        Case::accepts(path(16)),
        Case::refuses(path(17), "spec.searchPath", "must have at most 16 items"),
        Case::accepts(json!({"up": sql(192)})),
        Case::refuses(json!({"up": sql(193)}), "spec.up", "may not be more than 196608"),
        Case::refuses(json!({"up": sql(191), "down": sql(2)}), "spec", "192 KiB"),
        Case::accepts(halves(48, 48)),
        Case::refuses(halves(49, 48), "spec", "192 KiB"),
        Case::refuses(halves(48, 49), "spec", "192 KiB"),
    ];
    check_cases(MIGRATION, cases)
}

#[test]
fn analysis_is_bounded() -> Result<()> {
    let metric = &table(ANALYSIS).spec["analysis"]["metrics"][0];
    let named = |index: usize| {
        let mut metric = metric.clone();
        metric["name"] = json!(format!("m{index}"));
        metric
    };
    let metrics = |count: usize| json!({"analysis": {"metrics": (0..count).map(named).collect::<Value>()}});
    let arg = |index: usize| (format!("a{index}"), json!("x"));
    let args = |count: usize| json!({"analysis": {"args": (0..count).map(arg).collect::<Value>()}});
    let long = json!({"analysis": {"args": {"app": "x".repeat(254)}}});
    let cases = vec![
        Case::accepts(metrics(16)),
        Case::refuses(metrics(17), "spec.analysis.metrics", "must have at most 16 items"),
        Case::accepts(args(16)),
        Case::refuses(args(17), "spec.analysis.args", "at most 16"),
        Case::refuses(long, "spec.analysis.args.app", "may not be more than 253"),
    ];
    check_cases(ANALYSIS, cases)
}

#[test]
fn database_and_metrics_provider_are_bounded() -> Result<()> {
    let header = |index: usize| json!({"name": format!("X-{index}"), "value": "x"});
    let headers =
        |count: usize| json!({"prometheus": {"headers": (0..count).map(header).collect::<Value>()}});
    let cases = vec![
        Case::accepts(headers(16)),
        Case::refuses(headers(17), "spec.prometheus.headers", "must have at most 16 items"),
    ];
    check_cases(METRICS_PROVIDER, cases)?;
    let role = |length: usize| json!({"ownerRole": "x".repeat(length)});
    let cases =
        vec![Case::accepts(role(63)), Case::refuses(role(64), "spec.ownerRole", "may not be more than 63")];
    check_cases(DATABASE, cases)
}
