//! `shop load`: customers, at a fixed rate, whether the shop keeps up or not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::Rng as _;
use serde::Serialize;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

/// Sends requests and prints one line of JSON a second: what was sent, what failed, how slow the slowest was.
#[derive(clap::Args)]
pub struct Arguments {
    /// The shop.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Requests a second.
    #[arg(long, default_value_t = 100)]
    rps: u32,
    /// How many orders the shop was seeded with.
    #[arg(long, default_value_t = 200_000)]
    orders: i64,
    /// Ends after so many seconds; by default it goes on until it is stopped.
    #[arg(long)]
    seconds: Option<u64>,
}

/// More requests on the way than this are not sent but counted as failed: the shop is down.
const IN_FLIGHT: usize = 200;

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Second {
    at: u64,
    requests: u64,
    failed: u64,
    slowest_ms: u64,
}

/// Runs the command.
///
/// # Errors
/// When no HTTP client can be made.
pub async fn run(arguments: Arguments) -> Result<()> {
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http =
        reqwest::Client::builder().timeout(Duration::from_secs(5)).build().context("no HTTP client")?;
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let second = Arc::new(Mutex::new(Second::default()));
    let mut request = tokio::time::interval(Duration::from_secs(1) / arguments.rps.max(1));
    request.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut report = tokio::time::interval(Duration::from_secs(1));
    report.tick().await;
    let mut elapsed = 0;
    while arguments.seconds.is_none_or(|seconds| elapsed < seconds) {
        tokio::select! {
            _ = report.tick() => {
                elapsed += 1;
                print(&second, elapsed)?;
            }
            _ = request.tick() => {
                let Ok(permit) = permits.clone().try_acquire_owned() else {
                    record(&second, false, Duration::ZERO);
                    continue;
                };
                let (http, second) = (http.clone(), second.clone());
                let (url, orders) = (arguments.url.clone(), arguments.orders.max(10));
                tokio::spawn(async move {
                    let started = Instant::now();
                    let succeeded = visit(&http, &url, orders).await;
                    record(&second, succeeded, started.elapsed());
                    drop(permit);
                });
            }
        }
    }
    Ok(())
}

fn record(second: &Mutex<Second>, succeeded: bool, took: Duration) {
    let mut second = second.lock().unwrap_or_else(PoisonError::into_inner);
    second.requests += 1;
    second.failed += u64::from(!succeeded);
    second.slowest_ms = second.slowest_ms.max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
}

fn print(second: &Mutex<Second>, at: u64) -> Result<()> {
    let mut second = second.lock().unwrap_or_else(PoisonError::into_inner);
    let done = std::mem::take(&mut *second);
    println!("{}", serde_json::to_string(&Second { at, ..done })?);
    Ok(())
}

/// One request of a customer: mostly looking, sometimes buying. Whether the shop answered well.
async fn visit(http: &reqwest::Client, url: &str, orders: i64) -> bool {
    let (kind, order, product) = {
        let mut random = rand::rng();
        (random.random_range(0..10), random.random_range(1..=orders), random.random_range(1..=500))
    };
    let customer = 1 + order % (orders / 10);
    let request = match kind {
        0 => http
            .post(format!("{url}/orders"))
            .json(&json!({"customer_id": customer, "product_id": product, "quantity": 1})),
        1 | 2 => http.get(format!("{url}/customers/{customer}/orders")),
        _ => http.get(format!("{url}/orders/{order}")),
    };
    request.send().await.is_ok_and(|response| response.status().is_success())
}
