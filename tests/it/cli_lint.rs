//! `whimbrel lint`, as it is run.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

/// A directory with files.
fn directory(files: &[(&str, &str)]) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        fs::write(path, text)?;
    }
    Ok(directory)
}

/// Runs the command in a directory, away from the settings of whoever runs the tests.
fn lint(directory: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whimbrel"));
    command.arg("lint").args(arguments).current_dir(directory).env_remove("WHIMBREL_DATABASE_URL");
    Ok(command.stdin(Stdio::null()).output()?)
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

const RISKY: &str = "ALTER TABLE users ALTER COLUMN email SET NOT NULL;\n";

#[test]
fn findings_are_shown_and_counted() -> Result<()> {
    let directory = directory(&[("a.sql", RISKY)])?;
    let (code, shown, _) = told(&lint(directory.path(), &["a.sql"])?);
    assert_eq!(
        shown,
        "a.sql:1:1: High WB109 not-null-scans\n    \
         SET NOT NULL on email reads all of users (size unknown) under ACCESS EXCLUSIVE: readers and\n    writers wait\n    \
         instead:\n      \
         -- each in a transaction of its own (transaction: PerStatement)\n      \
         ALTER TABLE users ADD CONSTRAINT users_email_check CHECK (email IS NOT NULL) NOT VALID;\n      \
         ALTER TABLE users VALIDATE CONSTRAINT users_email_check;\n      \
         ALTER TABLE users ALTER COLUMN email SET NOT NULL;\n      \
         ALTER TABLE users DROP CONSTRAINT users_email_check;\n\n\
         1 High · 1 statement in 1 file\n"
    );
    assert_eq!(code, 1);
    Ok(())
}

#[test]
fn the_exit_status_follows_the_threshold() -> Result<()> {
    let files = [
        ("high.sql", RISKY),
        ("medium.sql", "UPDATE users SET active = true;"),
        ("info.sql", "CREATE TABLE t (id bigint PRIMARY KEY, c char(3));"),
        ("none.sql", "SELECT 1;"),
        (
            "ignored.sql",
            "-- whimbrel:ignore WB109 nobody writes\nALTER TABLE users ALTER COLUMN email SET NOT NULL;",
        ),
    ];
    let directory = directory(&files)?;
    let check = |file: &str, threshold: &str, expected: i32| -> Result<()> {
        let (code, shown, errors) = told(&lint(directory.path(), &[file, "--fail-on", threshold])?);
        assert_eq!(code, expected, "{file} {threshold}: {shown}{errors}");
        Ok(())
    };
    check("high.sql", "High", 1)?;
    check("high.sql", "never", 0)?;
    check("medium.sql", "high", 0)?;
    check("medium.sql", "Medium", 1)?;
    check("info.sql", "low", 0)?;
    check("info.sql", "Info", 1)?;
    check("none.sql", "info", 0)?;
    check("ignored.sql", "info", 0)?;
    check("none.sql", "often", 2)
}

#[test]
fn bad_input_is_named_with_its_place_and_what_to_do() -> Result<()> {
    let deep = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let files = [
        ("syntax.sql", "SELECT 1;\n\tSELECT FROM WHERE x;\n"),
        ("psql.sql", "\\set a 1\nSELECT 1;\n"),
        ("copy.sql", "COPY t FROM stdin;\n1\ta\n\\.\n"),
        ("empty.sql", "-- nothing\n"),
        ("deep.sql", deep.as_str()),
        ("none/readme.txt", "SELECT 1"),
        (
            "m.yaml",
            "kind: Migration\nspec:\n  databaseRef: {name: a}\n  version: '1'\n  up: |\n    SELECT 1;\n    SELEC 2;\n",
        ),
    ];
    let directory = directory(&files)?;
    fs::write(directory.path().join("binary.sql"), b"SELECT\0 1")?;
    fs::write(directory.path().join("latin.sql"), b"SELECT 1;\n  '\xfc'")?;
    fs::write(directory.path().join("long.sql"), vec![b' '; 50 * 1024 * 1024])?;
    let check = |file: &str, expected: &[&str]| -> Result<()> {
        let (code, shown, errors) = told(&lint(directory.path(), &[file])?);
        assert_eq!(code, 2, "{file}: {shown}{errors}");
        for part in expected {
            assert!(errors.contains(part), "{file}: no {part:?} in\n{errors}");
        }
        Ok(())
    };
    check(
        "syntax.sql",
        &[
            "syntax.sql:2:14: syntax error at or near \"WHERE\"",
            "2 | \tSELECT FROM WHERE x;",
            "  | \t            ^",
        ],
    )?;
    check("psql.sql", &["psql.sql:1:1: \\set is a command of psql", "help: leave it out"])?;
    check("copy.sql", &["copy.sql:1:1: COPY FROM STDIN needs data", "help: write INSERT"])?;
    check("empty.sql", &["empty.sql:1:1: there is no SQL statement"])?;
    check("deep.sql", &["deep.sql:1:", "nested too deeply", "help: split it"])?;
    check("none", &["none: there is no file of SQL", "help: files that end in .sql"])?;
    check("binary.sql", &["binary.sql:1:7: is a binary file", "pg_restore"])?;
    check("latin.sql", &["latin.sql:2:4: is not valid UTF-8", "iconv"])?;
    check("long.sql", &["long.sql: is longer than 8 MiB", "help: split it"])?;
    check("missing.sql", &["missing.sql: cannot be read: no such file or directory"])?;
    check("m.yaml", &["m.yaml:7:5: syntax error at or near \"SELEC\"", "7 |     SELEC 2;", "  |     ^"])
}

#[test]
fn findings_of_good_files_are_shown_beside_bad_ones() -> Result<()> {
    let directory = directory(&[("1.sql", RISKY), ("2.sql", "SELEC 1")])?;
    let (code, shown, errors) = told(&lint(directory.path(), &["."])?);
    assert!(
        shown.contains("./1.sql:1:1: High WB109") && errors.contains("./2.sql:1:1: syntax error"),
        "{shown}{errors}"
    );
    assert_eq!(code, 2);
    Ok(())
}

#[test]
fn a_migration_is_read_with_its_places() -> Result<()> {
    let manifest = "apiVersion: whimbrel.dev/v1alpha1\nkind: Migration\nmetadata: {name: m}\nspec:\n  databaseRef: {name: a}\n  \
                    version: '1'\n  steps:\n    - sql:\n        up: |\n          SELECT 1;\n          CREATE INDEX i ON users (a);\n        \
                    down: DROP INDEX i\n";
    let directory = directory(&[("m.yaml", manifest)])?;
    let (_, shown, _) = told(&lint(directory.path(), &["m.yaml"])?);
    assert!(shown.contains("m.yaml:11:11: High WB101"), "{shown}");
    Ok(())
}

#[test]
fn standard_input_is_read() -> Result<()> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_whimbrel"))
        .args(["lint", "-", "--output", "json"])
        .env_remove("WHIMBREL_DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("standard input")?.write_all(RISKY.as_bytes())?;
    let output = child.wait_with_output()?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(document.pointer("/findings/0/code").and_then(Value::as_str), Some("WB109"));
    assert_eq!(document.pointer("/findings/0/severity").and_then(Value::as_str), Some("High"));
    assert_eq!(document.pointer("/findings/0/line").and_then(Value::as_u64), Some(1));
    assert_eq!(document.pointer("/summary/high").and_then(Value::as_u64), Some(1));
    Ok(())
}

#[test]
fn a_catalog_makes_the_difference() -> Result<()> {
    let catalog = serde_json::json!({
        "format": 1, "complete": true, "major": 15, "searchPath": ["public"],
        "relations": [{
            "name": {"schema": "public", "name": "users"}, "rows": 100.0, "bytes": 8192, "totalBytes": 16384,
            "columns": [{"name": "email", "dataType": "character varying(20)"}],
        }],
    });
    let wider = "ALTER TABLE users ALTER COLUMN email TYPE varchar(40);\n";
    let directory = directory(&[
        ("catalog.json", &catalog.to_string()),
        ("a.sql", RISKY),
        ("b.sql", wider),
        ("c.json", "{}"),
    ])?;
    let run = |arguments: &[&str]| -> Result<(i32, String, String)> {
        Ok(told(&lint(directory.path(), arguments)?))
    };
    let (code, shown, _) = run(&["a.sql", "b.sql", "--catalog", "catalog.json"])?;
    assert!(shown.contains("Low WB109") && shown.contains("100 rows, 16 KiB"), "{shown}");
    assert!(!shown.contains("WB114") && shown.contains("1 overruled (--all shows it)"), "{shown}");
    assert_eq!(code, 0);
    let (_, shown, _) = run(&["b.sql", "--catalog", "catalog.json", "--all"])?;
    assert!(shown.contains("Overruled changing-column-type"), "{shown}");
    let (code, shown, _) = run(&["b.sql"])?;
    assert!(shown.contains("High WB114") && code == 1, "{shown}");
    let (code, _, errors) = run(&["b.sql", "--catalog", "c.json"])?;
    assert!(code == 2 && errors.contains("c.json"), "{errors}");
    let (code, _, errors) = run(&["b.sql", "--server-version", "12"])?;
    assert!(code == 2 && errors.contains("14 to 18"), "{errors}");
    Ok(())
}

#[test]
fn sarif_is_what_code_scanning_reads() -> Result<()> {
    let sql = "-- whimbrel:ignore WB101 at night\nCREATE INDEX i ON users (a);\nALTER TABLE users ADD COLUMN b int NOT NULL;\n";
    let directory = directory(&[("migrations/1 a.sql", sql)])?;
    let (code, shown, _) = told(&lint(directory.path(), &["migrations", "--output", "sarif"])?);
    let document: Value = serde_json::from_str(&shown)?;
    let at = |pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/version"), "2.1.0");
    let results = at("/runs/0/results");
    let results = results.as_array().context("results")?;
    let rules = at("/runs/0/tool/driver/rules");
    for result in results {
        let index = result.get("ruleIndex").and_then(Value::as_u64).context("ruleIndex")?;
        assert_eq!(rules.pointer(&format!("/{index}/id")), result.get("ruleId"));
    }
    let of = |code: &str| results.iter().find(|result| result.get("ruleId") == Some(&code.into()));
    let (ignored, required) = (of("WB101").context("WB101")?, of("WB201").context("WB201")?);
    assert_eq!(ignored.pointer("/suppressions/0/justification"), Some(&"at night".into()));
    assert_eq!(required.pointer("/level"), Some(&"error".into()));
    let place = |field: &str| required.pointer(&format!("/locations/0/physicalLocation/{field}")).cloned();
    assert_eq!(place("artifactLocation/uri"), Some("migrations/1%20a.sql".into()));
    assert_eq!((place("region/startLine"), place("region/startColumn")), (Some(3.into()), Some(30.into())));
    let fix = |field: &str| {
        required.pointer(&format!("/fixes/0/artifactChanges/0/replacements/0/{field}")).cloned()
    };
    assert_eq!(
        (fix("deletedRegion/startLine"), fix("deletedRegion/endColumn")),
        (Some(3.into()), Some(44.into()))
    );
    let text = fix("insertedContent/text").unwrap_or_default();
    assert!(
        text.as_str().is_some_and(
            |text| text.contains("ALTER TABLE users ADD COLUMN b int;\n") && !text.ends_with(';')
        )
    );
    assert_eq!(code, 1);
    Ok(())
}

#[test]
fn markdown_is_for_pull_requests() -> Result<()> {
    let directory = directory(&[("a.sql", RISKY)])?;
    let (_, shown, _) = told(&lint(directory.path(), &["a.sql", "-o", "markdown"])?);
    assert!(shown.starts_with("### Migrations: 1 High, 0 Medium, 0 Low, 0 Info\n"), "{shown}");
    assert!(
        shown.contains("| High | WB109 | `a.sql:1:1` |")
            && shown.contains("```sql\n-- each in a transaction of its own"),
        "{shown}"
    );
    Ok(())
}

fn git(directory: &Path, arguments: &[&str]) -> Result<()> {
    let settings =
        ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"];
    let output = Command::new("git").args(settings).args(arguments).current_dir(directory).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn only_what_changed_is_looked_at() -> Result<()> {
    let directory =
        directory(&[("db/1.sql", RISKY), ("db/2.sql", "SELECT 1;"), ("db/gone.sql", "SELECT 1;")])?;
    let root = directory.path();
    for arguments in
        [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "base"], &["checkout", "-qb", "topic"]]
    {
        git(root, arguments)?;
    }
    fs::write(root.join("db/2.sql"), RISKY)?;
    fs::write(root.join("db/ä 3.sql"), RISKY)?;
    fs::remove_file(root.join("db/gone.sql"))?;
    let check = |from: &Path, arguments: &[&str], expected: i32, part: &str| -> Result<()> {
        let (code, shown, errors) = told(&lint(from, arguments)?);
        assert!(
            code == expected && format!("{shown}{errors}").contains(part),
            "{arguments:?}: {code} {shown}{errors}"
        );
        Ok(())
    };
    check(root, &["db", "--changed-since", "main"], 1, "2 statements in 2 files")?;
    check(&root.join("db"), &[".", "--changed-since", "main"], 1, "./ä 3.sql:1:1")?;
    git(root, &["add", "-A"])?;
    git(root, &["commit", "-qm", "change"])?;
    check(root, &["db", "--changed-since", "main"], 1, "2 statements in 2 files")?;
    check(root, &["db", "--changed-since", "HEAD"], 0, "no findings · 0 statements in 0 files")?;
    check(root, &["db", "--changed-since", "nowhere"], 2, "git knows no revision \"nowhere\"")?;
    check(root, &["db", "--changed-since", "--all"], 2, "--changed-since")?;
    check(root, &["-", "--changed-since", "main"], 2, "standard input")?;
    let outside = tempfile::tempdir()?;
    fs::write(outside.path().join("a.sql"), "SELECT 1")?;
    check(outside.path(), &["a.sql", "--changed-since", "main"], 2, "needs a work tree of git")
}

#[test]
fn many_files_are_looked_at_in_their_order() -> Result<()> {
    let names: Vec<String> = (0..40).map(|n| format!("V{n}.sql")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), RISKY)).collect();
    let directory = directory(&files)?;
    let (_, shown, _) = told(&lint(directory.path(), &["."])?);
    let places: Vec<&str> =
        shown.lines().filter_map(|line| line.split_once(": High").map(|(place, _)| place)).collect();
    let expected: Vec<String> = (0..40).map(|n| format!("./V{n}.sql:1:1")).collect();
    assert_eq!(places, expected);
    Ok(())
}
