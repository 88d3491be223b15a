//! The database that a command looks at: options, session, and the catalog read from it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use url::Url;

use crate::postgres::connect::{self, Purpose};
use crate::postgres::{Connection, Error, Target, Tls, TlsMode, catalog, snapshot};
use crate::sql::{FactKey, Facts, Snapshot, Statement};

/// Longest time that reading the catalog may take.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Which database to look at. Sessions are read-only, and leave nothing behind.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Database")]
pub(super) struct DatabaseArgs {
    /// Database to read, as `postgres://user:password@host:5432/name?sslmode=verify-full`.
    ///
    /// Without sslmode, a server of this machine is reached with TLS if it has it, and any other one with verify-full.
    /// Whatever has no place in a list of processes is better given in the variable.
    #[arg(long, env = "WHIMBREL_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,

    /// Certificates of a private authority, in PEM.
    #[arg(long, env = "WHIMBREL_DATABASE_CA_FILE", value_name = "FILE")]
    database_ca_file: Option<PathBuf>,

    /// Schemas in which unqualified names are looked up, in order. Default: the search path of the login.
    #[arg(long, env = "WHIMBREL_SEARCH_PATH", value_name = "SCHEMA", value_delimiter = ',')]
    pub search_path: Vec<String>,
}

impl DatabaseArgs {
    /// Reads the catalog of the database.
    ///
    /// # Errors
    /// What went wrong, for a person to read; never with the password.
    pub fn snapshot(&self, command: &str) -> anyhow::Result<Snapshot> {
        runtime()?.block_on(self.read(command))
    }

    /// Asks the database what objects are like; names are looked up under `search_path`.
    ///
    /// # Errors
    /// What went wrong, for a person to read; never with the password.
    pub fn facts(
        &self,
        command: &str,
        search_path: &[String],
        wanted: &BTreeSet<FactKey>,
    ) -> anyhow::Result<Facts> {
        runtime()?.block_on(async {
            let (mut session, name) = self.session(command).await?;
            let asked = catalog::answer(&mut session, search_path, wanted);
            let asked = connect::within("read what objects are like", READ_TIMEOUT, asked).await;
            let facts = asked.with_context(|| format!("cannot read what objects of {name} are like"))?;
            connect::close(session).await;
            Ok(facts)
        })
    }

    /// Asks the planner about the queries whose rows these statements store, and notes the answers in the catalog.
    ///
    /// # Errors
    /// What went wrong, for a person to read; never with the password.
    pub fn plan_queries(
        &self,
        command: &str,
        catalog: &mut Snapshot,
        statements: &[Statement],
    ) -> anyhow::Result<()> {
        runtime()?.block_on(async {
            let (mut session, name) = self.session(command).await?;
            let asked = snapshot::plan_queries(&mut session, catalog, statements);
            let asked = connect::within("ask the planner", READ_TIMEOUT, asked).await;
            asked.with_context(|| format!("cannot ask the planner of {name}"))?;
            connect::close(session).await;
            Ok(())
        })
    }

    /// Opens a session, and names the database.
    async fn session(&self, command: &str) -> anyhow::Result<(Connection, String)> {
        let Some(url) = self.database_url.as_deref().filter(|url| !url.trim().is_empty()) else {
            bail!("no database is named: give --database-url, or set WHIMBREL_DATABASE_URL");
        };
        let purpose = Purpose::new(format!("whimbrel/{command}"))
            .with("default_transaction_read_only", "on")
            .with("statement_timeout", "30s");
        Ok((self.open(url, &purpose).await?, url_database(url)))
    }

    async fn read(&self, command: &str) -> anyhow::Result<Snapshot> {
        let (mut session, name) = self.session(command).await?;
        let read = connect::within(
            "read the catalog",
            READ_TIMEOUT,
            snapshot::read(&mut session, &self.search_path),
        );
        let catalog = read.await.with_context(|| format!("cannot read the catalog of {name}"))?;
        connect::close(session).await;
        Ok(catalog)
    }

