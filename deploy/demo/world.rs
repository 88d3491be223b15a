//! Everything that the demo runs on: servers, the shop with its customers, the operator.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::harness::kubernetes::{self, ApiServer};
use crate::harness::operator::{self, Operator};
use crate::harness::postgres::{APPLICATION, Cluster, Database, OWNER, Options, PASSWORD, SUPERUSER};
use crate::harness::process::{Process, Spec};
use crate::harness::prometheus::Prometheus;
use crate::harness::{await_until, http_client, ports, scratch};
use crate::story::Story;

/// How many orders the shop has.
const ORDERS: &str = "200000";
/// Requests a second.
const LOAD: &str = "60";
const SOON: Duration = Duration::from_secs(30);
/// The share of failed requests, over a few seconds, as Prometheus sees it.
const ERROR_RATE: &str = "sum(rate(http_requests_total{app=\"shop\",code=~\"5..\"}[4s])) \
     / sum(rate(http_requests_total{app=\"shop\"}[4s]))";

/// All that runs. Fields are dropped in this order: the operator goes first, the servers last.
pub struct World {
    /// The operator.
    pub operator: Operator,
    /// The customers.
    pub load: Process,
    shop: Process,
    shop_url: String,
    /// What scrapes the shop.
    pub prometheus: Prometheus,
    /// The API server.
    pub api: ApiServer,
    standby: Cluster,
    copy: Cluster,
    primary: Cluster,
}

impl World {
    /// Builds it, saying so.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn build(story: &Story) -> Result<Self> {
        story.say("starting etcd and kube-apiserver, and a PostgreSQL primary");
        let (api, primary) = tokio::join!(ApiServer::start(), stocked_primary(story));
        let (api, primary) = (api?, primary?);
        story.say("making a writable copy, where migrations will run first, and a physical standby");
        let (copy, standby) = tokio::join!(primary.writable_copy(), primary.standby());
        let (copy, standby) = (copy?, standby?);
        let (shop, shop_url) = open_shop(&primary.named("shop")).await?;
        let target = shop_url.trim_start_matches("http://").to_owned();
        let prometheus = Prometheus::start(&[("shop", &target)]).await?;
        let load = send_customers(&shop_url)?;
        story.say(&format!(
            "shop at {shop_url}, {LOAD} requests a second; Prometheus at {}",
            prometheus.url()
        ));
        api.install_crds().await?;
        let kubeconfig = api.operator_kubeconfig(operator::NAMESPACE).await?;
        let operator = Operator::start(&operator::Options::new(binary("../whimbrel")?, kubeconfig)).await?;
        story.say("whimbrel operator is up, with the rights of its ServiceAccount and no others");
        let world = Self { operator, load, shop, shop_url, prometheus, api, standby, copy, primary };
        world.await_traffic().await?;
        Ok(world)
    }

    /// The shop's database on the primary.
    pub fn database(&self) -> Database {
        self.primary.named("shop")
    }

    /// The shop's database on the copy.
    pub fn copy(&self) -> Database {
        self.copy.named("shop")
    }

    /// The shop's database on the standby.
    pub fn standby(&self) -> Database {
        self.standby.named("shop")
    }

    /// The share of failed requests in the last seconds; `None` before there is any.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn error_rate(&self) -> Result<Option<f64>> {
        self.prometheus.query(ERROR_RATE).await
    }

    async fn await_traffic(&self) -> Result<()> {
        await_until("requests that Prometheus sees and that succeed", SOON, async || {
            let rate = self.error_rate().await?;
            ensure!(rate == Some(0.0), "the error rate is {rate:?}");
            Ok(())
        })
        .await
    }

    /// Writes a manifest of the demo with the ports filled in, and applies it as a user would.
    ///
    /// # Errors
    /// When `kubectl` refuses: what it printed.
    pub fn kubectl_apply(&self, manifest: &str) -> Result<String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/demo").join(manifest);
        let text = std::fs::read_to_string(&source)?
            .replace("${PASSWORD}", PASSWORD)
            .replace("${PRIMARY_PORT}", &self.primary.port().to_string())
            .replace("${COPY_PORT}", &self.copy.port().to_string())
            .replace("${PROMETHEUS_PORT}", self.prometheus.url().rsplit(':').next().unwrap_or_default());
        let target = scratch::root()?.join(manifest);
        std::fs::write(&target, text)?;
        self.api.kubectl(&["apply", "-f", &target.display().to_string()])
    }

    /// How to look around while everything is up.
    ///
    /// # Errors
    /// When the kubeconfig cannot be written.
    pub fn directions(&self) -> Result<String> {
        Ok(format!(
            "export KUBECONFIG={} PATH={}:$PATH\nkubectl -n shop get migrations,databases.whimbrel.dev,events\n\
             psql '{}' -c 'SELECT * FROM whimbrel.history'\nthe copy:    psql '{}'\nthe standby: psql '{}'\n\
             shop: {}/orders/1   Prometheus: {}   operator: {}/metrics\nmanifests and logs: {}",
            self.api.admin_kubeconfig()?.display(),
            kubernetes::program("kubectl")?.parent().unwrap_or(Path::new("")).display(),
            self.database().url(SUPERUSER),
            self.copy().url(SUPERUSER),
            self.standby().url(SUPERUSER),
            self.shop_url,
            self.prometheus.url(),
            self.operator.url(),
            scratch::root()?.display(),
        ))
    }

    /// Stops the operator as Kubernetes does, then everything else; says what did not go well.
    ///
    /// # Errors
    /// When the operator does not stop in time or not well, or a process is left.
    pub async fn stop(self) -> Result<()> {
        let pids = [
            Some(self.load.pid()),
            Some(self.shop.pid()),
            self.primary.pid(),
            self.copy.pid(),
            self.standby.pid(),
        ];
        let status = self.operator.stop().await?;
        ensure!(status.success(), "the operator ended with {status}");
        drop((self.load, self.shop, self.prometheus, self.api, self.standby, self.copy, self.primary));
        let left: Vec<u32> =
            pids.into_iter().flatten().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
        ensure!(left.is_empty(), "processes are left: {left:?}");
        Ok(())
    }
}

