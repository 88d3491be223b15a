//! The engine on real servers, without Kubernetes: one runner, its database, a copy, and one Migration at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whimbrel::core::plan::Guard;
use whimbrel::core::state::{Cause, Outcome, State};
use whimbrel::core::view::{RunView, Standing, Tokens, View};
use whimbrel::engine::runner::{Runner, Start};
use whimbrel::engine::subject::{Database as Served, Desired, Standby, Subject};
use whimbrel::engine::views::Views;

use crate::harness::engine::{self, target};
use crate::harness::postgres::{self, Cluster, Database, OPERATOR};
use crate::harness::{SOON, await_until};

/// The tables before any migration.
const SHOP: &str = "SET ROLE app_owner; CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL); \
     INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 100) g; \
     CREATE TABLE orders (id int PRIMARY KEY, buyer int); CREATE TABLE one (id int); INSERT INTO one VALUES (1); \
     CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); \
     CREATE VIEW named AS SELECT name FROM users; RESET ROLE";

/// A runner and what it works on.
pub struct Stage {
    pub primary: Database,
    pub copy: Option<Database>,
    views: Views,
    stop: CancellationToken,
    served: Arc<Served>,
    desired: watch::Sender<Desired>,
    _runner: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn desired(served: &Arc<Served>, subjects: Vec<Arc<Subject>>) -> Desired {
    Desired {
        database: served.clone(),
        subjects,
        settled: Vec::new(),
        presence: Arc::new(|_| async { Ok(true) }.boxed()),
        at: Instant::now(),
    }
}

impl Stage {
    /// On the server that all tests share, with a copy on another one.
    pub async fn new(name: &str, copy: bool, guard: Guard) -> Result<Self> {
        static COPIES: tokio::sync::OnceCell<Cluster> = tokio::sync::OnceCell::const_new();
        let primary = postgres::shared().await?.database(name).await?;
        let copies = COPIES.get_or_try_init(async || Cluster::start(postgres::Options::default()).await);
        let copy = if copy { Some(copies.await?.database(name).await?) } else { None };
        Self::on(primary, copy, guard, &[]).await
    }

    /// On databases that are there.
    pub async fn on(
        primary: Database,
        copy: Option<Database>,
        guard: Guard,
        standbys: &[(&str, Database)],
    ) -> Result<Self> {
        for database in copy.iter().chain([&primary]) {
            database.execute(SHOP).await?;
        }
        let standbys = standbys.iter().map(|(name, database)| {
            anyhow::Ok(Standby { name: (*name).to_owned(), target: target(database, OPERATOR)? })
        });
        let served = Arc::new(Served {
            copy: copy.as_ref().map(|copy| target(copy, OPERATOR)).transpose()?,
            standbys: standbys.collect::<Result<_>>()?,
            guard,
            ..engine::served("shop/shop", target(&primary, OPERATOR)?)
        });
        let (sender, receiver) = watch::channel(desired(&served, Vec::new()));
        let (views, _) = Views::new();
        let start = Start { linger: Duration::from_secs(1), ..engine::start("stage", receiver, &views) };
        let stop = start.stop.clone();
        let runner = Runner::new(start.clone());
        let again = start;
        let handle = tokio::spawn(async move {
            let mut runner = Some(runner);
            loop {
                let one = runner.take().unwrap_or_else(|| Runner::new(again.clone()));
                one.run().await;
                if again.stop.is_cancelled() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Ok(Self { primary, copy, views, stop, served, desired: sender, _runner: handle })
    }

    /// Wants a Migration; `spec` is merged into what every one has.
    pub fn migrate(&self, version: &str, spec: &Value) -> Result<()> {
        self.ask(version, spec, Tokens::default())
    }

    /// Asks for another attempt.
    pub fn retry(&self, version: &str, spec: &Value, token: &str) -> Result<()> {
        self.ask(version, spec, Tokens { retry: Some(token.to_owned()), ..Tokens::default() })
    }

    /// Asks for the way back.
    pub fn roll_back(&self, version: &str, spec: &Value, token: &str) -> Result<()> {
        self.ask(version, spec, Tokens { rollback: Some(token.to_owned()), ..Tokens::default() })
    }

    /// Wants a Migration, with tokens.
    pub fn ask(&self, version: &str, spec: &Value, tokens: Tokens) -> Result<()> {
        let mut spec = spec.clone();
        spec["version"] = json!(version);
        let subject = engine::subject("shop", (&format!("m{version}"), version), spec)?;
        let generation = 1 + self.desired.borrow().subjects.first().map_or(0, |last| last.generation);
        let subject = Subject { tokens, generation, ..subject };
        self.desired.send_replace(desired(&self.served, vec![Arc::new(subject)]));
        Ok(())
    }

    /// What is known of a version as it was asked for last.
    fn view(&self, version: &str) -> Result<Arc<View>> {
        let view = self.views.get(version).context("no view")?;
        let asked = self.desired.borrow().subject(version).context("not asked for")?.generation;
        ensure!(view.generation == asked, "as it was asked for before: {:?}", view.standing);
        Ok(view)
    }

    /// Waits until its run is as it should be.
    pub async fn until(&self, version: &str, what: &str, is: impl Fn(&RunView) -> bool) -> Result<RunView> {
        await_until(&format!("version {version} {what}"), SOON, async || {
            let view = self.view(version)?;
            let Standing::Run(run) = &view.standing else { anyhow::bail!("{:?}", view.standing) };
            ensure!(is(run), "{:?} {:?} {:?}", run.state, run.waiting, run.attempt);
            Ok((**run).clone())
        })
        .await
    }

    /// Applies a Migration and waits until that is done.
    pub async fn applied(&self, version: &str, spec: &Value) -> Result<RunView> {
        self.migrate(version, spec)?;
        self.succeeded(version).await.with_context(|| spec.to_string())
    }

    /// Waits until its run has succeeded.
    pub async fn succeeded(&self, version: &str) -> Result<RunView> {
        let run = self.until(version, "having ended", |run| run.state.is_done()).await?;
        let succeeded = matches!(&run.state, State::Done { outcome: Outcome::Succeeded, .. });
        ensure!(succeeded, "{:?}", run.state);
        Ok(run)
    }

    /// Waits until its run is held, and returns why.
    pub async fn held(&self, version: &str) -> Result<Cause> {
        let rests = |run: &RunView| run.state.is_done() || matches!(run.state, State::Held { .. });
        match self.until(version, "being held", rests).await?.state {
            State::Held { cause, .. } => Ok(cause),
            state => anyhow::bail!("{state:?}"),
        }
    }

    /// Tries a Migration whose plan is refused, and returns why.
    pub async fn refused(&self, version: &str, spec: &Value) -> Result<Cause> {
        self.migrate(version, spec)?;
        await_until(&format!("version {version} being refused"), SOON, async || {
            match &self.view(version)?.standing {
                Standing::Refused(cause) => Ok(cause.clone()),
                other => anyhow::bail!("{other:?}"),
            }
        })
        .await
    }

    /// Tries a Migration that is refused or fails, and returns why.
    pub async fn failed(&self, version: &str, spec: &Value) -> Result<Cause> {
        self.migrate(version, spec)?;
        let run = self.until(version, "having ended", |run| run.state.is_done()).await?;
        match run.state {
            State::Done { outcome: Outcome::Failed(cause) | Outcome::RolledBack(cause), .. } => Ok(cause),
            state => anyhow::bail!("{spec}: {state:?}"),
        }
    }
}

/// The usual limits with another stall budget.
pub fn budget(ms: u64) -> Guard {
    Guard { max_stall: Duration::from_millis(ms), ..Guard::default() }
}
