//! `make bench`: what the operator costs and how fast it is, measured from outside on real servers.
//!
//! Numbers are not tests: one that misses its goal is printed as missed, and the program succeeds. It fails only where
//! something could not be measured.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/harness/mod.rs"]
mod harness;

mod breach;
mod fleet;
mod idle;
mod machine;
mod overhead;
#[allow(dead_code)]
mod report;
mod sightings;
mod stage;
mod stall;
mod statistics;
mod trivial;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use report::Report;
use stage::Stage;

/// What is measured, and how often.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// The operator that is measured: a release build.
    #[arg(long)]
    operator: PathBuf,
    /// Names the file of the raw results: `<date>-<name>.json`.
    #[arg(long, default_value = "local")]
    name: String,
    /// Where the raw results go; nothing is written without it.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Trivial migrations without, and as many with a copy.
    #[arg(long, default_value_t = 20)]
    migrations: usize,
    /// Rounds of the stall and of the breach.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long the idle operator is looked at, seconds.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Finished Migrations at a restart.
    #[arg(long, default_value_t = 100)]
    finished: usize,
    /// Databases with twenty migrations each, all at once.
    #[arg(long, default_value_t = 50)]
    databases: usize,
    /// Parts to measure; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Trivial,
    Overhead,
    Stall,
    Breach,
    Idle,
    Fleet,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    harness::init();
    ensure!(
        options.operator.is_file(),
        "{} is missing: run make bench, which builds it",
        options.operator.display()
    );
    measure(&options).await.inspect_err(|_| harness::scratch::report_failure("the measurement failed"))
}

async fn measure(options: &Options) -> Result<()> {
    println!("load of this machine: {}", machine::load()?);
    let mut stage = Stage::build(&options.operator).await?;
    let mut report = Report::new(machine::facts(&stage, &options.operator).await?);
    if options.wants(Part::Trivial) {
        report.extend(trivial::measure(&stage, options.migrations).await?);
    }
    if options.wants(Part::Overhead) {
        report.extend(overhead::measure(&stage, options.rounds).await?);
    }
    if options.wants(Part::Stall) {
        report.extend(stall::measure(&stage, options.rounds).await?);
    }
    if options.wants(Part::Breach) {
        report.extend(breach::measure(&stage, options.rounds).await?);
    }
    if options.wants(Part::Idle) {
        report.extend(idle::measure(&mut stage, options.finished, options.idle).await?);
    }
    if options.wants(Part::Fleet) {
        report.extend(fleet::measure(&mut stage, options.databases).await?);
    }
    stage.stop().await?;
    report.ended(machine::load()?);
    println!("\n{}", report.table());
    if let Some(directory) = &options.results {
        let path = report.write(directory, &options.name);
        println!("raw results: {}", path.context("cannot write the raw results")?.display());
    }
    Ok(())
}
