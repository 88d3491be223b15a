//! Providers and queries that cannot be watched: found before any SQL.

use anyhow::Result;
use serde_json::{Value, json};

use super::stage::{Expected, Stage};
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
        (
            "template",
            "rate(errors[{{ rnge }}])",
            &["spec.analysis.metrics", "rnge"],
        ),
    ];
    run(async {
        let stage = Stage::new("bad_query").await?;
        let prometheus = Prometheus::start(&[]).await?;
        stage
            .create("MetricsProvider", "prometheus", provider(&prometheus.url()))
            .await?;
        for (name, query, _) in cases {
            stage.migrate(name, watched("prometheus", query)).await?;
        }
        for (name, _, says) in cases {
            let reason = if *name == "template" {
                "PlanInvalid"
            } else {
                "QueryInvalid"
            };
            stage
                .await_migration(name, &Expected::refused(reason, says))
                .await?;
        }
        let short = json!({"analysis": {"metrics": [{"name": "errors", "providerRef": {"name": "prometheus"},
            "query": "vector(0)", "range": "3s", "threshold": {"max": "1"}}]}, "up": "CREATE TABLE t ()"});
        let says = ["metric errors", "range 3s", "at least 4s"];
        stage
            .check("short", short, Expected::refused("QueryInvalid", &says))
            .await?;
        stage.finish().await
    })
}

#[test]
fn providers_that_are_away_are_awaited() -> Result<()> {
    run(async {
        let mut stage = Stage::new("bad_provider").await?;
        let nobody = format!("http://127.0.0.1:{}", ports::free()?);
        stage.create("MetricsProvider", "away", provider(&nobody)).await?;
        let mut guarded = provider(&nobody);
        guarded["prometheus"]["auth"] =
            json!({"bearerTokenFrom": {"secretKeyRef": {"name": "token", "key": "token"}}});
        stage.create("MetricsProvider", "guarded", guarded).await?;
        for name in ["away", "missing", "guarded"] {
            stage.migrate(name, watched(name, "vector(0)")).await?;
        }
        let says = ["MetricsProvider missing does not exist"];
        stage
            .await_migration("missing", &Expected::retrying("ProviderNotFound", &says))
            .await?;
        let says = ["metric errors", "refused"];
        stage
            .await_migration("away", &Expected::retrying("ProviderUnreachable", &says))
            .await?;
        let says = ["Secret token does not exist"];
        stage
            .await_migration("guarded", &Expected::retrying("SecretNotFound", &says))
            .await?;
        stage.assert_untouched().await?;

        let prometheus = Prometheus::start(&[]).await?;
        let url = prometheus.url();
        stage
            .secret("token", &json!({"token": super::stage::WRONG_PASSWORD}))
            .await?;
        stage.create("MetricsProvider", "missing", provider(&url)).await?;
        for name in ["away", "guarded"] {
            let patch = json!({"spec": {"prometheus": {"url": url}}});
            stage
                .try_patch("MetricsProvider", name, &patch)
                .await?
                .map_err(|status| anyhow::anyhow!(status.message))?;
        }
        for name in ["away", "missing", "guarded"] {
            stage.await_migration(name, &Expected::ready()).await?;
        }
        stage.assert_no_secret().await
    })
}
