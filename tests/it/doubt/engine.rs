//! One engine on one database, as the operator would run it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use whimbrel::api::Version;
use whimbrel::core::state::{Cause, Outcome, State};
use whimbrel::core::view::{RunView, Standing};
use whimbrel::engine::runner::{Runner, Start};
use whimbrel::engine::subject::{Database as Wanted, Desired, Subject};
use whimbrel::engine::views::Views;

pub use crate::harness::SOON;
use crate::harness::postgres::{Database, OPERATOR};
use crate::harness::{await_until, engine};

/// How long a database may be silent.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is wanted of a database: its primary and one migration.
pub struct Wish {
    pub database: Wanted,
    pub subject: Subject,
    /// What the statuses of other migrations say.
    pub settled: Vec<(String, Version)>,
}

impl Wish {
    /// A migration of a database without a copy.
    pub fn new(database: &Database, spec: Value) -> Result<Self> {
        Self::by(database, OPERATOR, spec)
    }

    /// The same, by another login.
    pub fn by(database: &Database, login: &str, spec: Value) -> Result<Self> {
        let name = format!("it/{}", database.name());
        let database = engine::served(&name, engine::target(database, login)?);
        let subject = engine::subject("it", ("change", "uid-1"), spec)?;
        Ok(Self { database, subject, settled: Vec::new() })
    }

    fn desired(self) -> Desired {
        let presence = Arc::new(|_| async { Ok(true) }.boxed());
        Desired {
            database: Arc::new(self.database),
            subjects: vec![Arc::new(self.subject)],
            settled: self.settled,
            presence,
            at: Instant::now(),
        }
    }
}

/// A running engine.
pub struct Engine {
    pub views: Views,
    wishes: watch::Sender<Desired>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    turns: watch::Receiver<u32>,
    uid: String,
}

impl Engine {
    /// Starts one.
    pub fn start(owner: &str, wish: Wish) -> Self {
        let uid = wish.subject.key.uid.clone();
        let (views, mut news) = Views::new();
        let (wishes, desired) = watch::channel(wish.desired());
        let start = Start { patience: PATIENCE, ..engine::start(owner, desired, &views) };
        let stop = start.stop.clone();
        let (ended, turns) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut start = start;
            // The operator starts a runner whenever there is something to do.
            loop {
                Box::pin(Runner::new(start.clone()).run()).await;
                ended.send_modify(|turns| *turns += 1);
                tokio::select! {
                    () = start.stop.cancelled() => return,
                    changed = start.desired.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        });
        tokio::spawn(async move { while news.recv().await.is_some() {} });
        Self { views, wishes, stop, task, turns, uid }
    }

    /// Lets the process die: connections are cut, and nothing more is done.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Waits until a runner of it has ended by itself.
    pub async fn ended_a_turn(&self) -> Result<()> {
        let mut turns = self.turns.clone();
        tokio::time::timeout(SOON, turns.wait_for(|turns| *turns > 0)).await.context("it goes on")??;
        Ok(())
    }

    /// Ends it at a safe point.
    pub async fn finish(self) -> Result<()> {
        self.stop.cancel();
        Ok(tokio::time::timeout(SOON, self.task).await??)
    }

    /// Changes the wish for its migration.
    pub fn change(&self, change: impl FnOnce(&mut Subject)) {
        let mut desired = self.wishes.borrow().clone();
        let mut subject = (*desired.subjects[0]).clone();
        change(&mut subject);
        desired.subjects = vec![Arc::new(subject)];
        self.wishes.send_replace(desired);
    }

    /// What is known of its migration now.
    pub fn standing(&self) -> Option<Standing> {
        self.views.get(&self.uid).map(|view| view.standing.clone())
    }

    /// The view of its run.
    pub fn run(&self) -> Result<RunView> {
        match self.standing() {
            Some(Standing::Run(run)) => Ok(*run),
            other => bail!("no run: {other:?}"),
        }
    }

    /// What it says that it waits for.
    pub fn says(&self) -> Option<Cause> {
        match self.standing()? {
            Standing::Run(run) => run.waiting.clone().or_else(|| match run.state {
                State::Held { cause, .. } => Some(cause),
                State::Done { outcome, .. } => outcome.cause().cloned(),
                _ => None,
            }),
            Standing::Waiting(cause)
            | Standing::Retrying(cause)
            | Standing::Refused(cause)
            | Standing::Covered(cause) => Some(cause),
        }
    }

    /// Waits until it says this.
    pub async fn await_saying(&self, words: &str) -> Result<Cause> {
        let mut found = None;
        await_until(words, SOON, async || {
            let says = self.says();
            found = says.filter(|cause| cause.message.contains(words));
            ensure!(found.is_some(), "it says {:?}", self.standing());
            Ok(())
        })
        .await?;
        found.context("said")
    }

    /// Waits for the end of its run.
    pub async fn outcome(&self) -> Result<Outcome> {
        let mut ended = None;
        await_until("the end of the run", SOON, async || {
            match self.run()?.state {
                State::Done { outcome, .. } => ended = Some(outcome),
                state => bail!("{state:?}, {:?}", self.says()),
            }
            Ok(())
        })
        .await?;
        ended.context("an end")
    }

    /// Waits for a good end.
    pub async fn succeeds(&self) -> Result<()> {
        let outcome = self.outcome().await?;
        ensure!(outcome == Outcome::Succeeded, "{outcome:?}");
        Ok(())
    }
}

/// Waits until a query gives this value.
pub async fn await_value(database: &Database, sql: &str, expected: &str) -> Result<Duration> {
    await_value_within(database, sql, expected, SOON).await
}

/// Waits for a longer time until a query gives this value.
pub async fn await_value_within(
    database: &Database,
    sql: &str,
    expected: &str,
    within: Duration,
) -> Result<Duration> {
    let started = Instant::now();
    await_until(sql, within, async || {
        let found = database.value(sql).await?;
        ensure!(found == expected, "{found}");
        Ok(())
    })
    .await?;
    Ok(started.elapsed())
}

/// How often statements of this kind had an effect, for an object.
pub async fn effects(database: &Database, tag: &str, object: &str) -> Result<usize> {
    let seen = database.ddl().await?;
    Ok(seen.iter().filter(|ddl| ddl.tag == tag && ddl.object == object).count())
}
