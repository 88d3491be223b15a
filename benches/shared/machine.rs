//! Facts that a number means nothing without.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::harness::postgres::Cluster;

/// How busy the machine is: runnable processes over 1, 5 and 15 minutes.
///
/// # Errors
/// When it cannot be read.
pub fn load() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// The same, and what the operator and the API server are.
///
/// # Errors
/// When one cannot be found out.
pub async fn facts_with(stage: &Stage, operator: &Path) -> Result<Value> {
    let mut facts = facts(&stage.primary).await?;
    facts["operatorBytes"] = std::fs::metadata(operator)?.len().into();
    facts["kubernetes"] = stage.client.apiserver_version().await?.git_version.into();
    Ok(facts)
}

/// Machine, server, commit.
///
/// # Errors
/// When one cannot be found out.
#[expect(clippy::disallowed_methods, reason = "the day names a file and decides nothing")]
pub async fn facts(primary: &Cluster) -> Result<Value> {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    Ok(json!({
        "date": jiff::Zoned::now().strftime("%Y-%m-%d").to_string(),
        "commit": commit(),
        "cores": std::thread::available_parallelism()?.get(),
        "processor": field("/proc/cpuinfo", "model name"),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "postgres": primary.admin().value("SHOW server_version").await?,
        "loadAtStart": load()?,
    }))
}

/// What was checked out; `+` where it was changed.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed = !git(&["status", "--porcelain", "--", "src", "Cargo.lock"]).is_empty();
    format!("{}{}", git(&["rev-parse", "--short=12", "HEAD"]), if changed { "+" } else { "" })
}
