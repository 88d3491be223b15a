//! What every group of cases works on: an operator of its own, a database with its writable copy, and the questions
//! that are asked after bad input.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use whimbrel::api::{Database as DatabaseObject, MetricsProvider, Migration};

pub use crate::harness::SOON;
use crate::harness::await_until;
use crate::harness::kubernetes::{self, ApiServer};
use crate::harness::operator::{Operator, Options};
use crate::harness::postgres::{self, Cluster, Database, Ddl, OPERATOR, PASSWORD};

/// A password that is wrong, and no less secret.
pub const WRONG_PASSWORD: &str = "sentinel-wrong-5e1d";

/// A value of a row, which nobody but the application may show.
pub const CELL: &str = "cell-value-c0ffee";

const TABLES: &str = "SET ROLE app_owner; CREATE TABLE users (id bigint PRIMARY KEY, name text, email text); \
     INSERT INTO users SELECT g, 'cell-value-c0ffee', 'same@example.com' FROM generate_series(1, 50) g";

/// The catalog and the rows, in the words of this test and not of the code under test.
const CATALOG: &str = "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM ( \
     SELECT format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
                   pg_get_expr(d.adbin, d.adrelid)) AS line \
       FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
       LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
       WHERE c.relnamespace = 'public'::regnamespace \
     UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' \
     UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
     UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace \
     UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^(pg_|whimbrel)') catalog";

const ROWS: &str = "SELECT md5(string_agg(users::text, ',' ORDER BY id)) FROM users";

/// A server that stands beside [`postgres::shared`]: from the same template, so it has the primary's system identifier,
/// as a physical copy has.
async fn copies() -> Result<&'static Cluster> {
    static COPIES: OnceCell<Cluster> = OnceCell::const_new();
    COPIES.get_or_try_init(|| Cluster::start(postgres::Options::default())).await
}

async fn server() -> Result<&'static ApiServer> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let server = kubernetes::shared().await?;
    INSTALLED.get_or_try_init(|| server.install_crds()).await?;
    Ok(server)
}

/// What must not change.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    ddl: Vec<Ddl>,
    catalog: String,
    rows: String,
    copy: String,
}

/// A namespace with an operator of its own, and Database `shop` with a writable copy.
pub struct Stage {
    pub namespace: String,
    pub client: Client,
    pub operator: Operator,
    pub primary: Database,
    pub copy: Database,
    server: &'static ApiServer,
    before: Option<Untouched>,
}

/// What a Migration must come to: the conditions, by type, and what its `Ready` says.
pub struct Expected<'a> {
    pub conditions: Vec<(&'static str, &'static str, &'a str)>,
    pub says: &'a [&'a str],
}

