//! What is wrong with the server or the login, in one line that a person can act on.

use anyhow::{Result, ensure};
use serde_json::json;
use whimbrel::core::state::{Outcome, State};

use super::engine::{Engine, SOON, Wish, await_value_within};
use crate::harness::postgres;
use crate::harness::{await_until, run};

#[test]
fn a_missing_grant_is_named() -> Result<()> {
    run(async {
        let cluster = postgres::shared().await?;
        let database = cluster.database("doubt_grants").await?;
        cluster.admin().execute("CREATE ROLE \"the Boss\"").await?;
        let tables =
            "CREATE TABLE users (id int); ALTER TABLE users OWNER TO \"the Boss\"; CREATE SCHEMA shut";
        database.execute(tables).await?;
        let check = async |up: &str, owner: Option<&str>, words: &[&str]| -> Result<()> {
            let mut wish = Wish::new(&database, json!({"up": up, "down": "SELECT 1"}))?;
            wish.database.owner_role = owner.map(ToOwned::to_owned);
            wish.subject.tokens.retry = Some(up.to_owned());
            let engine = Engine::start("a", wish);
            let outcome = engine.outcome().await?;
            let Outcome::Failed(cause) = &outcome else { anyhow::bail!("{outcome:?}") };
            for word in words {
                ensure!(cause.message.contains(word), "{word}: {cause:?}");
            }
            assert_eq!(cause.reason.as_str(), "InsufficientPrivilege");
            engine.finish().await
        };
        let boss = "public.users belongs to the Boss, and the statements run as";
        let granted = "GRANT \"the Boss\" TO app_owner";
        check("ALTER TABLE users ADD COLUMN x int", Some("app_owner"), &[boss, granted]).await?;
        check("ALTER TABLE public.users ADD COLUMN y int", None, &[boss, "spec.ownerRole"]).await?;
        check("CREATE INDEX CONCURRENTLY i ON users (id)", Some("app_owner"), &[granted]).await?;
        check("CREATE TABLE t (id int)", Some("the Boss"), &["GRANT \"the Boss\" TO whimbrel"]).await
    })
}

#[test]
fn a_full_disk_stops_without_a_storm() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("doubt_disk").await?;
        let full = "DO $$ BEGIN IF to_regclass('free') IS NULL THEN \
             RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END IF; END $$";
        let steps = json!({"steps": [
            {"sql": {"up": "CREATE TABLE one (id int)"}},
            {"sql": {"up": full, "down": "SELECT 1"}},
        ]});
        let engine = Engine::start("a", Wish::new(&database, steps)?);
        let cause = engine.await_saying("pg_replication_slots").await?;
        assert_eq!(cause.reason.as_str(), "DiskFull");
        ensure!(matches!(engine.run()?.state, State::Held { .. }), "{cause:?}");
        let failures = "SELECT count(*)::text FROM whimbrel.statements WHERE outcome = 'failed'";
        assert_eq!(database.value(failures).await?, "1");
        database.execute("CREATE TABLE free ()").await?;
        engine.change(|subject| subject.tokens.retry = Some("now".to_owned()));
        engine.succeeds().await?;
        engine.finish().await
    })
}

#[test]
fn a_connection_limit_is_waited_out() -> Result<()> {
    run(async {
        let cluster = postgres::shared().await?;
        let database = cluster.database("doubt_limit").await?;
        cluster.admin().execute("ALTER DATABASE doubt_limit CONNECTION LIMIT 0").await?;
        let engine = Engine::start("a", Wish::new(&database, json!({"up": "CREATE TABLE one (id int)"}))?);
        let cause = engine.await_saying("no connection is free").await?;
        ensure!(cause.message.contains("ALTER DATABASE ... CONNECTION LIMIT"), "{cause:?}");
        cluster.admin().execute("ALTER DATABASE doubt_limit CONNECTION LIMIT -1").await?;
        engine.succeeds().await?;
        engine.finish().await
    })
}

#[test]
fn a_way_back_that_is_cancelled_goes_on() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("doubt_way_back").await?;
        database.execute("CREATE TABLE slow (seconds int); GRANT ALL ON slow TO app_owner; INSERT INTO slow VALUES (30)").await?;
        let steps = json!({"steps": [{"sql": {
            "up": "CREATE TABLE one (id int)",
            "down": "SELECT pg_sleep(seconds) FROM slow; DROP TABLE one"}}],
            "rollback": {"preserveData": false}});
        let engine = Engine::start("a", Wish::new(&database, steps)?);
        engine.succeeds().await?;
        engine.change(|subject| subject.tokens.rollback = Some("now".to_owned()));
        let sleeps = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep(seconds)%' AND pid <> pg_backend_pid()";
        await_until("it sleeps", SOON, async || {
            ensure!(database.value(sleeps).await? == "1", "not yet");
            Ok(())
        })
        .await?;
        database.execute("UPDATE slow SET seconds = 0").await?;
        let cancel = "SELECT pg_cancel_backend(pid)::text FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep(seconds)%' AND pid <> pg_backend_pid()";
        database.value(cancel).await?;
        engine.await_saying("canceling statement due to user request").await?;
        let phase = "SELECT phase FROM whimbrel.runs ORDER BY seq DESC LIMIT 1";
        // It is not given up, and tried again before long.
        await_value_within(&database, phase, "RolledBack", 2 * SOON).await?;
        engine.finish().await
    })
}
