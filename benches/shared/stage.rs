//! What is measured on: an API server, a durable primary, a writable copy on a server of its own, and the operator as a
//! release process with the rights that the chart gives to it. Each part has a namespace and a database of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::sightings::{Sightings, is_ready};
use crate::harness::kubernetes::ApiServer;
use crate::harness::operator::{self, Operator};
use crate::harness::postgres::{Cluster, Database, OPERATOR, Options};
use crate::harness::{await_until, scratch};

/// For anything that takes a second on an idle machine.
pub const SOON: Duration = Duration::from_mins(1);

/// The schema before any migration: a table that is neither tiny nor large.
pub const SHOP: &str = "SET ROLE app_owner; CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, visits bigint NOT NULL DEFAULT 0); \
     INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 100000) g; RESET ROLE; ANALYZE users; TRUNCATE obs.ddl";

/// All that runs. Fields are dropped in this order: the operator goes first.
pub struct Stage {
    operator: Operator,
    options: operator::Options,
    /// What was delivered to a client.
    pub sightings: Sightings,
    /// May do everything.
    pub client: Client,
    /// The API server.
    pub api: ApiServer,
    /// The server that has the writable copies.
    pub copy: Cluster,
    /// The server that has the primaries.
    pub primary: Cluster,
}

impl Stage {
    /// Builds it.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn build(binary: &Path) -> Result<Self> {
        Self::with(binary, &[]).await
    }

    /// Builds it on servers with further settings.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn with(binary: &Path, settings: &[(&'static str, &'static str)]) -> Result<Self> {
        let mut settings = [&[("track_commit_timestamp", "on")], settings].concat();
        if std::env::var_os("DEBUG").is_some_and(|value| !value.is_empty()) {
            settings.extend([
                ("log_statement", "all"),
                ("log_min_duration_statement", "0"),
                ("log_line_prefix", "%n %p %a "),
            ]);
        }
        let settings =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let durable = Options { durable: true, settings, ..Options::default() };
        let (api, primary) = tokio::join!(ApiServer::start(), Cluster::start(durable.clone()));
        let (api, primary) = (api?, primary?);
        let copy = Cluster::start(durable).await?;
        api.install_crds().await?;
        let client = api.admin().await?;
        let all = Api::all_with(client.clone(), &resource("Migration"));
        let sightings = Sightings::begin(all);
        let mut options = operator::Options::new(binary, api.operator_kubeconfig(operator::NAMESPACE).await?);
        if std::env::var_os("DEBUG").is_some_and(|value| !value.is_empty()) {
            let level = ("WHIMBREL_LOG_LEVEL", "info,whimbrel=debug");
            options.environment.push((level.0.to_owned(), level.1.to_owned()));
        }
        let operator = Operator::start(&options).await?;
        Ok(Self { operator, options, sightings, client, api, copy, primary })
    }

    /// The running operator.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Stops the operator as Kubernetes does, and starts it again.
    ///
    /// # Errors
    /// When it does not stop well or does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        let next =
            Operator::spawn(&operator::Options { pod: "whimbrel-1".to_owned(), ..self.options.clone() })?;
        let last = std::mem::replace(&mut self.operator, next);
        let status = last.stop().await?;
        ensure!(status.success(), "the operator ended with {status}");
        self.operator.await_ready().await
    }

    /// Stops the operator as Kubernetes does.
    ///
    /// # Errors
    /// When it does not stop well.
    pub async fn stop(self) -> Result<()> {
        let status = self.operator.stop().await?;
        ensure!(status.success(), "the operator ended with {status}");
        Ok(())
    }

    /// A namespace and a database of this name, introduced to the operator; with a writable copy, if wanted.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn shop(&self, name: &str, with_copy: bool) -> Result<Shop<'_>> {
        let database = self.primary.database(name).await?;
        database.execute(SHOP).await?;
        self.introduce(name, database, with_copy).await
    }

    /// A namespace of this name, and in it a database that is there.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn introduce(&self, name: &str, database: Database, with_copy: bool) -> Result<Shop<'_>> {
        let mut urls = json!({"uri": database.url(OPERATOR)});
        let from = |key: &str| json!({"secretKeyRef": {"name": "shop-db", "key": key}});
        let mut replica = json!({"mode": "None"});
        if with_copy {
            let copy = self.copy.database(name).await?;
            copy.execute(SHOP).await?;
            urls["copy"] = json!(copy.url(OPERATOR));
            let existing =
                json!({"urlFrom": from("copy"), "tls": {"mode": "Disable"}, "isolation": "InPlace"});
            replica = json!({"mode": "Existing", "existing": existing});
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-db"}, "stringData": urls});
        let primary = json!({"urlFrom": from("uri"), "tls": {"mode": "Disable"}});
        let object = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Database", "metadata": {"name": "shop"},
            "spec": {"engine": "Postgres", "ownerRole": "app_owner", "replica": replica, "primary": primary},
        });
        self.api.apply(&namespace.to_string(), None).await?;
        self.api.apply(&format!("{secret}\n---\n{object}"), Some(name)).await?;
        let shop = Shop { stage: self, name: name.to_owned(), database };
        let databases = shop.objects("Database");
        await_until(&format!("Database {name} being ready"), SOON, async || {
            let object = serde_json::to_value(databases.get("shop").await?)?;
            ensure!(is_ready(&object), "{}", object["status"]);
            Ok(())
        })
        .await?;
        Ok(shop)
    }

    /// The operator's writes to the API server since a time that [`Stage::now`] gave, without Leases, as
    /// `patch migrations/status NAMESPACE/NAME`.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn writes(&self, since: usize) -> Result<Vec<String>> {
        Ok(self.requests(since)?.into_iter().filter(|request| !is_read(request)).collect())
    }

    /// The operator's requests, reads included, without Leases.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn requests(&self, since: usize) -> Result<Vec<String>> {
        let account = format!("system:serviceaccount:{}:", operator::NAMESPACE);
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let audit = self.api.audit()?;
        let own = audit.iter().skip(since).filter(|event| {
            text(event, "/user/username").starts_with(&account)
                && text(event, "/objectRef/resource") != "leases"
        });
        Ok(own
            .map(|event| {
                let resource = [text(event, "/objectRef/resource"), text(event, "/objectRef/subresource")];
                let object = [text(event, "/objectRef/namespace"), text(event, "/objectRef/name")];
                format!("{} {} {}", text(event, "/verb"), resource.join("/"), object.join("/"))
            })
            .collect())
    }

    /// A mark in the audit log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn now(&self) -> Result<usize> {
        Ok(self.api.audit()?.len())
    }
}

