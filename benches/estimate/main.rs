//! `cargo bench --bench estimate`: what a copy of a tenth of the size says of the durations on the whole.
//!
//! Two databases on one server hold the same table, with 300,000 and with 3,000,000 rows. Each statement is run on both; what
//! it took on the small one predicts, through `core::estimate`, what it takes on the large one. What the catalog alone would
//! have said is beside it.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../shared/mod.rs"]
mod shared;

use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use whimbrel::core::estimate::{Estimate, Rehearsal, estimate, rehearsed};
use whimbrel::sql::{self, Snapshot};

use harness::postgres::{Cluster, Database, Options as ClusterOptions, execute};
use shared::report::{Number, Report};
use shared::{Common, machine, statistics};

/// How large, and how often.
#[derive(Clone, Debug, Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Rows of the copy.
    #[arg(long, default_value_t = 300_000)]
    copy: u64,
    /// Rows that are predicted.
    #[arg(long, default_value_t = 3_000_000)]
    primary: u64,
    /// Runs of each statement on either; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Statements around one that is measured.
struct Operation {
    name: &'static str,
    /// It is among those that the goal speaks of.
    goal: bool,
    before: &'static str,
    measured: &'static str,
    after: &'static str,
}

const OPERATIONS: &[Operation] = &[
    Operation {
        name: "scan: CHECK",
        goal: true,
        before: "",
        measured: "ALTER TABLE customers ADD CONSTRAINT positive CHECK (region >= 0)",
        after: "ALTER TABLE customers DROP CONSTRAINT positive",
    },
    Operation {
        name: "scan: SET NOT NULL",
        goal: true,
        before: "",
        measured: "ALTER TABLE customers ALTER COLUMN note SET NOT NULL",
        after: "ALTER TABLE customers ALTER COLUMN note DROP NOT NULL",
    },
    Operation {
        name: "validate: CHECK",
        goal: true,
        before: "ALTER TABLE customers ADD CONSTRAINT positive CHECK (region >= 0) NOT VALID",
        measured: "ALTER TABLE customers VALIDATE CONSTRAINT positive",
        after: "ALTER TABLE customers DROP CONSTRAINT positive",
    },
    Operation {
        name: "validate: FOREIGN KEY",
        goal: true,
        before: "ALTER TABLE customers ADD CONSTRAINT home FOREIGN KEY (region) REFERENCES regions (id) NOT VALID",
        measured: "ALTER TABLE customers VALIDATE CONSTRAINT home",
        after: "ALTER TABLE customers DROP CONSTRAINT home",
    },
    Operation {
        name: "index: integer",
        goal: true,
        before: "",
        measured: "CREATE INDEX customers_region ON customers (region)",
        after: "DROP INDEX customers_region",
    },
    Operation {
        name: "index: text",
        goal: true,
        before: "",
        measured: "CREATE INDEX customers_mail ON customers (mail)",
        after: "DROP INDEX customers_mail",
    },
    Operation {
        name: "index: text, CONCURRENTLY",
        goal: true,
        before: "",
        measured: "CREATE INDEX CONCURRENTLY customers_mail ON customers (mail)",
        after: "DROP INDEX customers_mail",
    },
    Operation {
        name: "rewrite: integer to bigint",
        goal: true,
        before: "",
        measured: "ALTER TABLE customers ALTER COLUMN region TYPE bigint",
        after: "ALTER TABLE customers ALTER COLUMN region TYPE integer",
    },
    Operation {
        name: "rewrite: volatile default",
        goal: true,
        before: "",
        measured: "ALTER TABLE customers ADD COLUMN seen timestamptz DEFAULT clock_timestamp()",
        after: "ALTER TABLE customers DROP COLUMN seen",
    },
    Operation {
        name: "rows: UPDATE",
        goal: false,
        before: "",
        measured: "UPDATE customers SET region = region + 1",
        after: "VACUUM FULL ANALYZE customers",
    },
];

/// One line of the results, durations in milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: &'static str,
    statement: &'static str,
    goal: bool,
    copy_ms: Vec<f64>,
    primary_ms: Vec<f64>,
    predicted_ms: f64,
    /// Predicted divided by measured.
    ratio: f64,
    catalog_ms: f64,
    catalog_ratio: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    Box::pin(shared::begin(measure(&Options::parse()))).await
}

