//! The analysis on a real Prometheus: what it answers, how it is spoken to, and a watch from good to bad.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use whimbrel::core::analysis::{
    AnalysisPlan, Assessment, Baseline, Failure, MetricReading, ProblemKind, Reading, Sample, Scope, Tick,
    Verdict, Watch, assess, baseline_unhealthy, due_samples, judge, next_due, preflight,
};
use whimbrel::engine::clock;
use whimbrel::metrics::{Auth, PrometheusConfig, PrometheusProvider, Provider, Secret};

use crate::harness::SOON;
use crate::harness::metrics_stub::config;
use crate::harness::process::{self, Process, Spec};
use crate::harness::prometheus::Prometheus;
use crate::harness::tls::Authority;
use crate::harness::{await_until, ports, run, scratch};

fn provider(url: String) -> Result<Provider> {
    Ok(Provider::Prometheus(PrometheusProvider::new(config(url))?))
}

/// An application that serves a hundred requests a second, and its own metrics.
#[derive(Clone, Default)]
struct Application {
    requests: Arc<AtomicU64>,
    errors: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

impl Application {
    async fn start(&self) -> Result<SocketAddr> {
        let (metrics, load) = (self.clone(), self.clone());
        let page = axum::routing::get(async move || metrics.page());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/metrics", page)).await });
        tokio::spawn(async move {
            let mut clock = tokio::time::interval(Duration::from_millis(100));
            loop {
                clock.tick().await;
                load.requests.fetch_add(10, Ordering::Relaxed);
                let errors = if load.broken.load(Ordering::Relaxed) { 4 } else { 0 };
                load.errors.fetch_add(errors, Ordering::Relaxed);
            }
        });
        Ok(address)
    }

    fn page(&self) -> String {
        let (requests, errors) = (self.requests.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed));
        format!(
            "requests_total{{app=\"shop\"}} {requests}\nerrors_total{{app=\"shop\"}} {errors}\n\
             shard{{id=\"1\"}} 1\nshard{{id=\"2\"}} 2\n"
        )
    }
}

