//! What a scenario plays in: a namespace, a database and a copy of its own, on servers that all scenarios share; an
//! application whose error rate the scenario turns up and down; and a record of every status that a client could see.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::kstatus;
pub use crate::harness::SOON;
use crate::harness::kubernetes::{self, ApiServer};
pub use crate::harness::objects::{condition, current, message, reason_of};
use crate::harness::operator::{Operator, Options};
use crate::harness::postgres::{self, Cluster, Database, OPERATOR};
use crate::harness::prometheus::Prometheus;
use crate::harness::{await_until, scratch};

/// The schema before any migration.
const SHOP: &str = "SET ROLE app_owner; CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, paid boolean NOT NULL); \
     INSERT INTO users SELECT g, 'user ' || g, g % 3 = 0 FROM generate_series(1, 10000) g; \
     RESET ROLE; TRUNCATE obs.ddl";

/// An error rate, as everybody writes it.
const ERROR_RATE: &str = "sum(rate(errors_total{app=\"{{ args.app }}\"}[{{ range }}])) \
     / sum(rate(requests_total{app=\"{{ args.app }}\"}[{{ range }}]))";

#[derive(Default)]
struct Traffic {
    requests: u64,
    errors: u64,
    broken: bool,
}

static TRAFFIC: LazyLock<Mutex<HashMap<String, Traffic>>> = LazyLock::new(Mutex::default);

fn traffic() -> MutexGuard<'static, HashMap<String, Traffic>> {
    TRAFFIC.lock().unwrap_or_else(PoisonError::into_inner)
}

fn page() -> String {
    let of = |(app, one): (&String, &Traffic)| {
        format!(
            "requests_total{{app=\"{app}\"}} {}\nerrors_total{{app=\"{app}\"}} {}\n",
            one.requests, one.errors
        )
    };
    traffic().iter().map(of).collect()
}

/// Serves the counters of all applications, each with a hundred requests a second, on a thread that outlives each test.
fn serve_applications() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            tokio::spawn(async {
                let mut clock = tokio::time::interval(Duration::from_millis(100));
                loop {
                    clock.tick().await;
                    for one in traffic().values_mut() {
                        one.requests += 10;
                        one.errors += if one.broken { 4 } else { 0 };
                    }
                }
            });
            let router = axum::Router::new().route("/metrics", axum::routing::get(async || page()));
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, router).await.expect("a server");
        });
    });
    Ok(address)
}

async fn prometheus() -> Result<&'static Prometheus> {
    static SHARED: OnceCell<Prometheus> = OnceCell::const_new();
    SHARED.get_or_try_init(async || Prometheus::start(&[("shop", &serve_applications()?)]).await).await
}

/// The server that has the writable copies.
async fn copies() -> Result<&'static Cluster> {
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    SHARED.get_or_try_init(async || Cluster::start(postgres::Options::default()).await).await
}

async fn api_server() -> Result<&'static ApiServer> {
    static CRDS: OnceCell<()> = OnceCell::const_new();
    let server = kubernetes::shared().await?;
    CRDS.get_or_try_init(async || server.install_crds().await).await?;
    Ok(server)
}

/// What a scenario plays in.
pub struct World {
    pub server: &'static ApiServer,
    pub namespace: String,
    pub primary: Database,
    pub copy: Option<Database>,
    pub client: Client,
    /// How operators are started here.
    pub options: Options,
    seen: Arc<Mutex<Vec<(Instant, Value)>>>,
    recording: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.recording.abort();
        traffic().remove(&self.namespace);
    }
}

impl World {
    /// With a primary only.
    pub async fn new(name: &str) -> Result<Self> {
        Self::with(name, false).await
    }

    /// With a writable copy.
    pub async fn with_copy(name: &str) -> Result<Self> {
        Self::with(name, true).await
    }

    async fn with(name: &str, copy: bool) -> Result<Self> {
        let primary = postgres::shared().await?.database(name).await?;
        let copy = if copy { Some(copies().await?.database(name).await?) } else { None };
        Self::on(name, primary, copy).await
    }

