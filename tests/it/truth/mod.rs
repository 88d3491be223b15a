//! Truth, not opinion: each form of statement is run on a real server, and what it does there is compared with what
//! [`whimbrel::sql::foresee`] said before.
//!
//! `make truth` prints the table and writes `docs/locks.md`; `make test-majors` does it for every major version.

mod catalog;
mod compare;
mod form;
mod forms;
mod measure;
mod outside;
mod table;

use std::collections::VecDeque;
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use sqlx::PgConnection;
use whimbrel::sql::{Foreseen, Snapshot, Statement, foresee};

use crate::harness::postgres::{Cluster, Database, Options, execute};
use crate::harness::run;
use form::Form;
use measure::Effect;

/// Sessions that measure at once.
const WORKERS: usize = 3;

/// A server on which nothing happens by itself, and no query is shared among processes (whose rows would not be counted).
const SETTINGS: [(&str, &str); 5] = [
    ("autovacuum", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("max_parallel_maintenance_workers", "0"),
    ("log_statement", "none"),
    ("allow_in_place_tablespaces", "on"),
];

/// What is there for the whole server.
const GLOBALS: &str = "CREATE TABLESPACE side LOCATION ''";
const FIXTURE: &str = include_str!("schema.sql");

/// A form, what it did, and what was said of it.
struct Outcome {
    section: &'static str,
    form: Form,
    statements: Vec<Statement>,
    effects: Vec<Effect>,
    foreseen: Vec<Foreseen>,
    /// The same with a catalog of which only the major version is known.
    assumed: Vec<Foreseen>,
}

/// What all workers share.
struct Bench {
    cluster: Cluster,
    major: u32,
    /// The catalog of the fixture.
    catalog: Snapshot,
    queue: Mutex<VecDeque<(&'static str, Form)>>,
    outcomes: Mutex<Vec<Outcome>>,
    failures: Mutex<Vec<String>>,
}

impl Bench {
    async fn start() -> Result<Self> {
        let settings = SETTINGS.iter().chain(&outside::SETTINGS);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let cluster = Cluster::start(Options { settings, ..Options::default() }).await?;
        let major: u32 = cluster.admin().value("SHOW server_version_num").await?.parse()?;
        cluster.admin().execute(GLOBALS).await?;
        cluster.admin().execute("CREATE DATABASE fixture").await?;
        let fixture = cluster.named("fixture");
        fixture.execute(FIXTURE).await.context("cannot make the fixture")?;
        fixture.execute("VACUUM ANALYZE").await?;
        let catalog = catalog::read(&fixture).await?;
        let major = major / 10_000;
        let forms = forms::all().filter(|(_, form)| form.since <= major).collect();
        Ok(Self {
            cluster,
            major,
            catalog,
            queue: Mutex::new(forms),
            outcomes: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    async fn copy(&self, name: &str) -> Result<Database> {
        self.cluster.admin().execute(&format!("CREATE DATABASE {name} TEMPLATE fixture")).await?;
        Ok(self.cluster.named(name))
    }

    /// Measures forms until there are none left.
    async fn work(&self, worker: usize) -> Result<()> {
        let common = self.copy(&format!("common_{worker}")).await?;
        let mut session = common.connect().await?;
        let mut number = 0;
        loop {
            let Some((section, form)) = self.queue.lock().unwrap().pop_front() else { return Ok(()) };
            let outcome = if form.leaves_traces() {
                number += 1;
                let database = self.copy(&format!("own_{worker}_{number}")).await?;
                self.alone(&form, &database).await
            } else {
                self.measure(&form, &self.catalog, &mut session).await
            };
            match outcome {
                Ok(outcome) => self.outcomes.lock().unwrap().push(Outcome { section, ..outcome }),
                Err(error) => self.failures.lock().unwrap().push(format!("{}: {error:#}", form.name())),
            }
        }
    }

    /// Measures a form in a database of its own.
    async fn alone(&self, form: &Form, database: &Database) -> Result<Outcome> {
        if !form.setup.is_empty() {
            database.execute(form.setup).await?;
            database.execute("ANALYZE").await?;
        }
        let mut catalog = catalog::read(database).await?;
        if !form.outside {
            let mut session = database.connect().await?;
            if let Some(zone) = form.zone {
                execute(&mut session, &format!("SET timezone = '{zone}'")).await?;
                catalog.settings.insert("TimeZone".to_owned(), zone.to_owned());
            }
            return self.measure(form, &catalog, &mut session).await;
        }
        let statements = statements(form)?;
        let effect = outside::measure(database, form.sql).await?;
        Ok(self.outcome(form, statements, vec![effect], &catalog))
    }

    async fn measure(&self, form: &Form, catalog: &Snapshot, session: &mut PgConnection) -> Result<Outcome> {
        let statements = statements(form)?;
        let texts: Vec<String> = statements.iter().map(|statement| statement.sql.clone()).collect();
        let effects = measure::in_transactions(session, &texts).await?;
        Ok(self.outcome(form, statements, effects, catalog))
    }

    fn outcome(
        &self,
        form: &Form,
        statements: Vec<Statement>,
        effects: Vec<Effect>,
        catalog: &Snapshot,
    ) -> Outcome {
        let foreseen = foresee(&statements, catalog);
        let assumed = foresee(&statements, &Snapshot::assumed(Some(self.major)));
        Outcome { section: "", form: *form, statements, effects, foreseen, assumed }
    }
}

/// The statements of a form as our own parser reads them.
fn statements(form: &Form) -> Result<Vec<Statement>> {
    let statements = catalog::statements(form)?;
    // The other way round it may depend on the catalog: REINDEX of a partitioned table cannot run in a transaction.
    let outside = statements.iter().any(|statement| !statement.transactional);
    ensure!(form.outside || !outside, "said to be impossible in a transaction");
    Ok(statements)
}

/// Runs all forms that this major version knows; in the order of the forms.
async fn measured() -> Result<(u32, Vec<Outcome>)> {
    let bench = Bench::start().await?;
    try_join_all((0..WORKERS).map(|worker| bench.work(worker))).await?;
    let failures = std::mem::take(&mut *bench.failures.lock().unwrap());
    ensure!(failures.is_empty(), "{} forms could not be measured:\n{}", failures.len(), failures.join("\n"));
    let mut outcomes = std::mem::take(&mut *bench.outcomes.lock().unwrap());
    let order: Vec<String> = forms::all().map(|(_, form)| form.name()).collect();
    outcomes.sort_by_key(|outcome| order.iter().position(|name| *name == outcome.form.name()));
    Ok((bench.major, outcomes))
}

#[test]
fn what_is_foreseen_is_what_happens() -> Result<()> {
    run(async {
        let (major, outcomes) = measured().await?;
        println!("{}", table::summary(major, &outcomes));
        if std::env::var_os("WHIMBREL_TRUTH").is_some() {
            println!("{}", table::whole(major, &outcomes));
        }
        let differences: Vec<String> = outcomes.iter().flat_map(compare::differences).collect();
        ensure!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
        Ok(())
    })
}

#[test]
fn there_are_many_forms_and_none_twice() {
    let mut names: Vec<String> = forms::all().map(|(_, form)| form.name()).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
    let everywhere = forms::all().filter(|(_, form)| form.since <= 14).count();
    assert!(everywhere >= 150, "{everywhere} forms that every major version knows");
}
