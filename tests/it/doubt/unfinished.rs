//! Rebuilds, drops and detaches that somebody interrupts: the operator dies, or the backend does.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sqlx::PgConnection;
use whimbrel::core::state::Outcome;

use super::builds::{BUILDS, VALID, in_the_way, tables};
use super::engine::{Engine, Wish, await_value};
use crate::harness::postgres::{Database, execute};
use crate::harness::run;

/// What was recorded of all statements.
const OUTCOMES: &str = "SELECT string_agg(outcome, ' ' ORDER BY seq) FROM whimbrel.statements";

/// Every index of the application's, with whether it is valid.
const INDEXES: &str = "SELECT string_agg(c.relname || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END, ' ' ORDER BY c.relname) \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace";

const WORKS: &str = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name LIKE 'whimbrel/%' AND state = 'active' AND query ~ '^(REINDEX|DROP INDEX|ALTER TABLE)'";

const PARTS: &str = "SET ROLE app_owner; CREATE TABLE p (id int, name text) PARTITION BY LIST (id); \
     CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2); \
     CREATE INDEX by_name ON p (name); INSERT INTO p VALUES (1, 'one'), (2, 'two')";

/// Who dies in the middle.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dies {
    Operator,
    Backend,
}

async fn with_index(name: &str) -> Result<(Database, PgConnection)> {
    let database = tables(name).await?;
    database.execute("SET ROLE app_owner; CREATE INDEX i ON users (tier)").await?;
    let blocker = in_the_way(&database).await?;
    Ok((database, blocker))
}

/// An engine whose statement is under way, as a query of the catalog shows.
async fn under_way(database: &Database, spec: &Value, (sql, shows): (&str, &str)) -> Result<Engine> {
    let engine = Engine::start("a", Wish::new(database, spec.clone())?);
    await_value(database, sql, shows).await?;
    Ok(engine)
}

/// Somebody dies. Returns the engine that goes on.
async fn dies(dies: Dies, engine: Engine, database: &Database, spec: &Value) -> Result<Engine> {
    match dies {
        Dies::Operator => {
            engine.kill().await;
            Ok(Engine::start("b", Wish::new(database, spec.clone())?))
        }
        Dies::Backend => {
            let end = WORKS.replace("count(*)::text", "bool_and(pg_terminate_backend(pid))::text");
            ensure!(database.value(&end).await? == "true", "nothing to end");
            Ok(engine)
        }
    }
}

/// Rebuilds of the index `i`, alone and with its table.
const REBUILDS: [(&str, &str); 2] =
    [("index", "REINDEX INDEX CONCURRENTLY i"), ("table", "REINDEX TABLE CONCURRENTLY users")];

#[test]
fn a_running_rebuild_is_adopted() -> Result<()> {
    run(async {
        for (name, up) in REBUILDS {
            let (database, mut blocker) = with_index(&format!("doubt_rebuilt_{name}")).await?;
            let before = database.value("SELECT 'i'::regclass::oid::text").await?;
            let spec = json!({"up": up});
            let first = under_way(&database, &spec, (BUILDS, "1")).await?;
            let second = dies(Dies::Operator, first, &database, &spec).await?;
            second.await_saying("still builds an index").await?;
            execute(&mut blocker, "COMMIT").await?;
            second.succeeds().await?;
            ensure!(database.value("SELECT 'i'::regclass::oid::text").await? != before, "it is the old one");
            assert_eq!(database.value(OUTCOMES).await?, "intent found", "{up}");
            assert_eq!(database.value(INDEXES).await?, "i users_pkey");
            second.finish().await?;
        }
        Ok(())
    })
}

#[test]
fn a_rebuild_that_nobody_saw_the_end_of_is_not_repeated() -> Result<()> {
    run(async {
        let (database, mut blocker) = with_index("doubt_unseen").await?;
        let spec = json!({"up": "REINDEX INDEX CONCURRENTLY i"});
        let first = under_way(&database, &spec, (BUILDS, "1")).await?;
        first.kill().await;
        execute(&mut blocker, "COMMIT").await?;
        await_value(&database, BUILDS, "0").await?;
        let second = Engine::start("b", Wish::new(&database, spec)?);
        second.succeeds().await?;
        assert_eq!(database.value(OUTCOMES).await?, "intent found");
        second.finish().await
    })
}

/// One that was rebuilt before anything was announced is none of ours.
#[test]
fn an_older_rebuild_counts_for_nothing() -> Result<()> {
    run(async {
        let (database, mut blocker) = with_index("doubt_older").await?;
        execute(&mut blocker, "COMMIT").await?;
        database.execute("SET ROLE app_owner; REINDEX INDEX i").await?;
        database.execute("REINDEX INDEX CONCURRENTLY i").await?;
        let before = database.value("SELECT 'i'::regclass::oid::text").await?;
        let engine = Engine::start("a", Wish::new(&database, json!({"up": "REINDEX INDEX CONCURRENTLY i"}))?);
        engine.succeeds().await?;
        ensure!(database.value("SELECT 'i'::regclass::oid::text").await? != before, "it is the old one");
        assert_eq!(database.value(OUTCOMES).await?, "intent done");
        engine.finish().await
    })
}

