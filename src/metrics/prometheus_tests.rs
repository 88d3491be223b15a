//! Tests against a small server of this process that behaves badly. What a good server does is tested
//! against Prometheus itself.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap as Received, StatusCode, Uri},
    response::{IntoResponse, Redirect},
    routing::{any, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Mutex,
};

use super::*;

const GOOD: &str =
    r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"0.5"]}]}}"#;

fn config(address: SocketAddr) -> PrometheusConfig {
    PrometheusConfig {
        url: format!("http://{address}"),
        auth: None,
        ca_pem: None,
        identity_pem: None,
        headers: Vec::new(),
        timeout: Duration::from_secs(5),
    }
}

async fn read(config: PrometheusConfig) -> Reading {
    let at = Timestamp::from_millisecond(1_800_000_000_250).unwrap();
    PrometheusProvider::new(config).unwrap().query("up == 1", at).await
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Answers each connection with these bytes, then waits so long and closes.
async fn answer_raw(bytes: &'static [u8], pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(bytes).await;
                tokio::time::sleep(pause).await;
            });
        }
    });
    address
}

fn error(reading: Reading) -> (Failure, String) {
    match reading {
        Reading::Error(failure, message) => (failure, message),
        other => panic!("{other:?}"),
    }
}

/// A request: path, headers, body.
type Seen = Arc<Mutex<Vec<(String, Received, String)>>>;

async fn record(State(seen): State<Seen>, uri: Uri, headers: Received, body: Bytes) -> &'static str {
    let body = String::from_utf8_lossy(&body).into_owned();
    seen.lock().await.push((uri.path().to_owned(), headers, body));
    GOOD
}

#[tokio::test]
async fn a_query_is_posted_with_its_time_and_credentials() {
    let seen = Seen::default();
    let address = serve(Router::new().route("/{*path}", post(record)).with_state(seen.clone())).await;
    let org = vec![("X-Scope-OrgID".to_owned(), Secret::new("tenant-7"))];
    let basic = Auth::Basic { username: "user".to_owned(), password: Secret::new("pass") };
    let url = format!("http://{address}/prefix/");
    read(PrometheusConfig { url, headers: org, auth: Some(basic), ..config(address) }).await;
    let bearer = Some(Auth::Bearer(Secret::new("token")));
    let reading = read(PrometheusConfig { auth: bearer, ..config(address) }).await;
    assert_eq!(reading, Reading::Value(0.5));
    let seen = seen.lock().await;
    let [(first_path, first, body), (path, second, _)] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((first_path.as_str(), path.as_str()), ("/prefix/api/v1/query", "/api/v1/query"));
    assert_eq!(body, "query=up+%3D%3D+1&time=1800000000.250&timeout=5000ms");
    assert_eq!(first["x-scope-orgid"], "tenant-7");
    assert_eq!(first["authorization"], "Basic dXNlcjpwYXNz");
    assert_eq!(second["authorization"], "Bearer token");
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let seen = Seen::default();
    let elsewhere = serve(Router::new().fallback(any(record)).with_state(seen.clone())).await;
    let target = format!("http://user:pw@{elsewhere}/login?token=abc#x");
    let address = serve(Router::new().fallback(any(async move || Redirect::temporary(&target)))).await;
    let (failure, message) = error(read(config(address)).await);
    assert_eq!(failure, Failure::BadAnswer);
    assert!(
        message.contains(&format!("redirects to http://{elsewhere}/login (HTTP status 307)")),
        "{message}"
    );
    assert!(seen.lock().await.is_empty());
}

#[tokio::test]
async fn a_large_answer_is_cut_off() {
    let endless = async || {
        let chunks =
            futures::stream::repeat(Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; 65_536])));
        axum::body::Body::from_stream(chunks)
    };
    let address = serve(Router::new().fallback(any(endless))).await;
    let (failure, message) = error(read(config(address)).await);
    assert_eq!(failure, Failure::BadAnswer);
    assert!(message.contains("larger than 1 MiB"), "{message}");
}

