//! Where runs of the cluster take place: a namespace, a server of PostgreSQL, and a proxy before the API server, for each lane.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::oracle;
use super::super::stage::Stage;
use super::super::workload::Workload;
use super::Act;
use super::judge::Shown;
use crate::harness::api_proxy::ApiProxy;
use crate::harness::kubernetes::ApiServer;
use crate::harness::objects::{condition, current};
use crate::harness::operator::{Operator, Options};
use crate::harness::postgres::{Database, OPERATOR};
use crate::harness::{await_until, scratch};

/// For anything that takes a second on an idle machine.
const SOON: Duration = Duration::from_secs(40);
/// For how long a change of the schema is held up at its beginning and at its end, in seconds.
const BRAKE: f64 = 0.04;
/// How often the operator's process is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// What a lane has.
pub struct Lane {
    pub proxy: ApiProxy,
    stage: Stage,
    server: &'static ApiServer,
    namespace: String,
    client: Client,
    options: Options,
    metrics: String,
}

/// What one run works on.
pub struct Run<'a> {
    lane: &'a mut Lane,
    pub database: Database,
    before: Vec<String>,
    operator: Operator,
    acted: bool,
    /// How often the operator was started.
    started: u32,
}

impl Lane {
    /// Sets one up.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start(server: &'static ApiServer, metrics: &str, number: usize) -> Result<Self> {
        let namespace = server.namespace(&format!("crash-{number}")).await?;
        let kubeconfig = server.operator_kubeconfig(&namespace).await?;
        let proxy = ApiProxy::start(&kubeconfig).await?;
        let path: PathBuf = scratch::directory("lane")?.join("kubeconfig");
        proxy.write_kubeconfig(&path)?;
        let mut options = Options::new(env!("CARGO_BIN_EXE_whimbrel"), path).in_namespace(&namespace);
        // As short as a busy machine allows: what ends because of it is started again.
        for (name, value) in [("DURATION", "6s"), ("RENEW_DEADLINE", "5s"), ("RENEW_INTERVAL", "300ms")] {
            options.environment.push((format!("WHIMBREL_LEASE_{name}"), value.to_owned()));
        }
        options.environment.push(("WHIMBREL_LOG_LEVEL".to_owned(), "info,whimbrel=debug".to_owned()));
        let (client, stage) = (server.admin().await?, Stage::start().await?);
        Ok(Self { proxy, stage, server, namespace, client, options, metrics: metrics.to_owned() })
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("whimbrel.dev", "v1alpha1", kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk(&gvk))
    }

    /// Makes a database and the objects that name it, and starts an operator.
    ///
    /// # Errors
    /// When something cannot be made.
    pub async fn begin(&mut self) -> Result<Run<'_>> {
        let database = self.stage.database(Some(BRAKE)).await?;
        let before = oracle::look(&database, false).await?.catalog;
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop"},
            "stringData": {"uri": database.url(OPERATOR)}});
        let object = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Database", "metadata": {"name": "shop"},
            "spec": {"engine": "Postgres", "ownerRole": "app_owner", "replica": {"mode": "None"}, "primary": {
                "urlFrom": {"secretKeyRef": {"name": "shop", "key": "uri"}}, "tls": {"mode": "Disable"}}},
        });
        let provider = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "MetricsProvider", "metadata": {"name": "prometheus"},
            "spec": {"prometheus": {"url": self.metrics, "scrapeInterval": "100ms", "timeout": "2s"}},
        });
        let all = format!("{secret}\n---\n{object}\n---\n{provider}");
        self.server.apply(&all, Some(&self.namespace)).await?;
        let operator = Operator::spawn(&self.options)?;
        Ok(Run { lane: self, database, before, operator, acted: false, started: 1 })
    }
}

