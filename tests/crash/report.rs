//! What the matrix says at its end: runs, points, faults, violations and how to see each again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use whimbrel::crash::Site;

use super::choice::{tell_slow, tell_verdict};
use super::found;
use super::matrix::{Known, Played};

/// Progress is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(15);

/// At most one of so many runs may be without its fault.
const MOST_INVALID: usize = 20;

/// From so many runs on, a point that no run passed is a failure.
const ALL: usize = 5000;
/// What needs more than one server, or an object at rest: `tests/it` sees to it.
const ELSEWHERE: &[Site] = &[Site::LedgerAdopted, Site::TokensAnswered];

/// What was played so far.
pub struct Report {
    seed: u64,
    planned: usize,
    began: Instant,
    told: Instant,
    valid: usize,
    invalid: Vec<String>,
    slow: Vec<String>,
    violations: usize,
    lost: usize,
    faults: BTreeMap<String, (usize, Duration)>,
    workloads: BTreeMap<String, usize>,
    passed: BTreeSet<String>,
    fired: BTreeSet<String>,
}

fn points() -> BTreeSet<String> {
    let of = |site: &Site| {
        let site = *site;
        site.moments().iter().map(move |moment| format!("{site:?}/{moment:?}"))
    };
    Site::ALL.iter().flat_map(of).collect()
}

fn point(place: &str) -> String {
    place.split('#').next().unwrap_or(place).to_owned()
}

impl Report {
    pub fn new(known: &Known, planned: usize, seed: u64) -> Self {
        let passed = known.references.values().flat_map(|one| one.points.iter().map(|place| point(place)));
        println!("{planned} runs, seed {seed}");
        Self {
            seed,
            planned,
            began: Instant::now(),
            told: Instant::now(),
            valid: 0,
            invalid: Vec::new(),
            slow: Vec::new(),
            violations: 0,
            lost: 0,
            faults: BTreeMap::new(),
            workloads: BTreeMap::new(),
            passed: passed.collect(),
            fired: BTreeSet::new(),
        }
    }

    /// Counts a run, and prints what it violated.
    pub fn add(&mut self, played: &Played) {
        self.passed.extend(played.shown.points.iter().map(|place| point(place)));
        self.fired.extend(played.shown.fired.iter().map(|place| point(place)));
        self.lost += usize::from(played.shown.lost);
        if played.is_valid() {
            self.valid += 1;
            let (count, time) = self.faults.entry(format!("{:?}", played.case.fault)).or_default();
            *count += 1;
            *time += played.took;
            *self.workloads.entry(played.case.workload.clone()).or_default() += 1;
        } else if played.shown.violations.is_empty() {
            self.invalid.push(played.case.to_string());
        }
        if played.slow && played.shown.violations.is_empty() {
            self.slow.push(played.case.to_string());
        }
        if !played.shown.violations.is_empty() {
            self.violations += 1;
            if let Some(name) = found::name(&played.case) {
                println!("found before: {name}");
            }
            println!("VIOLATION {}\n    again: make crash RUN='{}'", played.case, played.case);
            for violation in &played.shown.violations {
                println!("    {violation}");
            }
            println!("    the drivers said last:\n  {}", played.shown.logs.replace('\n', "\n  "));
        }
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            let done = self.valid + self.invalid.len();
            println!(
                "{done} of {} runs, {} violations, {:.0?}",
                self.planned,
                self.violations,
                self.began.elapsed()
            );
        }
    }

    /// Prints the summary, and returns whether all is well.
    pub fn print(&self) -> bool {
        let all = points();
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = f64::from(u32::try_from(self.valid).unwrap_or_default()) * 60.0 / seconds;
        println!("\nruns        {} in {seconds:.0} s, {rate:.0} a minute, seed {}", self.valid, self.seed);
        println!("workloads   {:?}", self.workloads);
        println!("faults      fired, and seconds for each");
        for (fault, (count, time)) in &self.faults {
            let mean = time.as_secs_f64() / f64::from(u32::try_from(*count).unwrap_or(1));
            println!("            {fault:<12} {count:>5}  {mean:.2}");
        }
        println!("            of the failovers, {} lost something that was known to be there", self.lost);
        let fired = self.fired.intersection(&all).count();
        println!("points      {} of {} covered by a fault", fired, all.len());
        let missed: Vec<&String> = all.difference(&self.fired).collect();
        println!("            without a fault: {missed:?}");
        let never: Vec<&String> = all.difference(&self.passed).collect();
        println!("            never passed: {never:?}");
        let elsewhere =
            |point: &String| ELSEWHERE.iter().any(|site| point.starts_with(&format!("{site:?}/")));
        let all_passed = self.planned < ALL || never.iter().all(|point| elsewhere(point));
        println!("invalid     {} (the fault did not fire) {:?}", self.invalid.len(), first(&self.invalid));
        let in_time = tell_slow(&self.slow, self.planned);
        println!("violations  {}", self.violations);
        tell_verdict(&[
            (self.violations == 0, "there are violations"),
            (in_time, "too many runs were slow"),
            (all_passed, "no run passed some of the points"),
            (self.valid > 0, "no run was valid"),
            (self.invalid.len() * MOST_INVALID <= self.planned, "too many runs were invalid"),
        ])
    }
}

fn first(all: &[String]) -> &[String] {
    &all[..all.len().min(5)]
}
