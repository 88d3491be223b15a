//! `whimbrel plan`.

mod markdown;
mod request;
mod scanning;
mod text;
mod tree;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use super::input::InputProblem;
use super::lint::FailOn;
use super::render::{self, Surface};
use super::source;
use super::{UNUSABLE, print};
use crate::core::compile::{Draft, Surroundings};
use crate::core::plan::{DatabaseIdentity, Guard, Plan};
use crate::core::preview::{self, Inputs, Preview};
use crate::sql::{AsideSuffix, Facts, Snapshot};
use request::Request;

/// Shows what a migration will do, before it does it: locks, rewrites, durations, what depends on it, and the way back.
///
/// With a database, its catalog answers what the text does not say; it is read in one read-only transaction, and any
/// login will do. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 the plan is shown; 1 a finding is as severe as --fail-on; 2 an input, an argument \
                        or the database cannot be used."
)]
pub(super) struct Args {
    /// Files of SQL, Migrations in YAML, directories of either, or - for standard input. NAME.down.sql is the way back of
    /// NAME.up.sql.
    #[arg(value_name = "FILE|DIRECTORY", required_unless_present_any = ["filename", "schema"])]
    paths: Vec<PathBuf>,
    /// File with Migrations in YAML; may be repeated.
    #[arg(long, short, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Number of rows to reckon with for a table, for example users=5000000; may be repeated.
    #[arg(long, value_name = "TABLE=N", value_parser = source::rows)]
    rows: Vec<source::Rows>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    /// Least severity of a finding that makes the exit status 1.
    #[arg(long, value_enum, ignore_case = true, default_value = "never")]
    fail_on: FailOn,
    /// Prints the JSON schema of --output json instead.
    #[arg(long)]
    schema: bool,
    #[command(flatten)]
    source: source::SourceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For a person.
    Text,
    /// For programs; --schema prints its schema.
    Json,
    /// For a pull request.
    Markdown,
    /// The findings for code scanning: SARIF 2.1.0.
    Sarif,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.schema {
        print(&schema()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (request, preview) = match look(args) {
        Ok(seen) => seen,
        Err(Unusable::Input(problems)) => {
            eprint!("{}", render::problems(&problems, Surface::stderr()));
            return Ok(ExitCode::from(UNUSABLE));
        }
        Err(Unusable::Catalog(error)) => {
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    print(&match args.output {
        Output::Text => text::render(&preview, Surface::stdout()),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&preview)?),
        Output::Markdown => markdown::render(&preview),
        Output::Sarif => {
            format!("{}\n", serde_json::to_string_pretty(&scanning::document(&request, &preview))?)
        }
    })?;
    let mut counted = preview.findings.iter().filter(|finding| finding.counts());
    let fails = counted.any(|finding| args.fail_on.reached(finding.severity));
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Why there is no plan to show.
enum Unusable {
    /// What is to run.
    Input(Vec<InputProblem>),
    /// Where it is to run.
    Catalog(anyhow::Error),
}

/// The JSON schema of a preview, as it is published in `docs/plan.schema.json`.
pub(super) fn schema() -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&schemars::schema_for!(Preview))?))
}

fn look(args: &Args) -> Result<(Request, Preview), Unusable> {
    let request = request::read(&args.paths, &args.filename).map_err(Unusable::Input)?;
    let (draft, sources) = request.draft().map_err(Unusable::Input)?;
    let search_path = request.strict.then_some(request.spec.search_path.as_slice());
    let mut catalog = source::look(&args.source, search_path, "plan").map_err(Unusable::Catalog)?;
    source::plan_queries(&args.source, &draft.statements(), &mut catalog, "plan");
    source::resize(&mut catalog, &args.rows).map_err(Unusable::Catalog)?;
    let facts = source::facts(&args.source, &draft.facts_wanted(), &draft.statements(), &mut catalog, "plan");
    let asked = args.source.online().is_some();
    let plan = plan(&request, &draft, &facts, &catalog, asked).map_err(Unusable::Input)?;
    let inputs = Inputs { plan: &plan, sources: &sources, facts: &facts, catalog: &catalog };
    let preview = preview::preview(inputs);
    Ok((request, preview))
}

/// Makes the plan: of Migrations as the operator does, of files of SQL as far as that is possible.
fn plan(
    request: &Request,
    draft: &Draft<'_>,
    facts: &Facts,
    catalog: &Snapshot,
    asked: bool,
) -> Result<Plan, Vec<InputProblem>> {
    let around = Surroundings {
        database: &DatabaseIdentity {
            system_identifier: String::new(),
            name: catalog.database.clone().unwrap_or_default(),
        },
        owner_role: None,
        guard: Guard::default(),
        rehearse: false,
        analysis: None,
        suffix: AsideSuffix::sample(),
        facts,
    };
    let plan = match request.strict {
        true if asked => draft.compile(around),
        true => draft.compile_unasked(around),
        false => draft.sketch(around),
    };
    plan.map_err(|problems| problems.iter().map(|problem| request.problem(problem)).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plan.schema.json");
        let published = std::fs::read_to_string(path).unwrap();
        assert!(published == super::schema().unwrap(), "run make generate");
    }
}
