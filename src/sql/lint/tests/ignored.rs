//! Comments that accept a finding.

use super::catalog::catalog;
use super::*;

fn check(sql: &str, expected: &[&str]) {
    let found = findings(sql, &catalog(15));
    let told: Vec<String> = found
        .iter()
        .filter(|one| rule(&one.code).is_some())
        .map(|one| match &one.ignored {
            Some(reason) => format!("{} ignored: {reason}", one.code),
            None => format!("{} {}:{}", one.code, one.line, one.column),
        })
        .collect();
    assert_eq!(told, expected, "{sql}");
}

#[test]
fn a_finding_is_ignored_with_a_reason() {
    check("-- whimbrel:ignore WB101 at night\nCREATE INDEX i ON users (email)", &["WB101 ignored: at night"]);
    check("CREATE INDEX i ON users (email); -- whimbrel:ignore WB101 at night", &["WB101 ignored: at night"]);
    check(
        "CREATE INDEX i\n  ON users (email); -- whimbrel:ignore index-blocks-writes at night",
        &["WB101 ignored: at night"],
    );
    check(
        "-- whimbrel:ignore WB107, WB206 small\nALTER TABLE users ADD FOREIGN KEY (country) REFERENCES countries (id);",
        &["WB107 ignored: small", "WB206 ignored: small"],
    );
    check(
        "-- whimbrel:ignore WB107 small\n-- whimbrel:ignore WB206 rare\nALTER TABLE users ADD FOREIGN KEY (country) REFERENCES \
         countries (id);",
        &["WB107 ignored: small", "WB206 ignored: rare"],
    );
}

#[test]
fn an_ignore_covers_its_own_statement_only() {
    check(
        "-- whimbrel:ignore WB101 at night\nCREATE INDEX i ON users (email);\nCREATE INDEX j ON users (name);",
        &["WB101 ignored: at night", "WB101 3:1"],
    );
}

#[test]
fn an_ignore_that_does_nothing_is_told() {
    check("-- whimbrel:ignore WB101\nCREATE INDEX i ON users (email)", &["WB501 1:1", "WB101 2:1"]);
    check("-- whimbrel:ignore WB109 why\nCREATE INDEX i ON users (email)", &["WB502 1:1", "WB101 2:1"]);
    check("-- whimbrel:ignore WB999 why\nCREATE INDEX i ON users (email)", &["WB503 1:1", "WB101 2:1"]);
    check("SELECT 1; -- whimbrel:ignore WB101 why", &["WB502 1:11"]);
    check("SELECT '-- whimbrel:ignore WB101 why'", &[]);
}

#[test]
fn advice_is_ignored_by_the_name_of_its_rule() {
    let sql = "-- whimbrel:ignore ban-drop-not-null the old clients are gone\nALTER TABLE users ALTER id DROP NOT NULL";
    let found = findings(sql, &catalog(15));
    assert_eq!(found[0].ignored.as_deref(), Some("the old clients are gone"), "{found:#?}");
}

#[test]
fn a_comment_without_a_statement_says_nothing() {
    let found = lint("-- whimbrel:ignore WB101 why", &[], &[], &Snapshot::assumed(None));
    assert_eq!(found, []);
}
