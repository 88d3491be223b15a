//! What was applied stays as it is: edits, other content under the same version, versions that come too late or twice.

use anyhow::Result;
use serde_json::json;

use super::stage::{Expected, Stage, in_force};
use crate::harness::run;

#[test]
fn applied_versions_are_immutable_and_in_order() -> Result<()> {
    run(async {
        let mut stage = Stage::new("bad_version").await?;
        let applied = json!({"stream": "s", "version": "2", "up": "CREATE TABLE applied ()"});
        stage.check("applied", applied.clone(), Expected::ready()).await?;
        let seen = stage.primary.ddl().await?;

        // An edit is refused by the API server, in words that name the field.
        for (field, patch) in
            [("up", json!("DROP TABLE users")), ("version", json!("3")), ("stream", json!("other"))]
        {
            let refused = stage.try_patch("Migration", "applied", &json!({"spec": {field: patch}})).await?;
            let message = refused.err().map(|status| status.message).unwrap_or_default();
            assert!(
                message.contains(&format!("spec.{field}")) && message.contains("cannot be changed"),
                "{field}: {message}"
            );
        }

        // Another object with the same version, beside it.
        let beside = json!({"stream": "s", "version": "2.0", "up": "CREATE TABLE beside ()"});
        stage.check("beside", beside, Expected::refused("ChecksumMismatch", &["version 2"])).await?;
        let late = json!({"stream": "s", "version": "1", "up": "CREATE TABLE late ()"});
        let says = ["version 1 is lower than 2", "policy.outOfOrder"];
        stage.check("late", late, Expected::refused("OutOfOrder", &says)).await?;

        // The same object again: other SQL is refused, the same SQL is taken for what it is.
        stage.delete("beside").await?;
        stage.delete("applied").await?;
        let other = json!({"stream": "s", "version": "2", "up": "DROP TABLE users"});
        let says = ["version 2", "other content", "new version"];
        let mut other = other;
        other["steps"] = json!([{"sql": {"up": other["up"].take(), "irreversible": {"reason": "test"}}}]);
        other.as_object_mut().map(|spec| spec.remove("up"));
        stage.check("applied", other, Expected::refused("ChecksumMismatch", &says)).await?;
        stage.delete("applied").await?;
        stage.check("applied", applied, Expected::ready()).await?;

        assert_eq!(stage.primary.ddl().await?, seen, "nothing ran since");
        assert_eq!(in_force(&stage.primary).await?, "1");
        stage.assert_goes_on("bad_version_other").await?;
        stage.assert_no_secret().await
    })
}

#[test]
fn one_version_belongs_to_one_migration() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_twice").await?;
        // Neither can run, so that both are there when it is decided who has the version.
        let wrong = |table: &str| json!({"stream": "s", "up": format!("CREATE INDEX i ON {table} (nope)"), "suspend": true});
        stage.migrate("first", wrong("users")).await?;
        let waiting = Expected {
            conditions: vec![("Ready", "Unknown", "Suspended"), ("Reconciling", "True", "Suspended")],
            says: &[],
        };
        stage.await_migration("first", &waiting).await?;
        stage.next_second("first").await?;
        let says = ["Migration first has version 1 of stream s already"];
        stage.check("second", wrong("other"), Expected::refused("VersionConflict", &says)).await?;
        stage.delete("first").await?;
        stage.await_migration("second", &waiting).await?;
        stage.finish().await
    })
}

#[test]
fn what_can_never_begin_is_told_before_its_turn() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_early").await?;
        let first = json!({"stream": "s", "up": "CREATE TABLE one ()", "suspend": true});
        stage.migrate("first", first).await?;
        let wrong =
            json!({"stream": "s", "version": "2", "up": "CREATE TABLE two ();\nCREATE TABEL three ()"});
        stage.check("second", wrong, Expected::refused("SqlRefused", &["spec.up:2:8", "TABEL"])).await?;
        stage.patch("Migration", "second", &json!({"spec": {"up": "CREATE TABLE two ()"}})).await?;
        let waits = "WaitingForEarlierVersion";
        let waiting = Expected {
            conditions: vec![("Ready", "Unknown", waits), ("Reconciling", "True", waits)],
            says: &["waiting for Migration first with version 1"],
        };
        stage.await_migration("second", &waiting).await?;
        stage.finish().await
    })
}
