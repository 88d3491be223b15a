//! `whimbrel operator`: wires leader election, health, metrics and the controller together.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::SignedDuration;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::controller::election::{self, Leadership};
use crate::controller::lease::{LeaseConfig, Loss};
use crate::controller::{self, ControllerOptions, client, readiness};
use crate::server::{Health, Metrics, Server};
use crate::telemetry::{self, LogFormat};

/// Runs the operator in a cluster, or against the cluster of KUBECONFIG.
///
/// Several replicas may run: one leads, the others stand by and take over. Health (/healthz), readiness (/readyz) and
/// metrics (/metrics, OpenMetrics) are served on one address. SIGTERM and SIGINT stop it at a safe point.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Address for /healthz, /readyz and /metrics.
    #[arg(long, env = "WHIMBREL_LISTEN_ADDRESS", default_value = "0.0.0.0:8080")]
    listen_address: SocketAddr,

    /// Watch only this namespace; may be repeated or separated by commas. Default: all namespaces.
    #[arg(long, env = "WHIMBREL_WATCH_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',')]
    watch_namespace: Vec<String>,

    /// Work on or look at at most so many databases at the same time, with two connections each; one in eight is kept for looks.
    #[arg(long, env = "WHIMBREL_MAX_CONCURRENT_DATABASES", value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    max_concurrent_databases: u16,

    /// How log lines look.
    #[arg(long, env = "WHIMBREL_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// What is logged: a level, or a filter such as `warn,whimbrel=debug`. Default: `RUST_LOG`, else `info`.
    #[arg(long, env = "WHIMBREL_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<String>,

    /// Elect a leader among the replicas by a Lease. Without, exactly one replica must run.
    #[arg(long, env = "WHIMBREL_LEADER_ELECTION", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    leader_election: bool,

    /// Name of the Lease.
    #[arg(long, env = "WHIMBREL_LEASE_NAME", value_name = "NAME", default_value = "whimbrel")]
    lease_name: String,

    /// Namespace of the Lease. Default: `POD_NAMESPACE`, else the namespace of the kubeconfig's context.
    #[arg(long, env = "WHIMBREL_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,

    /// A standby takes over when the Lease has not changed for this long.
    #[arg(long, env = "WHIMBREL_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    lease_duration: Duration,

    /// A leader that could not renew the Lease for this long stops acting; shorter than the duration.
    #[arg(long, env = "WHIMBREL_LEASE_RENEW_DEADLINE", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    lease_renew_deadline: Duration,

    /// Time between two renewals, and between two looks of a standby.
    #[arg(long, env = "WHIMBREL_LEASE_RENEW_INTERVAL", value_name = "DURATION", default_value = "2s", value_parser = duration)]
    lease_renew_interval: Duration,

    /// Name of this process among the candidates, unique. Default: `POD_NAME`, else the host name and a random part.
    #[arg(long, env = "WHIMBREL_IDENTITY", value_name = "NAME")]
    identity: Option<String>,

    /// After SIGTERM, running work has this long to reach a safe point.
    #[arg(long, env = "WHIMBREL_SHUTDOWN_GRACE", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    shutdown_grace: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration =
        text.parse().map_err(|_| "expected a duration with a unit, such as 15s or 500ms".to_owned())?;
    Duration::try_from(signed).map_err(|_| "a duration cannot be negative".to_owned())
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// When it cannot start, the Lease was taken over, or the work did not stop in time: the process must end.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let level =
        args.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok()).unwrap_or("info".to_owned());
    telemetry::init(args.log_format, &level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let result = runtime.block_on(operate(args));
    // What did not stop in time must not keep the process alive.
    runtime.shutdown_background();
    result
}

async fn operate(args: Args) -> anyhow::Result<()> {
    let health = Health::waiting_for(&[readiness::API_SERVER, readiness::CUSTOM_RESOURCES]);
    let metrics = Metrics::default();
    let server = Server::bind(args.listen_address, health.clone(), metrics.clone()).await?;
    info!(version = env!("CARGO_PKG_VERSION"), address = %server.address()?, "whimbrel operator");

    let client = client::client().await?;
    let operator = Operator::new(args, client, health, metrics)?;
    let stopped = CancellationToken::new();
    let serving = tokio::spawn(server.serve(stopped.clone().cancelled_owned()));
    let checking = tokio::spawn(readiness::watch(operator.client.clone(), operator.health.clone()));
    let result = operator.lead_until_stopped().await;
    checking.abort();
    stopped.cancel();
    // An open connection of a scraper does not hold up the end.
    let _ = tokio::time::timeout(Duration::from_millis(500), serving).await;
    info!("stopped");
    result
}

struct Operator {
    args: Args,
    lease: LeaseConfig,
    client: kube::Client,
    health: Health,
    metrics: Metrics,
    leader: Gauge,
    /// Cancelled by the first signal.
    stop: CancellationToken,
}

/// How one term ended.
enum End {
    Stopped,
    Lost(Loss),
}

impl Operator {
    fn new(args: Args, client: kube::Client, health: Health, metrics: Metrics) -> anyhow::Result<Self> {
        let lease = lease_config(&args, client.default_namespace())?;
        let leader = Gauge::default();
        metrics.register(|registry| {
            registry.register("leader", "1 while this process leads, else 0", leader.clone());
            let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
            registry.register("build", "The version that runs", version);
        });
        let stop = on_signal()?;
        Ok(Self { args, lease, client, health, metrics, leader, stop })
    }

