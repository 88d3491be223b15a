//! `whimbrel lint`.

mod json;
mod look;
mod markdown;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use super::changed::Changed;
use super::input::{self, Input, InputProblem};
use super::render::{self, Surface};
use super::{UNUSABLE, print, sarif, source};
use crate::sql::Severity;
use look::Linted;

/// Finds what is wrong with migrations before they run: what will make others wait, what fails, what breaks clients.
///
/// Sizes, types and constraints come from a database, or from a file that whimbrel catalog has written; without either,
/// the worst is assumed. A finding is accepted with a comment before its statement: -- whimbrel:ignore CODE reason
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 no finding as severe as --fail-on; 1 there is one; 2 an input or an argument cannot be \
                        used."
)]
pub(super) struct Args {
    /// Files of SQL, Migrations in YAML, directories of both, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIRECTORY")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    source: source::SourceArgs,
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    /// Least severity of a finding that makes the exit status 1.
    #[arg(long, value_enum, ignore_case = true, default_value = "high")]
    fail_on: FailOn,
    /// Looks only at files that changed since this revision of git, or since the branch left it.
    #[arg(long, value_name = "REVISION")]
    changed_since: Option<String>,
    /// Shows what is ignored and overruled like everything else.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For a person.
    Text,
    /// For programs.
    Json,
    /// For a pull request.
    Markdown,
    /// For code scanning: SARIF 2.1.0.
    Sarif,
}

/// A threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FailOn {
    High,
    Medium,
    Low,
    Info,
    Never,
}

impl FailOn {
    /// Whether a finding of that severity is too severe.
    pub fn reached(self, severity: Severity) -> bool {
        match self {
            Self::High => severity >= Severity::High,
            Self::Medium => severity >= Severity::Medium,
            Self::Low => severity >= Severity::Low,
            Self::Info => true,
            Self::Never => false,
        }
    }
}

pub(super) fn run(args: &Args) -> ExitCode {
    lint(args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(UNUSABLE)
    })
}

fn lint(args: &Args) -> anyhow::Result<ExitCode> {
    let inputs = match gather(args)? {
        Ok(inputs) => inputs,
        Err(problems) => {
            eprint!("{}", render::problems(&problems, Surface::stderr()));
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    let catalog = source::look(&args.source, None, "lint")?;
    let (linted, problems) = look::all(&inputs, &catalog);
    // Of nothing that could be read there is nothing to say to a person.
    if !linted.is_empty() || problems.is_empty() || args.output != Output::Text {
        print(&show(args, &linted, &problems)?)?;
    }
    if !problems.is_empty() {
        eprint!("{}", render::problems(&problems, Surface::stderr()));
        return Ok(ExitCode::from(UNUSABLE));
    }
    let counted = linted.iter().flat_map(|one| &one.findings).filter(|finding| finding.counts());
    let fails = counted.into_iter().any(|finding| args.fail_on.reached(finding.severity));
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The inputs, or what is wrong with them.
type Gathered = Result<Vec<Input>, Vec<InputProblem>>;

fn gather(args: &Args) -> anyhow::Result<Gathered> {
    let Some(revision) = &args.changed_since else {
        return Ok(input::gather(&args.paths));
    };
    anyhow::ensure!(
        !args.paths.iter().any(|path| path.as_os_str() == "-"),
        "--changed-since is about files, and - is standard input"
    );
    let changed = Changed::since(revision, &args.paths)?;
    Ok(input::gather_some(&args.paths, |file| changed.holds(file)))
}

fn show(args: &Args, linted: &[Linted<'_>], problems: &[InputProblem]) -> anyhow::Result<String> {
    Ok(match args.output {
        Output::Text => text::render(linted, args.all, Surface::stdout()),
        Output::Json => json::render(linted, problems)?,
        Output::Markdown => markdown::render(linted),
        Output::Sarif => {
            let located: Vec<_> = linted.iter().flat_map(Linted::located).collect();
            format!("{}\n", serde_json::to_string_pretty(&sarif::document(&located, problems))?)
        }
    })
}
