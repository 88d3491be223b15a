//! `make bench-backfill`: ways to fill a new column of a large table, with an application beside them and without.
//!
//! All ways fill the same table, copied file by file before each run. Numbers are not tests: a goal that is missed is printed
//! as missed. The program fails only where something could not be measured, or where rows or writes were lost.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../shared/mod.rs"]
mod shared;

mod outcome;
mod table;
mod ways;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;

use outcome::Run;
use shared::load::{Application, Felt, Load};
use shared::report::Report;
use shared::stage::{Shop, Stage};
use shared::{Binary, Common, machine, statistics};
use ways::Way;

/// The application before what is measured.
const BEFORE: Duration = Duration::from_secs(2);

/// What is measured, and how often.
#[derive(Clone, Debug, Parser)]
struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    binary: Binary,
    /// pgroll; left out where it is absent.
    #[arg(long, default_value = "")]
    pgroll: String,
    /// Rows of the table.
    #[arg(long, default_value_t = 2_000_000)]
    rows: u64,
    /// How often each way is measured; the middle one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long no backfill, and the one with pauses, are measured each time, seconds.
    #[arg(long, default_value_t = 30)]
    a_while: u64,
    /// Ways to measure; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Way>,
}

impl Options {
    fn ways(&self) -> impl Iterator<Item = Way> {
        let wanted = |way: &Way| {
            (self.only.is_empty() || self.only.contains(way))
                && (*way != Way::Pgroll || !self.pgroll.is_empty())
        };
        Way::ALL.into_iter().filter(wanted)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    options.binary.check("bench-backfill")?;
    if options.pgroll.is_empty() {
        println!("pgroll could not be built: it is left out");
    }
    Box::pin(shared::begin(measure(&options))).await
}

async fn measure(options: &Options) -> Result<()> {
    // No autovacuum and no checkpoint in the middle of a run: both would come to some of the ways, and not to others.
    let settings = [
        ("shared_buffers", "2GB"),
        ("max_wal_size", "8GB"),
        ("checkpoint_timeout", "1h"),
        ("autovacuum", "off"),
    ];
    let stage = Stage::with(&options.binary.operator, &settings).await?;
    let mut report = Report::new(machine::facts_with(&stage, &options.binary.operator).await?);
    table::fill(&stage.primary, options.rows).await?;
    let mut runs = Vec::new();
    for round in 1..=options.rounds {
        for loaded in [true, false] {
            for way in options.ways().filter(|way| loaded || way.is_worth_it_alone()) {
                let run = run(&stage, options, (way, loaded, round)).await;
                let run = run.with_context(|| format!("round {round}, {}", way.name()))?;
                println!(
                    "round {round}, {}{}: {} rows in {:.1} s; p99 {:.1} ms, worst {:.1} ms",
                    way.name(),
                    if loaded { "" } else { ", alone" },
                    run.rows,
                    run.seconds,
                    run.p99,
                    run.worst
                );
                runs.push(run);
            }
        }
    }
    stage.stop().await?;
    report.extend(outcome::goals(&runs));
    report.keep("runs", serde_json::to_value(&runs)?);
    let table = format!("{} rows, {} rounds", options.rows, options.rounds);
    let title = format!("{table}, beside {} statements a second", application(options.rows).rate());
    report.add_table(title, outcome::table(&runs, true));
    report.add_table(format!("{table}, alone"), outcome::table(&runs, false));
    options.common.tell(report)
}

/// What runs beside: two hundred statements a second.
fn application(rows: u64) -> Application {
    Application {
        sessions: 8,
        every: Duration::from_millis(40),
        rows,
        write: "UPDATE customers SET visits = visits + 1 WHERE id = $1",
        read: "SELECT mail FROM customers WHERE id = $1",
    }
}

/// Measures one way once, in a database of its own.
async fn run(stage: &Stage, options: &Options, (way, loaded, round): (Way, bool, usize)) -> Result<Run> {
    let name = format!("{}{round}{}", way.word(), if loaded { "loaded" } else { "alone" });
    let database = table::copy(stage, &name).await?;
    let shop =
        if way.is_ours() { Some(stage.introduce(&name, database.clone(), false).await?) } else { None };
    ways::prepare(way, &database, shop.as_ref(), &options.pgroll).await?;
    table::warm(&database).await?;
    let load = if loaded { Some(Load::start(&database, application(options.rows)).await?) } else { None };
    if loaded {
        tokio::time::sleep(BEFORE).await;
    }
    let (before, wal) = (table::size(&database).await?, table::wal(&database).await?);
    let began = Instant::now();
    let how = (options.rows, options.pgroll.as_str(), Duration::from_secs(options.a_while));
    let rows = ways::fill(way, &database, shop.as_ref(), how).await?;
    let ended = Instant::now();
    let (after, written) = (table::size(&database).await?, table::wal(&database).await?);
    if let Some(shop) = shop.as_ref().filter(|_| way.is_for_a_while()) {
        ways::stop(shop).await?;
    }
    let felt = match load {
        Some(load) => load.end().await?,
        None => Felt::default(),
    };
    if !way.is_for_a_while() {
        table::judge(&database, way.column()).await?;
    }
    table::keeps(&database, felt.writes).await?;
    let worked = match &shop {
        Some(_) => Some(database.value("SELECT sum(worked) FROM whimbrel.backfills").await?.parse()?),
        None => None,
    };
    clear(stage, way, &name, shop.as_ref()).await?;
    let took = felt.between(began, ended);
    Ok(Run {
        way,
        loaded,
        round,
        rows,
        seconds: (ended - began).as_secs_f64(),
        worked,
        wal_bytes: written - wal,
        before,
        after,
        statements: took.len(),
        failed: felt.failed,
        p50: statistics::quantile(&took, 0.5),
        p99: statistics::quantile(&took, 0.99),
        worst: statistics::worst(&took),
        took,
    })
}

/// Makes room for the next one. What stands still in the middle stays: the operator would not forget it without a way back.
async fn clear(stage: &Stage, way: Way, name: &str, shop: Option<&Shop<'_>>) -> Result<()> {
    if let Some(shop) = shop {
        if way.is_for_a_while() {
            return Ok(());
        }
        ways::forget(shop).await?;
    }
    stage.primary.admin().execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await
}
