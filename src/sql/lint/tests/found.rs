//! What is found where.

use super::catalog::catalog;
use super::*;

/// A statement on the fixture, and the findings that count.
const CASES: &[(&str, &[&str])] = &[
    // Indexes.
    ("CREATE INDEX i ON users (email)", &["WB101 High"]),
    ("CREATE INDEX i ON orders (other)", &["WB101 Low"]),
    ("CREATE INDEX CONCURRENTLY i ON users (email)", &[]),
    ("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (email)", &["WB209 Low"]),
    ("DROP INDEX users_name", &["WB102 Medium"]),
    ("DROP INDEX CONCURRENTLY users_name", &[]),
    ("REINDEX TABLE users", &["WB103 High"]),
    ("REINDEX TABLE CONCURRENTLY users", &[]),
    ("REINDEX INDEX CONCURRENTLY users_name", &[]),
    ("REINDEX TABLE events", &["WB103 High"]),
    ("REINDEX TABLE CONCURRENTLY events", &["WB103 Medium"]),
    ("REINDEX TABLE CONCURRENTLY events_1", &[]),
    ("ALTER TABLE events DETACH PARTITION events_1", &["WB104 Medium"]),
    ("BEGIN; CREATE INDEX CONCURRENTLY i ON users (email); COMMIT", &["WB105 High"]),
    // Constraints.
    ("ALTER TABLE users ADD CONSTRAINT c CHECK (amount > 0)", &["WB106 High"]),
    ("ALTER TABLE orders ADD CONSTRAINT c CHECK (other > 0)", &["WB106 Low"]),
    ("ALTER TABLE users ADD CONSTRAINT c CHECK (amount > 0) NOT VALID", &[]),
    ("ALTER TABLE users ADD COLUMN c int CHECK (c > 0)", &["WB106 High"]),
    (
        "ALTER TABLE users ADD CONSTRAINT f FOREIGN KEY (country) REFERENCES countries (id)",
        &["WB107 High", "WB206 Medium"],
    ),
    (
        "ALTER TABLE users ADD CONSTRAINT f FOREIGN KEY (country) REFERENCES countries (id) NOT VALID",
        &["WB206 Medium"],
    ),
    ("ALTER TABLE users ADD COLUMN c bigint REFERENCES countries", &["WB206 Medium"]),
    (
        "CREATE INDEX CONCURRENTLY i ON users (country); ALTER TABLE users ADD FOREIGN KEY (country) REFERENCES countries (id) NOT VALID",
        &[],
    ),
    ("ALTER TABLE users ALTER COLUMN email SET NOT NULL", &["WB109 High"]),
    ("ALTER TABLE orders ALTER COLUMN other SET NOT NULL", &["WB109 Low"]),
    ("ALTER TABLE users ALTER COLUMN checked SET NOT NULL", &[]),
    ("ALTER TABLE users ALTER COLUMN id SET NOT NULL", &[]),
    ("ALTER TABLE users ADD CONSTRAINT u UNIQUE (email)", &["WB111 High"]),
    ("ALTER TABLE users ADD CONSTRAINT u EXCLUDE USING btree (email WITH =)", &["WB112 High"]),
    // Columns.
    ("ALTER TABLE users ADD COLUMN c int", &[]),
    ("ALTER TABLE users ADD COLUMN c int NOT NULL DEFAULT 0", &[]),
    ("ALTER TABLE users ADD COLUMN c timestamptz DEFAULT now()", &[]),
    ("ALTER TABLE users ADD COLUMN c timestamptz DEFAULT clock_timestamp()", &["WB113 High"]),
    ("ALTER TABLE orders ADD COLUMN c uuid DEFAULT gen_random_uuid()", &["WB113 Low"]),
    ("ALTER TABLE users ADD COLUMN c bigserial", &["WB113 High"]),
    ("ALTER TABLE users ADD COLUMN c int GENERATED ALWAYS AS IDENTITY", &["WB113 High"]),
    ("ALTER TABLE users ADD COLUMN c int GENERATED ALWAYS AS (amount * 2) STORED", &["WB113 High"]),
    ("ALTER TABLE users ADD COLUMN c positive", &["WB113 High"]),
    ("ALTER TABLE users ADD COLUMN c int NOT NULL", &["WB201 High"]),
    ("ALTER TABLE countries ADD COLUMN c int NOT NULL", &[]),
    ("ALTER TABLE users ALTER COLUMN email TYPE varchar(40)", &[]),
    ("ALTER TABLE users ALTER COLUMN email TYPE text", &[]),
    ("ALTER TABLE users ALTER COLUMN email TYPE varchar(10)", &["WB114 High"]),
    ("ALTER TABLE users ALTER COLUMN amount TYPE bigint", &["WB114 High"]),
    ("ALTER TABLE orders ALTER COLUMN other TYPE numeric", &["WB114 Low"]),
    ("ALTER TABLE users ALTER COLUMN born TYPE timestamptz", &["WB114 High", "WB205 Medium"]),
    ("ALTER TABLE users ALTER COLUMN born TYPE timestamptz USING born AT TIME ZONE 'UTC'", &["WB114 High"]),
    // Whole tables.
    ("ALTER TABLE users SET UNLOGGED", &["WB116 High"]),
    ("CLUSTER users USING users_pkey", &["WB116 High"]),
    ("REFRESH MATERIALIZED VIEW totals", &["WB117 High"]),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY totals", &[]),
    (
        "ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        &["WB118 High"],
    ),
    (
        "CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2027-01-01') TO ('2027-02-01')",
        &["WB119 High"],
    ),
    ("BEGIN; LOCK TABLE users; COMMIT", &["WB121 Medium"]),
    // What breaks or is lost.
    ("DROP TABLE orders", &["WB301 High", "WB122 Medium"]),
    ("DROP TABLE countries", &["WB301 Medium"]),
    ("ALTER TABLE users DROP COLUMN email", &["WB302 High"]),
    ("DROP TABLE countries CASCADE", &["WB301 Medium", "WB309 Info"]),
    ("ALTER TABLE users RENAME TO people", &["WB304 High"]),
    ("ALTER TABLE users RENAME COLUMN email TO mail", &["WB305 High"]),
    ("ALTER TABLE users SET SCHEMA other", &["WB304 High"]),
    ("ALTER INDEX users_name RENAME TO other", &[]),
    ("TRUNCATE orders", &["WB307 High"]),
    ("DELETE FROM orders", &["WB310 High", "WB401 Info"]),
    ("DROP VIEW v", &["WB210 Medium", "WB303 Medium"]),
    // Publications.
    ("ALTER TABLE feed DROP CONSTRAINT feed_pkey", &["WB207 High"]),
    ("ALTER TABLE feed REPLICA IDENTITY NOTHING", &["WB207 High"]),
    ("ALTER TABLE feed RENAME COLUMN what TO why", &["WB208 High", "WB305 High"]),
    // Rows.
    ("UPDATE users SET amount = 0", &["WB401 High"]),
    ("UPDATE users SET amount = 0 WHERE amount IS NULL", &["WB401 High"]),
    ("UPDATE users SET amount = 0 WHERE id = 7", &[]),
    ("UPDATE orders SET other = 0", &["WB401 Info"]),
    ("UPDATE users SET amount = 0, amount = 1 WHERE id = 7", &["WB204 High"]),
    ("UPDATE users SET amount = amount WHERE id = 7", &["WB204 Low"]),
    ("DO 'BEGIN END'", &["WB403 Medium"]),
    ("ALTER TABLE users DROP COLUMN nothing", &["WB210 Medium", "WB302 High"]),
    ("CREATE INDEX CONCURRENTLY i ON users (nothing)", &["WB210 Medium"]),
    ("CREATE INDEX CONCURRENTLY i ON users (lower(nothing))", &["WB210 Medium"]),
    ("UPDATE users SET nothing = 1 WHERE id = 1", &["WB210 Medium"]),
    ("INSERT INTO users (nothing) VALUES (1)", &["WB210 Medium"]),
    ("CREATE TABLE users (id bigint)", &["WB210 Medium"]),
    ("CREATE TABLE IF NOT EXISTS users (id bigint)", &[]),
    ("CREATE VIEW users AS SELECT 1", &["WB210 Medium"]),
    // Together.
    (
        "ALTER TABLE users ADD CONSTRAINT c CHECK (amount > 0) NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT c",
        &["WB108 High"],
    ),
    ("ALTER TABLE orders ADD COLUMN c int; CREATE INDEX i ON users (email)", &["WB120 High", "WB101 High"]),
    ("ALTER TABLE users ADD COLUMN c int; UPDATE users SET c = 1 WHERE id = 7", &["WB402 High"]),
    ("ALTER TYPE mood ADD VALUE 'glad'; INSERT INTO orders VALUES (1, 'glad')", &["WB202 High"]),
    (
        "ALTER TYPE mood ADD VALUE 'glad'; CREATE INDEX CONCURRENTLY i ON users (email) WHERE name = 'glad'",
        &[],
    ),
    // What the script makes is nobody else's.
    (
        "CREATE TABLE n (id int PRIMARY KEY, a int); CREATE INDEX i ON n (a); ALTER TABLE n ALTER COLUMN a SET NOT NULL; \
         ALTER TABLE n ADD COLUMN b int NOT NULL; ALTER TABLE n RENAME COLUMN b TO c; UPDATE n SET a = 1; DROP TABLE n",
        &[],
    ),
];

