//! The primary takes what the copy took, in order, or nothing.

use anyhow::{Result, ensure};
use serde_json::json;
use whimbrel::api::Reason;

use super::stage::{Stage, budget};
use crate::harness::postgres::{self, execute};
use crate::harness::run;

/// What the work session sent to the primary, one line for each message.
async fn sent(stage: &Stage) -> Result<Vec<String>> {
    let log = postgres::shared().await?.server_log(stage.primary.name()).await?;
    let ours = log.into_iter().filter(|line| line.application.starts_with("whimbrel/"));
    Ok(ours.map(|line| line.message).collect())
}

/// From the next session of the runner on, which comes at once.
async fn log_all(stage: &Stage) -> Result<()> {
    let name = stage.primary.name();
    stage.primary.execute(&format!("ALTER DATABASE {name} SET log_statement TO 'all'")).await?;
    stage.primary.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'whimbrel/%'").await
}

#[test]
fn a_unit_takes_six_messages_at_most_beside_its_sql() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_messages", false, budget(250)).await?;
        log_all(&stage).await?;
        let several =
            "ALTER TABLE users ADD COLUMN a int; ALTER TABLE orders ADD COLUMN b int; CREATE TABLE c ()";
        for (version, up, statements) in
            [("1", "ALTER TABLE users ADD COLUMN tier text", 1), ("2", several, 3)]
        {
            stage.applied(version, &json!({"up": up})).await?;
            let sent = sent(&stage).await?;
            let begin = sent.iter().rposition(|line| line.contains("statement: BEGIN; SELECT")).unwrap_or(0);
            let unit = sent.get(begin..).unwrap_or_default();
            let commit =
                unit.iter().position(|line| line.contains("statement: COMMIT")).unwrap_or(usize::MAX);
            let mine = unit.get(..=commit).unwrap_or_default();
            ensure!((4..=6 + statements).contains(&mine.len()), "{} messages: {mine:#?}", mine.len());
        }
        Ok(())
    })
}

/// As measured on the copy, and without one as foreseen.
#[test]
fn tables_are_locked_in_the_order_of_their_names() -> Result<()> {
    run(async {
        for (name, copy) in [("guard_order", true), ("guard_order_alone", false)] {
            let stage = Stage::new(name, copy, budget(1000)).await?;
            log_all(&stage).await?;
            let up = "ALTER TABLE users ADD COLUMN tier text; CREATE INDEX by_buyer ON orders (buyer); \
                      ALTER TABLE orders ADD COLUMN note text";
            stage.applied("1", &json!({"up": up})).await?;
            let sent = sent(&stage).await?;
            let locks: Vec<&String> = sent.iter().filter(|line| line.contains("LOCK TABLE")).collect();
            ensure!(locks.len() == 1, "{locks:?}");
            let orders = locks[0].find("LOCK TABLE ONLY public.orders IN ACCESS EXCLUSIVE MODE");
            let users = locks[0].find("LOCK TABLE ONLY public.users IN ACCESS EXCLUSIVE MODE");
            ensure!(orders.is_some() && orders < users, "{locks:?}");
        }
        Ok(())
    })
}

