//! `whimbrel catalog`.

use std::path::PathBuf;

use anyhow::Context;

use super::database::DatabaseArgs;

/// Writes the catalog of a database as JSON: structure, sizes, statements of the application; no rows.
///
/// The file is what --catalog of plan and lint reads, so that what a migration does to production can be foreseen without
/// its credentials. What the login may not read is listed under "unknown", with the grant that is missing. Defaults,
/// definitions and statements are in it as they are in the database: keep it as private as the schema.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,

    /// Write to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn text(args: &Args) -> anyhow::Result<String> {
    let catalog = args.database.snapshot("catalog")?;
    for unknown in &catalog.unknown {
        let remedy = if unknown.remedy.is_empty() { "" } else { " => " };
        eprintln!("unknown: {}: {}{remedy}{}", unknown.what, unknown.why, unknown.remedy);
    }
    let json = catalog.to_json().context("cannot write the catalog as JSON")?;
    let Some(path) = &args.output else {
        return Ok(json);
    };
    std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(String::new())
}
