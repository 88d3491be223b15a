//! Each component of the harness starts and does what the other tests rely on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{self, APPLICATION, Cluster, OPERATOR, OWNER, Options, SUPERUSER};
use crate::harness::prometheus::Prometheus;
use crate::harness::proxy::{Mode, Proxy};
use crate::harness::tls::Authority;
use crate::harness::{SOON, await_until, kubernetes, run};

#[test]
fn observer_sees_schema_changes_that_were_committed() -> Result<()> {
    run(async {
        let cluster = postgres::shared().await?;
        let database = cluster.database("observed_changes").await?;
        database.execute_as(OPERATOR, "SET ROLE app_owner; CREATE TABLE t (id int)").await?;
        database.execute("BEGIN; ALTER TABLE t ADD COLUMN gone int; ROLLBACK").await?;
        database.execute("ALTER TABLE t DROP COLUMN id").await?;
        let seen: Vec<String> =
            database.ddl().await?.into_iter().map(|ddl| format!("{} {}", ddl.tag, ddl.object)).collect();
        let dropped = "ALTER TABLE (dropped) public.t.id";
        assert_eq!(seen, ["CREATE TABLE public.t", dropped, "ALTER TABLE public.t"]);
        let log = cluster.server_log("observed_changes").await?;
        assert!(
            log.iter().any(|line| line.application == "harness" && line.message.contains("CREATE TABLE t"))
        );
        let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 't'";
        assert_eq!(database.value(owner).await?, OWNER);
        Ok(())
    })
}

#[test]
fn copy_lives_its_own_life_and_standby_follows() -> Result<()> {
    run(async {
        let primary = Cluster::start(Options::default()).await?;
        primary.database("shop").await?.execute("CREATE TABLE t (id int)").await?;
        let (copy, standby) = (primary.writable_copy().await?, primary.standby().await?);
        copy.named("shop").execute("CREATE TABLE only_on_copy ()").await?;
        primary.named("shop").execute("INSERT INTO t VALUES (1)").await?;
        await_until("the row on the standby", SOON, async || {
            let count = standby.named("shop").value("SELECT count(*) FROM t").await?;
            ensure!(count == "1", "{count} rows");
            Ok(())
        })
        .await?;
        let exists = "SELECT to_regclass('only_on_copy') IS NOT NULL";
        assert_eq!(primary.named("shop").value(exists).await?, "f");
        let identity = "SELECT system_identifier FROM pg_control_system()";
        assert_eq!(primary.admin().value(identity).await?, copy.admin().value(identity).await?);
        let recovering = "SELECT pg_is_in_recovery()";
        assert_eq!(copy.admin().value(recovering).await?, "f");
        assert_eq!(standby.admin().value(recovering).await?, "t");
        Ok(())
    })
}

#[test]
fn server_comes_back_after_a_crash() -> Result<()> {
    run(async {
        let mut primary = Cluster::start(Options { own_identity: true, ..Options::default() }).await?;
        primary.admin().execute("CREATE TABLE t AS SELECT 1 AS id").await?;
        primary.stop(Signal::SIGQUIT).await?;
        assert!(primary.admin().connect().await.is_err());
        primary.resume().await?;
        assert_eq!(primary.admin().value("SELECT id FROM t").await?, "1");
        Ok(())
    })
}

#[test]
fn server_with_tls_refuses_plain_connections() -> Result<()> {
    run(async {
        let authority = std::sync::Arc::new(Authority::new("test-ca")?);
        let cluster = Cluster::start(Options { authority: Some(authority), ..Options::default() }).await?;
        let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert_eq!(cluster.admin().value(ssl).await?, "t");
        let plain = cluster.admin().url(SUPERUSER).replace("sslmode=require", "sslmode=disable");
        let refused = <sqlx::PgConnection as sqlx::Connection>::connect(&plain).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("no encryption")));
        Ok(())
    })
}

