//! What the measurements have in common: the servers and the operator that they run on, the application beside them, and
//! how numbers are told.

// Each binary that includes this module uses its own part of it.
#![allow(dead_code, unreachable_pub)]

pub mod load;
pub mod machine;
pub mod program;
pub mod report;
pub mod sightings;
pub mod stage;
pub mod statistics;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::harness;
use report::Report;

/// What every measurement is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Names the file of the raw results: `<date>-<name>.json`.
    #[arg(long, default_value = "local")]
    pub name: String,
    /// Where the raw results go; nothing is written without it.
    #[arg(long)]
    pub results: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The operator that is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Binary {
    /// The operator that is measured: a release build.
    #[arg(long)]
    pub operator: PathBuf,
}

impl Binary {
    /// Makes sure that there is one.
    ///
    /// # Errors
    /// When there is none: which target of `make` builds it.
    pub fn check(&self, target: &str) -> Result<()> {
        let path = self.operator.display();
        ensure!(self.operator.is_file(), "{path} is missing: run make {target}, which builds it");
        Ok(())
    }
}

impl Common {
    /// Shows what was measured, and writes the raw results where that is wanted.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn tell(&self, mut report: Report) -> Result<()> {
        report.ended(machine::load()?);
        println!("\n{}", report.text());
        if let Some(directory) = &self.results {
            let path = report.write(directory, &self.name).context("cannot write the raw results")?;
            println!("raw results: {}", path.display());
        }
        Ok(())
    }
}

/// Measures; where that fails, the logs of all components are kept.
///
/// # Errors
/// Those of the measurement.
pub async fn begin(measurement: impl Future<Output = Result<()>>) -> Result<()> {
    harness::init();
    println!("load of this machine: {}", machine::load()?);
    measurement.await.inspect_err(|_| harness::scratch::report_failure("the measurement failed"))
}
