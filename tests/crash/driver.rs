//! The process that is killed: the engine on real databases, with objects from a file in the place of Kubernetes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::FutureExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use whimbrel::api::Version;
use whimbrel::core::state::State;
use whimbrel::core::view::{Standing, Tokens, View};
use whimbrel::engine::runner::Runner;
use whimbrel::engine::subject::{Database, Desired, Presence, Providers, Recorded, Subject};
use whimbrel::engine::views::Views;
use whimbrel::metrics::{PrometheusProvider, Provider};
use whimbrel::postgres::identity::Pinned;
use whimbrel::postgres::ledger::RunKey;
use whimbrel::postgres::{Secret, Target, Tls, TlsMode};

use super::orders::{self, Orders, Outcome, Place, Wanted};
use crate::harness::postgres::{OPERATOR, PASSWORD};
use crate::harness::{engine, metrics_stub};

/// Exit code of a driver whose runners ended before its Migrations did: another owner took over.
pub const NOT_DONE: u8 = 3;

/// Runs a driver to its end.
///
/// # Errors
/// When its orders cannot be read, or it cannot begin.
pub fn run(orders: &Path) -> Result<u8> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    whimbrel::telemetry::init(whimbrel::telemetry::LogFormat::Text, "info")?;
    let orders: Orders = serde_json::from_slice(&std::fs::read(orders)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(drive(orders))
}

/// How the operator logs in.
///
/// # Errors
/// When a part of it is not usable.
pub fn target(port: u16, name: &str) -> Result<Target> {
    let tls = Tls { mode: TlsMode::Disable, ..Tls::default() };
    let mut target = Target::new(("127.0.0.1", port), name, OPERATOR, Secret::new(PASSWORD), tls)?;
    target.connect_timeout = Duration::from_secs(2);
    Ok(target)
}

fn database(place: &Place) -> Result<Database> {
    Ok(Database {
        copy: place.copy.as_ref().map(|(port, name)| target(*port, name)).transpose()?,
        recorded: place.recorded.as_ref().map(recorded).transpose()?.unwrap_or_default(),
        ..engine::served(&place.name, target(place.port, &place.name)?)
    })
}

fn recorded(seen: &orders::Recorded) -> Result<Recorded> {
    let (system_identifier, timeline) = seen.server.clone();
    let version = seen.version.as_ref().map(|version| Version::parse(version, "version")).transpose();
    let versions = version.map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(Recorded {
        server: Some(Pinned { system_identifier, timeline: Some(timeline) }),
        ledger: true,
        versions: versions.map(|version| ("default".to_owned(), version)).into_iter().collect(),
    })
}

async fn metrics() -> Result<Providers> {
    let url = metrics_stub::start().await?;
    let provider = Provider::Prometheus(PrometheusProvider::new(metrics_stub::config(url))?);
    let name = "prometheus".to_owned();
    Ok(Providers {
        by_name: BTreeMap::from([(name.clone(), provider)]),
        scrape_intervals: BTreeMap::from([(name, Duration::from_millis(100))]),
        wrong: Vec::new(),
    })
}

struct Driver {
    orders: Mutex<Orders>,
    providers: Providers,
    databases: Vec<Arc<Database>>,
    tokens: Mutex<HashMap<String, Tokens>>,
    news: Vec<watch::Sender<Desired>>,
}

impl Driver {
    fn subject(&self, wanted: &Wanted) -> Result<Subject> {
        let tokens = self.tokens.lock().expect("not poisoned").get(&wanted.name).cloned().unwrap_or_default();
        Ok(Subject {
            generation: wanted.generation,
            gone: wanted.gone,
            tokens,
            providers: self.providers.clone(),
            recorded_run: wanted.run.clone(),
            ..engine::subject("shop", (&wanted.name, &wanted.name), wanted.spec.clone())?
        })
    }

    fn desired(&self, index: usize) -> Result<Desired> {
        let orders = self.orders.lock().expect("not poisoned").clone();
        let mine = orders.subjects.iter().filter(|wanted| wanted.database == index);
        let subjects = mine.map(|wanted| Ok(Arc::new(self.subject(wanted)?))).collect::<Result<_>>()?;
        let gone: Vec<(String, bool)> =
            orders.subjects.iter().map(|wanted| (wanted.name.clone(), wanted.gone)).collect();
        let presence: Presence = Arc::new(move |key: RunKey| {
            let there = gone.iter().any(|(name, gone)| *name == key.uid && !gone);
            async move { Ok(there) }.boxed()
        });
        let (database, settled, at) = (self.databases[index].clone(), Vec::new(), Instant::now());
        Ok(Desired { database, subjects, settled, presence, at })
    }