#[test]
fn api_server_enforces_access_and_audits() -> Result<()> {
    run(async {
        let server = kubernetes::shared().await?;
        let namespace = server.namespace("smoke").await?;
        let secret = "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {k: v}}";
        server.apply(secret, Some(&namespace)).await?;
        let token = server.service_account_token(&namespace, "nobody").await?;
        let client = server.client(&token).await?;
        let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
            kube::Api::namespaced(client, &namespace);
        assert!(matches!(secrets.get("s").await, Err(kube::Error::Api(status)) if status.code == 403));
        let user = format!("system:serviceaccount:{namespace}:nobody");
        let audit = server.audit()?;
        assert!(audit.iter().any(|event| event["user"]["username"] == user.as_str()));
        let printed = server.kubectl(&["get", "secrets", "-n", &namespace])?;
        assert!(printed.contains("Opaque"), "{printed}");
        Ok(())
    })
}

#[test]
fn prometheus_scrapes() -> Result<()> {
    run(async {
        let mut prometheus = Prometheus::start(&[("nothing", "127.0.0.1:1")]).await?;
        await_until("the first scrape", SOON, async || {
            let up = prometheus.query("up{job=\"nothing\"}").await?;
            ensure!(up == Some(0.0), "up is {up:?}");
            Ok(())
        })
        .await?;
        assert_eq!(prometheus.query("absent_metric").await?, None);
        prometheus.process().signal(Signal::SIGKILL)?;
        prometheus.process().wait(SOON).await?;
        assert!(prometheus.query("up").await.is_err());
        Ok(())
    })
}

#[test]
fn pooler_shares_one_session_between_clients() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("pooled").await?;
        let pooler = PgBouncer::start(&database, "transaction", &[APPLICATION]).await?;
        let pooled = database.through(pooler.port());
        let mut pids = Vec::new();
        for _ in 0..3 {
            let mut session = pooled.connect_as(APPLICATION).await?;
            let row = postgres::text(&mut session, "SELECT pg_backend_pid()").await?;
            pids.push(row.concat());
        }
        pids.dedup();
        assert_eq!(pids.len(), 1, "{pids:?}");
        Ok(())
    })
}

#[test]
fn proxy_breaks_connections_as_told() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("proxied").await?;
        database.execute("CREATE TABLE t (id int)").await?;
        let proxy = Proxy::start(database.port()).await?;
        let through = database.through(proxy.port());

        let mut session = through.connect().await?;
        proxy.set(Mode::DropReply);
        let lost = postgres::execute(&mut session, "INSERT INTO t VALUES (1)").await;
        assert!(lost.is_err());
        assert_eq!(proxy.dropped(), 1);
        assert_eq!(
            database.value("SELECT count(*) FROM t").await?,
            "1",
            "the statement itself was committed"
        );

        proxy.set(Mode::Delay(Duration::from_millis(100)));
        let mut session = through.connect().await?;
        let started = Instant::now();
        postgres::execute(&mut session, "SELECT 1").await?;
        assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());

        proxy.set(Mode::BlackHole);
        let silent = postgres::execute(&mut session, "SELECT 1");
        assert!(tokio::time::timeout(Duration::from_millis(300), silent).await.is_err());

        proxy.set(Mode::Reset);
        let refused = tokio::time::timeout(SOON, through.connect()).await.context("it hung")?;
        assert!(refused.is_err());
        Ok(())
    })
}

#[test]
fn operator_has_the_rights_of_the_chart_and_no_others() -> Result<()> {
    run(async {
        let server = kubernetes::shared().await?;
        server.install_crds().await?;
        let namespace = server.namespace("rights").await?;
        let kubeconfig = server.operator_kubeconfig(&namespace).await?;
        let may = |verb: &str, resource: &str| -> bool {
            let path = kubeconfig.display().to_string();
            server.kubectl(&["--kubeconfig", &path, "auth", "can-i", verb, resource, "-A"]).is_ok()
        };
        assert!(may("list", "migrations.whimbrel.dev"));
        assert!(!may("update", "migrations.whimbrel.dev"));
        assert!(!may("list", "secrets"));
        Ok(())
    })
}
