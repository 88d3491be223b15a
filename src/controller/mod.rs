//! Edge: the only user of the Kubernetes runtime.

pub mod cache;
pub mod client;
pub mod context;
pub mod counters;
pub mod database;
pub mod databases;
pub mod election;
pub mod events;
pub mod lease;
pub mod migration;
pub mod provider;
pub mod readiness;
pub mod resolve;
pub mod wishes;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, reflector, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use self::context::Context;
use self::counters::Counters;
use self::databases::Databases;
use self::election::Leadership;
use self::events::Events;
use crate::api::{Database, MetricsProvider, Migration};
use crate::engine::seats::Seats;
use crate::engine::views::Views;
use crate::postgres::ledger::RunKey;
use crate::server::{Health, Metrics};

/// The runtime does not end a watch whose first list never came, and a pass that is cut off is repeated by the next leader.
/// What runs in databases is waited for apart from this.
const WATCHES_END_WITHIN: Duration = Duration::from_secs(1);

/// A Database is looked at so long after the last news of its Migrations.
const AFTER_NEWS: Duration = Duration::from_secs(1);

/// What the controller needs from the process around it.
pub struct ControllerOptions {
    /// The API server.
    pub client: Client,
    /// Namespaces to watch; none means all.
    pub watch_namespaces: Vec<String>,
    /// Name of this process: the instance in events, the owner in the ledger.
    pub identity: String,
    /// Databases that are worked on or looked at at the same time, with two connections each.
    pub max_concurrent_databases: usize,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Where trouble of the watches is reported.
    pub health: Health,
    /// Whether this process may act: ask [`Leadership::holds`] before each effect.
    pub leadership: watch::Receiver<Leadership>,
    /// Cancelled when the work must reach a safe point and end.
    pub shutdown: CancellationToken,
}

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what was asked.
    #[error(transparent)]
    Api(#[from] client::Error),
}

/// Watches the custom resources and works on them until `shutdown` is cancelled. Everything that it started has
/// stopped when it returns.
///
/// # Errors
/// When it cannot go on; an unreachable API server or database is waited for instead.
pub async fn run(options: ControllerOptions) -> Result<(), Error> {
    let tracker = TaskTracker::new();
    let seats = Seats::new(options.max_concurrent_databases);
    let counters = Counters::new(&options.metrics);
    let events = Events::new(options.client.clone(), options.identity.clone());
    let scopes: Vec<Option<String>> = if options.watch_namespaces.is_empty() {
        vec![None]
    } else {
        options.watch_namespaces.iter().cloned().map(Some).collect()
    };
    let mut watches = Vec::new();
    for scope in scopes {
        let (views, news) = Views::new();
        let make = |migrations: Store<Migration>| Context {
            client: options.client.clone(),
            migrations,
            views,
            events: events.clone(),
            counters: counters.clone(),
            runners: std::sync::Mutex::default(),
            written: std::sync::Mutex::default(),
            looked_at: std::sync::Mutex::default(),
            offered: std::sync::Mutex::default(),
            databases: Databases::default(),
            tracker: tracker.clone(),
            seats: seats.clone(),
            stop: options.shutdown.clone(),
            leadership: options.leadership.clone(),
            identity: options.identity.clone(),
        };
        watches.push(tokio::spawn(migrations(&options.client, scope.as_deref(), news, make)));
    }
    for mut watch in watches {
        let overdue = async {
            options.shutdown.cancelled().await;
            tokio::time::sleep(WATCHES_END_WITHIN).await;
        };
        tokio::select! {
            // A watch that broke off is a defect; the others have ended by the same token.
            ended = &mut watch => {
                if let Err(error) = ended {
                    warn!("a watch broke off: {error}");
                }
            }
            () = overdue => watch.abort(),
        }
    }
    tracker.close();
    tracker.wait().await;
    info!("every database is at a safe point");
    Ok(())
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

/// The controller of Migrations in one namespace, or in all.
fn migrations(
    client: &Client,
    namespace: Option<&str>,
    news: mpsc::UnboundedReceiver<RunKey>,
    make: impl FnOnce(Store<Migration>) -> Context,
) -> impl Future<Output = ()> + Send + 'static {
    // Each under way has a connection of its own to the API server; with twice as many a fleet is not done sooner.
    let config = Config::default().concurrency(16);
    let (store, cache) = reflector::store();
    let (tell, databases_with_news) = mpsc::unbounded_channel();
    let (tell_gone, gone) = mpsc::unbounded_channel();
    let watched = cache::watch(scoped(client, namespace), cache, tell, tell_gone);
    let controller = Controller::for_stream(watched, store.clone()).with_config(config);
    let (by_database, by_provider) = (store.clone(), store.clone());
    let context = Arc::new(make(store));
    let known = context.databases.clone();
    let news = received(news).map(|key| migration::object_ref(&key));
    let left = Arc::clone(&context);
    let gone = received(gone).flat_map(move |gone| futures::stream::iter(left.left_behind(&gone)));
    let stop = context.stop.clone();
    let databases = databases(client, namespace, databases_with_news, Arc::clone(&context));
    let providers = providers(client, namespace, Arc::clone(&context));
    let controller = controller
        .watches(
            scoped::<Database>(client, namespace),
            watcher::Config::default(),
            move |database: Database| {
                known.told(&database.namespace().unwrap_or_default(), &database.name_any());
                concerned(&by_database, &database, |migration| {
                    migration.spec.database_ref.name == database.name_any()
                })
            },
        )
        .watches(
            scoped::<MetricsProvider>(client, namespace),
            watcher::Config::default(),
            move |provider: MetricsProvider| {
                concerned(&by_provider, &provider, |migration| {
                    let metrics = migration.spec.analysis.iter().flat_map(|analysis| &analysis.metrics);
                    metrics.into_iter().any(|metric| metric.provider_ref.name == provider.name_any())
                })
            },
        )
        .reconcile_on(news)
        .reconcile_on(gone)
        .graceful_shutdown_on(async move { stop.cancelled().await });
    let migrations = controller.run(migration::reconcile, failed, context).for_each(note);
    async move {
        tokio::join!(migrations, databases, providers);
    }
}