impl Run<'_> {
    /// Starts the operator again where it ended, as Kubernetes does, and kills it where the run wants that.
    fn keep_alive(&mut self) -> Result<()> {
        if self.lane.proxy.kills() {
            self.operator.process().signal(Signal::SIGKILL)?;
        }
        if self.operator.process().exited()?.is_some() {
            self.started += 1;
            self.operator = Operator::spawn(&self.lane.options)?;
        }
        Ok(())
    }

    /// Waits until something is so, and keeps the operator alive meanwhile.
    async fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut probe: impl AsyncFnMut(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let end = Instant::now() + within;
        loop {
            self.keep_alive()?;
            match probe(self).await {
                Ok(value) => return Ok(value),
                Err(error) if Instant::now() >= end => {
                    return Err(error).with_context(|| format!("{what}: not within {within:?}"));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Lets the workload's Migration come to its end, which may be that it is gone.
    ///
    /// # Errors
    /// When it does not come to an end in time.
    pub async fn play(&mut self, workload: &Workload, act: Act, within: Duration) -> Result<()> {
        // What a list may forget later has to come after the first list.
        let listed = async |run: &mut Self| {
            let asked =
                run.lane.proxy.seen(|plan| plan.asked.iter().any(|one| one.starts_with("watch/migrations")));
            ensure!(asked, "no watch");
            Ok(())
        };
        self.until("the operator watching", within, listed).await?;
        let migration = workload.migrations.first().context("no migration")?;
        let object = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Migration",
            "metadata": {"name": migration.name}, "spec": migration.spec,
        });
        let object = serde_json::from_value(object)?;
        self.lane.api("Migration").create(&PostParams::default(), &object).await?;
        self.until("the end of the Migration", within, async |run| run.ended(migration.name, act).await).await
    }

    async fn ended(&mut self, name: &str, act: Act) -> Result<()> {
        let migrations = self.lane.api("Migration");
        let Some(object) = migrations.get_opt(name).await? else {
            ensure!(act == Act::Delete && self.acted, "nobody deleted it");
            return Ok(());
        };
        let object = serde_json::to_value(object)?;
        if !self.acted && self.is_time(act, &object).await? {
            self.acted = true;
            match act {
                Act::Nothing => {}
                Act::Rollback => {
                    let asked =
                        json!({"metadata": {"annotations": {"whimbrel.dev/rollback-requested-at": "now"}}});
                    migrations.patch(name, &PatchParams::default(), &Patch::Merge(asked)).await?;
                }
                Act::Delete => drop(migrations.delete(name, &DeleteParams::default()).await?),
            }
            bail!("it has just been told to");
        }
        let last = condition(&object, "Stalled") == "True" || condition(&object, "Ready") == "True";
        let waits = act != Act::Nothing && !self.acted;
        ensure!(current(&object) && last && !waits && act != Act::Delete, "it is {}", object["status"]);
        // The answer to a request comes after the word before it.
        ensure!(
            act != Act::Rollback || condition(&object, "Stalled") == "True",
            "it is {}",
            object["status"]
        );
        Ok(())
    }

    /// Whether it is time for what people do in this workload.
    async fn is_time(&self, act: Act, object: &Value) -> Result<bool> {
        Ok(match act {
            Act::Nothing => false,
            Act::Rollback => object["status"]["applied"] == true,
            Act::Delete => {
                let there = "SELECT (to_regclass('whimbrel.units') IS NOT NULL)::text";
                let begun = "SELECT (count(*) > 0)::text FROM whimbrel.units";
                self.database.value(there).await? == "true" && self.database.value(begun).await? == "true"
            }
        })
    }

    /// Waits until the operator asks for nothing any more, but for its Lease.
    ///
    /// # Errors
    /// When it goes on.
    async fn silence(&mut self, span: Duration, within: Duration) -> Result<()> {
        let silent = async |run: &mut Self| {
            let (last, until) = run.lane.proxy.seen(|plan| (plan.last, plan.until()));
            let quiet = last.is_none_or(|last| last.elapsed() >= span);
            let over = run.lane.proxy.seen(|plan| plan.began.is_none()) || until.elapsed() >= span;
            let asked = run.lane.proxy.seen(|plan| plan.asked.last().cloned());
            ensure!(quiet && over, "it asks for {}", asked.unwrap_or_default());
            Ok(())
        };
        self.until("silence", within, silent).await
    }

    /// Waits for silence in which all is well, and returns what is not in the end.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub async fn settle(
        &mut self,
        (span, within): (Duration, Duration),
        wrong: impl AsyncFn(&Self) -> Result<Vec<String>>,
    ) -> Result<Vec<String>> {
        let end = Instant::now() + within;
        loop {
            let loud = self.silence(span, end.saturating_duration_since(Instant::now())).await.err();
            let mut wrong = wrong(self).await?;
            wrong.extend(loud.map(|error| format!("{error:#}")));
            if wrong.is_empty() || Instant::now() >= end {
                return Ok(wrong);
            }
        }
    }

    /// What there is to see now.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn shown(&self) -> Result<Shown> {
        let value = |object: Option<DynamicObject>| object.map(serde_json::to_value).transpose();
        let migration = value(self.lane.api("Migration").get_opt("m1").await?)?;
        let database = value(self.lane.api("Database").get_opt("shop").await?)?.unwrap_or_default();
        let seen = oracle::look(&self.database, false).await?;
        let (started, before) = (self.started, self.before.clone());
        Ok(self.lane.proxy.seen(|plan| Shown {
            migration,
            database,
            before,
            seen,
            started,
            asked: plan.asked.clone(),
            writes: plan.writes,
            fired: plan.fired,
            ..Shown::default()
        }))
    }

    /// The end of the operator's log.
    pub fn log(&mut self) -> String {
        let text = self.operator.process().log();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Removes what the run was about.
    ///
    /// # Errors
    /// When it stays.
    pub async fn clear(mut self) -> Result<()> {
        self.operator.process().signal(Signal::SIGKILL)?;
        drop(self.operator);
        let leases: Api<Lease> = Api::namespaced(self.lane.client.clone(), &self.lane.namespace);
        leases.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let none = json!({"metadata": {"finalizers": null}});
        for (kind, name) in [("Migration", "m1"), ("Database", "shop")] {
            let api = self.lane.api(kind);
            let free = async || {
                let Some(_) = api.get_opt(name).await? else { return Ok(()) };
                let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(&none)).await;
                let _ = api.delete(name, &DeleteParams::default()).await;
                bail!("{kind} {name} is there")
            };
            await_until("the objects being gone", SOON, free).await?;
        }
        self.lane.stage.remove(&self.database).await
    }
}
