//! When a runner keeps its session though somebody waits for the seat, and what it heard of when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use whimbrel::core::view::Standing;
use whimbrel::engine::runner::{Runner, Start};
use whimbrel::engine::seats::Seats;
use whimbrel::engine::subject::Desired;
use whimbrel::engine::views::Views;

use crate::harness::postgres::{self, Database, OPERATOR};
use crate::harness::{await_until, engine};

/// For anything that takes a second on an idle machine.
const SOON: Duration = Duration::from_secs(90);

/// No session is kept for less, but at the end of a test.
const LINGER: Duration = Duration::from_mins(1);

/// A database, its runner, and what it was asked for.
struct One {
    database: Database,
    wishes: watch::Sender<Desired>,
    views: Views,
    stop: CancellationToken,
    runner: JoinHandle<watch::Receiver<Desired>>,
}

/// Wishes for the versions up to this one.
fn desired(database: &Database, upto: u32, at: Instant) -> Result<Desired> {
    let subject = |version: u32| {
        let up = format!("CREATE TABLE made_{version} (id int)");
        let spec = json!({"version": version.to_string(), "up": up});
        Ok(Arc::new(engine::subject("seats", ("make", &version.to_string()), spec)?))
    };
    Ok(Desired {
        database: Arc::new(engine::served(database.name(), engine::target(database, OPERATOR)?)),
        subjects: (1..=upto).map(subject).collect::<Result<_>>()?,
        settled: Vec::new(),
        presence: Arc::new(|_| async { Ok(true) }.boxed()),
        at,
    })
}

impl One {
    /// A database whose first version is wished for.
    fn new(database: Database, seats: &Seats, at: Instant) -> Result<Self> {
        let (wishes, receiver) = watch::channel(desired(&database, 1, at)?);
        let (views, _) = Views::new();
        let start =
            Start { seats: seats.clone(), linger: LINGER, ..engine::start("seats", receiver, &views) };
        let stop = start.stop.clone();
        let runner = tokio::spawn(Runner::new(start).run());
        Ok(Self { database, wishes, views, stop, runner })
    }

    /// Wishes for more, and waits until that is applied.
    async fn wish(&self, upto: u32, at: Instant) -> Result<()> {
        self.wishes.send_replace(desired(&self.database, upto, at)?);
        self.applied(upto).await
    }

    async fn applied(&self, version: u32) -> Result<()> {
        await_until(&format!("version {version} being applied"), SOON, async || {
            let view = self.views.get(&version.to_string()).context("no view")?;
            ensure!(matches!(&view.standing, Standing::Run(run) if run.state.is_done()), "{view:?}");
            Ok(())
        })
        .await
    }

    /// How often a session became the owner.
    async fn epoch(&self) -> Result<String> {
        let rows = self.database.text("SELECT epoch FROM whimbrel.epoch").await?;
        rows.into_iter().flatten().next().flatten().context("no epoch")
    }

    /// Stops the runner. Returns the wishes as it left them.
    async fn stopped(&mut self) -> Result<watch::Receiver<Desired>> {
        self.stop.cancel();
        Ok(tokio::time::timeout(SOON, &mut self.runner).await.context("it goes on")??)
    }
}

#[tokio::test]
async fn a_session_is_kept_for_wishes_that_may_come_and_then_gives_way() -> Result<()> {
    let server = postgres::shared().await?;
    let (first, second) = (server.database("seats_first").await?, server.database("seats_second").await?);
    let seats = Seats::new(1);
    let long_ago = Instant::now().checked_sub(LINGER).context("the machine has just started")?;
    let first = One::new(first, &seats, Instant::now())?;
    first.applied(1).await?;
    let second = One::new(second, &seats, Instant::now())?;
    tokio::time::timeout(SOON, seats.wanted()).await.context("nobody waits")?;
    first.wish(2, long_ago).await?;
    ensure!(first.epoch().await? == "1", "another session for the second wish");
    second.applied(1).await
}

#[tokio::test]
async fn a_runner_that_ends_leaves_the_wishes_that_it_did_not_hear_of() -> Result<()> {
    let database = postgres::shared().await?.database("seats_heard").await?;
    let mut one = One::new(database, &Seats::new(1), Instant::now())?;
    one.applied(1).await?;
    one.wish(2, Instant::now()).await?;
    let left = one.stopped().await?;
    ensure!(!left.has_changed()?, "it heard of all of them");
    one.wishes.send_replace(desired(&one.database, 3, Instant::now())?);
    ensure!(left.has_changed()?, "it ended before");
    Ok(())
}
