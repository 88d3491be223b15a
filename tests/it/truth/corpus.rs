//! Other people's SQL, above all PostgreSQL's own regression tests: nothing crashes, nothing is split wrongly, and nothing
//! that scans or rewrites while everybody waits is called safe from its text alone. CONTRIBUTING.md says where to get it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use sqlx::PgConnection;
use whimbrel::sql::{self, Heavy, Kind, Snapshot, Statement, foresee};

use super::measure::{self, Effect};
use crate::harness::postgres::{Cluster, Database, Options, execute, text};
use crate::harness::run_within;

/// What was seen of all files.
#[derive(Debug, Default)]
struct Tally {
    files: usize,
    statements: usize,
    measured: usize,
    /// Long work while everybody waits.
    heavy: usize,
    falsely_safe: Vec<String>,
}

fn files(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

/// The text without what only psql understands: its commands, and the data of COPY.
fn without_psql(text: &str) -> String {
    let mut kept = String::new();
    let mut data = false;
    for line in text.lines() {
        if data {
            data = line != "\\.";
        } else if !line.trim_start().starts_with('\\') {
            kept.push_str(line);
            kept.push('\n');
            data = line.to_ascii_lowercase().contains("from stdin") && line.trim_end().ends_with(';');
        }
    }
    kept
}

/// Runs what a migration could hold, and compares it with what was said of it.
async fn follow(session: &mut PgConnection, statements: &[Statement], tally: &mut Tally) -> Result<()> {
    let major = session.server_version_num().unwrap_or_default() / 10_000;
    for statement in statements {
        tally.statements += 1;
        let alone = std::slice::from_ref(statement);
        let said = foresee(alone, &Snapshot::assumed(Some(major)));
        let said = said.first().context("nothing said")?;
        // Refused statements change the session or the server.
        if sql::parse(&statement.sql).is_err() {
            continue;
        }
        if !statement.transactional || matches!(statement.kind, Kind::Select { .. } | Kind::Insert { .. }) {
            let _ = execute(session, &statement.sql).await;
            continue;
        }
        // What an event trigger does is not told by the statement that it fires for.
        let triggers = text(session, "SELECT 1 FROM pg_event_trigger WHERE evtenabled <> 'D'").await;
        if triggers.is_ok_and(|rows| !rows.is_empty()) {
            let _ = execute(session, &statement.sql).await;
            continue;
        }
        let Ok(Some(effect)) = measure::committed(session, &statement.sql).await else { continue };
        tally.measured += 1;
        if effect.heavy == Heavy::Everything {
            tally.heavy += 1;
            if said.heavy == Heavy::None && !said.opaque && !said.destructive {
                tally.falsely_safe.push(told(statement, &effect));
            }
        }
    }
    Ok(())
}

fn told(statement: &Statement, effect: &Effect) -> String {
    format!("{}: {:?} {:?}", statement.summary(), effect.rewrites, effect.scans)
}

/// Reads a file, follows it on the server, and adds it to the tally.
async fn file(path: &Path, database: &Database, tally: &mut Tally) -> Result<()> {
    let text = without_psql(&String::from_utf8_lossy(&std::fs::read(path)?));
    let reading = sql::read(&text, sql::MAX_FILE_BYTES);
    let mut rest = text.as_str();
    for statement in &reading.script.statements {
        let at = rest.find(&statement.sql).context("not in the text, or not in order")?;
        rest = &rest[at + statement.sql.len()..];
    }
    let mut session = database.connect().await?;
    execute(&mut session, "SET statement_timeout = '10s'").await?;
    tally.files += 1;
    follow(&mut session, &reading.script.statements, tally).await
}

#[test]
#[ignore = "needs WHIMBREL_CORPUS, a directory of SQL files"]
fn nothing_of_the_corpus_is_falsely_safe() -> Result<()> {
    let directory = std::env::var("WHIMBREL_CORPUS").context("WHIMBREL_CORPUS is not set")?;
    run_within(std::time::Duration::from_mins(30), async {
        let settings =
            [("autovacuum", "off"), ("max_parallel_maintenance_workers", "0"), ("log_statement", "none")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let cluster = Cluster::start(Options { settings, ..Options::default() }).await?;
        let mut paths = Vec::new();
        files(Path::new(&directory), &mut paths)?;
        let mut tally = Tally::default();
        for (number, path) in paths.iter().enumerate() {
            let name = format!("corpus_{number}");
            cluster.admin().execute(&format!("CREATE DATABASE {name}")).await?;
            file(path, &cluster.named(&name), &mut tally)
                .await
                .with_context(|| path.display().to_string())?;
            cluster.admin().execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        println!("{tally:#?}");
        ensure!(tally.falsely_safe.is_empty(), "{} are falsely safe", tally.falsely_safe.len());
        ensure!(tally.heavy > 0, "nothing was measured");
        Ok(())
    })
}
