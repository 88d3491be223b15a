//! Runs of the cluster: a workload, a request to the API server, and what happens there.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::harness::api_proxy::Fault;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name of the workload.
    pub workload: String,
    /// Such as `patch/migrations/status#2`.
    pub point: String,
    /// What happens there.
    pub fault: Fault,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{:?}", self.workload, self.point, self.fault)
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let [workload, point, fault] = parts[..] else { bail!("{text} is not WORKLOAD:REQUEST#HIT:FAULT") };
        let named = Fault::ALL.into_iter().find(|one| format!("{one:?}") == fault);
        Ok(Self {
            workload: workload.to_owned(),
            point: point.to_owned(),
            fault: named.with_context(|| format!("there is no fault {fault}"))?,
        })
    }
}

/// What these runs found, at requests that are made in every run: each is played first, in every sample. The names say what
/// must not happen again.
const FOUND: &[(&str, &str)] = &[
    (
        "a_database_is_never_looked_at_after_a_first_list_that_failed",
        "concurrent:list/metricsproviders#2:Reset",
    ),
    ("a_database_is_looked_at_too_early_and_never_again", "transactional:create/events#1:Reset"),
    ("a_database_names_a_run_that_has_ended", "breach:get/databases#4:Stale"),
];

/// The cases that were found before.
///
/// # Errors
/// When one cannot be read.
pub fn found() -> Result<Vec<Case>> {
    FOUND.iter().map(|(_, case)| case.parse()).collect()
}

/// How often the later requests of a kind are made depends on the machine.
const HITS: u32 = 5;

/// Whether a fault says something at a request.
fn applies(fault: Fault, point: &str) -> bool {
    let hit = point.rsplit('#').next().and_then(|hit| hit.parse().ok());
    if hit.is_none_or(|hit: u32| hit > HITS) {
        return false;
    }
    let writes = ["create/", "update/", "patch/", "delete/"].iter().any(|verb| point.starts_with(verb));
    let watches = point.starts_with("watch/");
    match fault {
        Fault::Conflict => writes,
        Fault::LostReply | Fault::Truncated | Fault::Kill => !watches,
        // Before there is a watch, none can expire; before a list was answered, none is old.
        Fault::Expired | Fault::Stale => !point.starts_with("list/") && !point.contains("leases"),
        _ => true,
    }
}

/// Those that take seconds are rare.
fn weight(fault: Fault) -> u32 {
    match fault {
        Fault::BlackHole => 1,
        Fault::Slow => 2,
        _ => 6,
    }
}

/// Every request of every workload with every fault.
pub fn every<'a>(workloads: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (workload, asked) in workloads {
        let points: BTreeSet<&String> = asked.iter().collect();
        for (point, fault) in points.into_iter().flat_map(|point| Fault::ALL.map(|fault| (point, fault))) {
            if applies(fault, point) {
                cases.push(Case { workload: workload.to_owned(), point: point.clone(), fault });
            }
        }
    }
    cases
}

/// Draws a sample: each fault and each kind of request at least once, as far as it reaches, then by weight.
pub fn sample(cases: &[Case], count: usize, seed: u64) -> Vec<Case> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut left = cases.to_vec();
    left.shuffle(&mut random);
    // The heavier ones come first, each still at random among its own.
    left.sort_by_cached_key(|case| random.random_range(0..weight(case.fault)) == 0);
    let (mut faults, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let (mut chosen, rest): (Vec<Case>, Vec<Case>) = left.into_iter().partition(|case| {
        let kind = case.point.split('#').next().unwrap_or_default().to_owned();
        let news = !faults.contains(&case.fault) || !kinds.contains(&kind);
        faults.insert(case.fault);
        kinds.insert(kind);
        news
    });
    chosen.extend(rest);
    chosen.truncate(count);
    chosen
}
