//! What is migrated: the specs of each workload, and how it ends when nothing is in its way.

use serde_json::{Value, json};

use super::fill::{self, Fill};

/// A Migration of a workload.
pub struct Migration {
    /// Which of the workload's databases.
    pub database: usize,
    /// Name and UID of the object.
    pub name: &'static str,
    /// `spec`, without the reference to the database.
    pub spec: Value,
    /// `spec` after somebody edited it in the middle.
    pub edited: Option<Value>,
    /// The phase at the end.
    pub ends: &'static str,
}

/// A workload.
pub struct Workload {
    /// Name.
    pub name: &'static str,
    /// How many databases it has.
    pub databases: usize,
    /// Whether each has a writable copy.
    pub copy: bool,
    /// A rollback is asked for as soon as a migration is watched.
    pub rolled_back_on_request: bool,
    /// The table of a backfill, which somebody writes to meanwhile.
    pub fill: Option<Fill>,
    /// Its migrations.
    pub migrations: Vec<Migration>,
}

/// A spec of steps in SQL, each with its way back if that is written.
pub fn steps(version: &str, steps: &[(&str, Option<&str>)]) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|(up, down)| match down {
            Some(down) => json!({"sql": {"up": up, "down": down}}),
            None => json!({"sql": {"up": up}}),
        })
        .collect();
    json!({"databaseRef": {"name": "shop"}, "version": version, "steps": steps})
}

/// The same with more fields.
pub fn with(mut spec: Value, more: &Value) -> Value {
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    spec
}

/// A Migration of the first database.
pub fn migration(name: &'static str, spec: Value, ends: &'static str) -> Migration {
    Migration { database: 0, name, spec, edited: None, ends }
}

/// A workload on one database.
pub fn workload(name: &'static str, migrations: Vec<Migration>) -> Workload {
    Workload { name, databases: 1, copy: false, rolled_back_on_request: false, fill: None, migrations }
}

const COLUMN: (&str, Option<&str>) = ("ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'", None);
const TABLE: (&str, Option<&str>) =
    ("CREATE TABLE invoices (id bigint PRIMARY KEY, user_id bigint NOT NULL)", None);
const CHECK: (&str, Option<&str>) =
    ("ALTER TABLE orders ADD CONSTRAINT orders_cents CHECK (cents >= 0) NOT VALID", None);
const INDEX: (&str, Option<&str>) = ("CREATE INDEX CONCURRENTLY users_slow ON users (public.slow(id))", None);
const VALIDATE: (&str, Option<&str>) = ("ALTER TABLE orders VALIDATE CONSTRAINT orders_cents", None);

/// Three units that are transactions.
fn transactional() -> Workload {
    let mut one = migration("m1", steps("1", &[COLUMN, TABLE, CHECK]), "Succeeded");
    let other = ("ALTER TABLE orders ADD COLUMN note text", None);
    one.edited = Some(steps("1", &[COLUMN, TABLE, other]));
    workload("transactional", vec![one])
}

/// An index that is built concurrently, and a constraint that is validated in a step of its own.
fn concurrent() -> Workload {
    let rebuild = ("REINDEX INDEX CONCURRENTLY users_slow", Some("SELECT 1"));
    workload("concurrent", vec![migration("m1", steps("1", &[INDEX, CHECK, VALIDATE, rebuild]), "Succeeded")])
}

/// What is applied breaches its threshold at the first sample, and comes back. The data is put aside.
fn breach() -> Workload {
    let metric = json!({
        "name": "errors", "providerRef": {"name": "prometheus"}, "range": "1s",
        "query": "errors{phase=\"{{ phase }}\"}", "threshold": {"max": "0.5"},
    });
    let analysis = json!({"analysis": {
        "window": "2s", "interval": "1s", "warmup": "0s", "minSamples": 1, "maxExtension": "0s",
        "ingestDelay": "0s", "breach": {"samples": 1, "of": 1}, "metrics": [metric],
    }});
    workload("breach", vec![migration("m1", with(steps("1", &[COLUMN, INDEX]), &analysis), "RolledBack")])
}

