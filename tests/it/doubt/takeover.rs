//! Another owner takes over: from one that died, froze in the middle of a statement, or is another login's.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::engine::{Engine, PATIENCE, SOON, Wish, await_value, effects};
use crate::harness::postgres::{self, Database, OPERATOR, PASSWORD, execute};
use crate::harness::proxy::{Mode, Proxy};
use crate::harness::{await_until, run};

async fn tables(name: &str) -> Result<Database> {
    let database = postgres::shared().await?.database(name).await?;
    database.execute("SET ROLE app_owner; CREATE TABLE users (id int); INSERT INTO users VALUES (1)").await?;
    Ok(database)
}

fn slow() -> Value {
    json!({"steps": [
        {"sql": {"up": "CREATE TABLE one (id int)"}},
        {"sql": {"up": "INSERT INTO users SELECT 2 FROM pg_sleep(3)", "down": "DELETE FROM users WHERE id = 2"}},
        {"sql": {"up": "CREATE TABLE two (id int)"}},
    ]})
}

const SLEEPS: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'INSERT INTO users SELECT%'";

/// An engine in the middle of its second statement, behind a proxy that hears nothing from now on.
async fn cut_off(name: &str) -> Result<(Database, Proxy, Engine)> {
    let database = tables(name).await?;
    let proxy = Proxy::start(database.port()).await?;
    let engine = Engine::start("a", Wish::new(&database.through(proxy.port()), slow())?);
    await_value(&database, SLEEPS, "1").await?;
    proxy.set(Mode::BlackHole);
    Ok((database, proxy, engine))
}

