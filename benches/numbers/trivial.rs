//! How long a migration takes that does next to nothing, and what it costs the API server.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::shared::report::Number;
use crate::shared::sightings::is_ready;
use crate::shared::stage::{Shop, Stage};
use crate::shared::statistics::median;

/// Between two migrations: the reads that follow a Database's new status are over.
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Series {
    kubectl: Vec<f64>,
    applied: Vec<f64>,
    delivered: Vec<f64>,
}

/// Applies one migration after the other; the first one, which makes the ledger, is not counted.
async fn series(shop: &Shop<'_>, count: usize) -> Result<(Series, Vec<String>)> {
    let mut series = Series::default();
    let mut mark = 0;
    for version in 1..=count + 1 {
        if version == 2 {
            mark = shop.stage.now()?;
        }
        let name = format!("add-column-{version}");
        let up = format!("ALTER TABLE users ADD COLUMN extra_{version} text");
        let manifest = shop.migration(&name, version, &json!({"up": up}));
        let began = Instant::now();
        shop.kubectl_apply(&manifest)?;
        let kubectl = began.elapsed();
        let added = shop.stage.sightings.first(&shop.name, &name, |_| true).await?;
        let ready = shop.stage.sightings.first(&shop.name, &name, is_ready).await?;
        shop.settled(version).await?;
        tokio::time::sleep(PAUSE).await;
        if version > 1 {
            series.kubectl.push(kubectl.as_secs_f64() * 1000.0);
            series.applied.push((ready - began).as_secs_f64() * 1000.0);
            series.delivered.push((ready - added).as_secs_f64() * 1000.0);
        }
    }
    let mut writes = shop.stage.writes(mark)?;
    writes.retain(|write| write.contains(&format!("{}/", shop.name)) || write.contains("events"));
    Ok((series, writes))
}

/// Measures both modes.
///
/// # Errors
/// When a migration does not become Ready.
pub async fn measure(stage: &Stage, count: usize) -> Result<Vec<Number>> {
    println!("{count} trivial migrations, without a copy and with one");
    let mut numbers = Vec::new();
    let goals = [("None", "trivial", 40.0, 200.0), ("Existing", "rehearsed", 1000.0, 1000.0)];
    for (mode, name, delivered, applied) in goals {
        let shop = stage.shop(name, mode == "Existing").await?;
        let (series, writes) = series(&shop, count).await?;
        #[expect(clippy::cast_precision_loss, reason = "some dozens")]
        let each = writes.len() as f64 / count as f64;
        numbers.extend([
            Number::new(
                format!("{mode}: delivered to Ready, median of {count}"),
                median(&series.delivered),
                "ms",
            )
            .at_most(delivered)
            .of(series.delivered),
            Number::new(format!("{mode}: kubectl apply to Ready, median"), median(&series.applied), "ms")
                .at_most(applied)
                .of(series.applied),
            Number::new(format!("{mode}: of that, kubectl itself, median"), median(&series.kubectl), "ms")
                .of(series.kubectl),
            Number::new(format!("{mode}: API writes for each"), each, "").at_most(4.0).of(writes),
        ]);
    }
    Ok(numbers)
}
