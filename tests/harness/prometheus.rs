//! A real Prometheus server that scrapes what a test names.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::process::{self, Process, Spec};
use super::{http_client, ports, scratch};

/// A running server.
pub struct Prometheus {
    directory: PathBuf,
    port: u16,
    process: Process,
}

impl Prometheus {
    /// Starts it; it scrapes each `(job, host:port)` once a second.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(targets: &[(&str, &str)]) -> Result<Self> {
        let directory = scratch::directory("prometheus")?;
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "scrape_configs": targets.iter().map(|(job, target)| json!({
                "job_name": job, "static_configs": [{"targets": [target]}],
            })).collect::<Vec<_>>(),
        });
        // YAML is a superset of JSON.
        std::fs::write(directory.join("prometheus.yml"), configuration.to_string())?;
        let port = ports::free()?;
        let program = process::find("prometheus", &[], "tests/setup/packages.sh servers")?;
        let spec = Spec::new("prometheus", program, &directory)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.enable-admin-api"])
            .args([format!("--web.listen-address=127.0.0.1:{port}")]);
        let mut process = Process::start(&spec)?;
        let http = http_client()?;
        process
            .ready(Duration::from_secs(30), async || {
                let answer = http.get(format!("http://127.0.0.1:{port}/-/ready")).send().await?;
                answer.error_for_status().map(drop).context("not ready")
            })
            .await?;
        Ok(Self { directory, port, process })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process, to be stopped or killed.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where its configuration is.
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Evaluates a query now; `None` where it gives no value or not a number.
    ///
    /// # Errors
    /// When the server does not understand it, or it gives several series.
    pub async fn query(&self, query: &str) -> Result<Option<f64>> {
        let url = format!("{}/api/v1/query", self.url());
        let answer = http_client()?.post(url).form(&[("query", query)]).send().await?;
        let answer: Value = answer.json().await?;
        let result = answer.pointer("/data/result").and_then(Value::as_array);
        let result = result.with_context(|| format!("no result: {answer}"))?;
        anyhow::ensure!(result.len() < 2, "{} series: {query}", result.len());
        let value = result.first().and_then(|series| series.pointer("/value/1")).and_then(Value::as_str);
        Ok(value.map(str::parse).transpose()?.filter(|value: &f64| value.is_finite()))
    }
}
