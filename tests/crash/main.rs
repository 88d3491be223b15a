//! The matrix of crashes: the engine and PostgreSQL, without Kubernetes. `make crash`, `make mutants`; CONTRIBUTING.md tells how
//! to play one run again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../harness/mod.rs"]
mod harness;

mod choice;
mod cluster;
mod direct;
mod driver;
mod fault;
mod fill;
mod found;
mod judge;
mod matrix;
mod mutants;
mod oracle;
mod orders;
mod owner;
mod play;
mod report;
mod stage;
mod workload;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// What the program does.
#[derive(Parser)]
enum Command {
    /// Runs the engine; the matrix starts it.
    Driver {
        /// What it works on.
        orders: PathBuf,
    },
    /// Asks the defences that hide each other; `mutants` starts it.
    Direct {
        /// Port of the server.
        port: u16,
        /// An empty database of it.
        database: String,
    },
    /// Plays the matrix, or a part of it.
    Matrix(Options),
    /// Plays the matrix with each planted bug until one run shows it.
    Mutants(Options),
    /// Plays the operator before an API server that fails, or a part of that.
    Cluster(choice::Choice),
}

/// Which runs.
#[derive(clap::Args, Clone)]
struct Options {
    #[command(flatten)]
    choice: choice::Choice,
    /// With one planted bug.
    #[arg(long)]
    mutant: Option<String>,
}

fn main() -> Result<ExitCode> {
    let command = Command::parse();
    if let Command::Driver { orders } = &command {
        return Ok(ExitCode::from(driver::run(orders)?));
    }
    harness::init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let passed = runtime.block_on(async {
        match command {
            Command::Driver { .. } => Ok(false),
            Command::Direct { port, database } => direct::check(port, &database).await.map(|()| true),
            Command::Matrix(options) => crash(matrix::learn().await?, options).await,
            Command::Mutants(options) => mutants::all(&matrix::learn().await?, &options).await,
            Command::Cluster(options) => cluster::play_all(options).await,
        }
    })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn crash(known: matrix::Known, options: Options) -> Result<bool> {
    let choice = &options.choice;
    let seed = choice.seed();
    let mut cases = matrix::every(&known, seed);
    choice.narrow(&mut cases);
    let there_are = cases.len();
    print!("of {there_are} that there are, ");
    let mut cases = match (choice.one::<fault::Case>()?, choice.runs) {
        (Some(case), _) => vec![case],
        (None, Some(runs)) if runs < there_are => matrix::sample(&cases, runs, seed),
        (None, runs) => matrix::fill(cases, runs.unwrap_or(there_are), seed),
    };
    if choice.only.is_none() && cases.len() > found::ALL.len() {
        cases.splice(..0, found::cases()?);
    }
    let mut report = report::Report::new(&known, cases.len(), seed);
    matrix::play(&known, cases, choice.workers, options.mutant.as_deref(), |played| {
        report.add(&played);
        true
    })
    .await?;
    Ok(report.print())
}
