//! Directories as other tools lay them out, and what is said where an argument cannot be meant.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cli_plan::{OFFLINE, files, json};

fn steps(shown: &Value) -> Result<Vec<&str>> {
    let units = shown["units"].as_array().context("units")?;
    let names: Option<Vec<&str>> = units.iter().map(|unit| unit["step"].as_str()).collect();
    names.context("steps")
}

#[test]
fn ways_back_are_found_where_other_tools_put_them() -> Result<()> {
    let here = files(&[
        ("V2__b.sql", "CREATE TABLE b (id bigint)"),
        ("V10__c.sql", "CREATE TABLE c (id bigint)"),
        ("U2__undo_b.sql", "DROP TABLE b; SELECT 2"),
        ("R__views.sql", "CREATE OR REPLACE VIEW v AS SELECT 1"),
    ])?;
    let shown = json(here.path(), &[&OFFLINE[..], &["."]].concat())?;
    let names = steps(&shown)?;
    assert_eq!(names, ["v2-b", "v10-c", "r-views"], "the way back is no step, what is repeated comes last");
    let back = shown["units"][0]["wayBack"].to_string();
    assert!(back.contains("SELECT 2"), "as it was written: {back}");
    assert_eq!(shown["reversibility"], "ForwardOnly", "a view that may be there already");

    let goose = "-- +goose Up\nCREATE TABLE g (id bigint);\n-- +goose Down\nDROP TABLE g;\n";
    let dbmate = "-- migrate:up\nCREATE TABLE d (id bigint);\n\n-- migrate:down\n";
    let here = files(&[("00002_g.sql", goose), ("20260101_d.sql", dbmate)])?;
    let shown = json(here.path(), &[&OFFLINE[..], &["."]].concat())?;
    let statements = shown["statements"].as_array().context("statements")?;
    let sql: Vec<&str> = statements.iter().filter_map(|one| one["sql"].as_str()).collect();
    assert_eq!(sql, ["CREATE TABLE g (id bigint)", "CREATE TABLE d (id bigint)"]);
    assert_eq!(statements[0]["line"], 2);
    assert_eq!(shown["reversibility"], "ReversibleWithArchive", "{:#}", shown["reversibilityReason"]);
    Ok(())
}

#[test]
fn what_is_wrong_with_a_way_back_is_said_at_its_place() -> Result<()> {
    let text = "-- +goose Up\nCREATE TABLE g (id bigint);\n-- +goose Down\nDROP TABEL g;\n";
    let here = files(&[("1.sql", text)])?;
    for command in ["plan", "lint"] {
        let mut whimbrel = Command::new(env!("CARGO_BIN_EXE_whimbrel"));
        let output = whimbrel.args([command, "1.sql", "--offline"]).current_dir(here.path()).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("1.sql:4:6") && told.contains("4 | DROP TABEL g;"), "{command}: {told}");
    }
    Ok(())
}

#[test]
fn a_database_that_is_named_by_nothing_is_refused() -> Result<()> {
    let here = files(&[("1.sql", "SELECT 1")])?;
    let run = |variable: Option<&str>, arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whimbrel"));
        command.arg("plan").arg("1.sql").args(arguments).current_dir(here.path());
        command.env_remove("WHIMBREL_DATABASE_URL");
        command.envs(variable.map(|value| ("WHIMBREL_DATABASE_URL", value)));
        let output = command.output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let (status, told) = run(None, &["--database-url", ""])?;
    assert!(status == Some(2) && told.contains("--database-url is empty"), "{status:?} {told}");
    assert_eq!(run(Some(""), &[])?.0, Some(0), "an empty variable is one that is not set");
    assert_eq!(run(None, &[])?.0, Some(0));
    Ok(())
}
