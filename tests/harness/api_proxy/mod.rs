//! A reverse proxy before the API server that does to one request, or to all for a while, what a network and a busy server
//! do. It speaks HTTP to the operator, and TLS with the operator's own token to the server.

mod line;
mod plan;

pub use plan::{Asked, Fault, Plan};

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::line::{Knife, Lines};

/// No object of ours is larger.
const LARGEST: usize = 8 << 20;
/// What one request waits while everything is slow.
const SLOW: Duration = Duration::from_millis(1500);

/// What becomes of the watches that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watches {
    GoOn,
    Expire,
    Cut,
    Silent(Instant),
}

struct Shared {
    client: Client,
    plan: Mutex<Plan>,
    watches: watch::Sender<Watches>,
    killing: AtomicBool,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disturb(&self, watches: Watches) {
        self.watches.send_replace(watches);
    }
}

/// A running proxy; ends with its value.
pub struct ApiProxy {
    port: u16,
    kubeconfig: Value,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl ApiProxy {
    /// Starts before the server that a kubeconfig names.
    ///
    /// # Errors
    /// When it cannot listen, or the kubeconfig is none.
    pub async fn start(kubeconfig: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(kubeconfig)?;
        let kubeconfig: Value = serde_json::from_str(&text)?;
        let of = Kubeconfig::from_yaml(&text)?;
        let mut config = Config::from_custom_kubeconfig(of, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        let shared = Arc::new(Shared {
            client: Client::try_from(config)?,
            plan: Mutex::default(),
            watches: watch::channel(Watches::GoOn).0,
            killing: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let service = router.into_make_service_with_connect_info::<Knife>();
        let server = tokio::spawn(async move {
            let _ = axum::serve(Lines(listener), service).await;
        });
        Ok(Self { port, kubeconfig, shared, server })
    }

    /// Writes a kubeconfig by which the proxy is asked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<()> {
        let mut content = self.kubeconfig.clone();
        let cluster = content.pointer_mut("/clusters/0/cluster").context("a kubeconfig without a cluster")?;
        *cluster = json!({"server": format!("http://127.0.0.1:{}", self.port)});
        Ok(std::fs::write(path, content.to_string())?)
    }

    /// Begins to count anew, with what is to happen at which request, such as `patch/migrations/status#2`.
    pub fn plan(&self, due: Option<(String, Fault)>) {
        *self.shared.plan() = Plan::new(due);
        self.shared.watches.send_replace(Watches::GoOn);
        self.shared.killing.store(false, Ordering::SeqCst);
    }

    /// What was asked so far.
    pub fn seen<T>(&self, of: impl FnOnce(&Plan) -> T) -> T {
        of(&self.shared.plan())
    }

    /// Whether who asks is to be killed now.
    pub fn kills(&self) -> bool {
        self.shared.killing.swap(false, Ordering::SeqCst)
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.shared.watches.send_replace(Watches::Cut);
        self.server.abort();
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(knife): ConnectInfo<Knife>,
    request: Request,
) -> Response {
    let asked = Asked::of(&request);
    let (fault, due, until) = {
        let mut plan = shared.plan();
        let before = plan.began;
        (plan.pass(&asked), before.is_none(), plan.until())
    };
    match fault {
        Some(Fault::Expired | Fault::Stale) if due => shared.disturb(Watches::Expire),
        Some(Fault::Reset) if due => shared.disturb(Watches::Cut),
        Some(Fault::BlackHole) if due => shared.disturb(Watches::Silent(until)),
        _ => {}
    }
    answer(&shared, &asked, request, &knife, (fault, until))
        .await
        .unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("the proxy: {error:#}")).into_response())
}

async fn answer(
    shared: &Arc<Shared>,
    asked: &Asked,
    request: Request,
    knife: &Knife,
    (fault, until): (Option<Fault>, Instant),
) -> Result<Response> {
    match fault {
        Some(Fault::Conflict) => return Ok(refusal(409, "Conflict", "the object has been modified")),
        Some(Fault::TooMany) => return Ok(refusal(429, "TooManyRequests", "too many requests")),
        Some(Fault::Unavailable) => return Ok(refusal(503, "ServiceUnavailable", "not now")),
        Some(Fault::Broken) => return Ok(refusal(500, "InternalError", "something went wrong")),
        Some(Fault::Reset) => return Ok(lost(knife)),
        Some(Fault::BlackHole) => {
            tokio::time::sleep_until(until.into()).await;
            return Ok(lost(knife));
        }
        Some(Fault::Slow) => tokio::time::sleep(SLOW).await,
        // What is old is old for a while.
        Some(Fault::Stale) if asked.watches => tokio::time::sleep_until(until.into()).await,
        Some(Fault::Expired) if asked.watches => {
            shared.plan().watch_told();
            return Ok(([(header::CONTENT_TYPE, "application/json")], expired()).into_response());
        }
        _ => {}
    }
    let path = request.uri().to_string();
    let forgets = fault == Some(Fault::Stale) && asked.lists;
    let old = if forgets { shared.plan().old_list(&path) } else { None };
    if let Some(old) = old {
        return Ok(([(header::CONTENT_TYPE, "application/json")], old).into_response());
    }
    let response = forward(&shared.client, request).await?;
    if asked.watches {
        return Ok(response.map(|body| watched(shared, body)));
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LARGEST).await?;
    if asked.lists {
        shared.plan().lists.entry(path).or_insert_with(|| body.clone());
    }
    match fault {
        Some(Fault::LostReply) => Ok(lost(knife)),
        Some(Fault::Kill) => {
            shared.killing.store(true, Ordering::SeqCst);
            std::future::pending().await
        }
        Some(Fault::Truncated) => {
            let half = body.slice(..body.len() / 2);
            let broken = futures::stream::iter([Ok(half), Err(std::io::Error::other("cut off"))]);
            Ok(Response::from_parts(parts, Body::from_stream(broken)))
        }
        _ => Ok(Response::from_parts(parts, Body::from(body))),
    }
}

fn lost(knife: &Knife) -> Response {
    knife.cut();
    StatusCode::OK.into_response()
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

fn refusal(code: u16, reason: &str, message: &str) -> Response {
    let mut response = axum::Json(status(code, reason, message)).into_response();
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    if code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// What a watch is told whose version is not kept any more.
fn expired() -> Bytes {
    let status = status(410, "Expired", "too old resource version");
    Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": status})))
}

/// Removes what is about one connection, and not about what is said.
fn own_to_the_connection(headers: &mut header::HeaderMap) {
    for own in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(own);
    }
}

async fn forward(client: &Client, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, LARGEST).await?;
    for ours in [header::HOST, header::AUTHORIZATION, header::ACCEPT_ENCODING] {
        parts.headers.remove(ours);
    }
    own_to_the_connection(&mut parts.headers);
    let mut response = client.send(axum::http::Request::from_parts(parts, body.into())).await?;
    own_to_the_connection(response.headers_mut());
    Ok(response.map(Body::new))
}

/// The answer of a watch, until something happens to it.
fn watched(shared: &Arc<Shared>, body: Body) -> Body {
    let mut news = shared.watches.subscribe();
    news.mark_unchanged();
    let shared = shared.clone();
    let events = futures::stream::unfold(Some((body.into_data_stream(), news)), move |state| {
        let shared = shared.clone();
        async move {
            let (mut events, mut news) = state?;
            let what = tokio::select! {
                chunk = events.next() => {
                    let chunk = chunk?.map_err(std::io::Error::other);
                    return Some((chunk, Some((events, news))));
                }
                _ = news.changed() => *news.borrow_and_update(),
            };
            match what {
                Watches::GoOn => Some((Ok(Bytes::new()), Some((events, news)))),
                Watches::Expire => {
                    shared.plan().watch_told();
                    Some((Ok(expired()), None))
                }
                Watches::Cut => Some((Err(std::io::Error::other("cut off")), None)),
                Watches::Silent(until) => {
                    tokio::time::sleep_until(until.into()).await;
                    Some((Err(std::io::Error::other("cut off")), None))
                }
            }
        }
    });
    Body::from_stream(events)
}