/// Nothing can be said of what is applied, and the policy wants it back then.
fn unknown() -> Workload {
    let metric = json!({
        "name": "errors", "providerRef": {"name": "prometheus"}, "range": "1s",
        "query": "nothing{phase=\"{{ phase }}\"}", "threshold": {"max": "0.5"},
    });
    let analysis = json!({"analysis": {
        "window": "2s", "interval": "1s", "warmup": "0s", "minSamples": 1, "maxExtension": "0s",
        "ingestDelay": "0s", "onUnknown": {"action": "Rollback", "after": "1s"}, "metrics": [metric],
    }});
    workload("unknown", vec![migration("m1", with(steps("1", &[COLUMN]), &analysis), "RolledBack")])
}

/// A watched migration whose rollback is asked for: what it added is dropped, an index concurrently.
fn rollback() -> Workload {
    let metric = json!({
        "name": "errors", "providerRef": {"name": "prometheus"}, "range": "1s",
        "query": "errors{phase=\"fine\"}", "threshold": {"max": "0.5"},
    });
    let more = json!({"rollback": {"preserveData": false}, "analysis": {
        "window": "1h", "interval": "1m", "warmup": "0s", "minSamples": 1, "maxExtension": "0s",
        "ingestDelay": "0s", "breach": {"samples": 1, "of": 1}, "metrics": [metric],
    }});
    let spec = with(steps("1", &[COLUMN, INDEX, TABLE, CHECK, VALIDATE]), &more);
    let mut one = workload("rollback", vec![migration("m1", spec, "RolledBack")]);
    one.rolled_back_on_request = true;
    one
}

/// The rows do not fulfil a constraint, which the copy finds out; the primary is not touched.
fn refused() -> Workload {
    let written = ("ALTER TABLE users ADD COLUMN tier text", Some("ALTER TABLE users DROP COLUMN tier"));
    let wrong = ("ALTER TABLE orders ADD CONSTRAINT orders_none CHECK (cents < 0)", None);
    let spec = steps("1", &[written, TABLE, INDEX, wrong]);
    let mut one = workload("refused", vec![migration("m1", spec, "Failed")]);
    one.copy = true;
    one
}

/// A statement fails on the primary, because nothing was rehearsed, and what was before it comes back.
fn fails() -> Workload {
    let plain = json!({"rollback": {"preserveData": false}});
    let wrong = ("ALTER TABLE orders ADD CONSTRAINT orders_none CHECK (cents < 0)", None);
    workload("fails", vec![migration("m1", with(steps("1", &[COLUMN, INDEX, wrong]), &plain), "RolledBack")])
}

/// Rehearsed on a copy, applied, and followed by the copy.
fn rehearsed() -> Workload {
    let written = ("ALTER TABLE users ADD COLUMN score int", Some("ALTER TABLE users DROP COLUMN score"));
    let spec = steps("1", &[written, TABLE, INDEX]);
    let mut one = workload("rehearsed", vec![migration("m1", spec, "Succeeded")]);
    one.copy = true;
    one
}

/// Two migrations of one database and one of another, by one process.
fn several() -> Workload {
    let first = migration("m1", steps("1", &[COLUMN]), "Succeeded");
    let second = migration("m2", steps("2", &[INDEX, CHECK]), "Succeeded");
    let third = Migration { database: 1, ..migration("m3", steps("1", &[TABLE, COLUMN]), "Succeeded") };
    Workload { databases: 2, ..workload("several", vec![first, second, third]) }
}

/// Deleted and edited in the middle.
fn wishes() -> Workload {
    let plain = json!({"rollback": {"preserveData": false}});
    let mut one = migration("m1", with(steps("1", &[COLUMN, INDEX, TABLE, CHECK]), &plain), "Succeeded");
    one.edited = Some(with(steps("1", &[COLUMN, TABLE]), &plain));
    workload("wishes", vec![one])
}

/// All workloads.
pub fn all() -> Vec<Workload> {
    let mut all = vec![
        transactional(),
        concurrent(),
        breach(),
        unknown(),
        rollback(),
        fails(),
        refused(),
        rehearsed(),
        several(),
        wishes(),
    ];
    all.extend(fill::workloads());
    all
}
