//! The faults of a cluster: the operator as a process, under the chart's rights, before an API server that refuses, forgets,
//! loses answers and falls silent. Every effect happens once, the last status is right, and nobody is written to without end.

mod case;
mod judge;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::case::Case;
use self::judge::{Reference, Shown};
use self::world::{Lane, Run};
use super::choice::{Choice, out_of_time, tell_slow, tell_verdict};
use super::oracle;
use super::workload::{Workload, all};
use crate::harness::api_proxy::Fault;
use crate::harness::{kubernetes, metrics_stub};

/// A run has to end so soon after its last fault.
const CONVERGES: Duration = Duration::from_mins(1);
/// A run that takes longer has hung.
const HANGS: Duration = Duration::from_mins(4);
/// For how long nothing may be asked for the operator to be idle: it looks at a Database a second after the last news.
const SILENT: Duration = Duration::from_millis(1300);

/// At most one of so many runs may be without its fault: one in twelve is, because not every run makes every request of the
/// run before, and a sample of a few dozen needs some room for chance.
const MOST_INVALID: usize = 3;

/// What a person does in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Asks for a rollback of what is applied.
    Rollback,
    /// Deletes the object.
    Delete,
}

struct Known {
    workloads: Vec<Workload>,
    references: BTreeMap<&'static str, Reference>,
}

impl Known {
    /// The workloads that say something here, and what is done in each.
    fn act(workload: &str) -> Option<Act> {
        match workload {
            "transactional" | "concurrent" | "breach" | "fails" => Some(Act::Nothing),
            "rollback" => Some(Act::Rollback),
            "wishes" => Some(Act::Delete),
            _ => None,
        }
    }
}

/// Plays the matrix or a part of it, and returns whether all is well.
///
/// # Errors
/// When the harness itself fails.
pub async fn play_all(choice: Choice) -> Result<bool> {
    let began = Instant::now();
    let server = kubernetes::shared().await?;
    server.install_crds().await?;
    let metrics = metrics_stub::start().await?;
    let seed = choice.seed();
    let lanes = (0..choice.workers).map(|number| Lane::start(server, &metrics, number));
    let mut lanes = futures::future::try_join_all(lanes).await?;
    let mut known = Known {
        workloads: all().into_iter().filter(|one| Known::act(one.name).is_some()).collect(),
        references: BTreeMap::new(),
    };
    let one = choice.one::<Case>()?;
    if let Some(case) = &one {
        known.workloads.retain(|workload| workload.name == case.workload);
    }
    let names: Vec<&'static str> = known.workloads.iter().map(|workload| workload.name).collect();
    let mut references = BTreeMap::new();
    play(&mut lanes, &known, names.iter().map(|name| (*name, None)).collect(), |name, _, shown| {
        references.insert(name, Reference::from(shown));
    })
    .await?;
    known.references = references;
    for (name, reference) in &known.references {
        let (wrong, log) = (reference.wrong.join("\n"), &reference.log);
        anyhow::ensure!(wrong.is_empty(), "{name} without a fault: {wrong}\n{log}");
    }
    println!(
        "{} requests of {} workloads learned in {:.0?}",
        known.requests().len(),
        names.len(),
        began.elapsed()
    );
    let cases = one.map_or_else(|| choose(&choice, &known, seed), |case| Ok(vec![case]))?;
    let mut report = Report { planned: cases.len(), seed, ..Report::default() };
    let cases = cases.into_iter().map(|case| {
        let name = names.iter().find(|name| **name == case.workload).copied();
        name.map(|name| (name, Some(case))).context("no such workload")
    });
    let cases = cases.collect::<Result<_>>()?;
    play(&mut lanes, &known, cases, |_, case, shown| report.add(case.as_ref(), &shown)).await?;
    Ok(report.print(&known, began.elapsed()))
}

fn choose(choice: &Choice, known: &Known, seed: u64) -> Result<Vec<Case>> {
    let asked = known.references.iter().map(|(name, reference)| (*name, reference.asked.as_slice()));
    let mut cases = case::every(asked);
    choice.narrow(&mut cases);
    let count = choice.runs.unwrap_or(cases.len());
    let mut chosen = if choice.only.is_none() { case::found()? } else { Vec::new() };
    chosen.extend(case::sample(&cases, count, seed));
    Ok(chosen)
}

impl Known {
    fn requests(&self) -> BTreeSet<&str> {
        let all = self.references.values().flat_map(|reference| &reference.asked);
        all.filter_map(|place| place.split('#').next()).collect()
    }
}