/// What was rehearsed comes through, whatever it makes, renames, rewrites and drops.
#[test]
fn what_was_rehearsed_is_within_the_plan() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_within", true, budget(5000)).await?;
        let plans = [
            "CREATE TABLE made (id bigserial PRIMARY KEY, who int REFERENCES users, note text); CREATE INDEX ON made (note)",
            "ALTER TABLE users ALTER id TYPE bigint",
            "ALTER TABLE users RENAME TO people; ALTER TABLE people RENAME COLUMN name TO title; CREATE INDEX by_title ON people (title)",
            "ALTER TABLE parts ADD COLUMN note text; CREATE INDEX by_note ON parts (note)",
            "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)",
            "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM people; CREATE SEQUENCE numbers; CREATE VIEW v AS SELECT 1 AS x",
            "DO $$ BEGIN CREATE TABLE within (id int); EXCEPTION WHEN OTHERS THEN RAISE; END $$; ALTER TABLE within ADD PRIMARY KEY (id)",
        ];
        for (index, up) in plans.iter().enumerate() {
            let step = json!({"sql": {"up": up, "irreversible": {"reason": "nothing of it is looked at"}}});
            let spec = json!({"steps": [step], "rollback": {"onBreach": "Notify"}});
            let reversible = json!({"up": up, "rollback": {"preserveData": false}});
            let spec = if up.contains("RENAME") || up.contains("parts ADD") { reversible } else { spec };
            stage.applied(&format!("{}", index + 1), &spec).await?;
        }
        let drop = "DROP TABLE made CASCADE; DROP VIEW named CASCADE; DROP MATERIALIZED VIEW counted; ALTER TABLE people DROP COLUMN title";
        stage
            .applied("99", &json!({"steps": [{"sql": {"up": drop, "irreversible": {"reason": "dropped"}}}]}))
            .await?;
        Ok(())
    })
}

#[test]
fn more_than_was_rehearsed_is_rolled_back_and_told() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_beyond", true, budget(2000)).await?;
        stage.primary.execute("INSERT INTO one VALUES (2)").await?;
        let check = async |version: &str, body: &str, expected: &str| -> Result<()> {
            let up = format!(
                "ALTER TABLE users ADD COLUMN tier text; DO $$ BEGIN IF (SELECT count(*) FROM one) > 1 THEN {body}; END IF; END $$"
            );
            let spec = json!({"up": up, "down": "ALTER TABLE users DROP COLUMN tier"});
            let cause = stage.failed(version, &spec).await?;
            ensure!(cause.reason == Reason::LockPlanViolated, "{cause:?}");
            ensure!(cause.message.contains(expected), "{}", cause.message);
            let columns =
                "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'tier'";
            ensure!(stage.primary.value(columns).await? == "0", "{body} was not rolled back");
            Ok(())
        };
        let beyond = |table: &str| format!("public.{table} ACCESS EXCLUSIVE (on the copy: not locked)");
        check("1", "LOCK TABLE orders", &beyond("orders")).await?;
        check("2", "DROP TABLE orders", &beyond("orders")).await?;
        check("3", "ALTER TABLE parts ADD COLUMN x int", &beyond("parts_1")).await?;
        check("4", "ALTER TABLE orders RENAME TO other", "ACCESS EXCLUSIVE (on the copy: not locked)")
            .await?;
        // Rows of other tables are no matter of the lock plan.
        let up = "ALTER TABLE users ADD COLUMN tier text; DO $$ BEGIN IF (SELECT count(*) FROM one) > 1 THEN \
                  UPDATE orders SET buyer = 1; END IF; END $$";
        stage.applied("5", &json!({"up": up, "down": "ALTER TABLE users DROP COLUMN tier"})).await?;
        Ok(())
    })
}

/// A partition that came after the rehearsal is locked as its parent.
#[test]
fn a_partition_that_came_later_is_one_of_its_parent() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_leaves", true, budget(2000)).await?;
        let mut reader = stage.primary.connect().await?;
        execute(&mut reader, "BEGIN; SELECT * FROM users").await?;
        let up = "ALTER TABLE users ADD COLUMN tier text; ALTER TABLE parts ADD COLUMN tier text";
        stage.migrate("1", &json!({"up": up}))?;
        let waits = |run: &whimbrel::core::view::RunView| {
            run.attempt.as_ref().is_some_and(|attempt| attempt.cause.reason == Reason::WaitingForLock)
        };
        stage.until("1", "waiting for the reader", waits).await?;
        stage
            .primary
            .execute(
                "SET ROLE app_owner; CREATE TABLE parts_9 PARTITION OF parts FOR VALUES FROM (90) TO (99)",
            )
            .await?;
        execute(&mut reader, "COMMIT").await?;
        stage.applied("1", &json!({"up": up})).await?;
        Ok(())
    })
}
