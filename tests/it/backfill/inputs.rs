//! What is refused, and what is said about it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use whimbrel::api::Reason;
use whimbrel::core::state::{Outcome, State};

use super::{gives, quick, stage};
use crate::harness::run;

const ODD: &str = "SET ROLE app_owner; CREATE VIEW seen AS SELECT * FROM people; \
    CREATE MATERIALIZED VIEW kept AS SELECT * FROM people; \
    CREATE TABLE odd (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, \
        ident int GENERATED ALWAYS AS IDENTITY, n int, big text); \
    CREATE TABLE parted (id int, region text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region); \
    CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu'); \
    CREATE FUNCTION fickle() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'; \
    CREATE TABLE large (id int, what text); INSERT INTO large SELECT g, repeat('x', 100) FROM generate_series(1, 60000) g; \
    CREATE TABLE huge AS SELECT g AS id FROM generate_series(1, 400000) g; ANALYZE large, huge; RESET ROLE";

#[test]
fn what_the_table_says_against_it_is_said_before_anything_runs() -> Result<()> {
    run(async {
        let stage = stage("fill_inputs", 10, false).await?;
        stage.primary.execute(ODD).await?;
        let mut version = 0;
        let mut check = async |fill: Value, place: &str, message: &str| {
            version += 1;
            let mut fill = quick(fill);
            fill["backfill"]["irreversible"] = json!({"reason": "a test"});
            let cause = stage.refused(&version.to_string(), &json!({"steps": [fill]})).await?;
            ensure!(
                cause.message.contains(&format!("spec.steps[0].backfill.{place}")),
                "{place}: {}",
                cause.message
            );
            ensure!(cause.message.contains(message), "{message}: {}", cause.message);
            anyhow::Ok(())
        };
        let one = |table: &str, column: &str, value: &str| json!({"table": table, "set": {column: value}});
        check(one("nothing", "n", "1"), "table:", "there is no table nothing").await?;
        check(one("seen", "n", "1"), "table:", "seen is a view").await?;
        check(one("kept", "n", "1"), "table:", "kept is a materialized view").await?;
        check(one("odd", "m", "1"), "set.m:", "odd has no column m").await?;
        check(one("odd", "twice", "1"), "set.twice:", "generated column").await?;
        check(one("odd", "ident", "1"), "set.ident:", "GENERATED ALWAYS").await?;
        check(one("odd", "id", "id + 1"), "set.id:", "belongs to the key (id)").await?;
        check(one("parted", "region", "'us'"), "set.region:", "belongs to the key").await?;
        check(one("large", "what", "'y'"), "table:", "neither a primary key nor a unique index").await?;
        check(one("odd", "n", "(random() * 10)::int"), "set:", "random() gives another value at each call")
            .await?;
        check(one("odd", "n", "fickle()"), "set:", "fickle() gives another value at each call").await?;
        check(one("odd", "n", "1 +"), "set.n:1:", "syntax error").await?;
        check(one("odd; DROP TABLE odd", "n", "1"), "table:1:1", "not the name of a table").await?;
        check(json!({"table": "odd", "set": {"n": "1"}, "where": "n IS"}), "where:1:", "syntax error")
            .await?;
        check(json!({"table": "odd", "set": {"n": "n + 1"}, "sync": "Trigger"}), "sync:", "once more")
            .await?;
        gives(&stage.primary, "SELECT count(*) FROM pg_namespace WHERE nspname = 'whimbrel'", "0").await
    })
}

#[test]
fn without_a_way_back_the_message_names_the_three_that_there_are() -> Result<()> {
    run(async {
        let stage = stage("fill_wayless", 10, false).await?;
        let fill = quick(json!({"table": "people", "set": {"n": "1"}}));
        let cause = stage.refused("1", &json!({"steps": [fill]})).await?;
        ensure!(cause.reason == Reason::IrreversibleStep, "{cause:?}");
        for word in ["down: {set, where}", "capture: true", "irreversible: {reason"] {
            ensure!(cause.message.contains(word), "{}", cause.message);
        }
        Ok(())
    })
}

