//! What cannot run in a transaction: looked up, adopted, repaired, and never taken for done because a name is there.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sqlx::PgConnection;
use whimbrel::core::state::{Cause, Outcome};

use super::engine::{Engine, Wish, await_value, effects};
use crate::harness::postgres::{self, Database, execute};
use crate::harness::run;

pub const TABLE: &str = "SET ROLE app_owner; CREATE TABLE users (id bigint PRIMARY KEY, name text, tier int); \
     INSERT INTO users SELECT g, 'same', g FROM generate_series(1, 200) g";

pub const VALID: &str = "SELECT coalesce(string_agg(indexrelid::regclass || ' ' || indisvalid, ',' ORDER BY indexrelid::regclass::text), '') \
     FROM pg_index WHERE indrelid = 'public.users'::regclass AND NOT indisprimary";

/// The ledger's own indexes are not meant.
pub const BUILDS: &str = "SELECT count(*)::text FROM pg_stat_progress_create_index \
     WHERE datname = current_database() AND command LIKE '%CONCURRENTLY'";

pub async fn tables(name: &str) -> Result<Database> {
    let database = postgres::shared().await?.database(name).await?;
    database.execute(TABLE).await?;
    Ok(database)
}

/// A transaction that a concurrent build waits for.
pub async fn in_the_way(database: &Database) -> Result<PgConnection> {
    let mut session = database.connect().await?;
    execute(&mut session, "BEGIN; UPDATE users SET tier = 0 WHERE id = 1").await?;
    Ok(session)
}

/// An engine whose build waits for somebody's transaction.
async fn building(name: &str, spec: Value) -> Result<(Database, PgConnection, Engine)> {
    let database = tables(name).await?;
    let blocker = in_the_way(&database).await?;
    let engine = Engine::start("a", Wish::new(&database, spec)?);
    await_value(&database, BUILDS, "1").await?;
    Ok((database, blocker, engine))
}

fn create(rest: &str) -> Value {
    json!({"up": format!("CREATE INDEX CONCURRENTLY {rest}"), "down": "DROP INDEX CONCURRENTLY i"})
}

fn failure(outcome: Outcome) -> Result<Cause> {
    match outcome {
        Outcome::Failed(cause) => Ok(cause),
        other => anyhow::bail!("{other:?}"),
    }
}

#[test]
fn a_name_proves_nothing_and_an_equal_index_is_done() -> Result<()> {
    run(async {
        let database = tables("doubt_names").await?;
        // Another index of that name, with and without IF NOT EXISTS.
        for (there, spec) in [
            ("(tier)", create("IF NOT EXISTS i ON users (name)")),
            ("(tier DESC)", create("i ON users (tier)")),
            ("(tier) WHERE tier > 1", create("i ON users (tier) WHERE tier > 2")),
        ] {
            database
                .execute(&format!(
                    "SET ROLE app_owner; DROP INDEX IF EXISTS i; CREATE INDEX i ON users {there}"
                ))
                .await?;
            let mut wish = Wish::new(&database, spec)?;
            wish.subject.tokens.retry = Some(there.to_owned());
            let engine = Engine::start("a", wish);
            let cause = failure(engine.outcome().await?)?;
            ensure!(cause.message.contains("is another one: it is INDEX USING btree"), "{cause:?}");
            engine.finish().await?;
            assert_eq!(database.value(VALID).await?, "i true");
        }
        // The same one, spelled otherwise.
        database.execute("SET ROLE app_owner; DROP INDEX i; CREATE INDEX i ON users USING btree (name ASC, lower(name))").await?;
        let built = effects(&database, "CREATE INDEX", "public.i").await?;
        let mut wish = Wish::new(&database, create("i ON users (name, lower(name))"))?;
        wish.subject.tokens.retry = Some("equal".to_owned());
        let engine = Engine::start("a", wish);
        engine.succeeds().await?;
        assert_eq!(effects(&database, "CREATE INDEX", "public.i").await?, built);
        // It was there before, so it is not ours to drop.
        engine.change(|subject| subject.tokens.rollback = Some("now".to_owned()));
        await_value(&database, "SELECT phase FROM whimbrel.runs ORDER BY seq DESC LIMIT 1", "RolledBack")
            .await?;
        assert_eq!(database.value(VALID).await?, "i true");
        engine.finish().await
    })
}

