//! What only the copy can tell: it fails there, the primary is not touched, and the copy is where it was.

use anyhow::Result;
use serde_json::{Value, json};

use super::stage::{Expected, Stage, without_copy};
use crate::harness::run;

/// Becomes the login again, which owns the ledger, and hides its name from every reader of the text.
const TOUCH: &str =
    "DO $$ BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'DELETE FROM whim' || 'brel.statements'; END $$";

fn forward(up: &str) -> Value {
    json!({"steps": [{"name": "only", "sql": {"up": up, "irreversible": {"reason": "it is a test"}}}]})
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn sql_that_fails_on_the_copy_never_reaches_the_primary() -> Result<()> {
    let at = "at 1:1";
    let cases: &[(&str, Value, &str, &[&str])] = &[
        (
            "unknown-column",
            json!({"up": "CREATE INDEX i ON users (nope)"}),
            "RehearsalFailed",
            &[at, "\"nope\" does not exist"],
        ),
        (
            "unknown-later",
            json!({"up": "CREATE TABLE t ();\nCREATE INDEX i ON users (nope)"}),
            "RehearsalFailed",
            &["at 2:1", "\"nope\""],
        ),
        (
            "check-fails",
            json!({"up": "ALTER TABLE users ADD CONSTRAINT c CHECK (id > 100)"}),
            "RehearsalFailed",
            &[at, "users", "\"c\""],
        ),
        (
            "not-unique",
            json!({"up": "CREATE UNIQUE INDEX u ON users (email)"}),
            "RehearsalFailed",
            &[at, "\"u\""],
        ),
        (
            "not-unique-alone",
            json!({"up": "CREATE UNIQUE INDEX CONCURRENTLY u ON users (email)"}),
            "RehearsalFailed",
            &[at, "\"u\""],
        ),
        (
            "not-a-number",
            json!({"up": "ALTER TABLE users ALTER COLUMN name TYPE int USING name::int",
            "down": "ALTER TABLE users ALTER COLUMN name TYPE text"}),
            "RehearsalFailed",
            &[at, "value not shown"],
        ),
        (
            "raises",
            forward("DO $$ BEGIN RAISE EXCEPTION 'not like this'; END $$"),
            "RehearsalFailed",
            &[at, "not like this"],
        ),
        (
            "unsupported",
            json!({"up": "CREATE VIEW v AS SELECT name FROM users; ALTER TABLE users ALTER COLUMN name TYPE varchar(99)",
            "down": "ALTER TABLE users ALTER COLUMN name TYPE text; DROP VIEW v"}),
            "RehearsalFailed",
            &["at 1:42", "view"],
        ),
        (
            "commits",
            forward("DO $$ BEGIN COMMIT; END $$"),
            "RehearsalFailed",
            &[at, "invalid transaction termination"],
        ),
        (
            "calls",
            forward("CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; CALL p()"),
            "RehearsalFailed",
            &["at 1:63", "invalid transaction termination"],
        ),
        ("touches", forward(TOUCH), "LedgerTouched", &["whimbrel.statements"]),
        (
            "denied",
            forward("DO $$ BEGIN EXECUTE 'DELETE FROM whim' || 'brel.runs'; END $$"),
            "RehearsalFailed",
            &["permission denied", "spec.ownerRole"],
        ),
        (
            "half-back",
            json!({"up": "ALTER TABLE users ADD COLUMN x int", "down": "ALTER TABLE users ADD COLUMN y int"}),
            "RoundTripFailed",
            &["step-1", "correct its down"],
        ),
        (
            "no-way-back",
            json!({"up": "ALTER TABLE users ADD COLUMN x int", "down": "ALTER TABLE users DROP COLUMN nope"}),
            "RoundTripFailed",
            &["\"nope\"", "on the way back"],
        ),
    ];
    run(async {
        let stage = Stage::new("bad_on_copy").await?;
        for (name, spec, ..) in cases {
            stage.migrate(name, spec.clone()).await?;
        }
        for (name, _, reason, says) in cases {
            stage.await_migration(name, &Expected::failed_on_copy(reason, says)).await?;
        }
        stage.finish().await
    })
}

#[test]
fn without_a_copy_a_failing_transaction_leaves_nothing() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_without_copy").await?;
        stage.create("Database", "bare", without_copy("shop")).await?;
        let cases: &[(&str, &str, &str, &[&str])] = &[
            ("touches", TOUCH, "LedgerTouched", &["whimbrel.statements", "rolled back"]),
            (
                "commits",
                "CREATE TABLE t (); DO $$ BEGIN COMMIT; END $$",
                "ApplyFailed",
                &["at 1:20", "invalid transaction termination"],
            ),
            (
                "raises",
                "CREATE TABLE t (); DO $$ BEGIN RAISE 'no'; END $$",
                "ApplyFailed",
                &["at 1:20", "no"],
            ),
            (
                "unknown",
                "CREATE TABLE t (); CREATE INDEX i ON users (nope)",
                "ApplyFailed",
                &["at 1:20", "\"nope\""],
            ),
        ];
        for (name, up, reason, says) in cases {
            let mut spec = forward(up);
            spec["databaseRef"] = json!({"name": "bare"});
            let conditions = vec![
                ("Ready", "False", *reason),
                ("Stalled", "True", *reason),
                ("Applied", "False", *reason),
                ("Rehearsed", "False", "NotRequired"),
            ];
            stage.check(name, spec, Expected { conditions, says }).await?;
        }
        stage.finish().await
    })
}

/// An index that is built alone cannot be tried in a transaction, so that a wrong way back is found when it is too late.
#[test]
fn copy_that_cannot_come_back_is_said_to_need_a_refresh() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_left_behind").await?;
        let index = json!({
            "up": "CREATE INDEX CONCURRENTLY i ON users (email)",
            "down": "DROP INDEX CONCURRENTLY users_pkey",
        });
        let says = ["users_pkey", "on the way back", "refresh the copy"];
        let expected = Expected::failed_on_copy("RoundTripFailed", &says);
        stage.check("index", index, expected).await?;
        let says = ["cannot be brought to where the primary is", "refresh the copy"];
        let next = json!({"up": "CREATE TABLE t ()"});
        stage.check("next", next, Expected::failed_on_copy("Drifted", &says)).await?;

        // Refreshed by hand: what the way back did not do, and the history that knows of it.
        stage.copy.execute("DROP INDEX i; DROP SCHEMA whimbrel CASCADE").await?;
        stage.finish().await
    })
}