fn plan() -> Result<AnalysisPlan> {
    let spec = json!({
        "window": "60s", "interval": "1s", "warmup": "2s", "minSamples": 3, "maxExtension": "0s",
        "ingestDelay": "2s", "breach": {"samples": 2, "of": 3}, "args": {"app": "shop"},
        "metrics": [{
            "name": "error-rate", "providerRef": {"name": "prometheus"}, "range": "4s",
            "query": "sum(rate(errors_total{app=\"{{ args.app }}\"}[{{ range }}])) \
                      / sum(rate(requests_total{app=\"{{ args.app }}\"}[{{ range }}]))",
            "threshold": {"max": "0.05"},
            "guard": {"query": "sum(rate(requests_total[{{ range }}]))", "min": "1"},
        }],
    });
    AnalysisPlan::try_from(&serde_json::from_value(spec)?).map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

async fn readings(plan: &AnalysisPlan, provider: &Provider, tick: &Tick) -> Result<Vec<MetricReading>> {
    let scope = Scope { namespace: "shop", name: "add-tier", phase: "Analyzing" };
    let read = async |metric| {
        let queries = plan.queries(metric, scope, tick)?;
        let guard = queries.guard.unwrap_or_default();
        let value = provider.read(&queries.query, tick.at).await;
        let guard = Some(provider.read(&guard, tick.at).await);
        Ok(MetricReading { metric: metric.name.clone(), value, guard })
    };
    join_all(plan.metrics.iter().map(read)).await.into_iter().collect()
}

/// Takes all samples that are due.
async fn take(
    plan: &AnalysisPlan,
    provider: &Provider,
    watch: &Watch,
    baseline: &Baseline,
    (last, now): (Option<Timestamp>, Timestamp),
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for tick in due_samples(plan, watch, last, now) {
        for reading in readings(plan, provider, &tick).await? {
            let metric = plan.metric(&reading.metric).context("an unknown metric")?;
            samples.push(judge(metric, &tick, &reading, baseline));
        }
    }
    Ok(samples)
}

#[test]
fn a_rising_error_rate_is_a_breach_also_for_who_was_away() -> Result<()> {
    run(async {
        let application = Application::default();
        let target = application.start().await?.to_string();
        let prometheus = Prometheus::start(&[("shop", &target)]).await?;
        let (provider, plan) = (provider(prometheus.url())?, plan()?);
        let ready = async || {
            let before = readings(&plan, &provider, &Tick::before(&plan, clock::now())).await?;
            let problems = preflight(&plan, &before, |_| Some(Duration::from_secs(1)));
            ensure!(problems.is_empty(), "{problems:?}");
            Ok(before)
        };
        let before = await_until("the preflight", SOON, ready).await?;
        assert_eq!(baseline_unhealthy(&plan, &before), None);
        let baseline = Baseline::capture(&plan, &before);
        assert!(baseline.had_data("error-rate"));

        application.broken.store(true, Ordering::Relaxed);
        let watch = Watch::completed(clock::now());
        let mut samples: Vec<Sample> = Vec::new();
        let breach = async || {
            let last = samples.iter().map(|sample| sample.at).max();
            samples.extend(take(&plan, &provider, &watch, &baseline, (last, clock::now())).await?);
            match assess(&plan, &watch, &samples, clock::now()) {
                Assessment::Breach { message, .. } => Ok(message),
                other => {
                    ensure!(
                        next_due(&plan, &watch, last) > watch.applied_at,
                        "the next sample is due before the first"
                    );
                    anyhow::bail!("{other:?} after {samples:?}")
                }
            }
        };
        let message = await_until("the breach", SOON, breach).await?;
        ensure!(
            message.starts_with("error-rate 0.") && message.contains(" > 0.05 in 2 of the last "),
            "{message}"
        );

        let now = samples.iter().map(|sample| sample.at).max().context("no samples")? + plan.ingest_delay;
        let afterwards = take(&plan, &provider, &watch, &baseline, (None, now)).await?;
        assert_eq!(afterwards, samples, "the gap is filled with what was sampled in time");
        let bad = readings(&plan, &provider, &Tick::before(&plan, clock::now())).await?;
        let unhealthy = baseline_unhealthy(&plan, &bad).context("it is unhealthy by now")?;
        ensure!(unhealthy.starts_with("error-rate 0.") && unhealthy.ends_with(" > 0.05"), "{unhealthy}");
        Ok(())
    })
}

#[test]
fn silence_of_the_application_is_no_data_and_no_pass() -> Result<()> {
    run(async {
        let application = Application::default();
        let target = application.start().await?.to_string();
        let mut prometheus = Prometheus::start(&[("other", &target)]).await?;
        let (provider, mut plan) = (provider(prometheus.url())?, plan()?);
        plan.args = [("app".to_owned(), "gone".to_owned())].into();
        let up = async || prometheus.query("up == 1").await?.context("the target is not up");
        await_until("the first scrape", SOON, up).await?;
        let tick = Tick::before(&plan, clock::now());
        let before = readings(&plan, &provider, &tick).await?;
        let kinds: Vec<_> = preflight(&plan, &before, |_| None).iter().map(|problem| problem.kind).collect();
        assert!(kinds.contains(&ProblemKind::NoValue), "{before:?}");

        prometheus.process().signal(nix::sys::signal::Signal::SIGKILL)?;
        let refused = async || {
            let reading = readings(&plan, &provider, &tick).await?.remove(0);
            let sample = judge(&plan.metrics[0], &tick, &reading, &Baseline::default());
            ensure!(sample.verdict == Verdict::Error, "{sample:?}");
            ensure!(sample.message.starts_with("no connection to the provider: "), "{sample:?}");
            ensure!(matches!(reading.value, Reading::Error(Failure::Unreachable, _)), "{reading:?}");
            Ok(())
        };
        await_until("the provider being gone", SOON, refused).await
    })
}

#[test]
fn each_kind_of_answer_is_told_apart() -> Result<()> {
    run(async {
        let target = Application::default().start().await?.to_string();
        let prometheus = Prometheus::start(&[("shop", &target)]).await?;
        let provider = provider(prometheus.url())?;
        let up = async || prometheus.query("sum(shard)").await?.context("nothing was scraped");
        await_until("the first scrape", SOON, up).await?;
        let check = async |query: &str, expected: Reading| {
            assert_eq!(provider.read(query, clock::now()).await, expected, "{query:.60}");
        };
        check("sum(shard)", Reading::Value(3.0)).await;
        check("scalar(sum(shard))", Reading::Value(3.0)).await;
        check("sort(shard)", Reading::Many(vec![1.0, 2.0])).await;
        check("no_such_metric", Reading::Empty).await;
        check("vector(0) / 0", Reading::NaN).await;
        check("vector(1) / 0", Reading::Value(f64::INFINITY)).await;
        check("-vector(1) / 0", Reading::Value(f64::NEG_INFINITY)).await;
        // Longer than an address could be.
        let long = format!("sum(shard{{id!=\"{}\"}})", "x".repeat(100_000));
        check(&long, Reading::Value(3.0)).await;
        let refused = async |query: &str, text: &str| match provider.read(query, clock::now()).await {
            Reading::Error(Failure::QueryInvalid, message) => {
                assert!(message.contains(text), "{query}: {message}");
            }
            other => panic!("{query}: {other:?}"),
        };
        refused("sum(", "parse error").await;
        refused("shard[1m]", "a range vector instead of a number").await;
        refused("\"text\"", "a string instead of a number").await;
        refused("shard * on (job) shard", "many-to-many").await;
        let missing =
            Provider::Prometheus(PrometheusProvider::new(config(format!("{}/prom", prometheus.url())))?);
        let reading = missing.read("1", clock::now()).await;
        ensure!(matches!(reading, Reading::Error(Failure::BadAnswer, _)), "{reading:?}");
        Ok(())
    })
}

/// A server that wants a certificate of `authority` and the password `test`.
async fn guarded(authority: &Authority) -> Result<(Process, String)> {
    let directory = scratch::directory("guarded-prometheus")?;
    let server = authority.issue(&["localhost", "127.0.0.1"])?;
    std::fs::write(directory.join("ca.pem"), authority.certificate())?;
    std::fs::write(directory.join("server.pem"), server.certificate)?;
    std::fs::write(directory.join("server.key"), server.key)?;
    std::fs::write(directory.join("prometheus.yml"), "{}")?;
    let web = json!({
        "tls_server_config": {
            "cert_file": "server.pem", "key_file": "server.key",
            "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem",
        },
        // The hash of "test" in Prometheus' own documentation.
        "basic_auth_users": HashMap::from([
            ("whimbrel", "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"),
        ]),
    });
    std::fs::write(directory.join("web.yml"), web.to_string())?;
    let port = ports::free()?;
    let program = process::find("prometheus", &[], "tests/setup/packages.sh servers")?;
    let spec = Spec::new("prometheus", program, &directory)
        .args(["--config.file=prometheus.yml", "--web.config.file=web.yml", "--storage.tsdb.path=data"])
        .args([format!("--web.listen-address=127.0.0.1:{port}")]);
    let mut process = Process::start(&spec)?;
    let listening = async || Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await?);
    process.ready(SOON, listening).await?;
    Ok((process, format!("https://localhost:{port}")))
}

