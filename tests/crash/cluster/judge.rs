//! Holds what a run led to against the same run without a fault. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::judge::effects;
use super::super::oracle::{Seen, differences};
use super::Act;
use crate::harness::api_proxy::Fault;

/// So many writes more than without a fault are what a retry costs.
const RETRIES: usize = 8;
/// So many more for each second in which nothing succeeds: a few objects, each tried again every second or two.
const EACH_SECOND: usize = 5;
/// So many more for each further start of the operator.
const EACH_START: usize = 6;

/// What a run showed.
#[derive(Debug, Default)]
pub struct Shown {
    /// The Migration at the end; none where it is gone.
    pub migration: Option<Value>,
    /// The Database at the end.
    pub database: Value,
    /// What the superuser sees, at the beginning and at the end.
    pub before: Vec<String>,
    pub seen: Seen,
    /// What was asked of the API server.
    pub asked: Vec<String>,
    /// How many of it would change something.
    pub writes: usize,
    /// How often the operator was started.
    pub started: u32,
    /// Whether the fault fired.
    pub fired: bool,
    /// It was not in time at first, and was played again.
    pub slow: bool,
    /// What should not be.
    pub wrong: Vec<String>,
    /// The end of the operator's log.
    pub log: String,
}

/// How a workload ends when nothing is in its way.
pub struct Reference {
    pub asked: Vec<String>,
    pub wrong: Vec<String>,
    pub log: String,
    writes: usize,
    seen: Seen,
    migration: Option<BTreeMap<String, String>>,
    database: BTreeMap<String, String>,
}

impl From<Shown> for Reference {
    fn from(shown: Shown) -> Self {
        let mut wrong = shown.wrong;
        wrong.extend(shown.seen.wrong.iter().cloned());
        wrong.extend(undone(&shown.before, &shown.seen));
        Self {
            asked: shown.asked,
            wrong,
            log: shown.log,
            writes: shown.writes,
            migration: shown.migration.as_ref().map(told),
            database: told(&shown.database),
            seen: shown.seen,
        }
    }
}

/// What of a status people and their tools go by.
fn told(object: &Value) -> BTreeMap<String, String> {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut told: BTreeMap<String, String> = conditions
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            (text("type"), format!("{} {}", text("status"), text("reason")))
        })
        .collect();
    for key in ["observedGeneration", "applied", "toVersion", "currentVersions", "activeMigration"] {
        told.insert(key.to_owned(), status[key].to_string());
    }
    told
}

fn compare(what: &str, expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let keys = expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key)));
    keys.filter(|key| expected.get(*key) != found.get(*key))
        .map(|key| format!("{what}: {key} is {:?}, not {:?}", found.get(key), expected.get(key)))
        .collect()
}

/// Returns what is wrong with a run.
pub fn judge(act: Act, fault: Fault, reference: &Reference, shown: &Shown) -> Vec<String> {
    let mut wrong = shown.seen.wrong.clone();
    wrong.extend(undone(&shown.before, &shown.seen));
    if shown.seen.rows != reference.seen.rows {
        wrong.push("rows were lost or changed".to_owned());
    }
    // Where it was deleted at another moment, it may have been applied by then.
    if act != Act::Delete {
        wrong.extend(database(reference, &shown.seen));
        match (&reference.migration, &shown.migration) {
            (Some(expected), Some(found)) => {
                wrong.extend(compare("the Migration", expected, &told(found)));
                wrong.extend(ahead(found, &shown.seen));
            }
            (expected, found) => {
                wrong.push(format!("a Migration: {}, not {}", found.is_some(), expected.is_some()));
            }
        }
        wrong.extend(compare("the Database", &reference.database, &told(&shown.database)));
    } else if !matches!(shown.seen.phases.as_slice(), [one] if one == "Aborted" || one == "Succeeded") {
        wrong.push(format!("it was deleted, and the runs ended as {:?}", shown.seen.phases));
    }
    let seconds = usize::try_from(fault.lasts().as_secs()).unwrap_or_default();
    let starts = usize::try_from(shown.started.saturating_sub(1)).unwrap_or_default();
    let most = reference.writes + RETRIES + EACH_SECOND * seconds + EACH_START * starts;
    if shown.writes > most {
        wrong.push(format!("{} writes, and not at most {most}: {:?}", shown.writes, shown.asked));
    }
    wrong
}

fn database(reference: &Reference, seen: &Seen) -> Vec<String> {
    let mut wrong = effects(&reference.seen.ddl, &seen.ddl);
    if seen.catalog != reference.seen.catalog {
        wrong.push(format!("the catalog: {}", differences(&reference.seen.catalog, &seen.catalog)));
    }
    if seen.phases != reference.seen.phases {
        wrong.push(format!("the runs ended as {:?}, not {:?}", seen.phases, reference.seen.phases));
    }
    wrong
}

/// Whether something is left of what was undone, whenever that was.
fn undone(before: &[String], seen: &Seen) -> Option<String> {
    let aborted = matches!(seen.phases.as_slice(), [one] if one == "Aborted");
    let left = aborted && seen.catalog != before;
    left.then(|| format!("what was undone is not gone: {}", differences(before, &seen.catalog)))
}

/// Whether a status says that something is applied which is not.
fn ahead(migration: &Value, seen: &Seen) -> Option<String> {
    let says = migration["status"]["applied"] == true;
    let is = seen.phases.iter().any(|phase| phase == "Succeeded");
    (says != is).then(|| format!("applied is {says}, and the runs ended as {:?}", seen.phases))
}