/// Waits until it is held or ended, returns why, and brings everything back, so that the version is free again.
async fn stopped(stage: &crate::guard::stage::Stage, token: &str, spec: &Value) -> Result<String> {
    let version = "1";
    stage.migrate(version, spec)?;
    let run = stage
        .until(version, "being stopped", |run| matches!(run.state, State::Held { .. } | State::Done { .. }))
        .await?;
    match run.state {
        State::Held { cause, .. } => {
            stage.roll_back(version, spec, token)?;
            stage.until(version, "being rolled back", |run| run.state.is_done()).await?;
            Ok(cause.message)
        }
        State::Done { outcome, .. } if outcome != Outcome::Succeeded => {
            Ok(outcome.cause().context("no cause")?.message.clone())
        }
        state => anyhow::bail!("{state:?}"),
    }
}

#[test]
fn what_only_the_server_knows_is_said_with_the_row() -> Result<()> {
    run(async {
        let stage = stage("fill_server", 1200, false).await?;
        stage.primary.execute(ODD).await?;
        stage
            .primary
            .execute(
                "SET ROLE app_owner; CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS \
                 $$BEGIN IF NEW.id = 777 THEN RAISE EXCEPTION 'not this one'; END IF; NEW.n := 5; RETURN NEW; END$$; \
                 CREATE TABLE guarded (id int PRIMARY KEY, n int); INSERT INTO guarded SELECT g FROM generate_series(1, 1000) g; \
                 CREATE TRIGGER picky BEFORE UPDATE ON guarded FOR EACH ROW EXECUTE FUNCTION picky(); \
                 CREATE TABLE hidden (id int PRIMARY KEY, n int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; \
                 ALTER TABLE hidden FORCE ROW LEVEL SECURITY; RESET ROLE",
            )
            .await?;
        let check = async |version: &str, fill: Value, messages: &[&str]| {
            let mut fill = quick(fill);
            fill["backfill"]["capture"] = json!(true);
            let told = stopped(&stage, version, &json!({"steps": [fill]})).await?;
            for message in messages {
                ensure!(told.contains(message), "{message}: {told}");
            }
            anyhow::Ok(())
        };
        check(
            "1",
            json!({"table": "guarded", "set": {"n": "5"}}),
            &["not this one", "id = 777", "500 rows are done and stay"],
        )
        .await?;
        check("2", json!({"table": "hidden", "set": {"n": "1"}}), &["row security hides rows"]).await?;
        let slow = json!({"table": "people", "set": {"n": "(SELECT count(*) FROM large WHERE large.id = people.id)"}});
        check("3", slow, &["whole of large for each row", "an index"]).await?;
        let all = json!({"table": "people", "set": {"n": "(SELECT count(*) FROM huge)"}});
        check("4", all, &["whole of huge once more for each batch"]).await?;
        stage.primary.execute("DROP TRIGGER picky ON guarded; UPDATE guarded SET n = NULL; \
            CREATE OR REPLACE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.n := 7; RETURN NEW; END$$; \
            CREATE TRIGGER picky BEFORE UPDATE ON guarded FOR EACH ROW EXECUTE FUNCTION picky()").await?;
        check(
            "5",
            json!({"table": "guarded", "set": {"n": "5"}}),
            &["do not hold what was computed", "trigger"],
        )
        .await?;
        Ok(())
    })
}

#[test]
fn a_partition_that_is_detached_meanwhile_stops_it() -> Result<()> {
    run(async {
        let stage = stage("fill_detached", 10, false).await?;
        stage.primary.execute("SET ROLE app_owner; CREATE TABLE visits (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); \
            CREATE TABLE visits_a PARTITION OF visits FOR VALUES FROM (0) TO (2000); \
            CREATE TABLE visits_b PARTITION OF visits FOR VALUES FROM (2000) TO (4000); \
            INSERT INTO visits SELECT g FROM generate_series(1, 3999) g; RESET ROLE").await?;
        let fill = json!({"backfill": {"table": "visits", "set": {"n": "1"}, "capture": true, "batch": {"rows": 100, "pause": "100ms"}}});
        stage.migrate("1", &json!({"steps": [fill]}))?;
        crate::harness::await_until("the first rows", crate::harness::SOON, async || {
            gives(&stage.primary, "SELECT (count(*) > 0)::text FROM visits WHERE n = 1", "true").await
        })
        .await?;
        stage.primary.execute("ALTER TABLE visits DETACH PARTITION visits_b").await?;
        let cause = stage.held("1").await?;
        ensure!(cause.message.contains("visits_b is no partition of the table any more"), "{cause:?}");
        gives(&stage.primary, "SELECT count(*) FROM visits_b WHERE n IS NOT NULL", "0").await
    })
}
