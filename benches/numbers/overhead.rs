//! What the engine adds to each unit, over the same SQL by `psql` with a transaction for each statement.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::shared::report::Number;
use crate::shared::sightings::is_ready;
use crate::shared::stage::{Shop, Stage};
use crate::shared::statistics::median;

/// Units of one migration.
const UNITS: usize = 20;

fn statement(round: usize, unit: usize, by: &str) -> String {
    format!("ALTER TABLE users ADD COLUMN {by}_{round}_{unit} text")
}

/// How long the units of a run took by the ledger, from the first to the last, in milliseconds.
async fn by_operator(shop: &Shop<'_>, round: usize) -> Result<f64> {
    let steps: Vec<_> = (1..=UNITS)
        .map(
            |unit| json!({"name": format!("step-{unit}"), "sql": {"up": statement(round, unit, "operator")}}),
        )
        .collect();
    let name = format!("units-{round}");
    shop.create(&shop.migration(&name, round, &json!({"steps": steps}))).await?;
    shop.stage.sightings.first(&shop.name, &name, is_ready).await?;
    shop.settled(round).await?;
    let sql = format!(
        "SELECT 1000 * extract(epoch FROM max(u.changed_at) - min(r.started_at)) FROM whimbrel.runs r \
         JOIN whimbrel.units u ON u.run = r.id WHERE r.name = '{name}'"
    );
    Ok(shop.database.value(&sql).await?.parse()?)
}

/// How long `psql` took for the same, without what it takes to start and log in.
fn by_psql(shop: &Shop<'_>, round: usize) -> Result<f64> {
    let timed = |sql: &str| -> Result<f64> {
        let began = Instant::now();
        tokio::task::block_in_place(|| shop.database.psql(sql))?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    };
    let text: Vec<String> = (1..=UNITS)
        .map(|unit| format!("BEGIN; SET LOCAL ROLE app_owner; {}; COMMIT;", statement(round, unit, "psql")))
        .collect();
    Ok(timed(&text.join(" "))? - timed("SELECT 1")?)
}

/// Measures both, in turns.
///
/// # Errors
/// When a migration does not become Ready.
pub async fn measure(stage: &Stage, rounds: usize) -> Result<Vec<Number>> {
    println!("{rounds} migrations of {UNITS} units");
    let shop = stage.shop("units", false).await?;
    let (mut ours, mut theirs, mut more) = (Vec::new(), Vec::new(), Vec::new());
    #[expect(clippy::cast_precision_loss, reason = "some dozens")]
    let units = UNITS as f64;
    for round in 1..=rounds {
        let (operator, psql) = (by_operator(&shop, round).await?, by_psql(&shop, round)?);
        ours.push(operator / units);
        theirs.push(psql / units);
        more.push((operator - psql) / units);
    }
    Ok(vec![
        Number::new("each of 20 units, operator, median", median(&ours), "ms").of(ours),
        Number::new("each of 20 units, psql with a transaction for each, median", median(&theirs), "ms")
            .of(theirs),
        Number::new("each of 20 units: the operator over psql, median", median(&more), "ms")
            .at_most(10.0)
            .of(more),
    ])
}