    /// Serves one term after the other. An unreachable API server ends a term, not the process; the successor of a
    /// lost term is a clean process.
    async fn lead_until_stopped(&self) -> anyhow::Result<()> {
        while !self.stop.is_cancelled() {
            match self.term().await? {
                End::Stopped => break,
                End::Lost(loss @ Loss::TakenOver(_)) => bail!("{loss}; this process ends"),
                End::Lost(loss @ Loss::NotRenewed(_)) => {
                    warn!("{loss}; nothing runs until it is acquired again");
                }
            }
        }
        Ok(())
    }

    /// Stands by, leads, and stops acting when the term is lost or a signal came.
    async fn term(&self) -> anyhow::Result<End> {
        let (leadership, release, election) = self.campaign();
        let end = self.act_while_leading(leadership).await;
        self.show_leader(false);
        // Only who has really stopped acting lets a successor in early.
        if end.is_ok() {
            release.cancel();
            let _ = tokio::time::timeout(self.lease.renew_deadline, election).await;
        } else {
            election.abort();
        }
        end
    }

    fn campaign(&self) -> (watch::Receiver<Leadership>, CancellationToken, JoinHandle<()>) {
        let release = CancellationToken::new();
        if !self.args.leader_election {
            let (tell, leadership) = watch::channel(Leadership::Leader { until: None });
            let wait = release.clone();
            return (
                leadership,
                release,
                tokio::spawn(async move {
                    wait.cancelled().await;
                    drop(tell);
                }),
            );
        }
        let (tell, leadership) = watch::channel(Leadership::Standby { holder: None });
        let run = election::run(self.client.clone(), self.lease.clone(), tell, release.clone());
        (leadership, release, tokio::spawn(run))
    }

    async fn act_while_leading(&self, mut leadership: watch::Receiver<Leadership>) -> anyhow::Result<End> {
        tokio::select! {
            () = self.stop.cancelled() => return Ok(End::Stopped),
            elected = leadership.wait_for(|now| matches!(now, Leadership::Leader { .. })) => {
                elected.context("the leader election ended")?;
            }
        }
        self.show_leader(true);
        let cease = self.stop.child_token();
        let mut acting =
            tokio::spawn(controller::run(self.controller_options(leadership.clone(), cease.clone())));
        let (end, limit) = tokio::select! {
            ended = &mut acting => return finished(ended, self.stop.is_cancelled()),
            () = self.stop.cancelled() => (End::Stopped, self.args.shutdown_grace),
            loss = lost(&mut leadership) => (End::Lost(loss), self.lease.until_others()),
        };
        if let End::Lost(loss) = &end {
            error!("{loss}; stopping");
        }
        cease.cancel();
        if let Ok(ended) = tokio::time::timeout(limit, &mut acting).await {
            return finished(ended, true).map(|_| end);
        }
        acting.abort();
        bail!(
            "the work did not reach a safe point within {limit:?}; what runs is taken up by the next leader"
        )
    }

    fn controller_options(
        &self,
        leadership: watch::Receiver<Leadership>,
        shutdown: CancellationToken,
    ) -> ControllerOptions {
        ControllerOptions {
            client: self.client.clone(),
            watch_namespaces: self.args.watch_namespace.clone(),
            identity: self.lease.identity.clone(),
            max_concurrent_databases: usize::from(self.args.max_concurrent_databases),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            leadership,
            shutdown,
        }
    }

    fn show_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
        self.health.leads(leads);
    }
}

fn finished(
    ended: Result<Result<(), controller::Error>, tokio::task::JoinError>,
    asked_to: bool,
) -> anyhow::Result<End> {
    ended.context("the controller broke off")?.context("the controller failed")?;
    if asked_to { Ok(End::Stopped) } else { bail!("the controller ended by itself") }
}

async fn lost(leadership: &mut watch::Receiver<Leadership>) -> Loss {
    match leadership.wait_for(|now| matches!(now, Leadership::Lost(_))).await.as_deref() {
        Ok(Leadership::Lost(loss)) => loss.clone(),
        _ => Loss::TakenOver("nobody: the election ended".to_owned()),
    }
}

fn lease_config(args: &Args, context_namespace: &str) -> anyhow::Result<LeaseConfig> {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let namespace = args.lease_namespace.clone().or_else(|| variable("POD_NAMESPACE"));
    let identity = args.identity.clone().or_else(|| variable("POD_NAME"));
    let lease = LeaseConfig {
        namespace: namespace.unwrap_or_else(|| context_namespace.to_owned()),
        name: args.lease_name.clone(),
        identity: identity.unwrap_or_else(host_and_random),
        duration: args.lease_duration,
        renew_deadline: args.lease_renew_deadline,
        renew_interval: args.lease_renew_interval,
    };
    lease.check().map_err(anyhow::Error::msg)?;
    Ok(lease)
}

fn host_and_random() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "whimbrel" } else { host.trim() };
    format!("{host}_{}", uuid::Uuid::new_v4().simple())
}

/// The first signal asks for a stop, the second ends the process.
fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for told in ["stopping at a safe point; once more to end at once", "ending at once"] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            warn!("{told}");
            if token.is_cancelled() {
                std::process::exit(1);
            }
            token.cancel();
        }
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let check =
            |text: &str, expected: Option<Duration>| assert_eq!(duration(text).ok(), expected, "{text}");
        check("15s", Some(Duration::from_secs(15)));
        check("500ms", Some(Duration::from_millis(500)));
        check("1m30s", Some(Duration::from_secs(90)));
        check("15", None);
        check("-3s", None);
        check("soon", None);
    }
}