/// The controller of Databases. A Migration that has ended is news about its Database; a pause lets a quick run end first.
fn databases(
    client: &Client,
    namespace: Option<&str>,
    news: mpsc::UnboundedReceiver<ObjectRef<Database>>,
    context: Arc<Context>,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let config = Config::default().concurrency(8).debounce(AFTER_NEWS);
    let stop = context.stop.clone();
    Controller::new(scoped::<Database>(client, namespace), watcher::Config::default())
        .with_config(config)
        .reconcile_on(received(news))
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(database::reconcile, failed, context)
        .for_each(note)
}

/// What comes in.
fn received<T: Send>(from: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send {
    futures::stream::unfold(from, |mut from| async move { from.recv().await.map(|one| (one, from)) })
}

/// The controller of `MetricsProviders`.
fn providers(
    client: &Client,
    namespace: Option<&str>,
    context: Arc<Context>,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    let stop = context.stop.clone();
    Controller::new(scoped::<MetricsProvider>(client, namespace), watcher::Config::default())
        .with_config(Config::default().concurrency(8))
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(provider::reconcile, failed, context)
        .for_each(note)
}

async fn note<T, E: std::fmt::Display>(done: Result<T, E>) {
    if let Err(error) = done {
        debug!("{error}");
    }
}

/// The Migrations in the namespace of a changed object that it concerns.
fn concerned<K: ResourceExt>(
    store: &Store<Migration>,
    changed: &K,
    is: impl Fn(&Migration) -> bool,
) -> Vec<ObjectRef<Migration>> {
    let state = store.state();
    let same = state.iter().filter(|migration| migration.namespace() == changed.namespace() && is(migration));
    same.map(|migration| ObjectRef::from_obj(&**migration)).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the runtime's")]
fn failed<K: ResourceExt>(object: Arc<K>, error: &client::Error, context: Arc<Context>) -> Action {
    context.counters.failure();
    warn!(name = object.name_any(), namespace = object.namespace(), "{error}; trying again");
    Action::requeue(Duration::from_secs(2))
}
