//! What is not known counts as large.

use super::*;

#[test]
fn without_a_catalog_the_worst_is_assumed() {
    let catalog = Snapshot::assumed(Some(15));
    let check = |sql: &str, expected: &[&str]| {
        let mut found = codes(sql, &catalog);
        found.sort();
        assert_eq!(found, expected, "{sql}");
    };
    check("CREATE INDEX i ON t (a)", &["WB101 High"]);
    check("ALTER TABLE t ALTER COLUMN a SET NOT NULL", &["WB109 High"]);
    check("ALTER TABLE t ALTER COLUMN a TYPE bigint", &["WB114 High"]);
    check("ALTER TABLE t ADD COLUMN a int NOT NULL", &["WB201 High"]);
    check("ALTER TABLE t ADD COLUMN a int", &[]);
    check("UPDATE t SET a = 1", &["WB401 Medium"]);
    check("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)", &["WB107 High", "WB206 Low"]);
}

#[test]
fn an_identifier_that_is_cut_is_told() {
    let catalog = Snapshot::assumed(None);
    let long = "a".repeat(64);
    assert_eq!(codes(&format!("CREATE TABLE {long} (id int)"), &catalog), ["WB203 Medium"]);
    assert_eq!(codes(&format!("SELECT '{long}', \"{}\"", "a".repeat(63)), &catalog), Vec::<String>::new());
}

#[test]
fn statements_that_could_not_be_read_may_be_the_ones_that_break() {
    use crate::sql::{LIVE_QUERIES, LiveQuery, Unknown};

    let check = |hidden: bool, expected: &str, says: &str| {
        let mut catalog = super::catalog::catalog(15);
        catalog.queries = Some(vec![LiveQuery { text: "SELECT 1".to_owned(), ..LiveQuery::default() }]);
        if hidden {
            catalog.unknown.push(Unknown { what: LIVE_QUERIES.to_owned(), ..Unknown::default() });
        }
        let sql = "ALTER TABLE users RENAME COLUMN name TO called";
        assert_eq!(codes(sql, &catalog), [expected], "{hidden}");
        assert!(findings(sql, &catalog)[0].message.contains(says), "{hidden}");
    };
    check(false, "WB305 Medium", "none of the statements that the server has counted names it");
    check(true, "WB305 High", "none of the statements that could be read names it");
}