#[test]
fn what_a_rebuild_left_is_removed() -> Result<()> {
    run(async {
        for (name, up) in REBUILDS {
            let (database, mut blocker) = with_index(&format!("doubt_left_{name}")).await?;
            let spec = json!({"up": up});
            let engine = under_way(&database, &spec, (BUILDS, "1")).await?;
            let engine = dies(Dies::Backend, engine, &database, &spec).await?;
            execute(&mut blocker, "COMMIT").await?;
            engine.succeeds().await?;
            assert_eq!(database.value(INDEXES).await?, "i users_pkey", "{up}");
            engine.finish().await?;
        }
        Ok(())
    })
}

#[test]
fn what_a_rebuild_of_partitions_left_is_removed() -> Result<()> {
    run(async {
        for (name, up) in
            [("index", "REINDEX INDEX CONCURRENTLY by_name"), ("table", "REINDEX TABLE CONCURRENTLY p")]
        {
            let database = tables(&format!("doubt_parts_{name}")).await?;
            database.execute(PARTS).await?;
            // Not a writer: the server first waits for those with a lock on each partition, CONCURRENTLY or not.
            let mut blocker = database.connect().await?;
            execute(&mut blocker, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM users")
                .await?;
            let spec = json!({"up": up});
            let engine = under_way(&database, &spec, (BUILDS, "1")).await?;
            let engine = dies(Dies::Backend, engine, &database, &spec).await?;
            execute(&mut blocker, "COMMIT").await?;
            engine.succeeds().await?;
            let found = database.value(INDEXES).await?;
            assert_eq!(found, "by_name p1_name_idx p2_name_idx users_pkey", "{up}");
            engine.finish().await?;
        }
        Ok(())
    })
}

/// What it left goes, too.
#[test]
fn a_rebuild_in_the_way_of_an_abort_is_ended() -> Result<()> {
    run(async {
        let (database, mut blocker) = with_index("doubt_abort_rebuild").await?;
        let spec = json!({"up": "REINDEX INDEX CONCURRENTLY i"});
        let first = under_way(&database, &spec, (BUILDS, "1")).await?;
        let second = dies(Dies::Operator, first, &database, &spec).await?;
        second.await_saying("still builds an index").await?;
        second.change(|subject| subject.tokens.abort = Some("now".to_owned()));
        await_value(&database, BUILDS, "0").await?;
        execute(&mut blocker, "COMMIT").await?;
        let outcome = second.outcome().await?;
        ensure!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
        assert_eq!(database.value(INDEXES).await?, "i users_pkey");
        second.finish().await
    })
}

#[test]
fn an_interrupted_drop_is_ended() -> Result<()> {
    run(async {
        for who in [Dies::Operator, Dies::Backend] {
            let (database, mut blocker) = with_index(&format!("doubt_drop_{who:?}").to_lowercase()).await?;
            let spec = json!({"up": "DROP INDEX CONCURRENTLY i", "down": "CREATE INDEX CONCURRENTLY i ON users (tier)"});
            let engine = under_way(&database, &spec, (VALID, "i false")).await?;
            let engine = dies(who, engine, &database, &spec).await?;
            execute(&mut blocker, "COMMIT").await?;
            engine.succeeds().await?;
            assert_eq!(database.value(VALID).await?, "", "{who:?}");
            engine.change(|subject| subject.tokens.rollback = Some("now".to_owned()));
            await_value(&database, VALID, "i true").await?;
            engine.finish().await?;
        }
        Ok(())
    })
}

#[test]
fn an_interrupted_detach_is_ended() -> Result<()> {
    run(async {
        for who in [Dies::Operator, Dies::Backend] {
            let database = tables(&format!("doubt_detach_{who:?}").to_lowercase()).await?;
            database.execute(PARTS).await?;
            let mut reader = database.connect().await?;
            execute(&mut reader, "BEGIN; SELECT FROM p").await?;
            let spec = json!({"steps": [{"sql": {"up": "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY",
                "down": "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1)"}}]});
            let pending = "SELECT count(*)::text FROM pg_inherits WHERE inhdetachpending";
            let engine = under_way(&database, &spec, (pending, "1")).await?;
            let engine = dies(who, engine, &database, &spec).await?;
            execute(&mut reader, "COMMIT").await?;
            engine.succeeds().await?;
            let parts = "SELECT count(*)::text FROM pg_inherits WHERE inhparent = 'p'::regclass";
            assert_eq!(database.value(parts).await?, "1", "{who:?}");
            engine.change(|subject| subject.tokens.rollback = Some("now".to_owned()));
            await_value(&database, parts, "2").await?;
            engine.finish().await?;
        }
        Ok(())
    })
}