#[test]
fn statements_are_judged_by_what_they_do() {
    let catalog = catalog(15);
    let mut wrong = Vec::new();
    for (sql, expected) in CASES {
        let mut found = codes(sql, &catalog);
        let mut wanted: Vec<String> = expected.iter().map(|code| (*code).to_owned()).collect();
        found.sort();
        wanted.sort();
        if found != wanted {
            wrong.push(format!("{sql}\n  found {found:?}\n  not   {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_safe_form_is_sql() {
    let catalog = catalog(15);
    let mut seen = 0;
    for (sql, _) in CASES {
        for finding in findings(sql, &catalog).iter().filter(|finding| !finding.safe_form.is_empty()) {
            let form = &finding.safe_form;
            assert!(parse(form).is_ok(), "{sql}: {} {:?}\n{form}", finding.code, parse(form));
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_place_is_that_of_the_part() {
    let catalog = catalog(15);
    let check = |sql: &str, code: &str, place: (u32, u32)| {
        let found = findings(sql, &catalog);
        let one = found.iter().find(|one| one.code == code).unwrap_or_else(|| panic!("{sql}: {found:?}"));
        assert_eq!((one.line, one.column), place, "{sql}");
    };
    check("SELECT 1;\n\n  CREATE INDEX i ON users (email);", "WB101", (3, 3));
    check("ALTER TABLE users\n  ADD COLUMN a int,\n  ADD COLUMN b int NOT NULL", "WB201", (3, 14));
    check("SELECT 1; ALTER TABLE users ADD COLUMN b int NOT NULL", "WB201", (1, 40));
}

#[test]
fn safe_forms_of_several_parts_are_one() {
    let sql = "ALTER TABLE users ADD COLUMN a int, ALTER COLUMN email SET NOT NULL, ADD CONSTRAINT c CHECK (amount > 0)";
    let found = findings(sql, &catalog(15));
    let forms: Vec<&str> =
        found.iter().filter(|one| one.code.starts_with("WB")).map(|one| one.safe_form.as_str()).collect();
    assert_eq!(forms.len(), 2);
    assert_eq!(
        forms[0],
        "-- each in a transaction of its own (transaction: PerStatement)\n\
         ALTER TABLE users ADD COLUMN a int;\n\
         ALTER TABLE users ADD CONSTRAINT users_email_check CHECK (email IS NOT NULL) NOT VALID;\n\
         ALTER TABLE users VALIDATE CONSTRAINT users_email_check;\n\
         ALTER TABLE users ALTER COLUMN email SET NOT NULL;\n\
         ALTER TABLE users DROP CONSTRAINT users_email_check;\n\
         ALTER TABLE users ADD CONSTRAINT c CHECK (amount > 0) NOT VALID;\n\
         ALTER TABLE users VALIDATE CONSTRAINT c;\n"
    );
    assert_eq!(forms[0], forms[1]);
}

#[test]
fn messages_name_the_size() {
    let found = findings("ALTER TABLE users ALTER COLUMN email SET NOT NULL", &catalog(15));
    assert_eq!(
        found[0].message,
        "SET NOT NULL on email reads all of users (5.0 M rows, 477 MiB) under ACCESS EXCLUSIVE: readers and writers wait"
    );
}

#[test]
fn what_is_partitioned_is_rebuilt_partition_by_partition() {
    let check = |sql: &str, message: &str| {
        let found = findings(sql, &catalog(15));
        assert!(found[0].message.contains(message), "{sql}: {}", found[0].message);
        let parts =
            "REINDEX TABLE CONCURRENTLY public.events_1;\nREINDEX TABLE CONCURRENTLY public.events_rest;";
        assert_eq!(found[0].safe_form.trim(), parts, "{sql}");
    };
    check("REINDEX TABLE events", "the server refuses it for what is partitioned");
    check("REINDEX TABLE CONCURRENTLY events", "the next writers wait behind it");
}

#[test]
fn squawk_is_overruled_by_what_the_catalog_shows() {
    let catalog = catalog(18);
    let check = |sql: &str, rule: &str, overruled: bool| {
        let found = findings(sql, &catalog);
        let one = found.iter().find(|one| one.code == rule);
        let one = one.unwrap_or_else(|| panic!("{sql}: {found:#?}"));
        assert_eq!(one.overruled.is_some(), overruled, "{sql}: {one:?}");
    };
    check("ALTER TABLE users ALTER COLUMN email TYPE varchar(40)", "changing-column-type", true);
    check("ALTER TABLE users ALTER COLUMN checked SET NOT NULL", "adding-not-nullable-field", true);
    check(
        "CREATE TABLE n (a int); ALTER TABLE n ADD CONSTRAINT c CHECK (a > 0)",
        "prefer-bigint-over-int",
        false,
    );
    check("ALTER TABLE users ALTER COLUMN id DROP NOT NULL", "ban-drop-not-null", false);
    // What a finding says is not said twice.
    let found = findings("CREATE INDEX i ON users (email)", &catalog);
    assert_eq!(found.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["WB101"]);
}

#[test]
fn squawk_is_not_heard_where_it_sees_other_statements() {
    let sql = "CREATE SCHEMA s CREATE VIEW v AS SELECT 1; CREATE TABLE q (a char(3)); ALTER TABLE users ALTER id DROP NOT NULL";
    let found = findings(sql, &catalog(15));
    assert!(found.iter().all(|one| rule(&one.code).is_some()), "{found:#?}");
}
