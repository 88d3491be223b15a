//! The programs of the newest installed PostgreSQL, and the settings that all servers share.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::sync::OnceCell;

use super::super::{process, scratch};
use super::{PASSWORD, SUPERUSER, SYSTEM_USER, Spec, give_to_server, private_directory};

const REMEDY: &str = "tests/setup/packages.sh servers";

/// Where the programs are: `WHIMBREL_TEST_POSTGRES`, else the newest major that Debian's packages installed.
fn directories() -> Vec<PathBuf> {
    if let Some(directory) = std::env::var_os("WHIMBREL_TEST_POSTGRES") {
        return vec![PathBuf::from(directory)];
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut majors: Vec<(u32, PathBuf)> = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    majors.sort();
    majors.into_iter().rev().map(|(_, path)| path).collect()
}

/// The path of `postgres`, `initdb`, `psql`, ...
pub fn path(program: &str) -> Result<PathBuf> {
    process::find(program, &directories(), REMEDY)
}

/// A data directory that is never started, to be copied: much faster than `initdb`.
pub async fn template() -> Result<&'static Path> {
    static TEMPLATE: OnceCell<PathBuf> = OnceCell::const_new();
    let template = TEMPLATE
        .get_or_try_init(|| async {
            let data = private_directory("template")?.join("data");
            let target = data.clone();
            tokio::task::spawn_blocking(move || initdb(&target)).await??;
            anyhow::Ok(data)
        })
        .await?;
    Ok(template)
}

/// Makes a data directory whose superuser is [`SUPERUSER`], with passwords demanded of everybody.
pub fn initdb(data: &Path) -> Result<()> {
    let password = data.with_extension("password");
    write_private(&password, PASSWORD)?;
    let fixed = ["--no-sync", "--locale=C", "--encoding=UTF8", "-A", "scram-sha-256", "-U", SUPERUSER];
    Spec::new("initdb", path("initdb")?, data.parent().context("no parent directory")?)
        .user(SYSTEM_USER)
        .args(fixed)
        .args([OsStr::new("-D"), data.as_os_str()])
        .args([format!("--pwfile={}", password.display())])
        .output()?;
    Ok(())
}

/// Runs a small program as the server's user.
pub fn run_as_server<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    Spec::new(program, program, scratch::root()?).user(SYSTEM_USER).args(arguments).output()?;
    Ok(())
}

/// Writes a file that only the server's user may read.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    give_to_server(path)
}

/// What every server runs with: logical decoding for subscribers, and a log that the observer can read.
pub fn settings(durable: bool) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1"),
        ("shared_buffers", "64MB"),
        ("max_connections", "200"),
        ("wal_level", "logical"),
        ("max_wal_senders", "20"),
        ("archive_mode", "off"),
        ("hot_standby", "on"),
        ("timezone", "UTC"),
        ("logging_collector", "on"),
        ("log_destination", "csvlog"),
        ("log_filename", "server.log"),
        ("log_file_mode", "0644"),
        ("log_rotation_age", "0"),
        ("log_rotation_size", "0"),
        ("log_statement", "ddl"),
        ("log_lock_waits", "on"),
        ("fsync", if durable { "on" } else { "off" }),
    ];
    if statistics_available() {
        settings.push(("shared_preload_libraries", "pg_stat_statements"));
        // Many tests share one server.
        settings.push(("pg_stat_statements.max", "50000"));
    }
    settings
}

fn statistics_available() -> bool {
    let library = |binaries: PathBuf| binaries.join("../lib/pg_stat_statements.so").is_file();
    path("postgres").is_ok_and(|program| program.parent().is_some_and(|parent| library(parent.to_owned())))
}