    /// Opens a session with the first TLS mode that the server and the settings agree on.
    async fn open(&self, url: &str, purpose: &Purpose) -> anyhow::Result<Connection> {
        let ca_pem = match &self.database_ca_file {
            Some(path) => {
                Some(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
            }
            None => None,
        };
        let target = |mode: TlsMode| {
            let tls = Tls { mode, ca_pem: ca_pem.clone(), ..Tls::default() };
            Target::from_url(url, tls)
        };
        let opened = match policy(url) {
            Policy::AsWritten => connect::connect(&target(TlsMode::Disable)?, purpose).await,
            Policy::Strict => connect::connect(&target(TlsMode::VerifyFull)?, purpose).await,
            Policy::Prefer => {
                let plain = target(TlsMode::Disable)?;
                let tls =
                    Target { tls: Tls { mode: TlsMode::Require, ..plain.tls.clone() }, ..plain.clone() };
                match connect::connect(&tls, purpose).await {
                    Err(Error::Tls { .. }) => connect::connect(&plain, purpose).await,
                    opened => opened,
                }
            }
        };
        opened.map_err(|error| explained(error, url))
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}

/// How the server is authenticated.
#[derive(Debug, PartialEq, Eq)]
enum Policy {
    /// As `sslmode` says.
    AsWritten,
    /// TLS if the server has it.
    Prefer,
    /// TLS with a certificate for the host.
    Strict,
}

fn policy(url: &str) -> Policy {
    let Ok(url) = Url::parse(url.trim()) else { return Policy::AsWritten };
    let mode = url.query_pairs().find(|(name, _)| name == "sslmode").map(|(_, mode)| mode.into_owned());
    match mode.as_deref() {
        Some("prefer" | "allow") => Policy::Prefer,
        Some(_) => Policy::AsWritten,
        None if is_local(url.host_str().unwrap_or_default()) => Policy::Prefer,
        None => Policy::Strict,
    }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The name of the database in a URL that was accepted.
fn url_database(url: &str) -> String {
    Url::parse(url.trim()).map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default()
}

/// Adds to an error what to do about it.
fn explained(error: Error, url: &str) -> anyhow::Error {
    let advice = match &error {
        Error::Tls { .. } if policy(url) == Policy::Strict => {
            "add ?sslmode=require to the URL to trust any certificate, ?sslmode=disable for a server without TLS, \
             or --database-ca-file for a private authority"
        }
        Error::Authentication { .. } => "check user, password and pg_hba.conf",
        Error::Unreachable { .. } => "check host, port and whether the server accepts connections",
        Error::DatabaseMissing { .. } => "check the name after the last / of the URL",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}")
}

/// Reads a file that `whimbrel catalog` wrote; `-` is standard input.
///
/// # Errors
/// What is wrong with it.
pub(super) fn catalog_file(path: &Path) -> anyhow::Result<Snapshot> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
            .context("cannot read standard input")?;
        bytes
    } else {
        std::fs::read(path).with_context(|| format!("cannot read the catalog {}", path.display()))?
    };
    let text = std::str::from_utf8(&bytes)
        .with_context(|| format!("the catalog {} is not UTF-8 text", path.display()))?;
    Snapshot::from_json(text).with_context(|| format!("cannot use the catalog {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_left_out_only_where_that_is_said_or_harmless() {
        let check = |url: &str, expected: Policy| assert_eq!(policy(url), expected, "{url}");
        check("postgres://ann:pw@localhost/shop", Policy::Prefer);
        check("postgres://ann:pw@127.0.0.1:5433/shop", Policy::Prefer);
        check("postgres://ann:pw@[::1]/shop", Policy::Prefer);
        check("postgres://ann:pw@db.example/shop?sslmode=prefer", Policy::Prefer);
        check("postgres://ann:pw@db.example/shop", Policy::Strict);
        check("postgres://ann:pw@localhost.example/shop?connect_timeout=3", Policy::Strict);
        check("postgres://ann:pw@db.example/shop?sslmode=disable", Policy::AsWritten);
        check("postgres://ann:pw@127.0.0.1/shop?sslmode=verify-full", Policy::AsWritten);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let check = |url: Option<&str>, expected: &str| {
            let args = DatabaseArgs { database_url: url.map(ToOwned::to_owned), ..DatabaseArgs::default() };
            let error = format!("{:#}", args.snapshot("test").unwrap_err());
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        };
        check(None, "WHIMBREL_DATABASE_URL");
        check(Some("  "), "WHIMBREL_DATABASE_URL");
        check(Some("mysql://ann:hunter2@localhost/shop"), "postgres://");
        check(Some("postgres://ann:hunter2@localhost"), "database is missing");
        check(Some("postgres://ann:hunter2@127.0.0.1:1/shop"), "cannot reach 127.0.0.1:1");
        check(Some("postgres://ann:hunter2@127.0.0.1/shop?sslcert=x"), "sslcert is not allowed");
    }

    #[test]
    fn a_catalog_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("catalog.json");
        let check = |content: &[u8], expected: &str| {
            std::fs::write(&file, content).unwrap();
            let error = format!("{:#}", catalog_file(&file).unwrap_err());
            assert!(error.contains("catalog.json") && error.contains(expected), "{error}");
        };
        check(b"\xff\xfe", "not UTF-8");
        check(b"", "not JSON");
        check(b"{\"format\": 99}", "newer");
        std::fs::remove_file(&file).unwrap();
        let error = format!("{:#}", catalog_file(&file).unwrap_err());
        assert!(error.contains("catalog.json") && error.contains("No such file"), "{error}");
    }
}
