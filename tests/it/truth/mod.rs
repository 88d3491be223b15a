//! Truth, not opinion: each form of statement is run on a real server, and what it does there is compared with what
//! [`whimbrel::sql::foresee`] said before.
//!
//! `make truth` prints the table and writes `docs/locks.md`; `make test-majors` does it for every major version.

mod catalog;
mod compare;
mod corpus;
mod docs;
mod form;
mod forms;
mod measure;
mod outside;
mod table;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use sqlx::{Connection as _, PgConnection};
use whimbrel::sql::{Foreseen, Snapshot, Statement, foresee};

use crate::harness::postgres::{Cluster, Database, Options, execute};
use crate::harness::run_within;
use form::Form;
use measure::Effect;

/// Far more than it takes, even among other tests.
const LIMIT: Duration = Duration::from_mins(5);

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
    indexes: table::Indexes,
}

/// Forms with the titles of their sections.
type Batch = Vec<(&'static str, Form)>;

/// Most forms of one batch, so that the workers end at about the same time.
const BATCH: usize = 100;

/// What all workers share.
struct Bench {
    cluster: Cluster,
    major: u32,
    queue: Mutex<VecDeque<Batch>>,
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
        let major = major / 10_000;
        Ok(Self {
            cluster,
            major,
            queue: Mutex::new(batches(major)),
            outcomes: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// Measures forms until there are none left. Each connection costs as much as some forms: there are few.
    async fn work(&self, worker: usize) -> Result<()> {
        let mut admin = self.cluster.admin().connect().await?;
        for number in 0.. {
            let Some(batch) = self.queue.lock().unwrap().pop_front() else { break };
            let name = format!("copy_{worker}_{number}");
            execute(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE fixture")).await?;
            let database = self.cluster.named(&name);
            self.measure_all(&batch, &database).await.with_context(|| batch[0].1.name())?;
            execute(&mut admin, &format!("DROP DATABASE {name}")).await?;
        }
        Ok(admin.close().await?)
    }

    /// Measures forms in a database that all of them leave, or the only one finds, as it is.
    async fn measure_all(&self, batch: &[(&'static str, Form)], database: &Database) -> Result<()> {
        let first = &batch[0].1;
        let mut session = database.connect().await?;
        if !first.setup.is_empty() {
            execute(&mut session, first.setup).await?;
        }
        if measure::adds_rows(first.setup) {
            execute(&mut session, "ANALYZE").await?;
        }
        let mut catalog = catalog::read(&mut session).await?;
        execute(&mut session, measure::SESSION).await?;
        if let Some(zone) = first.zone {
            execute(&mut session, &format!("SET timezone = '{zone}'")).await?;
            catalog.settings.insert("TimeZone".to_owned(), zone.to_owned());
        }
        for (section, form) in batch {
            match self.measure(form, &catalog, database, &mut session).await {
                Ok(outcome) => self.outcomes.lock().unwrap().push(Outcome { section, ..outcome }),
                Err(error) => self.failures.lock().unwrap().push(format!("{}: {error:#}", form.name())),
            }
        }
        Ok(session.close().await?)
    }

    async fn measure(
        &self,
        form: &Form,
        catalog: &Snapshot,
        database: &Database,
        session: &mut PgConnection,
    ) -> Result<Outcome> {
        let statements = statements(form)?;
        let effects = if form.outside {
            vec![outside::measure(database, session, form.sql).await?]
        } else {
            let texts: Vec<String> = statements.iter().map(|statement| statement.sql.clone()).collect();
            measure::in_transactions(session, &texts).await?
        };
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
        Outcome {
            section: "",
            form: *form,
            statements,
            effects,
            foreseen,
            assumed,
            indexes: catalog::indexes(catalog),
        }
    }
}

/// Forms that can be measured in one database, one after the other: those that leave nothing behind and start alike.
fn batches(major: u32) -> VecDeque<Batch> {
    let mut batches: VecDeque<Batch> = VecDeque::new();
    for (section, form) in forms::all().filter(|(_, form)| form.since <= major) {
        let same = batches.iter_mut().find(|batch| {
            let (_, first) = &batch[0];
            batch.len() < BATCH && form.starts_like(first) && !form.leaves_traces() && !first.leaves_traces()
        });
        match same {
            Some(batch) => batch.push((section, form)),
            None => batches.push_back(vec![(section, form)]),
        }
    }
    batches
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
    run_within(LIMIT, async {
        let (major, outcomes) = measured().await?;
        println!("{}", table::summary(major, &outcomes));
        let written = std::env::var_os("WHIMBREL_TRUTH");
        if let Some(directory) = &written {
            println!("{}", table::whole(major, &outcomes));
            docs::write(Path::new(directory), major, &outcomes)?;
        }
        let differences: Vec<String> = outcomes.iter().flat_map(compare::differences).collect();
        ensure!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
        docs::check(major, &outcomes)
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