async fn stocked_primary(story: &Story) -> Result<Cluster> {
    // Real durability, so that the times mean something.
    let primary = Cluster::start(Options { durable: true, ..Options::default() }).await?;
    let database = primary.database("shop").await?;
    story.say(&format!("filling the shop with {ORDERS} orders"));
    let seed = Spec::new("seed", binary("shop")?, &scratch::directory("seed")?)
        .env("DATABASE_URL", database.url(SUPERUSER))
        .args(["seed", "--owner", OWNER, "--orders", ORDERS]);
    let mut seed = Process::start(&seed)?;
    let mut told = 0;
    await_until("the shop being filled", Duration::from_mins(3), async || {
        let ended = seed.exited()?;
        let log = seed.log();
        for line in log.lines().skip(told) {
            story.say(&format!("  {line}"));
            told += 1;
        }
        let status = ended.context("it still runs")?;
        Ok(status.success())
    })
    .await?
    .then_some(primary)
    .context("the shop could not be filled")
}

async fn open_shop(database: &Database) -> Result<(Process, String)> {
    let address = format!("127.0.0.1:{}", ports::free()?);
    let spec = Spec::new("shop", binary("shop")?, &scratch::directory("shop")?)
        .subject()
        .env("DATABASE_URL", database.url(APPLICATION))
        .args(["serve", "--listen-address", &address]);
    let (mut shop, url, http) = (Process::start(&spec)?, format!("http://{address}"), http_client()?);
    shop.ready(SOON, async || {
        let answer = http.get(format!("{url}/healthz")).send().await?;
        answer.error_for_status().map(drop).context("not healthy")
    })
    .await?;
    Ok((shop, url))
}

fn send_customers(shop: &str) -> Result<Process> {
    let arguments = ["load", "--url", shop, "--rps", LOAD, "--orders", ORDERS];
    Process::start(&Spec::new("load", binary("shop")?, &scratch::directory("load")?).args(arguments))
}

/// A program that Cargo built beside this one.
fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().context("this program has no directory")?.join(name);
    ensure!(path.is_file(), "{} is missing: run make demo, which builds it", path.display());
    Ok(path)
}
