//! Which rows are changed, and how often.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use whimbrel::api::Reason;

use super::{gives, quick, stage, tells, tells_of_held};
use crate::guard::stage::Stage;
use crate::harness::postgres::execute;
use crate::harness::{SOON, await_until, run};

#[test]
fn expand_backfill_contract_is_rehearsed_and_applied() -> Result<()> {
    run(async {
        let stage = stage("fill_expand", 5000, true).await?;
        let fill = quick(json!({
            "table": "people",
            "set": {"tier": "CASE WHEN people.paid THEN 'pro' ELSE 'free' END"},
            "where": "tier IS NULL",
            "validate": ["SELECT NOT EXISTS (SELECT FROM people WHERE tier IS NULL)"],
        }));
        let steps = json!({"steps": [
            {"sql": {"up": "ALTER TABLE people ADD COLUMN tier text"}},
            fill,
            {"sql": {"up": "ALTER TABLE people ADD CONSTRAINT tier_there CHECK (tier IS NOT NULL) NOT VALID"}},
            {"sql": {"up": "ALTER TABLE people VALIDATE CONSTRAINT tier_there"}},
        ]});
        let view = stage.applied("1", &steps).await?;
        let count = "SELECT string_agg(tier || count, ' ' ORDER BY tier) FROM (SELECT tier, count(*) FROM people GROUP BY 1) c";
        for database in stage.copy.iter().chain([&stage.primary]) {
            gives(database, count, "free3334 pro1666").await?;
        }
        let told = "SELECT rows_done || ' ' || percent || ' ' || batches FROM whimbrel.backfill_progress";
        gives(&stage.primary, told, "5000 100 10").await?;
        let rehearsal = view.rehearsal.context("no rehearsal")?;
        ensure!(rehearsal.units.len() == 4, "{rehearsal:?}");
        Ok(())
    })
}

#[test]
fn every_row_is_changed_once_whatever_its_key_is() -> Result<()> {
    run(async {
        let stage = stage("fill_keys", 10, false).await?;
        let check = async |version: &str, table: &str, key: &str, rows: &str| {
            stage
                .primary
                .execute(&format!(
                    "SET ROLE app_owner; CREATE TABLE {table} ({key}, n int); INSERT INTO {table} {rows}; RESET ROLE"
                ))
                .await?;
            let fill = quick(json!({
                "table": table, "set": {"n": "coalesce(n, 0) + 1"}, "capture": true,
            }));
            stage.applied(version, &json!({"steps": [fill]})).await.with_context(|| key.to_owned())?;
            gives(&stage.primary, &format!("SELECT count(*) FROM {table} WHERE n IS DISTINCT FROM 1"), "0")
                .await?;
            gives(&stage.primary, &format!("SELECT (count(*) > 1000)::text FROM {table}"), "true").await
        };
        let series = "FROM generate_series(1, 2345) g";
        check("1", "\"Odd Name\"", "id int PRIMARY KEY", &format!("SELECT g * 3 {series}")).await?;
        check(
            "2",
            "composite",
            "a text, b date, PRIMARY KEY (b, a)",
            &format!("SELECT 'x''y' || g % 50, date '2020-01-01' + g / 50 {series}"),
        )
        .await?;
        check("3", "uuids", "id uuid PRIMARY KEY", &format!("SELECT gen_random_uuid() {series}")).await?;
        check(
            "4",
            "texts",
            "id text COLLATE \"C\" PRIMARY KEY, other text COLLATE \"en-x-icu\"",
            &format!("SELECT chr(65 + g % 58) || g, 'o' {series}"),
        )
        .await?;
        check(
            "5",
            "uniques",
            "id timestamptz NOT NULL UNIQUE, maybe int UNIQUE",
            &format!("SELECT now() + g * interval '1 microsecond', NULL {series}"),
        )
        .await?;
        check("6", "floats", "id float8 PRIMARY KEY", "SELECT g::float8 / 7 FROM generate_series(1, 2000) g UNION ALL SELECT 'NaN' UNION ALL SELECT 'Infinity' UNION ALL SELECT '-Infinity'").await?;
        check("7", "padded", "id char(12) PRIMARY KEY", &format!("SELECT 'k' || g {series}")).await?;
        Ok(())
    })
}

