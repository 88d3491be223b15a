//! Which runs there are, and who plays them: every point of every workload with every fault, or a sample of that.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};

use super::choice::out_of_time;
use super::fault::{Case, Fault};
use super::fill;
use super::judge::Reference;
use super::oracle::{self, Seen};
use super::play::{Play, Shown, Version};
use super::stage::Stage;
use super::workload::{Workload, all};

/// A run that takes longer has hung.
const HANGS: Duration = Duration::from_mins(2);

/// The workloads, and how each ends without a fault.
pub struct Known {
    pub workloads: Vec<Workload>,
    pub references: BTreeMap<&'static str, Reference>,
}

/// A case that was played.
pub struct Played {
    pub case: Case,
    pub shown: Shown,
    pub took: Duration,
    /// It was not in time at first, and was played again.
    pub slow: bool,
}

impl Played {
    /// Whether its fault fired; else it says nothing.
    pub fn is_valid(&self) -> bool {
        let first = format!("{}#{}", self.case.point, self.case.hit);
        self.shown.fired.contains(&first)
    }
}

/// Plays each workload without a fault.
///
/// # Errors
/// When one does not end as it has to.
pub async fn learn() -> Result<Known> {
    let mut stage = Stage::start().await?;
    let workloads = all();
    let mut references = BTreeMap::new();
    for workload in &workloads {
        let before = before(&mut stage, workload).await?;
        let edits = workload.migrations.iter().any(|one| one.edited.is_some());
        let written = alone(&mut stage, workload, Version::Written).await?;
        let edited =
            if edits { Some(alone(&mut stage, workload, Version::Edited).await?.seen) } else { None };
        let applied = alone(&mut stage, workload, Version::Unwatched).await?.seen;
        let reference = Reference {
            points: written.points,
            before,
            seen: written.seen,
            copies: written.copies,
            edited,
            applied,
        };
        references.insert(workload.name, reference);
    }
    Ok(Known { workloads, references })
}

/// Looks at a database of a workload before anything happens.
async fn before(stage: &mut Stage, workload: &Workload) -> Result<Seen> {
    let Some(fill) = workload.fill else { return oracle::look(&stage.template(), false).await };
    let database = stage.database(None).await?;
    fill.prepare(&database).await?;
    let seen = oracle::look(&database, false).await?;
    stage.remove(&database).await?;
    Ok(seen)
}

/// Plays a workload without a fault.
async fn alone(stage: &mut Stage, workload: &Workload, version: Version) -> Result<Shown> {
    let shown = Play { workload, case: None, reference: None, mutant: None, version }.run(stage).await?;
    ensure!(
        shown.violations.is_empty(),
        "{} without a fault: {}\n{}",
        workload.name,
        shown.violations.join("\n"),
        shown.logs
    );
    Ok(shown)
}

/// Whether a point is one at which something of a run has just become lasting. What was there of the ledger is seen before.
fn lasting(point: &str) -> bool {
    let sites = [
        "RunStored",
        "StateMoved",
        "UnitUp",
        "UnitDown",
        "AloneUp",
        "AloneDown",
        "IntentStored",
        "BatchUp",
        "BatchDown",
        "BackfillBegun",
    ];
    let moments = ["CommittedNotAcknowledged", "AcknowledgedNotRecorded"];
    point.split_once('/').is_some_and(|(site, moment)| sites.contains(&site) && moments.contains(&moment))
}

fn applies(workload: &Workload, fault: Fault, point: &str) -> bool {
    let alone = workload.migrations.len() == 1;
    // It differs from `breach` in the watch only, and takes as long.
    if workload.name == "unknown" && !(fault == Fault::Kill || point.starts_with("Sample")) {
        return false;
    }
    match fault {
        // Of several migrations the later ones wait for a person when an earlier one failed.
        Fault::Cancel | Fault::Delete => alone,
        Fault::Failover => alone && workload.databases == 1 && lasting(point),
        Fault::Edit => workload.migrations.iter().any(|one| one.edited.is_some()),
        // What follows these points is what makes an effect last.
        Fault::LostReply => point.ends_with("/Sent") || point == "EpochTaken/BeforeIntent",
        // Seconds each: at what changes a database, and not at each look.
        Fault::Freeze | Fault::BlackHole => !point.starts_with("Probed"),
        _ => true,
    }
}

