//! Programs that are compared with the operator.

use anyhow::{Context as _, Result, ensure};

use crate::harness::postgres::{Database, SUPERUSER};
use crate::harness::scratch;

/// Runs a program to its end.
///
/// # Errors
/// When it fails: what it said.
pub async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("cannot run {program}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {told}");
    Ok(())
}

/// Runs pgroll on a database.
///
/// # Errors
/// When it fails: what it said.
pub async fn pgroll(program: &str, database: &Database, arguments: &[&str]) -> Result<()> {
    let url = database.url(SUPERUSER);
    run(program, &[arguments, &["--postgres-url", &url]].concat()).await
}

/// Makes a database known to pgroll as it is.
///
/// # Errors
/// When it fails: what it said.
pub async fn introduce_to_pgroll(program: &str, database: &Database) -> Result<()> {
    let directory = scratch::directory("pgroll")?.display().to_string();
    pgroll(program, database, &["init"]).await?;
    pgroll(program, database, &["baseline", "00000_before", &directory, "--yes"]).await
}