#[tokio::test]
async fn the_deadline_covers_everything() {
    let timeout = Duration::from_millis(200);
    let long = Duration::from_mins(1);
    let silent = answer_raw(b"", long).await;
    let stuck = answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", long).await;
    let drip = async || {
        let drops = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b" ")), ()))
        });
        axum::body::Body::from_stream(drops)
    };
    let dripping = serve(Router::new().fallback(any(drip))).await;
    for address in [silent, stuck, dripping] {
        let begun = Instant::now();
        let (failure, message) = error(read(PrometheusConfig { timeout, ..config(address) }).await);
        assert_eq!((failure, message.as_str()), (Failure::Unreachable, "no answer within 200ms"));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_broken_connection_is_no_answer() {
    let truncated =
        answer_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\"", Duration::ZERO).await;
    let garbage = answer_raw(b"SSH-2.0-OpenSSH_9.2\r\n", Duration::ZERO).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    for (address, expected) in [(truncated, "broke off"), (garbage, "broke off"), (closed, "no connection")] {
        let (failure, message) = error(read(config(address)).await);
        assert_eq!(failure, Failure::Unreachable, "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("http://"), "{message}");
    }
}

#[tokio::test]
async fn messages_are_bounded_and_hold_no_credentials() {
    let gossip = async |headers: Received| {
        let error = format!("{}\n{}", headers["authorization"].to_str().unwrap(), "x".repeat(5000));
        let body = serde_json::json!({"status": "error", "errorType": "bad_data", "error": error});
        (StatusCode::BAD_REQUEST, body.to_string()).into_response()
    };
    let address = serve(Router::new().fallback(any(gossip))).await;
    let auth = Some(Auth::Bearer(Secret::new("S3ntinel")));
    let config = PrometheusConfig { auth, ..config(address) };
    assert!(!format!("{config:?}").contains("S3ntinel"));
    assert!(!format!("{:?}", PrometheusProvider::new(config.clone()).unwrap()).contains("S3ntinel"));
    let (failure, message) = error(read(config).await);
    assert_eq!(failure, Failure::QueryInvalid);
    assert!(message.contains("Bearer *** xxx"), "{message}");
    assert!(!message.contains("S3ntinel"), "{message}");
    assert_eq!(message.chars().count(), MESSAGE_LIMIT);
}

#[test]
fn bad_configuration_is_named() {
    let good = || config(SocketAddr::from(([127, 0, 0, 1], 9090)));
    let check = |config: PrometheusConfig, expected: &str| {
        let error = PrometheusProvider::new(config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    let url = |url: &str| PrometheusConfig { url: url.to_owned(), ..good() };
    check(url("prometheus:hunter2"), "must begin with http:// or https://");
    check(url("http://"), "url of the metrics provider: empty host");
    check(url("http://user:hunter2@host"), "must not hold a user");
    check(url("http://host/?a=hunter2"), "must not have a query");
    let pem = "no certificate".to_owned();
    check(PrometheusConfig { ca_pem: Some(pem), ..good() }, "ca certificates of the metrics provider");
    let pem = Some(Secret::new("hunter2"));
    check(PrometheusConfig { identity_pem: pem, ..good() }, "client certificate of the metrics provider");
    let header = |name: &str, value: &str| {
        let auth = Some(Auth::Bearer(Secret::new("hunter2")));
        PrometheusConfig { headers: vec![(name.to_owned(), Secret::new(value))], auth, ..good() }
    };
    check(header("X Y", "z"), "header X Y of the metrics provider: not the name");
    check(header("X-Y", "hunter2\r\nX-Z: 1"), "the value has characters");
    check(header("Host", "hunter2"), "is set by the client itself");
    check(header("authorization", "hunter2"), "is set by auth already");
}
