//! Health, readiness and metrics on one address.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What keeps the process from being ready, by part; shared between those who know and `/readyz`.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<Parts>>);

#[derive(Debug)]
struct Parts {
    waiting_for: BTreeMap<&'static str, String>,
    leader: bool,
}

impl Health {
    /// Not ready until each of `parts` has been reported as ready.
    pub fn waiting_for(parts: &[&'static str]) -> Self {
        let waiting_for = parts.iter().map(|part| (*part, "not checked yet".to_owned())).collect();
        Self(Arc::new(Mutex::new(Parts { waiting_for, leader: false })))
    }

    /// Reports that `part` works.
    pub fn ready(&self, part: &'static str) {
        self.state().waiting_for.remove(part);
    }

    /// Reports why `part` does not work. The reason is shown to anybody who asks `/readyz`.
    pub fn unready(&self, part: &'static str, reason: impl Into<String>) {
        self.state().waiting_for.insert(part, reason.into());
    }

    /// Reports whether this process leads. Readiness does not depend on it: a standby is ready to take over.
    pub fn leads(&self, leader: bool) {
        self.state().leader = leader;
    }

    /// Whether every part works.
    pub fn is_ready(&self) -> bool {
        self.state().waiting_for.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The metrics of the process; clones share one registry.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("whimbrel"))))
    }
}

impl Metrics {
    /// Gives access to the registry, to register metrics; each name gets the prefix `whimbrel_`.
    pub fn register<T>(&self, with: impl FnOnce(&mut Registry) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(
            &mut text,
            &self.0.lock().unwrap_or_else(PoisonError::into_inner),
        )?;
        Ok(text)
    }
}

/// The endpoint, bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// When the address cannot be bound; the message names the flag.
    pub async fn bind(address: SocketAddr, health: Health, metrics: Metrics) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            anyhow::anyhow!(
                "cannot listen on {address}: {error}; choose another address with --listen-address"
            )
        })?;
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz).with_state(health))
            .route("/metrics", get(openmetrics).with_state(metrics));
        Ok(Self { listener, router })
    }

    /// The address that was bound, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// When the socket is gone.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` completes.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop).await
    }
}

async fn readyz(State(health): State<Health>) -> Response {
    let state = health.state();
    let ready = state.waiting_for.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let role = if state.leader { "leader" } else { "standby" };
    let body = serde_json::json!({ "ready": ready, "role": role, "waitingFor": state.waiting_for });
    (status, Json(body)).into_response()
}

async fn openmetrics(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

    async fn ask(server: Server, path: &str) -> String {
        let address = server.address().unwrap();
        let serving = tokio::spawn(server.serve(std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serving.abort();
        answer
    }

    async fn check(health: &Health, path: &str, status: &str, contains: &str) {
        let metrics = Metrics::default();
        metrics.register(|registry| {
            let counter: Counter = Counter::default();
            counter.inc();
            registry.register("example", "An example", counter);
        });
        let server = Server::bind(ANY_PORT.into(), health.clone(), metrics).await.unwrap();
        let answer = ask(server, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains(contains), "{path}: {answer}");
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let health = Health::waiting_for(&["api-server"]);
        check(&health, "/healthz", "200", "ok").await;
        check(&health, "/readyz", "503", r#""waitingFor":{"api-server":"not checked yet"}"#).await;
        health.ready("api-server");
        check(&health, "/readyz", "200", r#""ready":true,"role":"standby""#).await;
        health.leads(true);
        check(&health, "/readyz", "200", r#""role":"leader""#).await;
        health.unready("api-server", "connection refused");
        check(&health, "/readyz", "503", "connection refused").await;
    }

    #[tokio::test]
    async fn metrics_are_openmetrics_with_our_prefix() {
        let health = Health::waiting_for(&[]);
        check(&health, "/metrics", "200", OPENMETRICS).await;
        check(&health, "/metrics", "200", "whimbrel_example_total 1\n# EOF\n").await;
    }

    #[tokio::test]
    async fn a_taken_address_names_the_flag() {
        let health = Health::waiting_for(&[]);
        let first = Server::bind(ANY_PORT.into(), health.clone(), Metrics::default()).await.unwrap();
        let taken = first.address().unwrap();
        let error = Server::bind(taken, health, Metrics::default()).await.unwrap_err().to_string();
        assert!(error.contains("--listen-address") && error.contains(&taken.to_string()), "{error}");
    }
}