    /// With databases that are there.
    pub async fn on(name: &str, primary: Database, copy: Option<Database>) -> Result<Self> {
        let server = api_server().await?;
        let namespace = server.namespace(&name.replace('_', "-")).await?;
        for database in copy.iter().chain([&primary]) {
            database.execute(SHOP).await?;
        }
        let kubeconfig = server.operator_kubeconfig(&namespace).await?;
        let mut options = Options::new(env!("CARGO_BIN_EXE_whimbrel"), kubeconfig).in_namespace(&namespace);
        options.environment.push(("WHIMBREL_LOG_LEVEL".to_owned(), "info,whimbrel=debug".to_owned()));
        let client = server.admin().await?;
        let seen: Arc<Mutex<Vec<(Instant, Value)>>> = Arc::default();
        let recording = tokio::spawn(record(api(&client, &namespace, "Migration"), Arc::clone(&seen)));
        let world = Self { server, namespace, primary, copy, client, options, seen, recording };
        world.declare().await?;
        Ok(world)
    }

    async fn declare(&self) -> Result<()> {
        let mut urls = json!({"uri": self.primary.url(OPERATOR)});
        let from = |key: &str| json!({"secretKeyRef": {"name": "shop-db", "key": key}});
        let mut replica = json!({"mode": "None"});
        if let Some(copy) = &self.copy {
            urls["copy"] = json!(copy.url(OPERATOR));
            let existing =
                json!({"urlFrom": from("copy"), "tls": {"mode": "Disable"}, "isolation": "InPlace"});
            replica = json!({"mode": "Existing", "existing": existing});
        }
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"}, "stringData": urls});
        let database = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Database", "metadata": {"name": "shop"},
            "spec": {
                "engine": "Postgres", "ownerRole": "app_owner", "replica": replica,
                "primary": {"urlFrom": from("uri"), "tls": {"mode": "Disable"}},
            },
        });
        self.server.apply(&format!("{secret}\n---\n{database}"), Some(&self.namespace)).await?;
        Ok(())
    }

    /// Names another copy in the Database.
    pub async fn use_copy(&mut self, copy: Database) -> Result<()> {
        self.copy = Some(copy);
        self.declare().await
    }

    /// Takes the copy out of the Database.
    pub async fn use_no_copy(&mut self) -> Result<()> {
        self.copy = None;
        self.declare().await
    }

    /// Starts the application and makes its metrics known as the MetricsProvider `prometheus`, at `port` where a proxy
    /// stands before the server. Returns when they are there.
    pub async fn watched(&self, port: Option<u16>) -> Result<()> {
        traffic().insert(self.namespace.clone(), Traffic::default());
        let prometheus = prometheus().await?;
        let url = port.map_or_else(|| prometheus.url(), |port| format!("http://127.0.0.1:{port}"));
        let provider = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "MetricsProvider", "metadata": {"name": "prometheus"},
            "spec": {"prometheus": {"url": url, "scrapeInterval": "1s", "timeout": "2s"}},
        });
        self.server.apply(&provider.to_string(), Some(&self.namespace)).await?;
        let query = format!("rate(requests_total{{app=\"{}\"}}[4s])", self.namespace);
        await_until("the application's traffic in Prometheus", SOON, async || {
            ensure!(prometheus.query(&query).await? > Some(0.0), "no traffic");
            Ok(())
        })
        .await
    }

    /// Where the metrics come from, for a proxy before it.
    pub async fn prometheus_port(&self) -> Result<u16> {
        let url = prometheus().await?.url();
        url.rsplit(':').next().and_then(|port| port.parse().ok()).context("a URL without a port")
    }

    /// Lets four of ten requests fail, or none.
    pub fn break_application(&self, broken: bool) {
        if let Some(one) = traffic().get_mut(&self.namespace) {
            one.broken = broken;
        }
    }

    /// Waits until its errors are in Prometheus.
    pub async fn failing(&self) -> Result<()> {
        let prometheus = prometheus().await?;
        let query = format!("rate(errors_total{{app=\"{}\"}}[4s])", self.namespace);
        await_until("the application's errors in Prometheus", SOON, async || {
            ensure!(prometheus.query(&query).await? > Some(20.0), "too few errors");
            Ok(())
        })
        .await
    }

    /// An analysis of the error rate: a sample each second, judged from the second on, breach at two of three.
    pub fn analysis(&self, window: &str) -> Value {
        json!({
            "window": window, "interval": "1s", "warmup": "2s", "minSamples": 3, "maxExtension": "30s",
            "ingestDelay": "1s", "breach": {"samples": 2, "of": 3}, "args": {"app": self.namespace},
            "metrics": [{
                "name": "error-rate", "providerRef": {"name": "prometheus"}, "range": "4s",
                "query": ERROR_RATE, "threshold": {"max": "0.05"},
            }],
        })
    }

    /// Lets another operator take over soon. Not shorter: on a busy machine the API server may be slow to answer, and an
    /// operator that cannot renew its Lease ends.
    #[must_use]
    pub fn with_short_lease(mut self) -> Self {
        for (name, value) in [("DURATION", "6s"), ("RENEW_DEADLINE", "5s"), ("RENEW_INTERVAL", "300ms")] {
            self.options.environment.push((format!("WHIMBREL_LEASE_{name}"), value.to_owned()));
        }
        self
    }

    /// Starts an operator and waits until it is ready.
    pub async fn operator(&self) -> Result<Operator> {
        Operator::start(&self.options).await
    }

    /// The same operator under another name.
    pub fn options_of(&self, pod: &str) -> Options {
        Options { pod: pod.to_owned(), ..self.options.clone() }
    }

    pub fn migrations(&self) -> Api<DynamicObject> {
        api(&self.client, &self.namespace, "Migration")
    }

    pub fn databases(&self) -> Api<DynamicObject> {
        api(&self.client, &self.namespace, "Database")
    }

    /// Creates a Migration; `spec` is merged into what every one has.
    pub async fn migrate(&self, name: &str, version: &str, spec: Value) -> Result<String> {
        let mut object = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Migration", "metadata": {"name": name},
            "spec": {"databaseRef": {"name": "shop"}, "version": version},
        });
        for (key, value) in spec.as_object().context("a spec is an object")? {
            object["spec"][key] = value.clone();
        }
        let created =
            self.migrations().create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        created.metadata.uid.context("an object without a UID")
    }

    /// Merges into the spec of a Migration.
    pub async fn edit(&self, name: &str, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.migrations().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Asks for something by an annotation, such as `abort`.
    pub async fn request(&self, name: &str, what: &str, token: &str) -> Result<()> {
        let patch = Patch::Merge(
            json!({"metadata": {"annotations": {format!("whimbrel.dev/{what}-requested-at"): token}}}),
        );
        self.migrations().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Changes the metadata of a Migration.
    pub async fn edit_metadata(&self, name: &str, metadata: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": metadata}));
        self.migrations().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Deletes a Migration and waits until it is gone; returns how long that took.
    pub async fn delete(&self, name: &str) -> Result<Duration> {
        let started = Instant::now();
        let _ = self.migrations().delete(name, &DeleteParams::default()).await?;
        await_until("the Migration being gone", SOON, async || {
            match self.migrations().get_opt(name).await? {
                Some(object) => bail!("it is still there: {:?}", object.metadata.finalizers),
                None => Ok(()),
            }
        })
        .await?;
        Ok(started.elapsed())
    }

    /// The object as it is now.
    pub async fn get(&self, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.migrations().get(name).await?)?)
    }

    /// Waits until the object satisfies a condition and returns it; gives up at once where it is stalled otherwise.
    pub async fn until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        await_until(&format!("{name} {what}"), SOON, async || {
            let object = self.get(name).await?;
            ensure!(is(&object), "{}", object["status"]);
            Ok(object)
        })
        .await
    }

    /// Waits for `Ready=True`.
    pub async fn ready(&self, name: &str) -> Result<Value> {
        self.until(name, "Ready", |object| current(object) && condition(object, "Ready") == "True").await
    }

    /// Waits until it is stalled with that reason.
    pub async fn stalled(&self, name: &str, reason: &str) -> Result<Value> {
        let is = |object: &Value| {
            current(object) && condition(object, "Stalled") == "True" && reason_of(object, "Ready") == reason
        };
        let object = self.until(name, &format!("stalled as {reason}"), is).await?;
        assert_eq!(condition(&object, "Ready"), "False", "{object}");
        Ok(object)
    }

    /// Waits until `Ready` has that reason.
    pub async fn reason(&self, name: &str, reason: &str) -> Result<Value> {
        self.until(name, &format!("being {reason}"), |object| reason_of(object, "Ready") == reason).await
    }

    /// What the observer saw on the primary, as `ALTER TABLE public.users`.
    pub async fn ddl(&self) -> Result<Vec<String>> {
        ddl(&self.primary).await
    }

    /// One value of the primary.
    pub async fn value(&self, sql: &str) -> Result<String> {
        self.primary.value(sql).await
    }

    /// The columns of `users` there, without those that it began with.
    pub async fn columns(&self, database: &Database) -> Result<String> {
        database
            .value(
                "SELECT coalesce(string_agg(attname, ' ' ORDER BY attnum), '') FROM pg_attribute \
                 WHERE attrelid = 'users'::regclass AND attnum > 3 AND NOT attisdropped",
            )
            .await
    }

    /// How far the runs in the ledger are, oldest first.
    pub async fn phases(&self) -> Result<String> {
        self.value("SELECT coalesce(string_agg(phase, ' ' ORDER BY seq), '') FROM whimbrel.runs").await
    }

    /// Writes that operators of this world made to the API server, without Leases.
    pub fn writes(&self) -> Result<Vec<String>> {
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let user = format!("system:serviceaccount:{}:whimbrel", self.namespace);
        let mut writes = Vec::new();
        for event in self.server.writes_of(&user)? {
            let what =
                [text(&event, "/objectRef/resource"), text(&event, "/objectRef/subresource")].join("/");
            writes.push(format!("{} {what} {}", text(&event, "/verb"), text(&event, "/objectRef/name")));
        }
        Ok(writes)
    }

    /// Every state of the objects that a client could have seen, oldest first.
    pub fn seen(&self) -> Vec<(Instant, Value)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has to hold at the end of every scenario: kstatus, the ledger against the observer, and no leftovers.
    pub async fn finish(self) -> Result<()> {
        kstatus::check(&self.seen())?;
        let sentinel = postgres::PASSWORD;
        ensure!(
            !self.seen().iter().any(|(_, object)| object.to_string().contains(sentinel)),
            "a password in a status"
        );
        let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
        ensure!(self.value(invalid).await? == "0", "an invalid index is left");
        Ok(())
    }
}

/// What the observer saw, as `ALTER TABLE public.users`.
pub async fn ddl(database: &Database) -> Result<Vec<String>> {
    Ok(database.ddl().await?.into_iter().map(|ddl| format!("{} {}", ddl.tag, ddl.object)).collect())
}

fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("whimbrel.dev", "v1alpha1", kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&gvk))
}

async fn record(api: Api<DynamicObject>, seen: Arc<Mutex<Vec<(Instant, Value)>>>) {
    let mut version = "0".to_owned();
    loop {
        let Ok(stream) = api.watch(&WatchParams::default(), &version).await else {
            "0".clone_into(&mut version);
            tokio::task::yield_now().await;
            continue;
        };
        let mut events = stream.into_stream().boxed();
        while let Ok(Some(event)) = events.try_next().await {
            if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                version = object.metadata.resource_version.clone().unwrap_or_default();
                let object = serde_json::to_value(object).unwrap_or_default();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), object));
            }
        }
    }
}

/// Notes a figure for the report; shown with `--nocapture`.
pub fn figure(text: &str) {
    println!("FIGURE {text}");
    let _ = scratch::root().map(|root| std::fs::write(root.join("figures.txt"), text));
}