#[test]
fn partitions_are_gone_through_one_after_the_other() -> Result<()> {
    run(async {
        let stage = stage("fill_parts", 10, false).await?;
        stage
            .primary
            .execute(
                "SET ROLE app_owner; CREATE TABLE visits (id int, at date, n int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); \
                 CREATE TABLE visits_a PARTITION OF visits FOR VALUES FROM ('2020-01-01') TO ('2021-01-01'); \
                 CREATE TABLE visits_b PARTITION OF visits FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY HASH (id); \
                 CREATE TABLE visits_b0 PARTITION OF visits_b FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
                 CREATE TABLE visits_b1 PARTITION OF visits_b FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
                 CREATE TABLE visits_c PARTITION OF visits DEFAULT; \
                 INSERT INTO visits SELECT g, date '2020-03-01' + g % 600 FROM generate_series(1, 3000) g; RESET ROLE",
            )
            .await?;
        let fill = quick(
            json!({"table": "visits", "set": {"n": "coalesce(visits.n, 0) + 1"}, "irreversible": {"reason": "a test"}}),
        );
        stage.applied("1", &json!({"steps": [fill]})).await?;
        gives(&stage.primary, "SELECT count(*) || ' ' || sum(n) || ' ' || max(n) FROM visits", "3000 3000 1")
            .await?;
        gives(&stage.primary, "SELECT count(*) FROM whimbrel.backfills", "4").await
    })
}

#[test]
fn a_table_without_a_key_is_gone_through_by_place() -> Result<()> {
    run(async {
        let stage = stage("fill_place", 10, false).await?;
        stage
            .primary
            .execute("SET ROLE app_owner; CREATE TABLE loose (a int, n int); INSERT INTO loose SELECT g FROM generate_series(1, 30000) g; RESET ROLE")
            .await?;
        let fill = |filter: Option<&str>| {
            let mut fill =
                quick(json!({"table": "loose", "set": {"n": "a * 2"}, "irreversible": {"reason": "a test"}}));
            if let Some(filter) = filter {
                fill["backfill"]["where"] = json!(filter);
            }
            json!({"steps": [fill]})
        };
        stage.applied("1", &fill(Some("n IS NULL"))).await?;
        gives(&stage.primary, "SELECT count(*) FROM loose WHERE n = a * 2", "30000").await?;
        let refused = stage.refused("2", &fill(None)).await?;
        ensure!(refused.reason == Reason::PlanInvalid, "{refused:?}");
        ensure!(
            refused.message.contains("spec.steps[0].backfill.table")
                && refused.message.contains("primary key"),
            "{refused:?}"
        );
        Ok(())
    })
}

#[test]
fn rows_that_somebody_holds_are_visited_again() -> Result<()> {
    run(async {
        let stage = stage("fill_held", 3000, false).await?;
        let mut holder = stage.primary.connect().await?;
        execute(&mut holder, "BEGIN; UPDATE people SET name = 'held' WHERE id IN (700, 2100)").await?;
        let fill = quick(json!({"table": "people", "set": {"n": "coalesce(n, 0) + 1"}, "capture": true}));
        stage.migrate("1", &json!({"steps": [fill]}))?;
        let others = "SELECT count(*) FROM people WHERE n = 1";
        await_until("the rows that nobody holds", SOON, async || gives(&stage.primary, others, "2998").await)
            .await?;
        gives(&stage.primary, "SELECT count(*) FROM whimbrel.backfill_locked", "2").await?;
        let seen = stage
            .until("1", "naming the rows, and who holds them", |run| {
                run.attempt.as_ref().is_some_and(|attempt| {
                    attempt.cause.message.contains("holds 2 rows") && !attempt.blockers.is_empty()
                })
            })
            .await?;
        let message = seen.attempt.map(|attempt| attempt.cause.message).unwrap_or_default();
        tells(&message, &["such as id = ", "blocked by pid"])?;
        execute(&mut holder, "COMMIT").await?;
        stage.succeeded("1").await?;
        gives(
            &stage.primary,
            "SELECT count(*) || ' ' || count(*) FILTER (WHERE name = 'held') FROM people WHERE n = 1",
            "3000 2",
        )
        .await
    })
}

