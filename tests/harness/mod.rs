//! Real components for tests and for the demo: PostgreSQL, the Kubernetes API server, Prometheus, `PgBouncer`, the
//! operator itself, and a proxy that breaks connections.
//!
//! - Every component is a process of its own on a free port, in one private directory, and dies with this process,
//!   however that ends ([`process`], [`scratch`]).
//! - Every wait is bounded and says what it waited for ([`await_until`]).
//! - A program that is lacking is a failure that names the set-up command, never a skip.

// Each binary that includes this module uses its own part of it.
#![allow(dead_code, unused_imports, unreachable_pub)]

pub mod api_proxy;
pub mod engine;
pub mod kubernetes;
pub mod manifests;
pub mod metrics_stub;
pub mod objects;
pub mod operator;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod scratch;
pub mod tls;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

/// How long one test may take unless it says otherwise.
pub const TEST_TIMEOUT: Duration = Duration::from_mins(4);

/// What comes in a moment has come by then, however slow and busy the machine is.
pub const SOON: Duration = Duration::from_secs(90);

/// Runs one test on a runtime of its own, bounded by [`TEST_TIMEOUT`]; on failure the logs of all components are kept
/// and the end of each interesting one is printed.
///
/// # Errors
/// The test's own error, or that it took too long.
pub fn run(test: impl Future<Output = Result<()>>) -> Result<()> {
    run_within(TEST_TIMEOUT, test)
}

/// As [`run`], bounded by another time.
///
/// # Errors
/// The test's own error, or that it took too long.
pub fn run_within(limit: Duration, test: impl Future<Output = Result<()>>) -> Result<()> {
    init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        tokio::time::timeout(limit, test)
            .await
            .map_err(|_| anyhow!("the test did not end within {limit:?}"))?
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.inspect_err(|error| scratch::report_failure(&format!("{error:#}")))
}

/// Prepares this process: the TLS provider, and keeping the logs when something panics.
pub fn init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // Fails only where a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            default(panic);
            scratch::report_failure("panicked");
        }));
    });
}

/// Probes until the probe succeeds, and returns what it returned.
///
/// # Errors
/// When `timeout` is over: what was awaited, and why the last probe was not satisfied.
pub async fn await_until<T>(
    what: &str,
    timeout: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + timeout;
    let mut pause = Duration::from_millis(10);
    let mut last = anyhow!("the first probe did not return");
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => last = reason,
            Err(_) => break,
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
    Err(last).with_context(|| format!("{what}: not within {timeout:?}"))
}

/// An HTTP client with a deadline, without redirects.
///
/// # Errors
/// When the client cannot be built.
pub fn http_client() -> Result<reqwest::Client> {
    init();
    Ok(reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}