/// What is shown to a [`guarded`] server.
fn credentials(authority: &Authority, url: String, password: &str) -> Result<PrometheusConfig> {
    let us = authority.issue(&["whimbrel"])?;
    let password = Secret::new(password);
    Ok(PrometheusConfig {
        auth: Some(Auth::Basic { username: "whimbrel".to_owned(), password }),
        ca_pem: Some(authority.certificate()),
        identity_pem: Some(Secret::new(format!("{}{}", us.certificate, us.key))),
        ..config(url)
    })
}

async fn answer(config: PrometheusConfig) -> Result<Reading> {
    Ok(PrometheusProvider::new(config)?.query("vector(7)", clock::now()).await)
}

async fn check_refused(config: PrometheusConfig, failure: Failure, text: &str) -> Result<()> {
    match answer(config).await? {
        Reading::Error(actual, message) => {
            ensure!(actual == failure && message.contains(text), "{actual:?} {message}");
            ensure!(!message.contains("wrong-password"), "{message}");
            Ok(())
        }
        other => anyhow::bail!("{other:?}"),
    }
}

#[test]
fn certificates_and_password_are_shown_and_checked() -> Result<()> {
    run(async {
        let authority = Authority::new("metrics")?;
        let (_process, url) = guarded(&authority).await?;
        let good = credentials(&authority, url.clone(), "test")?;
        let answered = async || {
            let reading = answer(good.clone()).await?;
            ensure!(reading == Reading::Value(7.0), "{reading:?}");
            Ok(())
        };
        await_until("an answer", SOON, answered).await?;

        let unauthorized = "does not accept the credentials (HTTP status 401)";
        let nobody = PrometheusConfig { auth: None, ..good.clone() };
        check_refused(nobody, Failure::Unauthorized, unauthorized).await?;
        let wrong = credentials(&authority, url, "wrong-password")?;
        check_refused(wrong, Failure::Unauthorized, unauthorized).await?;
        let ca_pem = Some(Authority::new("somebody else")?.certificate());
        let stranger = PrometheusConfig { ca_pem, ..good.clone() };
        check_refused(stranger, Failure::Unreachable, "UnknownIssuer").await?;
        let anonymous = PrometheusConfig { identity_pem: None, ..good.clone() };
        // Under TLS 1.3 the server may tell why, or just be gone.
        check_refused(anonymous, Failure::Unreachable, "").await
    })
}
