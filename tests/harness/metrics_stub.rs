//! The least that counts as a Prometheus server: the answer depends on nothing but the words of the query.

use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use whimbrel::metrics::PrometheusConfig;

/// A server that asks for nothing.
pub fn config(url: String) -> PrometheusConfig {
    PrometheusConfig {
        url,
        auth: None,
        ca_pem: None,
        identity_pem: None,
        headers: Vec::new(),
        timeout: Duration::from_secs(5),
    }
}

/// Starts one for as long as the runtime lives, and returns its base URL. It answers 1 to what is asked while an applied
/// migration is watched, or no number where `nothing` is asked for, else 0. The phase has to be in the query.
///
/// # Errors
/// When it cannot listen.
pub async fn start() -> Result<String> {
    let answer = async |query: axum::extract::RawQuery, body: String| {
        let asked = format!("{} {body}", query.0.unwrap_or_default());
        let value = match (asked.contains("Watching"), asked.contains("nothing")) {
            (false, _) => "0",
            (true, false) => "1",
            (true, true) => "NaN",
        };
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let text = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[{now},"{value}"]}}]}}}}"#,
        );
        ([("content-type", "application/json")], text)
    };
    let router = axum::Router::new().fallback(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}