#[test]
fn what_a_failed_build_left_is_removed() -> Result<()> {
    run(async {
        let database = tables("doubt_failed_build").await?;
        let spec = json!({"up": "CREATE UNIQUE INDEX CONCURRENTLY i ON users (name)"});
        let engine = Engine::start("a", Wish::new(&database, spec)?);
        let cause = failure(engine.outcome().await?)?;
        ensure!(cause.message.contains("23505"), "{cause:?}");
        assert_eq!(database.value(VALID).await?, "", "no invalid index is left");
        assert_eq!(engine.run()?.units, [whimbrel::core::observation::UnitStatus::Undone]);
        engine.finish().await
    })
}

#[test]
fn an_invalid_index_is_built_again() -> Result<()> {
    run(async {
        let spec = create("IF NOT EXISTS i ON users (tier)");
        let (database, mut blocker, engine) = building("doubt_invalid", spec).await?;
        let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_progress_create_index WHERE datname = current_database()";
        assert_eq!(database.value(end).await?, "true");
        await_value(&database, VALID, "i false").await.context("what it left")?;
        execute(&mut blocker, "COMMIT").await?;
        engine.succeeds().await?;
        assert_eq!(database.value(VALID).await?, "i true");
        engine.finish().await
    })
}

#[test]
fn a_running_build_is_adopted_and_told() -> Result<()> {
    run(async {
        let spec = create("i ON users (tier)");
        let (database, mut blocker, first) = building("doubt_adopted", spec.clone()).await?;
        let pid = postgres::text(&mut blocker, "SELECT pg_backend_pid()::text").await?;
        let pid = pid[0][0].clone().context("a pid")?;
        first.kill().await;
        let second = Engine::start("b", Wish::new(&database, spec)?);
        let cause = second.await_saying("still builds an index").await?;
        ensure!(cause.message.contains(&format!("waiting for the transaction of pid {pid}")), "{cause:?}");
        execute(&mut blocker, "COMMIT").await?;
        second.succeeds().await?;
        assert_eq!(effects(&database, "CREATE INDEX", "public.i").await?, 1);
        let outcomes = "SELECT string_agg(outcome, ' ' ORDER BY seq) FROM whimbrel.statements";
        assert_eq!(database.value(outcomes).await?, "intent found");
        second.finish().await
    })
}

#[test]
fn a_build_in_the_way_of_an_abort_is_ended() -> Result<()> {
    run(async {
        let spec = create("i ON users (tier)");
        let (database, blocker, first) = building("doubt_abort_build", spec.clone()).await?;
        first.kill().await;
        let second = Engine::start("b", Wish::new(&database, spec)?);
        second.await_saying("still builds an index").await?;
        second.change(|subject| subject.tokens.abort = Some("now".to_owned()));
        await_value(&database, BUILDS, "0").await?;
        drop(blocker);
        let outcome = second.outcome().await?;
        ensure!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
        assert_eq!(database.value(VALID).await?, "");
        second.finish().await
    })
}

#[test]
fn a_way_back_of_what_never_happened_is_not_run() -> Result<()> {
    run(async {
        let database = tables("doubt_never").await?;
        let spec = json!({"steps": [
            {"sql": {"up": "ALTER TABLE users ADD COLUMN x int"}},
            {"sql": {"up": "ALTER TABLE users DETACH PARTITION nothing CONCURRENTLY",
                     "down": "ALTER TABLE users ATTACH PARTITION nothing DEFAULT"}},
        ]});
        let engine = Engine::start("a", Wish::new(&database, spec)?);
        let outcome = engine.outcome().await?;
        ensure!(matches!(outcome, Outcome::RolledBack(_)), "{outcome:?}");
        engine.finish().await
    })
}
