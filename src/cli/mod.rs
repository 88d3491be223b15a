//! The command line.

mod catalog;
mod changed;
mod crd;
mod database;
mod grants;
mod input;
mod lint;
mod operator;
mod plan;
mod render;
mod sarif;
mod source;
mod version;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Whimbrel changes database schemas the way careful teams change software: it rehearses a migration on a copy, applies
/// it to the primary under lock guards, watches the error rate, and rolls back by itself when a threshold is breached.
#[derive(Debug, Parser)]
#[command(name = "whimbrel", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operator(Box<operator::Args>),
    Plan(Box<plan::Args>),
    Lint(Box<lint::Args>),
    Catalog(catalog::Args),
    Crd(crd::Args),
    Grants(grants::Args),
    Version(version::Args),
}

impl Cli {
    /// Runs the chosen command to its end, and tells what the process ends with.
    ///
    /// # Errors
    /// What went wrong, for a person to read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Plan(args) => return plan::run(&args),
            Command::Lint(args) => return Ok(lint::run(&args)),
            Command::Operator(args) => operator::run(*args)?,
            Command::Catalog(args) => print(&catalog::text(&args)?)?,
            Command::Crd(args) => print(&crd::text(&args)?)?,
            Command::Grants(args) => print(&grants::text(&args))?,
            Command::Version(args) => print(&version::text(&args)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a command ends with that could not do what it was asked for; clap uses the same for its own errors.
const UNUSABLE: u8 = 2;

/// Prints to standard output. A reader that closed the pipe has seen enough.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_operator_flag_has_its_variable_and_its_help() {
        let command = Cli::command();
        let operator = command.find_subcommand("operator").unwrap();
        for arg in
            operator.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        {
            let flag = arg.get_long().unwrap();
            let expected = format!("WHIMBREL_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(expected.as_str()));
            assert!(arg.get_help().is_some(), "--{flag} has no help");
        }
    }

    #[test]
    fn unknown_input_is_refused_by_name() {
        let check = |args: &[&str], named: &str| {
            let error = Cli::try_parse_from(args).unwrap_err().to_string();
            assert!(error.contains(named), "{args:?}: {error}");
        };
        check(&["whimbrel", "migrate"], "'migrate'");
        check(&["whimbrel", "operator", "--verbose"], "'--verbose'");
        check(&["whimbrel", "operator", "--listen-address", "8080"], "--listen-address");
        check(&["whimbrel", "operator", "--lease-duration", "15"], "--lease-duration");
        check(&["whimbrel", "operator", "--max-concurrent-databases", "0"], "--max-concurrent-databases");
    }
}