/// All that [`slow`] does was done once.
async fn once(database: &Database) -> Result<()> {
    assert_eq!(database.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM users").await?, "1 2");
    for table in ["public.one", "public.two"] {
        assert_eq!(effects(database, "CREATE TABLE", table).await?, 1, "{table}");
    }
    Ok(())
}

#[test]
fn a_partitioned_owner_in_the_middle_of_a_statement_is_replaced() -> Result<()> {
    run(async {
        let (database, proxy, first) = cut_off("doubt_partitioned").await?;
        // Its transaction is past the fence and goes on for seconds: nobody waits for it.
        let second = Engine::start("b", Wish::new(&database, slow())?);
        let owner = "SELECT owner FROM whimbrel.epoch";
        let taken = await_value(&database, owner, "b").await?;
        ensure!(taken < PATIENCE, "taken over after {taken:?}");
        second.succeeds().await?;
        // The first one wakes up, and finds that it is not its turn any more.
        proxy.set(Mode::Forward);
        first.ended_a_turn().await?;
        assert_eq!(database.value(owner).await?, "b");
        once(&database).await?;
        first.kill().await;
        second.finish().await
    })
}

#[test]
fn a_connection_that_is_swallowed_without_a_word_is_given_up() -> Result<()> {
    run(async {
        let (database, proxy, engine) = cut_off("doubt_swallowed").await?;
        // The answer is lost for good, and no error ever comes.
        tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
        proxy.set(Mode::Forward);
        engine.succeeds().await?;
        once(&database).await?;
        engine.finish().await
    })
}

#[test]
fn what_an_owner_committed_while_it_was_replaced_is_not_done_twice() -> Result<()> {
    run(async {
        let database = tables("doubt_committed").await?;
        let first = Engine::start("a", Wish::new(&database, slow())?);
        await_value(&database, SLEEPS, "1").await?;
        // It dies; the server needs half a second to notice, and until then it is not gone.
        first.kill().await;
        let second = Engine::start("b", Wish::new(&database, slow())?);
        second.succeeds().await?;
        assert_eq!(database.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM users").await?, "1 2");
        second.finish().await
    })
}

#[test]
fn two_owners_at_once_do_everything_once() -> Result<()> {
    run(async {
        let database = tables("doubt_two").await?;
        let steps: Vec<Value> = (0..8)
            .map(|n| json!({"sql": {"up": format!("CREATE TABLE t{n} (id int); INSERT INTO users VALUES (10 + {n})"),
                                    "down": format!("DROP TABLE t{n}; DELETE FROM users WHERE id = 10 + {n}")}}))
            .collect();
        let spec = json!({"steps": steps});
        let engines = [
            Engine::start("a", Wish::new(&database, spec.clone())?),
            Engine::start("b", Wish::new(&database, spec.clone())?),
        ];
        await_value(&database, "SELECT coalesce((SELECT phase FROM whimbrel.runs LIMIT 1), '')", "Succeeded")
            .await?;
        for engine in engines {
            engine.finish().await?;
        }
        for n in 0..8 {
            assert_eq!(effects(&database, "CREATE TABLE", &format!("public.t{n}")).await?, 1, "t{n}");
        }
        assert_eq!(database.value("SELECT count(*) || ' ' || count(DISTINCT id) FROM users").await?, "9 9");
        assert_eq!(database.value("SELECT count(*)::text FROM whimbrel.runs").await?, "1");
        Ok(())
    })
}

#[test]
fn another_logins_session_is_waited_for_and_named() -> Result<()> {
    run(async {
        let database = tables("doubt_login").await?;
        let cluster = postgres::shared().await?;
        let other = format!("CREATE ROLE doubt_other LOGIN PASSWORD '{PASSWORD}' IN ROLE app_owner");
        cluster.admin().execute(&other).await?;
        let first =
            Engine::start("a", Wish::by(&database, OPERATOR, json!({"up": "CREATE TABLE one (id int)"}))?);
        first.succeeds().await?;
        first.finish().await?;
        database.execute("GRANT ALL ON SCHEMA whimbrel TO doubt_other; GRANT ALL ON ALL TABLES IN SCHEMA whimbrel TO doubt_other").await?;
        let mut left = database.connect_as(OPERATOR).await?;
        execute(&mut left, "SET application_name = 'whimbrel/gone'").await?;
        let mut wish =
            Wish::by(&database, "doubt_other", json!({"version": "2", "up": "CREATE TABLE two (id int)"}))?;
        wish.subject.key.uid = "uid-2".to_owned();
        let second = Engine::start("b", wish);
        let cause = second.await_saying("logged in as whimbrel").await?;
        ensure!(cause.message.contains("pg_signal_backend"), "{cause:?}");
        drop(left);
        second.succeeds().await?;
        second.finish().await
    })
}

#[test]
fn a_lost_acknowledgement_is_resolved() -> Result<()> {
    run(async {
        let database = tables("doubt_acknowledged").await?;
        let proxy = Proxy::start(database.port()).await?;
        let spec = json!({"steps": [
            {"sql": {"up": "INSERT INTO users SELECT 2 FROM pg_sleep(0.3)", "down": "DELETE FROM users WHERE id = 2"}},
            {"sql": {"up": "INSERT INTO users SELECT 3 FROM pg_sleep(0.3)", "down": "DELETE FROM users WHERE id = 3"}},
        ]});
        let engine = Engine::start("a", Wish::new(&database.through(proxy.port()), spec)?);
        // Every answer from the first commit on may be lost: what was committed is found in the ledger.
        for row in ["2", "3"] {
            let there = format!("SELECT coalesce((SELECT 'yes' FROM users WHERE id = {row}), 'no')");
            let dropped = proxy.dropped();
            proxy.set(Mode::DropReply);
            await_until("an answer being lost", SOON, async || {
                ensure!(proxy.dropped() > dropped, "none was");
                Ok(())
            })
            .await?;
            proxy.set(Mode::Forward);
            await_value(&database, &there, "yes").await?;
        }
        engine.succeeds().await?;
        ensure!(proxy.dropped() > 0, "no answer was lost");
        assert_eq!(database.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM users").await?, "1 2 3");
        engine.finish().await
    })
}