#[test]
fn data_that_cannot_be_computed_is_named_by_its_row_and_a_retry_goes_on_from_there() -> Result<()> {
    run(async {
        let stage = stage("fill_zero", 4000, false).await?;
        stage.primary.execute("UPDATE people SET n = 2; UPDATE people SET n = 0 WHERE id = 2731").await?;
        let fill = quick(
            json!({"table": "people", "set": {"n": "100 / n + 1000"}, "where": "n < 1000", "capture": true}),
        );
        let steps = json!({"steps": [fill]});
        stage.migrate("1", &steps)?;
        let cause = stage.held("1").await?;
        ensure!(cause.reason == Reason::BackfillFailed, "{cause:?}");
        // How many depends on the passes over the keys, and on whether a batch was late and made smaller.
        let done = stage.primary.value("SELECT count(*) FROM people WHERE n = 1050").await?;
        ensure!((1..4000).contains(&done.parse::<u32>()?), "{done}");
        tells(&cause.message, &["division by zero", "id = 2731", &format!("{done} rows are done and stay")])?;
        stage.primary.execute("UPDATE people SET n = 4 WHERE id = 2731").await?;
        stage.retry("1", &steps, "now")?;
        stage.succeeded("1").await?;
        gives(
            &stage.primary,
            "SELECT count(*) FILTER (WHERE n = 1050) || ' ' || count(*) FILTER (WHERE n = 1025) FROM people",
            "3999 1",
        )
        .await
    })
}

#[test]
fn a_row_that_fails_when_it_is_visited_again_is_named_as_well() -> Result<()> {
    run(async {
        let stage = stage("fill_zero_held", 2000, false).await?;
        stage.primary.execute("UPDATE people SET n = 2; UPDATE people SET n = 0 WHERE id = 731").await?;
        let mut holder = stage.primary.connect().await?;
        let hold = "BEGIN; UPDATE people SET name = name WHERE id IN (730, 731, 732)";
        execute(&mut holder, hold).await?;
        let fill = quick(
            json!({"table": "people", "set": {"n": "100 / n + 1000"}, "where": "n < 1000", "capture": true}),
        );
        let steps = json!({"steps": [fill]});
        stage.migrate("1", &steps)?;
        tells_of_held(&stage, 3).await?;
        execute(&mut holder, "COMMIT").await?;
        let cause = stage.held("1").await?;
        tells(&cause.message, &["division by zero", "id = 731", "1997 rows are done and stay"])?;
        stage.primary.execute("UPDATE people SET n = 4 WHERE id = 731").await?;
        stage.retry("1", &steps, "now")?;
        stage.succeeded("1").await?;
        gives(&stage.primary, "SELECT sum(n) FROM people", &(1999 * 1050 + 1025).to_string()).await
    })
}

#[test]
fn a_row_that_fails_the_last_look_over_all_rows_holds_the_backfill() -> Result<()> {
    run(async {
        let stage = stage("fill_last_look", 2000, false).await?;
        stage.primary.execute("UPDATE people SET n = 2").await?;
        let mut holder = stage.primary.connect().await?;
        execute(&mut holder, "BEGIN; UPDATE people SET name = name WHERE id = 731").await?;
        let fill = quick(
            json!({"table": "people", "set": {"n": "100"}, "where": "1000 / n > 100", "capture": true}),
        );
        let steps = json!({"steps": [fill]});
        stage.migrate("1", &steps)?;
        tells_of_held(&stage, 1).await?;
        stage.primary.execute("UPDATE people SET n = 0 WHERE id = 5").await?;
        execute(&mut holder, "COMMIT").await?;
        let cause = stage.held("1").await?;
        ensure!(cause.reason == Reason::BackfillFailed, "{cause:?}");
        tells(&cause.message, &["division by zero", "all rows are done", "request a retry"])?;
        stage.primary.execute("UPDATE people SET n = 2 WHERE id = 5").await?;
        stage.retry("1", &steps, "now")?;
        stage.succeeded("1").await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n = 100", "2000").await
    })
}

