//! What is refused before anything runs, because of what the SQL says.

use anyhow::Result;
use serde_json::{Value, json};

use super::stage::{Expected, Stage, database};
use crate::harness::run;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn sql_that_is_refused_never_runs() -> Result<()> {
    let steps = |sql: Value| json!({"steps": [{"name": "first", "sql": {"up": "CREATE TABLE fine ()"}}, {"name": "second", "sql": sql}]});
    let no_such_way = "write spec.down, or use spec.steps with irreversible";
    let cases: &[(&str, Value, &str, &[&str])] = &[
        (
            "wrong-sql",
            json!({"up": "ALTER TABEL users ADD COLUMN x int"}),
            "SqlRefused",
            &["spec.up:1:7", "TABEL"],
        ),
        ("wrong-later", json!({"up": "SELECT 1;\n  CREATE TABLE t (;"}), "SqlRefused", &["spec.up:2:19"]),
        (
            "wrong-down",
            json!({"up": "CREATE TABLE t ()", "down": "DORP TABLE t"}),
            "SqlRefused",
            &["spec.down:1:1"],
        ),
        ("wrong-step", steps(json!({"up": "DORP TABLE t"})), "SqlRefused", &["spec.steps[1].sql.up:1:1"]),
        ("psql", json!({"up": "SELECT 1;\n\\connect other"}), "SqlRefused", &["spec.up:2:1", "psql"]),
        (
            "program",
            json!({"up": "COPY users FROM PROGRAM 'id'"}),
            "SqlRefused",
            &["spec.up:1:1", "COPY ... PROGRAM"],
        ),
        (
            "set-role",
            steps(json!({"up": "SET ROLE postgres"})),
            "SqlRefused",
            &["spec.steps[1].sql.up:1:1", "SET role"],
        ),
        (
            "ledger",
            json!({"up": "DELETE FROM whimbrel.runs"}),
            "SqlRefused",
            &["spec.up:1:13", "schema whimbrel"],
        ),
        ("commit", json!({"up": "CREATE TABLE t (); COMMIT"}), "SqlRefused", &["spec.up:1:20", "COMMIT"]),
        ("empty", json!({"up": "-- nothing"}), "SqlRefused", &["spec.up:1:1"]),
        (
            "no-down",
            json!({"up": "SELECT 1;\nUPDATE users SET name = 'x'"}),
            "IrreversibleStep",
            &["spec.up:2:1", no_such_way],
        ),
        (
            "no-down-step",
            steps(json!({"up": "DROP TABLE users"})),
            "IrreversibleStep",
            &["spec.steps[1].sql.up:1:1"],
        ),
        (
            "not-single",
            steps(json!({"up": "CREATE INDEX CONCURRENTLY i ON users (id)", "transaction": "Single"})),
            "PlanInvalid",
            &["spec.steps[1].sql.up:1:1", "cannot run in a transaction"],
        ),
    ];
    run(async {
        let stage = Stage::new("bad_sql").await?;
        for (name, spec, ..) in cases {
            stage.migrate(name, spec.clone()).await?;
        }
        for (name, _, reason, says) in cases {
            stage.await_migration(name, &Expected::refused(reason, says)).await?;
        }
        stage.finish().await
    })
}

#[test]
fn plans_that_the_policy_forbids_never_run() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_policy").await?;
        for (name, grade) in [("archive", "ReversibleWithArchive"), ("exact", "Reversible")] {
            let mut spec = database("shop");
            spec["policy"] = json!({"minReversibility": grade});
            stage.create("Database", name, spec).await?;
        }
        let forward = json!({"databaseRef": {"name": "archive"}, "steps": [
            {"sql": {"up": "DROP TABLE users", "irreversible": {"reason": "the users are gone"}}},
        ]});
        let expected = Expected::refused(
            "PolicyViolation",
            &["ForwardOnly", "policy.minReversibility", "ReversibleWithArchive"],
        );
        stage.check("forward", forward, expected).await?;
        let add = json!({"databaseRef": {"name": "exact"}, "up": "ALTER TABLE users ADD COLUMN x int"});
        let expected = Expected::refused(
            "PolicyViolation",
            &["ReversibleWithArchive", "policy.minReversibility", "demands Reversible"],
        );
        stage.check("added", add, expected).await?;
        stage.finish().await
    })
}