async fn measure(options: &Options) -> Result<()> {
    let settings = [("shared_buffers", "2GB"), ("max_wal_size", "8GB"), ("autovacuum", "off")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let cluster =
        Cluster::start(ClusterOptions { durable: true, settings, ..ClusterOptions::default() }).await?;
    let mut facts = machine::facts(&cluster).await?;
    facts["copyRows"] = options.copy.into();
    facts["primaryRows"] = options.primary.into();
    let copy = fill(&cluster, "copy", options.copy).await?;
    let primary = fill(&cluster, "whole", options.primary).await?;
    let mut lines = Vec::new();
    for operation in OPERATIONS {
        let line = compare(&copy, &primary, operation, options.rounds).await?;
        println!(
            "{:28} {:>9.1} ms {:>10.1} ms, predicted {:>9.1} ms: {:.2}; from the catalog {:>9.1} ms: {:.2}",
            line.name,
            statistics::median(&line.copy_ms),
            statistics::median(&line.primary_ms),
            line.predicted_ms,
            line.ratio,
            line.catalog_ms,
            line.catalog_ratio
        );
        lines.push(line);
    }
    let goal: Vec<&Line> = lines.iter().filter(|line| line.goal).collect();
    let within = goal.iter().filter(|line| (0.75..=1.25).contains(&line.ratio)).count();
    let mut report = Report::new(facts);
    #[expect(clippy::cast_precision_loss, reason = "a dozen")]
    let (within, all) = (within as f64, goal.len() as f64);
    report.extend(vec![Number::new("predicted within 25 %", within, "").at_least(all)]);
    report.keep("lines", serde_json::to_value(&lines)?);
    options.common.tell(report)
}

async fn fill(cluster: &Cluster, name: &str, rows: u64) -> Result<Database> {
    cluster.admin().execute(&format!("CREATE DATABASE {name}")).await?;
    let database = cluster.named(name);
    let text = format!(
        "CREATE TABLE regions (id integer PRIMARY KEY);
         INSERT INTO regions SELECT generate_series(0, 999);
         CREATE TABLE customers (id bigint PRIMARY KEY, region integer NOT NULL, mail text NOT NULL, note text);
         INSERT INTO customers SELECT n, hashint8(n) & 511, md5(n::text) || '@example.com', repeat('x', 20)
             FROM generate_series(1, {rows}) n;
         CREATE INDEX customers_note ON customers (note, id)"
    );
    database.execute(&text).await?;
    database.execute("VACUUM (ANALYZE, FREEZE) customers").await?;
    database.execute("CHECKPOINT").await?;
    Ok(database)
}

async fn compare(copy: &Database, primary: &Database, operation: &Operation, rounds: usize) -> Result<Line> {
    let (small, large) = (prepared(copy, operation).await?, prepared(primary, operation).await?);
    let copy_ms = durations(copy, operation, rounds).await?;
    let primary_ms = durations(primary, operation, rounds).await?;
    let statements = sql::parse(operation.measured).expect("it parses").statements;
    let foreseen = sql::foresee(&statements, &large);
    let expected = |each: Vec<Option<Estimate>>| {
        each.into_iter().next().flatten().map(|one| one.total_ms.expected).context("it is not estimated")
    };
    let from_catalog: Vec<Option<Estimate>> =
        estimate(&statements, &foreseen, &large).into_iter().map(Result::ok).collect();
    let on_copy = sql::foresee(&statements, &small);
    let durations_ms = [Some(statistics::median(&copy_ms))];
    let rehearsal = Rehearsal { catalog: &small, foreseen: &on_copy, durations_ms: &durations_ms };
    let predicted_ms = expected(rehearsed(&from_catalog, &statements, rehearsal))?;
    let catalog_ms = expected(from_catalog)?;
    let actual = statistics::median(&primary_ms);
    Ok(Line {
        name: operation.name,
        statement: operation.measured,
        goal: operation.goal,
        ratio: predicted_ms / actual,
        catalog_ratio: catalog_ms / actual,
        copy_ms,
        primary_ms,
        predicted_ms,
        catalog_ms,
    })
}

/// The catalog as it is right before the statement.
async fn prepared(database: &Database, operation: &Operation) -> Result<Snapshot> {
    let mut session = database.connect().await?;
    run(&mut session, operation.before).await?;
    let catalog = whimbrel::postgres::snapshot::read(&mut session, &["public".to_owned()]).await?;
    if !operation.before.is_empty() {
        run(&mut session, operation.after).await?;
    }
    Ok(catalog)
}

async fn durations(database: &Database, operation: &Operation, rounds: usize) -> Result<Vec<f64>> {
    let mut session = database.connect().await?;
    execute(&mut session, "SELECT count(*) FROM customers").await?;
    let mut durations = Vec::new();
    for _ in 0..rounds {
        run(&mut session, operation.before).await?;
        // What was written before is not to be written to disk meanwhile.
        execute(&mut session, "CHECKPOINT").await?;
        let start = Instant::now();
        execute(&mut session, operation.measured).await?;
        durations.push(start.elapsed().as_secs_f64() * 1000.0);
        run(&mut session, operation.after).await?;
    }
    Ok(durations)
}

async fn run(session: &mut PgConnection, sql: &str) -> Result<()> {
    if sql.is_empty() { Ok(()) } else { execute(session, sql).await }
}
