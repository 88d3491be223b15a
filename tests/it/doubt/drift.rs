//! Somebody else changes the primary between the rehearsal and the end of the apply.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sqlx::PgConnection;
use whimbrel::core::state::{Outcome, State};

use super::engine::{Engine, Wish, await_value};
use crate::harness::engine::target;
use crate::harness::postgres::{self, Cluster, Database, OPERATOR, Options, execute};
use crate::harness::run;

const TABLES: &str = "SET ROLE app_owner; CREATE TABLE users (id int); CREATE TABLE busy (id int)";

async fn pair(name: &str) -> Result<(Cluster, Database, Wish)> {
    let copies = Cluster::start(Options::default()).await?;
    let (primary, copy) = (postgres::shared().await?.database(name).await?, copies.database(name).await?);
    primary.execute(TABLES).await?;
    copy.execute(TABLES).await?;
    let step = |up: &str| json!({"sql": {"up": up}});
    let steps: Vec<Value> =
        vec![step("ALTER TABLE users ADD COLUMN tier int"), step("ALTER TABLE busy ADD COLUMN note text")];
    let mut wish = Wish::new(&primary, json!({"steps": steps}))?;
    wish.database.copy = Some(target(&copy, OPERATOR)?);
    Ok((copies, primary, wish))
}

/// An engine that was through with the rehearsal, and waits for a reader of a table.
async fn blocked(name: &str, table: &str) -> Result<(Cluster, Database, PgConnection, Engine)> {
    let (copies, primary, wish) = pair(name).await?;
    let mut reader = primary.connect().await?;
    execute(&mut reader, &format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE")).await?;
    let engine = Engine::start("a", wish);
    engine.await_saying("blocked by").await?;
    Ok((copies, primary, reader, engine))
}

#[test]
fn a_change_after_the_rehearsal_stops_the_apply() -> Result<()> {
    run(async {
        let (_copies, primary, reader, engine) = blocked("doubt_drift", "users").await?;
        primary.execute("SET ROLE app_owner; CREATE TABLE foreign_tool (id int)").await?;
        let outcome = engine.outcome().await?;
        let Outcome::Failed(cause) = &outcome else { anyhow::bail!("{outcome:?}") };
        assert_eq!(cause.reason.as_str(), "Drifted");
        ensure!(cause.message.contains("foreign_tool"), "{cause:?}");
        drop(reader);
        engine.finish().await
    })
}

#[test]
fn a_change_between_two_units_stops_the_run() -> Result<()> {
    run(async {
        let (_copies, primary, mut reader, engine) = blocked("doubt_between", "busy").await?;
        primary.execute("SET ROLE app_owner; ALTER TABLE users ADD COLUMN other int").await?;
        let cause = engine.await_saying("between two units").await?;
        assert_eq!(cause.reason.as_str(), "Drifted");
        ensure!(matches!(engine.run()?.state, State::Held { .. }), "{cause:?}");
        // What it finds after a person looked at it is what counts.
        primary.execute("ALTER TABLE users DROP COLUMN other").await?;
        execute(&mut reader, "COMMIT").await?;
        engine.change(|subject| subject.tokens.retry = Some("now".to_owned()));
        await_value(&primary, "SELECT phase FROM whimbrel.runs", "Succeeded").await?;
        engine.finish().await
    })
}