    fn offer(&self) -> Result<()> {
        for (index, sender) in self.news.iter().enumerate() {
            sender.send_replace(self.desired(index)?);
        }
        Ok(())
    }

    /// What was said last of each Migration, if that is the last word on all of them.
    fn outcomes(&self, views: &Views) -> Option<Vec<Outcome>> {
        let orders = self.orders.lock().expect("not poisoned");
        orders.subjects.iter().map(|wanted| outcome(wanted, &*views.get(&wanted.name)?)).collect()
    }
}

fn outcome(wanted: &Wanted, view: &View) -> Option<Outcome> {
    if view.generation != wanted.generation {
        return None;
    }
    let say = |phase: &str, message: String| {
        Some(Outcome { name: wanted.name.clone(), phase: phase.to_owned(), message })
    };
    match &view.standing {
        Standing::Run(run) => match &run.state {
            State::Done { outcome, .. } => {
                say(run.state.phase(), outcome.cause().map(|cause| cause.message.clone()).unwrap_or_default())
            }
            State::Held { cause, .. } => say("Held", cause.message.clone()),
            _ => None,
        },
        Standing::Refused(cause) => say("Refused", cause.message.clone()),
        Standing::Covered(cause) => say("Covered", cause.message.clone()),
        Standing::Waiting(cause) if wanted.gone => say("Gone", cause.message.clone()),
        Standing::Waiting(_) | Standing::Retrying(_) => None,
    }
}

/// Takes changes of the wishes from the harness, and says when they are known to the runners.
async fn listen(driver: Arc<Driver>, path: String) -> Result<()> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(b"control\n").await?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let subjects: Vec<Wanted> = serde_json::from_str(&line)?;
        driver.orders.lock().expect("not poisoned").subjects = subjects;
        driver.offer()?;
        write.write_all(b"+").await?;
    }
    Ok(())
}

async fn drive(orders: Orders) -> Result<u8> {
    let watched = orders.subjects.iter().any(|wanted| wanted.spec.get("analysis").is_some());
    let providers = if watched { metrics().await? } else { Providers::default() };
    let databases =
        orders.databases.iter().map(|place| Ok(Arc::new(database(place)?))).collect::<Result<_>>()?;
    let mut driver = Driver {
        orders: Mutex::new(orders.clone()),
        providers,
        databases,
        tokens: Mutex::default(),
        news: Vec::new(),
    };
    let (views, mut news) = Views::new();
    let mut receivers = Vec::new();
    for index in 0..orders.databases.len() {
        let (sender, receiver) = watch::channel(driver.desired(index)?);
        driver.news.push(sender);
        receivers.push(receiver);
    }
    let driver = Arc::new(driver);
    let mut runners = JoinSet::new();
    for desired in receivers {
        let start = engine::start(&orders.owner, desired, &views);
        runners.spawn(async move {
            Runner::new(start).run().await;
        });
    }
    if !orders.control.is_empty() {
        tokio::spawn(listen(driver.clone(), orders.control.clone()));
    }
    loop {
        tokio::select! {
            Some(key) = news.recv() => {
                if let Some(view) = views.get(&key.uid) {
                    request(&driver, &key, &view)?;
                }
            }
            ended = runners.join_next() => match ended {
                Some(ended) => ended.context("a runner")?,
                None => break,
            },
        }
    }
    let Some(outcomes) = driver.outcomes(&views) else { return Ok(NOT_DONE) };
    std::fs::write(&orders.outcome, serde_json::to_vec(&outcomes)?)?;
    Ok(0)
}

/// Asks for a rollback, once, where the workload wants one and the migration is applied.
fn request(driver: &Driver, key: &RunKey, view: &View) -> Result<()> {
    let wanted = driver.orders.lock().expect("not poisoned").rolled_back_on_request;
    let applied = matches!(&view.standing, Standing::Run(run) if matches!(run.state, State::Watching { .. }));
    if !(wanted && applied) {
        return Ok(());
    }
    let tokens = Tokens { rollback: Some("now".to_owned()), ..Tokens::default() };
    if driver.tokens.lock().expect("not poisoned").insert(key.uid.clone(), tokens).is_none() {
        driver.offer()?;
    }
    Ok(())
}