impl<'a> Expected<'a> {
    /// Refused before anything ran, on the copy or on the primary, because of what it asks for.
    pub fn refused(reason: &'a str, says: &'a [&'a str]) -> Self {
        let conditions =
            vec![("Ready", "False", reason), ("Stalled", "True", reason), ("PlanValid", "False", reason)];
        Self { conditions, says }
    }

    /// Failed on the copy.
    pub fn failed_on_copy(reason: &'a str, says: &'a [&'a str]) -> Self {
        let conditions = vec![
            ("Ready", "False", reason),
            ("Stalled", "True", reason),
            ("PlanValid", "True", "PlanReady"),
            ("Rehearsed", "False", reason),
            ("Applied", "False", reason),
        ];
        Self { conditions, says }
    }

    /// Stopped, and a person has to do something about the servers.
    pub fn stalled(reason: &'a str, says: &'a [&'a str]) -> Self {
        Self { conditions: vec![("Ready", "False", reason), ("Stalled", "True", reason)], says }
    }

    /// Not yet possible, and tried again by itself.
    pub fn retrying(reason: &'a str, says: &'a [&'a str]) -> Self {
        Self { conditions: vec![("Ready", "False", reason), ("Reconciling", "True", "Retrying")], says }
    }

    /// Done.
    pub fn ready() -> Expected<'static> {
        Expected { conditions: vec![("Ready", "True", "Succeeded")], says: &[] }
    }
}

impl Stage {
    /// Starts the operator, under the rights of the chart, and makes Database `shop` with its copy.
    pub async fn new(name: &str) -> Result<Self> {
        let server = server().await?;
        let namespace = server.namespace(&name.replace('_', "-")).await?;
        let kubeconfig = server.operator_kubeconfig(&namespace).await?;
        let mut options = Options::new(env!("CARGO_BIN_EXE_whimbrel"), kubeconfig).in_namespace(&namespace);
        options.pod = format!("{namespace}-0");
        options.environment = vec![("WHIMBREL_LOG_LEVEL".to_owned(), "info,whimbrel=debug".to_owned())];
        let (operator, primary, copy) = tokio::try_join!(
            Operator::start(&options),
            tables(postgres::shared().await?, name),
            tables(copies().await?, name)
        )?;
        let client = server.admin().await?;
        let mut stage = Self { namespace, client, operator, primary, copy, server, before: None };
        stage
            .secret("shop", &json!({"uri": stage.primary.url(OPERATOR), "copy": stage.copy.url(OPERATOR)}))
            .await?;
        stage.create("Database", "shop", database("shop")).await?;
        stage.before = Some(stage.look().await?);
        Ok(stage)
    }

    /// Makes another database with the same tables, on the primary's server.
    pub async fn database(&self, name: &str) -> Result<Database> {
        tables(postgres::shared().await?, name).await
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = match kind {
            "Database" => ApiResource::erase::<DatabaseObject>(&()),
            "MetricsProvider" => ApiResource::erase::<MetricsProvider>(&()),
            "Secret" => ApiResource::erase::<k8s_openapi::api::core::v1::Secret>(&()),
            _ => ApiResource::erase::<Migration>(&()),
        };
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Creates an object; the inner error is the API server's refusal.
    pub async fn try_create(
        &self,
        kind: &str,
        name: &str,
        spec: Value,
    ) -> Result<Result<(), kube::core::Status>> {
        let value = json!({"apiVersion": "whimbrel.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let object: DynamicObject = serde_json::from_value(value)?;
        refusal(self.api(kind).create(&PostParams::default(), &object).await)
    }

    /// Creates an object that the API server accepts.
    pub async fn create(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let created = self.try_create(kind, name, spec).await?;
        created.map_err(|status| anyhow::anyhow!("{kind} {name}: {}", status.message))
    }

    /// Changes an object by a merge patch; the inner error is the API server's refusal.
    pub async fn try_patch(
        &self,
        kind: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Result<(), kube::core::Status>> {
        refusal(self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    /// Changes an object by a merge patch, which the API server accepts.
    pub async fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let patched = self.try_patch(kind, name, patch).await?;
        patched.map_err(|status| anyhow::anyhow!("{kind} {name}: {}", status.message))
    }

    /// Deletes a Migration and waits until it is gone.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let api = self.api("Migration");
        api.delete(name, &DeleteParams::default()).await?;
        await_until(&format!("{name} gone"), SOON, async || {
            ensure!(api.get_opt(name).await?.is_none(), "it is still there");
            Ok(())
        })
        .await
    }

    /// Writes a Secret.
    pub async fn secret(&self, name: &str, data: &Value) -> Result<()> {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let parameters = PatchParams::apply("test").force();
        self.api("Secret").patch(name, &parameters, &Patch::Apply(&secret)).await?;
        Ok(())
    }

    /// Creates a Migration of Database `shop`, in a stream of its own so that no other one holds it up.
    pub async fn migrate(&self, name: &str, spec: Value) -> Result<()> {
        let mut whole = json!({"databaseRef": {"name": "shop"}, "stream": name, "version": "1"});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
        }
        self.create("Migration", name, whole).await
    }

    /// Waits until a Migration is what it must come to.
    pub async fn await_migration(&self, name: &str, expected: &Expected<'_>) -> Result<Migration> {
        let api: Api<Migration> = Api::namespaced(self.client.clone(), &self.namespace);
        await_until(&format!("Migration {name}"), SOON, async || {
            let migration = api.get(name).await?;
            let status = migration.status.as_ref().context("no status")?;
            let seen: Vec<String> = status
                .conditions
                .iter()
                .map(|one| format!("{}={} {}: {}", one.type_, one.status, one.reason, one.message))
                .collect();
            let seen = seen.join("\n  ");
            for (condition, is, reason) in &expected.conditions {
                let found = status.conditions.iter().find(|one| one.type_ == *condition);
                let right = found.is_some_and(|found| found.status == *is && found.reason == *reason);
                ensure!(right, "not {condition}={is} {reason}:\n  {seen}");
            }
            let ready = status.conditions.iter().find(|one| one.type_ == "Ready").context("not Ready")?;
            for text in expected.says {
                ensure!(ready.message.contains(text), "Ready does not say {text:?}:\n  {seen}");
            }
            ensure!(status.observed_generation == migration.metadata.generation, "not about this generation");
            Ok(migration)
        })
        .await
    }

    /// Creates a Migration and waits until it is what it must come to.
    pub async fn check(&self, name: &str, spec: Value, expected: Expected<'_>) -> Result<()> {
        self.migrate(name, spec).await?;
        self.await_migration(name, &expected).await.map(|_| ())
    }

    async fn look(&self) -> Result<Untouched> {
        Ok(Untouched {
            ddl: self.primary.ddl().await?,
            catalog: self.primary.value(CATALOG).await?,
            rows: self.primary.value(ROWS).await?,
            copy: self.copy.value(CATALOG).await?,
        })
    }

    /// Asserts that nothing happened to the primary, and that the copy is where it was.
    pub async fn assert_untouched(&self) -> Result<()> {
        assert_eq!(self.before, Some(self.look().await?));
        assert_eq!(in_force(&self.primary).await?, "0", "units in force");
        Ok(())
    }

    /// Asserts that the operator works on: a good migration of Database `shop`, and one of another database.
    pub async fn assert_goes_on(&mut self, other: &str) -> Result<()> {
        let database = self.database(other).await?;
        self.secret("other", &json!({"uri": database.url(OPERATOR)})).await?;
        self.create("Database", "other", without_copy("other")).await?;
        let add = json!({"up": "ALTER TABLE users ADD COLUMN good text DEFAULT 'free'"});
        self.migrate("good", add.clone()).await?;
        let mut elsewhere = add;
        elsewhere["databaseRef"] = json!({"name": "other"});
        self.migrate("good-elsewhere", elsewhere).await?;
        self.await_migration("good", &Expected::ready()).await?;
        self.await_migration("good-elsewhere", &Expected::ready()).await?;
        for database in [&self.primary, &database] {
            assert_eq!(database.value("SELECT count(good) FROM users").await?, "50");
        }
        let exited = self.operator.process().exited()?;
        ensure!(exited.is_none(), "the operator ended: {exited:?}");
        Ok(())
    }

    /// Waits until an object that is created now is younger than a Migration: times of creation are whole seconds.
    pub async fn next_second(&self, name: &str) -> Result<()> {
        let api: Api<Migration> = Api::namespaced(self.client.clone(), &self.namespace);
        let created = api.get(name).await?.creation_timestamp().context("no time of creation")?.0;
        await_until("the next second", SOON, async || {
            let age = whimbrel::engine::clock::now().duration_since(created);
            ensure!(age >= jiff::SignedDuration::from_secs(1), "{age} old");
            Ok(())
        })
        .await
    }

    /// Asserts that no password and no value of a row is anywhere: not in the log, the objects, the events, or in the
    /// ledger.
    pub async fn assert_no_secret(&mut self) -> Result<()> {
        let mut places = vec![("log", self.operator.process().log())];
        for kind in ["Migration", "Database", "MetricsProvider"] {
            places.push((
                kind,
                serde_json::to_string(&self.api(kind).list(&kube::api::ListParams::default()).await?)?,
            ));
        }
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = events.list(&kube::api::ListParams::default()).await?;
        ensure!(!events.items.is_empty(), "no events");
        places.push(("events", serde_json::to_string(&events)?));
        places.push(("ledger", ledger(&self.primary).await?));
        for (place, text) in places {
            for secret in [PASSWORD, WRONG_PASSWORD, CELL] {
                let line = text.lines().find(|line| line.contains(secret));
                ensure!(line.is_none(), "{secret} in {place}: {line:?}");
            }
        }
        Ok(())
    }

    /// How many requests the operator has sent to the API server.
    pub fn requests(&self) -> Result<usize> {
        let account = format!("system:serviceaccount:{}:", self.namespace);
        let audit = self.server.audit()?;
        let own = audit.iter().filter(|event| {
            event
                .pointer("/user/username")
                .and_then(Value::as_str)
                .is_some_and(|user| user.starts_with(&account))
                && event.pointer("/objectRef/resource") != Some(&json!("leases"))
        });
        Ok(own.count())
    }

    /// The questions that follow every group whose input is all bad.
    pub async fn finish(mut self) -> Result<()> {
        self.assert_untouched().await?;
        let other = format!("{}_other", self.primary.name());
        self.assert_goes_on(&other).await?;
        self.assert_no_secret().await
    }
}

/// The spec of a Database whose Secret has the keys `uri` and `copy`.
pub fn database(secret: &str) -> Value {
    let mut spec = without_copy(secret);
    spec["replica"] = json!({"mode": "Existing", "existing": {
        "urlFrom": {"secretKeyRef": {"name": secret, "key": "copy"}}, "tls": {"mode": "Disable"},
    }});
    spec
}

/// The spec of a Database that has no copy, and whose Secret has the key `uri`.
pub fn without_copy(secret: &str) -> Value {
    json!({
        "primary": {"urlFrom": {"secretKeyRef": {"name": secret, "key": "uri"}}, "tls": {"mode": "Disable"}},
        "ownerRole": "app_owner",
        "replica": {"mode": "None"},
    })
}

async fn tables(cluster: &Cluster, name: &str) -> Result<Database> {
    let database = cluster.database(name).await?;
    database.execute(TABLES).await?;
    Ok(database)
}

/// How many units the ledger says are in force.
pub async fn in_force(database: &Database) -> Result<String> {
    if database.value("SELECT to_regclass('whimbrel.units') IS NULL").await? == "t" {
        return Ok("0".to_owned());
    }
    database.value("SELECT count(*) FROM whimbrel.units WHERE in_force").await
}

async fn ledger(database: &Database) -> Result<String> {
    let tables = ["runs", "units", "statements"];
    let all = tables.map(|table| format!("SELECT to_jsonb(t)::text AS line FROM whimbrel.{table} t"));
    database
        .value(&format!("SELECT coalesce(string_agg(line, E'\\n'), '') FROM ({}) l", all.join(" UNION ALL ")))
        .await
}

fn refusal(answer: kube::Result<DynamicObject>) -> Result<Result<(), kube::core::Status>> {
    match answer {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(Err(*status)),
        Err(error) => Err(error.into()),
    }
}
