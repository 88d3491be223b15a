//! Providers and queries that cannot be watched: found before any SQL.

use anyhow::Result;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::stage::{Expected, Stage, WRONG_PASSWORD};
use crate::harness::postgres::PASSWORD;
use crate::harness::prometheus::Prometheus;
use crate::harness::{ports, run};

fn watched(provider: &str, query: &str) -> Value {
    json!({"up": format!("CREATE TABLE watched_by_{provider} ()"), "analysis": {
        "window": "2s", "interval": "1s", "warmup": "0s", "minSamples": 1, "ingestDelay": "0s",
        "metrics": [{"name": "errors", "providerRef": {"name": provider}, "query": query, "threshold": {"max": "0.5"}}],
    }})
}

fn provider(url: &str) -> Value {
    json!({"prometheus": {"url": url, "scrapeInterval": "1s"}})
}

#[test]
fn queries_that_give_no_single_number_are_refused() -> Result<()> {
    let cases: &[(&str, &str, &[&str])] = &[
        ("none", "absent_metric", &["metric errors", "no value"]),
        (
            "several",
            "vector(1) or label_replace(vector(2), \"a\", \"b\", \"\", \"\")",
            &["metric errors", "2 values"],
        ),
        ("nan", "vector(0) / vector(0)", &["metric errors", "NaN"]),
        ("unparsable", "sum(", &["metric errors", "parse error"]),
        ("template", "rate(errors[{{ rnge }}])", &["spec.analysis.metrics", "rnge"]),
    ];
    run(async {
        let stage = Stage::new("bad_query").await?;
        let prometheus = Prometheus::start(&[]).await?;
        stage.create("MetricsProvider", "prometheus", provider(&prometheus.url())).await?;
        for (name, query, _) in cases {
            stage.migrate(name, watched("prometheus", query)).await?;
        }
        for (name, _, says) in cases {
            let reason = if *name == "template" { "PlanInvalid" } else { "QueryInvalid" };
            stage.await_migration(name, &Expected::refused(reason, says)).await?;
        }
        let short = json!({"analysis": {"metrics": [{"name": "errors", "providerRef": {"name": "prometheus"},
            "query": "vector(0)", "range": "3s", "threshold": {"max": "1"}}]}, "up": "CREATE TABLE t ()"});
        let says = ["metric errors", "range 3s", "at least 4s"];
        stage.check("short", short, Expected::refused("QueryInvalid", &says)).await?;
        stage.finish().await
    })
}

/// Answers every query with 0, if it is asked with the right token.
async fn guarded() -> Result<String> {
    let answer = axum::routing::post(async |headers: HeaderMap| {
        let token = headers.get("authorization").and_then(|value| value.to_str().ok());
        if token != Some(&format!("Bearer {PASSWORD}")) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let result = json!([{"metric": {}, "value": [whimbrel::engine::clock::now().as_second(), "0"]}]);
        Ok(axum::Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}})))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = axum::Router::new().route("/api/v1/query", answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}

#[test]
fn providers_that_are_away_or_refuse_are_awaited() -> Result<()> {
    run(async {
        let mut stage = Stage::new("bad_provider").await?;
        let nobody = format!("http://127.0.0.1:{}", ports::free()?);
        stage.create("MetricsProvider", "away", provider(&nobody)).await?;
        let reference = json!({"secretKeyRef": {"name": "token", "key": "token"}});
        let mut guarded = provider(&guarded().await?);
        guarded["prometheus"]["auth"] = json!({"bearerTokenFrom": reference});
        stage.create("MetricsProvider", "guarded", guarded).await?;
        for name in ["away", "missing", "guarded"] {
            stage.migrate(name, watched(name, "vector(0)")).await?;
        }
        let cases: [(&str, &str, &[&str]); 3] = [
            ("missing", "ProviderNotFound", &["MetricsProvider missing does not exist"]),
            ("away", "ProviderUnreachable", &["metric errors"]),
            ("guarded", "SecretNotFound", &["Secret token does not exist"]),
        ];
        for (name, reason, says) in cases {
            stage.await_migration(name, &Expected::retrying(reason, says)).await?;
        }
        stage.secret("token", &json!({"token": WRONG_PASSWORD})).await?;
        let refused = Expected::retrying("ProviderUnreachable", &["metric errors", "401"]);
        stage.await_migration("guarded", &refused).await?;
        stage.assert_untouched().await?;

        let prometheus = Prometheus::start(&[]).await?;
        let url = prometheus.url();
        stage.secret("token", &json!({"token": PASSWORD})).await?;
        stage.create("MetricsProvider", "missing", provider(&url)).await?;
        let patch = json!({"spec": {"prometheus": {"url": url}}});
        stage.patch("MetricsProvider", "away", &patch).await?;
        for name in ["away", "missing", "guarded"] {
            stage.await_migration(name, &Expected::ready()).await?;
        }
        stage.assert_no_secret().await
    })
}
