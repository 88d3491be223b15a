//! `whimbrel plan`, as a person runs it: offline, and on a real database.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::postgres::{self, APPLICATION, Database, PASSWORD, SUPERUSER};
use crate::harness::run;

/// A directory with files.
pub fn files(contents: &[(&str, &str)]) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for (name, text) in contents {
        std::fs::write(directory.path().join(name), text)?;
    }
    Ok(directory)
}

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whimbrel"));
    command.arg("plan").args(arguments).current_dir(directory).env_remove("WHIMBREL_DATABASE_URL");
    command
}

fn plan(directory: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(command(directory, arguments).stdin(Stdio::null()).output()?)
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Shows a plan as JSON, which has to succeed.
pub fn json(directory: &Path, arguments: &[&str]) -> Result<Value> {
    let output = plan(directory, &[arguments, &["--output", "json"]].concat())?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    serde_json::from_slice(&output.stdout).with_context(|| shown(&output))
}

/// What is said to an input that cannot be used.
fn refused(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output = plan(directory, arguments)?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
    assert!(output.stdout.is_empty(), "{}", shown(&output));
    Ok(told)
}

pub const OFFLINE: [&str; 3] = ["--offline", "--server-version", "16"];

#[test]
fn every_statement_has_what_programs_read() -> Result<()> {
    let text = "ALTER TABLE users ADD COLUMN tier text;\n\nCREATE INDEX CONCURRENTLY by_tier ON users (tier);\n  DROP TABLE old;";
    let here = files(&[("1.sql", text)])?;
    let shown = json(here.path(), &[&OFFLINE[..], &["1.sql"]].concat())?;
    let statements = shown["statements"].as_array().context("statements")?;
    let fields = [
        "sql",
        "kind",
        "line",
        "column",
        "transactional",
        "locks",
        "rewrite",
        "scan",
        "reversible",
        "inverse",
    ];
    for statement in statements {
        for field in fields.iter().chain(&["findings"]) {
            assert!(statement.get(field).is_some(), "{field} is missing: {statement}");
        }
    }
    let places: Vec<_> =
        statements.iter().map(|one| (one["line"].as_u64(), one["column"].as_u64())).collect();
    assert_eq!(places, [(Some(1), Some(1)), (Some(3), Some(1)), (Some(4), Some(3))]);
    let transactional: Vec<_> = statements.iter().map(|one| one["transactional"].as_bool()).collect();
    assert_eq!(transactional, [Some(true), Some(false), Some(true)]);
    let lock = &statements[0]["locks"][0];
    assert_eq!((&lock["relation"], &lock["mode"]), (&"users".into(), &"ACCESS EXCLUSIVE".into()));
    assert_eq!(statements[0]["inverse"], "ALTER TABLE users DROP COLUMN tier");
    assert_eq!((&statements[2]["reversible"], &statements[2]["inverse"]), (&false.into(), &Value::Null));
    assert_eq!((&shown["reversibility"], &shown["risk"]), (&"ForwardOnly".into(), &"High".into()));
    assert_eq!(shown["units"].as_array().map(Vec::len), Some(3));
    assert_eq!(shown["server"]["major"], 16);
    Ok(())
}

#[test]
fn files_are_steps_and_ways_back_stand_beside_them() -> Result<()> {
    let here = files(&[
        ("10_last.sql", "CREATE TABLE c (id int)"),
        ("2_next.up.sql", "DROP TABLE b"),
        ("2_next.down.sql", "CREATE TABLE b (id int)"),
        ("1_first.sql", "CREATE TABLE a (id int)"),
    ])?;
    let all = json(here.path(), &[&OFFLINE[..], &["."]].concat())?;
    let steps: Vec<_> =
        all["units"].as_array().context("units")?.iter().map(|unit| unit["step"].as_str()).collect();
    assert_eq!(steps, [Some("1-first"), Some("2-next"), Some("10-last")]);
    assert_eq!(all["units"][1]["wayBack"][0][0], "CREATE TABLE b (id int)");
    let alone = json(here.path(), &[&OFFLINE[..], &["2_next.up.sql"]].concat())?;
    assert_eq!(
        (&alone["units"][0]["reversible"], &alone["reversibility"]),
        (&true.into(), &"Reversible".into())
    );
    Ok(())
}

#[test]
fn the_summary_stands_first_and_nothing_is_coloured_in_a_pipe() -> Result<()> {
    let here = files(&[("1.sql", "ALTER TABLE users ADD COLUMN tier text")])?;
    let text = shown(&plan(here.path(), &[&OFFLINE[..], &["--rows", "users=5000000", "1.sql"]].concat())?);
    let first = text.lines().next().unwrap_or_default();
    assert!(first.starts_with("Risk Low · ReversibleWithArchive · 1 unit · longest hold ~"), "{first}");
    assert!(first.ends_with("on users (5 M rows)"), "{first}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("ACCESS EXCLUSIVE on public.users: reads, writes and DDL wait"), "{text}");
    let markdown = shown(&plan(here.path(), &[&OFFLINE[..], &["-o", "markdown", "1.sql"]].concat())?);
    assert!(markdown.starts_with("### Risk Low · ReversibleWithArchive"), "{markdown}");
    Ok(())
}

#[test]
fn standard_input_is_read() -> Result<()> {
    let here = files(&[])?;
    let mut child = command(here.path(), &[&OFFLINE[..], &["-o", "json", "-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("standard input")?.write_all(b"SELECT 1;")?;
    let shown: Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
    assert_eq!((&shown["statements"][0]["file"], &shown["risk"]), (&"-".into(), &"Low".into()));
    Ok(())
}

#[test]
fn what_cannot_be_used_is_said_with_its_place() -> Result<()> {
    let here = files(&[
        ("typo.sql", "SELECT 1;\nALTER TABLE users ADD COLUMNN;\n"),
        ("psql.sql", "\\set x 1\nSELECT 1;\n"),
        ("copy.sql", "COPY users FROM STDIN;\n1\tann\n\\.\n"),
        ("empty.sql", ""),
        ("fine.sql", "SELECT 1"),
        ("catalog.json", "{\"format\": 99}"),
    ])?;
    std::fs::write(here.path().join("binary.sql"), b"\x00\x01\xff")?;
    std::fs::write(here.path().join("latin.sql"), b"SELECT '\xe4'")?;
    std::fs::write(here.path().join("huge.sql"), "SELECT 1;\n".repeat(5_000_000))?;
    let check = |arguments: &[&str], expected: &[&str]| -> Result<()> {
        let told = refused(here.path(), arguments)?;
        for part in expected {
            assert!(told.contains(part), "{arguments:?}: {told:?} lacks {part:?}");
        }
        Ok(())
    };
    check(&["--offline", "typo.sql"], &["typo.sql:2:30: ", "2 | ALTER TABLE users ADD COLUMNN;", "^"])?;
    check(&["--offline", "psql.sql"], &["psql.sql:1:1: ", "psql"])?;
    check(&["--offline", "copy.sql"], &["copy.sql:", "COPY"])?;
    check(&["--offline", "empty.sql"], &["empty.sql"])?;
    check(&["--offline", "binary.sql"], &["binary.sql:1:1: is a binary file"])?;
    check(&["--offline", "latin.sql"], &["latin.sql:1:9: is not valid UTF-8"])?;
    check(&["--offline", "huge.sql"], &["huge.sql", "MiB"])?;
    check(&["--offline", "missing.sql"], &["missing.sql", "no such file"])?;
    check(&["--offline", "--server-version", "13", "fine.sql"], &["PostgreSQL 13", "14 to 18"])?;
    check(&["--offline", "--server-version", "99", "fine.sql"], &["PostgreSQL 99", "14 to 18"])?;
    check(&["--catalog", "catalog.json", "fine.sql"], &["catalog.json", "newer"])?;
    check(&["--offline", "--rows", "users", "fine.sql"], &["TABLE=N"])?;
    check(&["--offline"], &["FILE"])?;
    let url = format!("postgres://ann:{PASSWORD}@127.0.0.1:1/shop");
    check(&["--database-url", &url, "fine.sql"], &["cannot reach 127.0.0.1:1"])?;
    assert!(!refused(here.path(), &["--database-url", &url, "fine.sql"])?.contains(PASSWORD));
    Ok(())
}

#[test]
fn deep_expressions_do_not_end_the_process() -> Result<()> {
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let here = files(&[("deep.sql", &deep)])?;
    let output = plan(here.path(), &["--offline", "deep.sql"])?;
    assert!(matches!(output.status.code(), Some(0 | 2)), "{:?}", output.status);
    Ok(())
}

const MIGRATION: &str = "\
apiVersion: whimbrel.dev/v1alpha1
kind: Migration
metadata: {name: add-tier}
spec:
  databaseRef: {name: shop}
  version: \"42\"
  up: |
    ALTER TABLE users ADD COLUMN tier text;
    DROPPING
";

#[test]
fn a_migration_is_judged_as_the_operator_judges_it() -> Result<()> {
    let fine = MIGRATION.replace("    DROPPING\n", "");
    let irreversible = MIGRATION.replace("DROPPING", "DROP TABLE old;");
    let wrong = fine.replace("version: \"42\"", "version: \"4x\"");
    let second = fine.replace("add-tier", "more").replace("42", "41").replace("tier", "level");
    let both = format!("{fine}---\n{second}");
    let here = files(&[
        ("fine.yaml", &fine),
        ("irreversible.yaml", &irreversible),
        ("wrong.yaml", &wrong),
        ("broken.yaml", MIGRATION),
        ("both.yaml", &both),
        ("plain.sql", "SELECT 1"),
    ])?;
    let shown = json(here.path(), &[&OFFLINE[..], &["-f", "fine.yaml"]].concat())?;
    let statement = &shown["statements"][0];
    assert_eq!((&statement["file"], &statement["field"]), (&"fine.yaml".into(), &"spec.up".into()));
    let told = refused(here.path(), &["--offline", "-f", "irreversible.yaml"])?;
    assert!(told.contains("irreversible.yaml:9:5: no inverse can be derived"), "{told}");
    assert!(told.contains("    DROP TABLE old;\n"), "{told}");
    let told = refused(here.path(), &["--offline", "-f", "wrong.yaml"])?;
    assert!(told.contains("spec.version") && told.contains("4x"), "{told}");
    let told = refused(here.path(), &["--offline", "-f", "broken.yaml"])?;
    assert!(told.contains("broken.yaml:9:5: syntax error"), "{told}");
    let shown = json(here.path(), &[&OFFLINE[..], &["-f", "both.yaml"]].concat())?;
    let columns: Vec<_> =
        shown["statements"].as_array().context("statements")?.iter().map(|one| &one["sql"]).collect();
    let expected = ["ALTER TABLE users ADD COLUMN level text", "ALTER TABLE users ADD COLUMN tier text"];
    assert_eq!(columns, expected, "in the order of the versions");
    assert!(refused(here.path(), &["--offline", "-f", "plain.sql"])?.contains("no Migration"));
    Ok(())
}

#[test]
fn the_json_is_what_the_schema_says() -> Result<()> {
    let here = files(&[("1.sql", "ALTER TABLE users ALTER name SET NOT NULL; DROP TABLE users;")])?;
    let output = plan(here.path(), &["--schema"])?;
    let schema: Value = serde_json::from_slice(&output.stdout)?;
    for arguments in [vec!["1.sql"], vec!["--rows", "users=1000", "1.sql"]] {
        let shown = json(here.path(), &[&OFFLINE[..], &arguments].concat())?;
        let mut wrong = Vec::new();
        conforms(&shown, &schema, &schema, "$", &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    Ok(())
}

/// Checks what the generated schema uses: references, alternatives, types, constants, properties and items.
fn conforms(value: &Value, schema: &Value, root: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
        return conforms(value, target, root, at, wrong);
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let fits = choices.iter().any(|choice| {
            let mut inner = Vec::new();
            conforms(value, choice, root, at, &mut inner);
            inner.is_empty()
        });
        if !fits {
            wrong.push(format!("{at}: {value} fits none of the alternatives"));
        }
        return;
    }
    if let Some(constant) = schema.get("const").filter(|constant| *constant != value) {
        wrong.push(format!("{at}: {value} is not {constant}"));
    }
    let of_type = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    let types = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| of_type(name)) {
        wrong.push(format!("{at}: {value} is none of {types:?}"));
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(property) => conforms(inner, property, root, &format!("{at}.{key}"), wrong),
            None => wrong.push(format!("{at}.{key} is not in the schema")),
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            wrong.push(format!("{at}.{name} is required"));
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        conforms(inner, &schema["items"], root, &format!("{at}[]"), wrong);
    }
}

const SHOP: &str = "
CREATE TABLE users (id bigint PRIMARY KEY, name text, note text);
INSERT INTO users SELECT n, 'user ' || n, 'x' FROM generate_series(1, 20000) n;
CREATE TABLE orders (id bigint PRIMARY KEY, owner bigint REFERENCES users, net numeric(10,2));
INSERT INTO orders SELECT n, n, n FROM generate_series(1, 20000) n;
CREATE VIEW named AS SELECT id, name FROM users;
GRANT SELECT ON users TO app;
ANALYZE;";

async fn shop(name: &str) -> Result<Database> {
    let database = postgres::shared().await?.database(name).await?;
    database.execute(SHOP).await?;
    Ok(database)
}

/// Runs the binary aside, so that the server of the test is served meanwhile.
pub async fn on_database(
    directory: &Path,
    database: &Database,
    role: &str,
    arguments: &[&str],
) -> Result<Value> {
    let url = database.url(role);
    let mut all: Vec<String> = vec!["--database-url".to_owned(), url];
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let directory = PathBuf::from(directory);
    tokio::task::spawn_blocking(move || {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        json(&directory, &all)
    })
    .await?
}

#[test]
fn a_database_answers_what_the_text_does_not_say() -> Result<()> {
    run(async {
        let database = shop("plan_answers").await?;
        let text = "ALTER TABLE orders ALTER net TYPE numeric(12,2);\nALTER TABLE users ALTER id TYPE numeric;\n\
                    ALTER TABLE users ALTER note SET DEFAULT 'y';";
        let here = files(&[("1.sql", text)])?;
        let shown = on_database(here.path(), &database, SUPERUSER, &["1.sql"]).await?;
        let statements = &shown["statements"];
        assert_eq!((&statements[0]["rewrite"], &statements[1]["rewrite"]), (&false.into(), &true.into()));
        assert_eq!(statements[1]["rewrites"][0], "public.users");
        assert_eq!(statements[2]["inverse"], "ALTER TABLE users ALTER COLUMN note DROP DEFAULT");
        assert_eq!(shown["server"]["database"], "plan_answers");
        assert!(shown["estimate"]["totalMs"]["expected"].as_f64() > Some(0.0), "{}", shown["estimate"]);
        assert!(
            shown["summary"].as_str().is_some_and(|line| line.ends_with("(20 k rows)")),
            "{}",
            shown["summary"]
        );
        let larger =
            on_database(here.path(), &database, SUPERUSER, &["--rows", "users=5000000", "1.sql"]).await?;
        let hold = |shown: &Value| shown["estimate"]["holdMs"]["expected"].as_f64().unwrap_or_default();
        let factor = hold(&larger) / hold(&shown);
        assert!((100.0..400.0).contains(&factor), "{factor}");
        Ok(())
    })
}

#[test]
fn nothing_is_left_behind_and_any_login_will_do() -> Result<()> {
    run(async {
        let database = shop("plan_harmless").await?;
        let here = files(&[("1.sql", "ALTER TABLE users ALTER name SET NOT NULL; DROP TABLE orders;")])?;
        let before = database.value("SELECT pg_current_wal_insert_lsn() IS NOT NULL").await?;
        let changes = database.ddl().await?;
        let shown = on_database(here.path(), &database, APPLICATION, &["1.sql"]).await?;
        assert_eq!(shown["statements"][0]["scan"], true);
        assert_eq!(before, "t");
        assert_eq!(database.ddl().await?, changes);
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'whimbrel/plan%' \
                        AND datname = 'plan_harmless'";
        assert_eq!(database.value(sessions).await?, "0");
        let unknown = shown["unknown"].as_array().context("unknown")?;
        assert!(unknown.iter().all(|one| one["what"] != "catalog"), "{unknown:?}");
        Ok(())
    })
}

#[test]
fn a_catalog_in_a_file_says_the_same_as_the_database() -> Result<()> {
    run(async {
        let database = shop("plan_catalog").await?;
        let here = files(&[("1.sql", "ALTER TABLE users ALTER name SET NOT NULL; DROP TABLE orders;")])?;
        let url = database.url(SUPERUSER);
        let directory = here.path().to_owned();
        let written = tokio::task::spawn_blocking(move || {
            Command::new(env!("CARGO_BIN_EXE_whimbrel"))
                .args(["catalog", "--database-url", &url, "--output", "catalog.json"])
                .current_dir(directory)
                .output()
        })
        .await??;
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let live = on_database(here.path(), &database, SUPERUSER, &["1.sql"]).await?;
        let filed = json(here.path(), &["--offline", "--catalog", "catalog.json", "1.sql"])?;
        for field in ["summary", "risk", "units", "blastRadius", "findings"] {
            assert_eq!(live[field], filed[field], "{field}");
        }
        Ok(())
    })
}

#[test]
fn the_exit_status_says_whether_a_finding_is_too_severe() -> Result<()> {
    let here = files(&[("1.sql", "VACUUM FULL users;"), ("2.sql", "SELECT 1;")])?;
    let code = |arguments: &[&str]| -> Result<Option<i32>> {
        Ok(plan(here.path(), &[&OFFLINE[..], arguments].concat())?.status.code())
    };
    assert_eq!(code(&["1.sql"])?, Some(0));
    assert_eq!(code(&["--fail-on", "high", "1.sql"])?, Some(1));
    assert_eq!(code(&["--fail-on", "high", "2.sql"])?, Some(0));
    Ok(())
}

#[test]
fn ways_back_rest_on_what_the_database_says_was_there() -> Result<()> {
    run(async {
        let database = shop("plan_before").await?;
        database.execute("CREATE INDEX by_note ON users (note); COMMENT ON TABLE users IS 'all'").await?;
        let text = "DROP INDEX by_note;\nCOMMENT ON TABLE users IS 'x';\nREVOKE SELECT ON users FROM app;\n\
                    ALTER TABLE users ALTER note SET NOT NULL, ALTER note DROP NOT NULL;\nALTER TABLE orders DROP CONSTRAINT orders_owner_fkey;";
        let migration = MIGRATION
            .replace("    DROPPING\n", "")
            .replace("ALTER TABLE users ADD COLUMN tier text;", text.lines().next().unwrap());
        let here = files(&[("1.sql", text), ("m.yaml", &migration)])?;
        // The least that a login may do is enough.
        let shown = on_database(here.path(), &database, APPLICATION, &["1.sql"]).await?;
        let inverse =
            |index: usize| shown["statements"][index]["inverse"].as_str().unwrap_or_default().to_owned();
        assert_eq!(inverse(0), "CREATE INDEX CONCURRENTLY by_note ON public.users USING btree (note)");
        assert_eq!(inverse(1), "COMMENT ON TABLE users IS 'all'");
        assert_eq!(inverse(2), "GRANT SELECT ON TABLE users TO app");
        assert!(inverse(4).contains("NOT VALID;\nALTER TABLE public.orders VALIDATE"), "{}", inverse(4));
        let (reason, condition) = (&shown["reversibilityReason"], &shown["statements"][4]["condition"]);
        assert_eq!(condition, "no row that was written since violates orders_owner_fkey");
        assert!(reason.as_str().is_some_and(|reason| reason.contains("orders_owner_fkey")), "{reason}");
        assert_eq!(shown["reversibility"], "Reversible");

        // Without a database the operator's judgement is not anticipated.
        let shown = json(here.path(), &[&OFFLINE[..], &["-f", "m.yaml"]].concat())?;
        let reason = shown["statements"][0]["gradeReason"].as_str().unwrap_or_default();
        assert!(reason.contains("the definition of INDEX by_note before is not known here"), "{reason}");
        assert_eq!(shown["reversibility"], "ForwardOnly");
        Ok(())
    })
}