/// Every point of every workload with every fault.
pub fn every(known: &Known, seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for workload in &known.workloads {
        let points: BTreeSet<&String> = known.references[workload.name].points.iter().collect();
        for (place, fault) in points.iter().flat_map(|place| Fault::ALL.map(|fault| (place, fault))) {
            let Some((point, hit)) = place.split_once('#') else { continue };
            let hit = hit.parse().unwrap_or(1);
            if applies(workload, fault, point) && fill::applies(workload, fault, (point, hit)) {
                cases.push(Case {
                    workload: workload.name.to_owned(),
                    point: point.to_owned(),
                    hit,
                    fault,
                    seed,
                });
            }
        }
    }
    cases
}

/// Draws a sample: each fault and each point at least once, as far as it reaches, then by the weights of the faults.
pub fn sample(cases: &[Case], count: usize, seed: u64) -> Vec<Case> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut by_point: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases {
        by_point.entry(case.point.clone()).or_default().push(case.clone());
    }
    let mut chosen: Vec<Case> = Vec::new();
    for fault in Fault::ALL {
        let of: Vec<&Case> = cases.iter().filter(|case| case.fault == fault).collect();
        chosen.extend(of.choose(&mut random).map(|case| (*case).clone()));
    }
    for choices in by_point.values() {
        chosen.extend(choices.choose_weighted(&mut random, |case| case.fault.weight()).ok().cloned());
    }
    chosen.truncate(count);
    while chosen.len() < count {
        let drawn = cases.choose_weighted(&mut random, |case| case.fault.weight()).ok();
        chosen.extend(drawn.map(|case| Case { seed: random.random(), ..case.clone() }));
    }
    chosen
}

/// Fills up to a number of runs with further ones, and mixes all.
pub fn fill(mut cases: Vec<Case>, count: usize, seed: u64) -> Vec<Case> {
    let missing = count.saturating_sub(cases.len());
    let more = sample(&cases, missing, seed.wrapping_add(1));
    cases.extend(more);
    cases.shuffle(&mut StdRng::seed_from_u64(seed));
    cases
}

/// Plays cases on several servers at once, and hands each to `seen` as it ends, which says whether to go on.
///
/// # Errors
/// When the harness itself fails.
pub async fn play(
    known: &Known,
    cases: Vec<Case>,
    workers: usize,
    mutant: Option<&str>,
    seen: impl FnMut(Played) -> bool,
) -> Result<()> {
    let queue = RefCell::new(VecDeque::from(cases));
    let seen = RefCell::new(seen);
    let worker = async || {
        let mut stage = Stage::start().await?;
        loop {
            let next = queue.borrow_mut().pop_front();
            let Some(case) = next else { return anyhow::Ok(()) };
            let mut played = one(known, case.clone(), &mut stage, mutant).await?;
            if out_of_time(&played.shown.violations) {
                played = Played { slow: true, ..one(known, case, &mut stage, mutant).await? };
            }
            let on = (seen.borrow_mut())(played);
            if !on {
                queue.borrow_mut().clear();
            }
        }
    };
    futures::future::try_join_all((0..workers).map(|_| worker())).await?;
    Ok(())
}

async fn one(known: &Known, case: Case, stage: &mut Stage, mutant: Option<&str>) -> Result<Played> {
    let workload =
        known.workloads.iter().find(|one| one.name == case.workload).context("no such workload")?;
    let reference = known.references.get(workload.name);
    let began = Instant::now();
    let play = Play { workload, case: Some(&case), reference, mutant, version: Version::Written };
    let shown = tokio::time::timeout(HANGS, play.run(stage)).await;
    let shown = match shown {
        Ok(shown) => shown.with_context(|| format!("in {case}"))?,
        Err(_) => Shown { violations: vec![format!("it hangs for {HANGS:?}")], ..Shown::default() },
    };
    Ok(Played { case, shown, took: began.elapsed(), slow: false })
}
