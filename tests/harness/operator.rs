//! The operator as a process of its own, as it runs in a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::process::{Process, Spec};
use super::{http_client, ports, scratch};

/// The namespace of its Lease.
pub const NAMESPACE: &str = "whimbrel-system";

/// How it is started.
#[derive(Clone)]
pub struct Options {
    /// The binary `whimbrel`; tests use `env!("CARGO_BIN_EXE_whimbrel")`.
    pub binary: PathBuf,
    /// What it reaches the API server with.
    pub kubeconfig: PathBuf,
    /// Its identity in the Lease.
    pub pod: String,
    /// Watches only this namespace.
    pub watch_namespace: Option<String>,
    /// Further environment variables.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// An operator for all namespaces.
    pub fn new(binary: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            kubeconfig: kubeconfig.into(),
            pod: "whimbrel-0".to_owned(),
            watch_namespace: None,
            environment: Vec::new(),
        }
    }

    /// Only for the objects of one namespace, with the Lease there too, so that tests do not disturb each other.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.watch_namespace = Some(namespace.to_owned());
        self
    }
}

/// A running operator.
pub struct Operator {
    port: u16,
    process: Process,
}

impl Operator {
    /// Starts it without waiting.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(options: &Options) -> Result<Self> {
        let directory = scratch::directory(&options.pod)?;
        let port = ports::free()?;
        let namespace = options.watch_namespace.as_deref();
        let mut spec = Spec::new("operator", &options.binary, &directory)
            .subject()
            .env("KUBECONFIG", &options.kubeconfig)
            .env("POD_NAME", &options.pod)
            .env("POD_NAMESPACE", namespace.unwrap_or(NAMESPACE))
            .env("WHIMBREL_LISTEN_ADDRESS", format!("127.0.0.1:{port}"))
            .args(["operator"]);
        if let Some(namespace) = namespace {
            spec = spec.args(["--watch-namespace", namespace]);
        }
        for (name, value) in &options.environment {
            spec = spec.env(name, value);
        }
        Ok(Self { port, process: Process::start(&spec)? })
    }

    /// Starts it and waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When it ends or does not become ready.
    pub async fn start(options: &Options) -> Result<Self> {
        let mut operator = Self::spawn(options)?;
        operator.await_ready().await?;
        Ok(operator)
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When it ends or does not become ready.
    pub async fn await_ready(&mut self) -> Result<()> {
        let http = http_client()?;
        let url = format!("{}/readyz", self.url());
        self.process
            .ready(Duration::from_secs(30), async || {
                http.get(&url).send().await?.error_for_status().map(drop).context("not ready")
            })
            .await
    }

    /// The base URL of its health and metrics endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `/metrics` says now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<String> {
        let answer = http_client()?.get(format!("{}/metrics", self.url())).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Its process: `SIGKILL`, `SIGSTOP` and `SIGCONT` are sent here.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks it to stop (`SIGTERM`) and waits for its end.
    ///
    /// # Errors
    /// When it takes longer than the ten seconds that it promises, and some.
    pub async fn stop(mut self) -> Result<std::process::ExitStatus> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(Duration::from_secs(15)).await
    }

    /// Its resident memory, bytes.
    ///
    /// # Errors
    /// When it is not running.
    pub fn resident_memory(&self) -> Result<u64> {
        let status = Path::new("/proc").join(self.process.pid().to_string()).join("status");
        let status = std::fs::read_to_string(status)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kibibytes * 1024)
    }

    /// The processor time that it took so far, user and system.
    ///
    /// # Errors
    /// When it is not running.
    pub fn processor_time(&self) -> Result<Duration> {
        /// Ticks of `/proc` in a second, on every Linux of today.
        const TICKS: u64 = 100;
        let stat = Path::new("/proc").join(self.process.pid().to_string()).join("stat");
        let stat = std::fs::read_to_string(stat)?;
        // The name of the program may hold anything but ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok());
        let (user, system) = (ticks(11).context("no utime")?, ticks(12).context("no stime")?);
        Ok(Duration::from_millis((user + system) * 1000 / TICKS))
    }
}