/// Plays runs in all lanes, and hands each to `seen` as it ends.
async fn play(
    lanes: &mut [Lane],
    known: &Known,
    runs: VecDeque<(&'static str, Option<Case>)>,
    seen: impl FnMut(&'static str, Option<Case>, Shown),
) -> Result<()> {
    let queue = RefCell::new(runs);
    let seen = RefCell::new(seen);
    let work = async |lane: &mut Lane| {
        loop {
            let next = queue.borrow_mut().pop_front();
            let Some((name, case)) = next else { return anyhow::Ok(()) };
            let mut shown = within(lane, known, name, case.as_ref()).await?;
            if case.is_some() && out_of_time(&shown.wrong) {
                shown = Shown { slow: true, ..within(lane, known, name, case.as_ref()).await? };
            }
            (seen.borrow_mut())(name, case, shown);
        }
    };
    futures::future::try_join_all(lanes.iter_mut().map(work)).await?;
    Ok(())
}

/// Plays one run, which may hang.
async fn within(lane: &mut Lane, known: &Known, name: &str, case: Option<&Case>) -> Result<Shown> {
    match tokio::time::timeout(HANGS, one(lane, known, name, case)).await {
        Ok(shown) => shown.with_context(|| format!("in {name} {case:?}")),
        Err(_) => Ok(Shown { wrong: vec![format!("it hangs for {HANGS:?}")], ..Shown::default() }),
    }
}

async fn one(lane: &mut Lane, known: &Known, name: &str, case: Option<&Case>) -> Result<Shown> {
    let workload = known.workloads.iter().find(|one| one.name == name).context("no such workload")?;
    let act = Known::act(name).context("no such workload")?;
    lane.proxy.plan(case.map(|case| (case.point.clone(), case.fault)));
    let lasts = case.map_or(Duration::ZERO, |case| case.fault.lasts());
    let mut run = lane.begin().await?;
    let played = run.play(workload, act, CONVERGES + lasts).await;
    let judge = async |run: &Run<'_>| {
        let shown = run.shown().await?;
        let against = known.references.get(name).zip(case);
        Ok(against
            .map_or_else(Vec::new, |(reference, case)| judge::judge(act, case.fault, reference, &shown)))
    };
    let wrong = run.settle((SILENT, CONVERGES + lasts), judge).await?;
    let mut shown = run.shown().await?;
    shown.wrong = played.err().map(|error| format!("{error:#}")).into_iter().chain(wrong).collect();
    shown.wrong.extend(oracle::staying(&run.database).await?);
    let log = run.log();
    run.clear().await?;
    if !shown.wrong.is_empty() {
        shown.log = log;
    }
    Ok(shown)
}

#[derive(Default)]
struct Report {
    planned: usize,
    seed: u64,
    faults: BTreeMap<Fault, usize>,
    requests: BTreeSet<String>,
    invalid: Vec<String>,
    slow: Vec<String>,
    violations: usize,
    most: usize,
}

impl Report {
    fn add(&mut self, case: Option<&Case>, shown: &Shown) {
        let Some(case) = case else { return };
        if !shown.wrong.is_empty() {
            self.violations += 1;
            println!("VIOLATION {case}\n    again: make crash-cluster RUN='{case}'");
            for line in &shown.wrong {
                println!("    {line}");
            }
            println!("    it asked: {}", shown.asked.join(" "));
            println!("    the operator said last:\n  {}", shown.log.replace('\n', "\n  "));
        } else if shown.slow && shown.fired {
            self.slow.push(case.to_string());
        } else if !shown.fired {
            self.invalid.push(case.to_string());
            return;
        }
        self.most = self.most.max(shown.writes);
        *self.faults.entry(case.fault).or_default() += 1;
        self.requests.extend(case.point.split('#').next().map(str::to_owned));
    }

    fn print(&self, known: &Known, took: Duration) -> bool {
        let valid: usize = self.faults.values().sum();
        println!("\nruns        {valid} before an API server in {took:.0?}, seed {}", self.seed);
        println!("faults      fired: {:?}", self.faults);
        let all = known.requests();
        let missed: Vec<&&str> = all.iter().filter(|request| !self.requests.contains(**request)).collect();
        println!(
            "requests    {} of {} kinds met a fault, without one: {missed:?}",
            all.len() - missed.len(),
            all.len()
        );
        println!("writes      {} at most in a run", self.most);
        println!("invalid     {} (the fault did not fire) {:?}", self.invalid.len(), self.invalid);
        let in_time = tell_slow(&self.slow, self.planned);
        println!("violations  {}", self.violations);
        tell_verdict(&[
            (self.violations == 0, "there are violations"),
            (in_time, "too many runs were slow"),
            (valid > 0, "no run was valid"),
            (self.invalid.len() * MOST_INVALID <= self.planned, "too many runs were invalid"),
        ])
    }
}
