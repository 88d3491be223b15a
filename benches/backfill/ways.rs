//! The ways to fill a column that are compared.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::harness::await_until;
use crate::harness::postgres::{Database, SUPERUSER, execute};
use crate::harness::scratch;
use crate::sightings::is_ready;
use crate::stage::{SOON, Shop};
use crate::table::VALUE;

/// For the slowest way on the slowest machine.
const LONG: Duration = Duration::from_hours(1);

/// A way to fill the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// Nobody fills it: what the application feels anyway.
    Nothing,
    /// One statement.
    Update,
    /// Batches of 1,000 rows, each a statement of its own, as people write it.
    Loop,
    /// `pgroll start` of a migration that adds the column.
    Pgroll,
    /// The operator without pauses.
    Fast,
    /// The operator as it does it unless it is told otherwise.
    Defaults,
    /// The operator with small batches and pauses.
    Gentle,
}

impl Way {
    /// All, in the order of the table.
    pub const ALL: [Self; 7] =
        [Self::Nothing, Self::Update, Self::Loop, Self::Pgroll, Self::Fast, Self::Defaults, Self::Gentle];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no backfill",
            Self::Update => "single UPDATE",
            Self::Loop => "loop of 1,000-row batches",
            Self::Pgroll => "pgroll",
            Self::Fast => "Whimbrel, {pause: 0s, targetDuration: 15ms}",
            Self::Defaults => "Whimbrel, defaults",
            Self::Gentle => "Whimbrel, {rows: 100, pause: 50ms}",
        }
    }

    /// A word for names of databases.
    pub fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The operator does it.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Fast | Self::Defaults | Self::Gentle)
    }

    /// It is measured for a while instead of until it is done.
    pub fn is_for_a_while(self) -> bool {
        matches!(self, Self::Nothing | Self::Gentle)
    }

    /// It is measured without the application as well.
    pub fn is_worth_it_alone(self) -> bool {
        !self.is_for_a_while()
    }

    /// The column that holds the values at the end.
    pub fn column(self) -> &'static str {
        if self == Self::Pgroll { "_pgroll_new_tier" } else { "tier" }
    }

    fn batch(self) -> Value {
        match self {
            Self::Fast => json!({"pause": "0s", "targetDuration": "15ms"}),
            Self::Gentle => json!({"rows": 100, "pause": "50ms"}),
            _ => json!({}),
        }
    }
}

/// Adds the column where the way does not, outside of what is measured.
///
/// # Errors
/// When it cannot be added.
pub async fn prepare(way: Way, database: &Database, shop: Option<&Shop<'_>>, pgroll: &str) -> Result<()> {
    let column = "ALTER TABLE customers ADD COLUMN tier text";
    match (way, shop) {
        (Way::Pgroll, _) => {
            let directory = scratch::directory("pgroll")?.display().to_string();
            by_program(pgroll, database, &["init"]).await?;
            by_program(pgroll, database, &["baseline", "00_before", &directory, "--yes"]).await
        }
        (_, Some(shop)) => {
            shop.create(&shop.migration("add", 1, &json!({"up": column}))).await?;
            shop.stage.sightings.first(&shop.name, "add", is_ready).await?;
            shop.settled(1).await
        }
        (_, None) => database.execute(&format!("SET ROLE app_owner; {column}")).await,
    }
}

/// Fills it. Returns how many rows were filled.
///
/// # Errors
/// When that fails.
pub async fn fill(
    way: Way,
    database: &Database,
    shop: Option<&Shop<'_>>,
    (rows, pgroll, a_while): (u64, &str, Duration),
) -> Result<u64> {
    match way {
        Way::Nothing => {
            tokio::time::sleep(a_while).await;
            Ok(0)
        }
        Way::Update => {
            let mut session = database.connect().await?;
            execute(&mut session, &format!("UPDATE customers SET tier = {VALUE} WHERE tier IS NULL")).await?;
            Ok(rows)
        }
        Way::Loop => in_a_loop(database).await.map(|()| rows),
        Way::Pgroll => by_pgroll(database, pgroll).await.map(|()| rows),
        Way::Fast | Way::Defaults => {
            let shop = shop.context("the operator does not know the database")?;
            shop.create(&migration(way, shop)).await?;
            shop.stage.sightings.first_within(LONG, (&shop.name, "fill"), is_ready).await?;
            Ok(rows)
        }
        Way::Gentle => {
            let shop = shop.context("the operator does not know the database")?;
            shop.create(&migration(way, shop)).await?;
            tokio::time::sleep(a_while).await;
            let done = database.value("SELECT sum(rows_done) FROM whimbrel.backfills").await?;
            Ok(done.parse()?)
        }
    }
}

fn migration(way: Way, shop: &Shop<'_>) -> Value {
    let mut fill = json!({"table": "customers", "set": {"tier": VALUE}, "where": "tier IS NULL",
        "irreversible": {"reason": "the column is new"}});
    if way.batch() != json!({}) {
        fill["batch"] = way.batch();
    }
    shop.migration("fill", 2, &json!({"steps": [{"backfill": fill}]}))
}

/// Holds what is not done yet.
///
/// # Errors
/// When it does not stop.
pub async fn stop(shop: &Shop<'_>) -> Result<()> {
    let migrations = shop.objects("Migration");
    let patch = Patch::Merge(json!({"spec": {"suspend": true}}));
    migrations.patch("fill", &PatchParams::default(), &patch).await?;
    await_until("the backfill standing still", SOON, async || {
        let done = || shop.database.value("SELECT sum(rows_done) FROM whimbrel.backfills");
        let before = done().await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        ensure!(before == done().await?, "it goes on");
        Ok(())
    })
    .await
}

/// Makes the operator forget a database.
///
/// # Errors
/// When the API server refuses.
pub async fn forget(shop: &Shop<'_>) -> Result<()> {
    for (kind, name) in [("Migration", "fill"), ("Migration", "add"), ("Database", "shop")] {
        let objects = shop.objects(kind);
        objects.delete(name, &DeleteParams::default()).await?;
        await_until(&format!("{kind} {name} being gone"), SOON, async || {
            ensure!(objects.get_opt(name).await?.is_none(), "it is there");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// As people write it: the next thousand keys, an index scan, and no transaction around several of them.
async fn in_a_loop(database: &Database) -> Result<()> {
    let mut session = database.connect().await?;
    let mut last = 0i64;
    loop {
        let row = sqlx::query(
            "WITH batch AS (SELECT id FROM customers WHERE id > $1 ORDER BY id LIMIT 1000), \
             done AS (UPDATE customers c SET tier = CASE WHEN region % 3 = 0 THEN 'pro' ELSE 'free' END \
                      FROM batch b WHERE c.id = b.id AND c.tier IS NULL) \
             SELECT max(id) FROM batch",
        )
        .bind(last)
        .fetch_one(&mut session)
        .await?;
        match row.try_get::<Option<i64>, _>(0)? {
            Some(next) => last = next,
            None => return Ok(()),
        }
    }
}

async fn by_pgroll(database: &Database, pgroll: &str) -> Result<()> {
    let column = json!({"name": "tier", "type": "text", "nullable": true});
    let add = json!({"add_column": {"table": "customers", "up": VALUE, "column": column}});
    let file = scratch::root()?.join("01_tier.json");
    std::fs::write(&file, json!({"operations": [add]}).to_string())?;
    by_program(pgroll, database, &["start", &file.display().to_string()]).await
}

async fn by_program(program: &str, database: &Database, arguments: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).args(["--postgres-url", &database.url(SUPERUSER)]).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("cannot run {program}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {} failed: {told}", arguments.join(" "));
    Ok(())
}