#[test]
fn a_row_that_fails_at_the_commit_is_named_as_well() -> Result<()> {
    run(async {
        let stage = stage("fill_deferred", 2000, false).await?;
        stage
            .primary
            .execute(
                "SET ROLE app_owner; CREATE TABLE plans (n int PRIMARY KEY); INSERT INTO plans VALUES (1), (2); \
                 ALTER TABLE people ADD FOREIGN KEY (n) REFERENCES plans DEFERRABLE INITIALLY DEFERRED; RESET ROLE",
            )
            .await?;
        let fill = quick(json!({
            "table": "people", "set": {"n": "CASE WHEN people.id = 731 THEN 3 ELSE 1 END"}, "where": "n IS NULL", "capture": true,
        }));
        stage.migrate("1", &json!({"steps": [fill]}))?;
        let cause = stage.held("1").await?;
        tells(&cause.message, &["violates foreign key constraint", "people at id = 731: "])?;
        Ok(())
    })
}

/// Lets one row fail by its turn, not by what is in it, and does something at those that come after it.
async fn stumbles(stage: &Stage, afterwards: &str) -> Result<()> {
    let trigger = format!(
        "SET ROLE app_owner; CREATE SEQUENCE turns; \
         CREATE FUNCTION stumble() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE turn bigint = nextval('public.turns'); BEGIN \
         IF turn = 700 THEN RAISE 'stumbled'; ELSIF turn > 700 THEN {afterwards}; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER stumble BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION stumble(); RESET ROLE"
    );
    stage.primary.execute(&trigger).await.map(drop)
}

#[test]
fn where_no_row_fails_when_it_is_tried_again_it_is_still_held_and_nobody_is_accused() -> Result<()> {
    run(async {
        let stage = stage("fill_passing", 1000, false).await?;
        stumbles(&stage, "NULL").await?;
        let fill =
            quick(json!({"table": "people", "set": {"n": "1"}, "where": "n IS NULL", "capture": true}));
        let steps = json!({"steps": [fill]});
        stage.migrate("1", &steps)?;
        let message = stage.held("1").await?.message;
        ensure!(message.contains("stumbled") && message.contains("request a retry"), "{message}");
        ensure!(!message.contains(" at id = "), "{message}");
        stage.retry("1", &steps, "now")?;
        stage.succeeded("1").await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n = 1", "1000").await
    })
}

#[test]
fn where_the_search_for_the_row_is_cut_short_it_says_how_far_it_came() -> Result<()> {
    run(async {
        let stage = stage("fill_slow_search", 1000, false).await?;
        stumbles(&stage, "PERFORM pg_sleep(20)").await?;
        let fill =
            quick(json!({"table": "people", "set": {"n": "1"}, "where": "n IS NULL", "capture": true}));
        stage.migrate("1", &json!({"steps": [fill]}))?;
        let message = stage.held("1").await?.message;
        tells(&message, &["people from id = ", " to ", "stumbled", "request a retry"])?;
        Ok(())
    })
}

#[test]
fn a_predicate_that_never_becomes_false_ends_at_once() -> Result<()> {
    run(async {
        let stage = stage("fill_never", 3000, false).await?;
        let fill =
            quick(json!({"table": "people", "set": {"n": "n"}, "where": "n IS NULL", "capture": true}));
        stage.migrate("1", &json!({"steps": [fill]}))?;
        let cause = stage.held("1").await?;
        ensure!(cause.message.contains("where still holds for 500 of 500 rows"), "{cause:?}");
        Ok(())
    })
}

#[test]
fn what_was_overwritten_comes_back_where_nobody_changed_it_since() -> Result<()> {
    run(async {
        let stage = stage("fill_kept", 2500, false).await?;
        stage.primary.execute("UPDATE people SET n = id WHERE id % 2 = 0").await?;
        let fill = quick(json!({
            "table": "people", "set": {"n": "-1", "name": "upper(name)"}, "capture": true,
            "validate": ["SELECT false"],
        }));
        // The last thing that is asked fails, and so everything comes back.
        stage
            .primary
            .execute("CREATE FUNCTION meddle() RETURNS boolean LANGUAGE sql AS 'SELECT false'")
            .await?;
        let cause = stage.failed("1", &json!({"steps": [fill]})).await?;
        ensure!(cause.reason == Reason::ValidationFailed, "{cause:?}");
        gives(
            &stage.primary,
            "SELECT count(*) FROM people WHERE n IS NOT DISTINCT FROM (CASE WHEN id % 2 = 0 THEN id END) AND name = 'person ' || id",
            "2500",
        )
        .await?;
        gives(&stage.primary, "SELECT count(*) FROM whimbrel.backfill_kept", "0").await
    })
}