fn is_read(request: &str) -> bool {
    ["get ", "list ", "watch "].iter().any(|verb| request.starts_with(verb))
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("whimbrel.dev", "v1alpha1", kind))
}

/// A namespace with one Database.
pub struct Shop<'a> {
    /// Where it stands.
    pub stage: &'a Stage,
    /// Of the namespace and of the database.
    pub name: String,
    /// The primary.
    pub database: Database,
}

impl Shop<'_> {
    /// Objects of one of our kinds.
    pub fn objects(&self, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.stage.client.clone(), &self.name, &resource(kind))
    }

    /// A Migration; `spec` is merged into what every one has.
    pub fn migration(&self, name: &str, version: usize, spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Migration", "metadata": {"name": name, "namespace": self.name},
            "spec": {"databaseRef": {"name": "shop"}, "version": version.to_string()},
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        object
    }

    /// Creates a Migration.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create(&self, object: &Value) -> Result<()> {
        let object = serde_json::from_value(object.clone())?;
        self.objects("Migration").create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Runs `kubectl apply -f` on a manifest.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl_apply(&self, manifest: &Value) -> Result<()> {
        let path = scratch::root()?.join("applied.yaml");
        std::fs::write(&path, manifest.to_string())?;
        let path = path.display().to_string();
        // What it prints is of no interest; that it blocks is.
        tokio::task::block_in_place(|| self.stage.api.kubectl(&["apply", "-f", &path]))
            .context("kubectl apply")?;
        Ok(())
    }

    /// Waits until the Database knows that this version is in force: the operator is done with it.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn settled(&self, version: usize) -> Result<()> {
        let databases = self.objects("Database");
        await_until("the Database knowing the version", SOON, async || {
            let object = databases.get("shop").await?;
            let known = object.data.pointer("/status/currentVersions/default").and_then(Value::as_str);
            ensure!(known == Some(&version.to_string()), "it knows {known:?}");
            Ok(())
        })
        .await
    }
}
