//! `whimbrel lint`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::input::{self, InputProblem};
use super::render::{self, Surface};
use super::{UNUSABLE, print};
use crate::sql::{self, MAX_FILE_BYTES};

/// Finds what is wrong with migrations before they run.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files of SQL, Migrations in YAML, directories of both, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIRECTORY")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let inputs = match input::gather(&args.paths) {
        Ok(inputs) => inputs,
        Err(problems) => return refuse(&problems),
    };
    let mut problems = Vec::new();
    for input in &inputs {
        for piece in input.pieces() {
            let reading = sql::read(piece.sql, MAX_FILE_BYTES);
            problems.extend(
                reading.refusals.iter().map(|refusal| InputProblem::refused(&input.name, &piece, refusal)),
            );
        }
    }
    if !problems.is_empty() {
        return refuse(&problems);
    }
    print("")?;
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::unnecessary_wraps, reason = "the last words of a command")]
fn refuse(problems: &[InputProblem]) -> anyhow::Result<ExitCode> {
    eprint!("{}", render::problems(problems, Surface::stderr()));
    Ok(ExitCode::from(UNUSABLE))
}
