//! From the sample that makes it a breach to the last inverse that is committed, by the server's own clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::await_until;
use crate::harness::prometheus::Prometheus;
use crate::shared::report::Number;
use crate::shared::sightings::condition;
use crate::shared::stage::{SOON, Shop, Stage};
use crate::shared::statistics::worst;

const ERROR_RATE: &str = "sum(rate(errors_total[{{ range }}])) / sum(rate(requests_total[{{ range }}]))";
/// Samples are taken so long after the time that they are about; see the analysis below.
const INGEST_DELAY: &str = "1s";

/// An application with a hundred requests a second, which fails when it is told to.
struct Application {
    broken: Arc<AtomicBool>,
    address: String,
    _serving: Vec<JoinHandle<()>>,
}

impl Application {
    async fn start() -> Result<Self> {
        let broken = Arc::new(AtomicBool::new(false));
        let (requests, errors) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let page = {
            let (requests, errors) = (Arc::clone(&requests), Arc::clone(&errors));
            move || {
                let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                std::future::ready(format!(
                    "requests_total {}\nerrors_total {}\n",
                    count(&requests),
                    count(&errors)
                ))
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let router = axum::Router::new().route("/metrics", axum::routing::get(page));
        let serving = tokio::spawn(async move {
            // It ends with this process.
            let _ = axum::serve(listener, router).await;
        });
        let failing = Arc::clone(&broken);
        let counting = tokio::spawn(async move {
            let mut clock = tokio::time::interval(Duration::from_millis(100));
            loop {
                clock.tick().await;
                requests.fetch_add(10, Ordering::Relaxed);
                errors.fetch_add(if failing.load(Ordering::Relaxed) { 4 } else { 0 }, Ordering::Relaxed);
            }
        });
        Ok(Self { broken, address, _serving: vec![serving, counting] })
    }
}

fn analysis() -> Value {
    json!({
        "window": "1m", "interval": "1s", "warmup": "2s", "minSamples": 3, "maxExtension": "30s",
        "ingestDelay": INGEST_DELAY, "breach": {"samples": 3, "of": 5},
        "metrics": [{
            "name": "error-rate", "providerRef": {"name": "prometheus"}, "range": "4s",
            "query": ERROR_RATE, "threshold": {"max": "0.05"},
        }],
    })
}

/// Milliseconds from when the deciding sample was taken to the commit of the last inverse, and what the inverses took.
async fn reaction(shop: &Shop<'_>, name: &str) -> Result<(f64, f64)> {
    let sql = format!(
        "WITH back AS (
             SELECT s.run, min(s.at) AS first, max(pg_xact_commit_timestamp(s.xmin)) AS last, sum(s.milliseconds) AS own
             FROM whimbrel.statements s JOIN whimbrel.runs r ON r.id = s.run
             WHERE r.name = '{name}' AND s.direction = 'down' AND s.outcome = 'done' GROUP BY s.run)
         SELECT extract(epoch FROM back.last - (SELECT max(at) + interval '{INGEST_DELAY}' FROM whimbrel.samples
                                                WHERE run = back.run AND at <= back.first)) * 1000, back.own FROM back"
    );
    let row = shop.database.text(&sql).await?.into_iter().next().context("no inverse in the ledger")?;
    let value = |index: usize| -> Result<f64> {
        let text = row.get(index).and_then(Option::as_ref).context("an empty value")?;
        Ok(text.parse()?)
    };
    Ok((value(0)?, value(1)?))
}

/// One migration that the application does not survive.
async fn round(
    shop: &Shop<'_>,
    prometheus: &Prometheus,
    application: &Application,
    number: usize,
) -> Result<(f64, f64)> {
    let rate = |wanted: bool| async move {
        await_until("the error rate in Prometheus", SOON, async || {
            let rate =
                prometheus.query("sum(rate(errors_total[4s])) / sum(rate(requests_total[4s]))").await?;
            ensure!(rate.is_some_and(|rate| (rate > 0.05) == wanted), "it is {rate:?}");
            Ok(())
        })
        .await
    };
    rate(false).await?;
    let name = format!("breaking-{number}");
    let up = format!(
        "ALTER TABLE users ADD COLUMN breaking_{number} text; CREATE TABLE breaking_{number} (id bigint)"
    );
    let spec = json!({"up": up, "analysis": analysis()});
    shop.create(&shop.migration(&name, number, &spec)).await?;
    let sightings = &shop.stage.sightings;
    sightings.first(&shop.name, &name, |object| condition(object, "Applied") == "True").await?;
    application.broken.store(true, Ordering::Relaxed);
    let done = |object: &Value| condition(object, "RolledBack") == "True";
    let ended = sightings.first(&shop.name, &name, done).await;
    application.broken.store(false, Ordering::Relaxed);
    ended?;
    let reaction = reaction(shop, &name).await?;
    // The next version would wait for this one.
    let migrations = shop.objects("Migration");
    let _ = migrations.delete(&name, &DeleteParams::default()).await?;
    await_until("the Migration being gone", SOON, async || {
        ensure!(migrations.get_opt(&name).await?.is_none(), "it is still there");
        Ok(())
    })
    .await?;
    Ok(reaction)
}

/// Measures several rounds.
///
/// # Errors
/// When a breach is not rolled back.
pub async fn measure(stage: &Stage, rounds: usize) -> Result<Vec<Number>> {
    println!("{rounds} breaches");
    let application = Application::start().await?;
    let prometheus = Prometheus::start(&[("shop", &application.address)]).await?;
    let shop = stage.shop("breach", false).await?;
    let provider = json!({
        "apiVersion": "whimbrel.dev/v1alpha1", "kind": "MetricsProvider", "metadata": {"name": "prometheus"},
        "spec": {"prometheus": {"url": prometheus.url(), "scrapeInterval": "1s", "timeout": "2s"}},
    });
    stage.api.apply(&provider.to_string(), Some(&shop.name)).await?;
    let (mut without, mut raw) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        let (took, own) = round(&shop, &prometheus, &application, number).await?;
        without.push(took - own);
        raw.push(json!({"took": took, "inverses": own}));
    }
    let what = "deciding sample taken to last inverse committed, without the inverses' own time, worst";
    Ok(vec![Number::new(what, worst(&without), "ms").at_most(1000.0).of(raw)])
}
