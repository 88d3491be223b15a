//! `make bench`: what the operator costs and how fast it is, measured from outside on real servers.
//!
//! Numbers are not tests: one that misses its goal is printed as missed, and the program succeeds. It fails only where
//! something could not be measured.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/harness/mod.rs"]
mod harness;

#[path = "../shared/mod.rs"]
mod shared;

mod breach;
mod crowd;
mod fleet;
mod idle;
mod overhead;
mod peers;
mod stall;
mod trivial;

use anyhow::Result;
use clap::Parser;

use peers::Way;
use shared::report::Report;
use shared::stage::Stage;
use shared::{Binary, Common, machine};

/// What is measured, and how often.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    binary: Binary,
    /// golang-migrate; left out where it is absent.
    #[arg(long, default_value = "")]
    migrate: String,
    /// pgroll; left out where it is absent.
    #[arg(long, default_value = "")]
    pgroll: String,
    /// Trivial migrations without, and as many with a copy.
    #[arg(long, default_value_t = 20)]
    migrations: usize,
    /// Rounds of the overhead, of each stall, and of the breach.
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

    /// The ways to change a schema that there are.
    fn ways(&self) -> Vec<Way> {
        let program = |path: &str| (!path.is_empty()).then(|| path.to_owned());
        let (migrate, pgroll) = (program(&self.migrate), program(&self.pgroll));
        let peers = [migrate.map(Way::Migrate), pgroll.map(Way::Pgroll)];
        [Way::Operator, Way::Psql]
            .into_iter()
            .chain(peers.into_iter().flatten())
            .chain([Way::Nobody])
            .collect()
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    options.binary.check("bench")?;
    Box::pin(shared::begin(measure(&options))).await
}

async fn measure(options: &Options) -> Result<()> {
    let operator = &options.binary.operator;
    let mut stage = Stage::build(operator).await?;
    let mut report = Report::new(machine::facts_with(&stage, operator).await?);
    if options.wants(Part::Trivial) {
        report.extend(trivial::measure(&stage, options.migrations).await?);
    }
    if options.wants(Part::Overhead) {
        report.extend(overhead::measure(&stage, options.rounds).await?);
    }
    if options.wants(Part::Stall) {
        stall::measure(&stage, &options.ways(), options.rounds, &mut report).await?;
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
    options.common.tell(report)
}
