//! A small shop service for the demo and the measurements: it really queries its database, so that a schema change
//! that breaks it is seen in its error rate.
//!
//! - `shop seed` makes the schema and fills it.
//! - `shop serve` answers HTTP requests and serves its metrics.
//! - `shop load` sends requests at a fixed rate and reports what failed.

mod load;
mod metrics;
mod seed;
mod serve;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// A small shop on PostgreSQL.
#[derive(Parser)]
#[command(name = "shop")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Seed(seed::Arguments),
    Serve(serve::Arguments),
    Load(load::Arguments),
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Seed(arguments) => seed::run(arguments).await,
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Load(arguments) => load::run(arguments).await,
    }
}
