//! Classification: kind, transaction, blocking, probe.

use super::*;

/// Statement, kind, whether it runs in a transaction, whether it may make others wait.
const KINDS: &[(&str, &str, bool, bool)] = &[
    ("CREATE TABLE t (a int)", "createTable", true, false),
    ("CREATE TABLE t (a int REFERENCES u)", "createTable", true, true),
    ("CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t)", "createTable", true, false),
    ("CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES u)", "createTable", true, true),
    ("CREATE TABLE t PARTITION OF u FOR VALUES IN (1)", "createTable", true, true),
    ("CREATE TABLE t () INHERITS (u)", "createTable", true, true),
    ("CREATE TABLE t AS SELECT 1", "createTable", true, false),
    ("SELECT 1 INTO t", "createTable", true, false),
    ("CREATE FOREIGN TABLE t (a int) SERVER s", "createTable", true, false),
    ("ALTER TABLE t ADD COLUMN a int", "alterTable", true, true),
    ("ALTER TABLE t VALIDATE CONSTRAINT c", "alterTable", true, false),
    ("ALTER TABLE t ALTER a SET STATISTICS 100", "alterTable", true, false),
    ("ALTER TABLE t SET (fillfactor = 50)", "alterTable", true, false),
    ("ALTER TABLE t VALIDATE CONSTRAINT c, ADD COLUMN a int", "alterTable", true, true),
    ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u NOT VALID", "alterTable", true, true),
    ("ALTER TABLE t DETACH PARTITION p", "alterTable", true, true),
    ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "alterTable", false, false),
    ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "alterTable", true, true),
    ("CREATE INDEX i ON t (a)", "createIndex", true, true),
    ("CREATE INDEX CONCURRENTLY i ON t (a)", "createIndex", false, false),
    ("DROP INDEX i", "dropIndex", true, true),
    ("DROP INDEX CONCURRENTLY i", "dropIndex", false, false),
    ("REINDEX INDEX i", "reindex", true, true),
    ("REINDEX INDEX CONCURRENTLY i", "reindex", false, false),
    ("REINDEX (CONCURRENTLY FALSE) TABLE i", "reindex", true, true),
    ("REINDEX (CONCURRENTLY) TABLE i", "reindex", false, false),
    ("VACUUM t", "vacuum", false, false),
    ("VACUUM (ANALYZE, FULL off) t", "vacuum", false, false),
    ("ANALYZE t", "analyze", true, false),
    ("ALTER TABLE t RENAME COLUMN a TO b", "rename", true, true),
    ("ALTER INDEX t RENAME TO b", "rename", true, false),
    ("CREATE VIEW v AS SELECT 1", "createView", true, false),
    ("CREATE OR REPLACE VIEW v AS SELECT 1", "createView", true, true),
    ("CREATE MATERIALIZED VIEW v AS SELECT 1", "createView", true, false),
    ("REFRESH MATERIALIZED VIEW v", "refreshMaterializedView", true, true),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "refreshMaterializedView", true, false),
    ("CREATE SEQUENCE s", "createSequence", true, false),
    ("CREATE SCHEMA s", "createSchema", true, false),
    ("CREATE TYPE e AS ENUM ('a')", "createType", true, false),
    ("CREATE TYPE e AS (a int)", "createType", true, false),
    ("CREATE DOMAIN d AS int", "createDomain", true, false),
    ("CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "createFunction", true, false),
    ("CREATE TRIGGER g BEFORE INSERT ON t EXECUTE FUNCTION f()", "createTrigger", true, true),
    ("CREATE POLICY p ON t", "createPolicy", true, true),
    ("CREATE STATISTICS s ON a, b FROM t", "createStatistics", true, false),
    ("COMMENT ON COLUMN s.t.a IS 'x'", "comment", true, false),
    ("COMMENT ON FUNCTION f() IS 'x'", "other", true, true),
    ("GRANT SELECT ON t TO a", "grant", true, false),
    ("INSERT INTO t VALUES (1)", "insert", true, false),
    ("UPDATE t SET a = 1", "update", true, false),
    ("DELETE FROM t", "delete", true, false),
    ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", "merge", true, false),
    ("TRUNCATE t", "truncate", true, true),
    ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", "other", true, true),
    ("SELECT count(*) FROM t", "select", true, false),
    ("LOCK TABLE t", "lock", true, true),
    ("LOCK TABLE t IN ROW EXCLUSIVE MODE", "lock", true, false),
    ("ALTER TYPE e ADD VALUE 'b'", "addEnumValue", true, false),
    ("ALTER TYPE e RENAME VALUE 'a' TO 'b'", "rename", true, false),
    ("DROP TABLE t", "dropTable", true, true),
    ("DROP VIEW t", "drop", true, true),
    ("DO $$ BEGIN END $$", "other", true, true),
    ("CALL p()", "other", true, true),
];

#[test]
fn names_kinds() {
    for (sql, name, transactional, blocking) in KINDS {
        let found = one(sql);
        let seen = (found.kind.name(), found.transactional, found.blocking);
        assert_eq!(seen, (*name, *transactional, *blocking), "{sql}");
        assert_eq!(found.probe().is_some(), !transactional, "{sql}");
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Statement>(&json).unwrap(), found, "{json}");
        assert!(json.contains(&format!("\"name\":\"{name}\"")), "{json}");
    }
}

#[test]
fn names_unknown_kinds_by_the_grammar() {
    let check = |sql: &str, name: &str| assert_eq!(one(sql).kind, Kind::Other(name.into()), "{sql}");
    check("DO $$ BEGIN END $$", "DoStmt");
    check("CREATE EXTENSION a", "CreateExtensionStmt");
    check("SHOW work_mem", "VariableShowStmt");
}

#[test]
fn what_the_script_made_blocks_nobody() {
    let check = |sql: &str, expected: &[bool]| {
        let found: Vec<bool> = script(sql).statements.iter().map(|statement| statement.blocking).collect();
        assert_eq!(found, expected, "{sql}");
    };
    check("CREATE TABLE t (a int); CREATE INDEX ON t (a); ALTER TABLE t ADD b int; TRUNCATE t", &[false; 4]);
    check("CREATE TABLE t (a int); ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u", &[false, true]);
    check("CREATE TABLE t (a int); ALTER TABLE t RENAME TO u; CREATE INDEX ON u (a)", &[false; 3]);
    check("CREATE TABLE IF NOT EXISTS t (a int); CREATE INDEX ON t (a)", &[false, true]);
    check("CREATE TABLE t (a int); CREATE INDEX ON s.t (a)", &[false, true]);
}

#[test]
fn probes() {
    let check = |sql: &str, expected: Probe| assert_eq!(one(sql).probe(), Some(expected), "{sql}");
    let name = RelationName::unqualified;
    let qualified = RelationName::qualified;
    check(
        "CREATE INDEX CONCURRENTLY i ON ONLY s.t (a)",
        Probe::IndexValid { index: qualified("s", "i"), table: qualified("s", "t") },
    );
    check(
        "DROP INDEX CONCURRENTLY IF EXISTS s.i",
        Probe::IndexesAbsent { indexes: vec![qualified("s", "i")] },
    );
    check("REINDEX INDEX CONCURRENTLY i", Probe::IndexRebuilt { index: name("i") });
    check("REINDEX TABLE CONCURRENTLY t", Probe::TableReindexed { table: name("t") });
    check("VACUUM", Probe::Repeatable);
    check(
        "ALTER TABLE s.t DETACH PARTITION \"P\" CONCURRENTLY",
        Probe::PartitionDetached { parent: qualified("s", "t"), partition: name("P") },
    );
}

#[test]
fn sums_up() {
    let check = |sql: &str, expected: &str| assert_eq!(one(sql).summary(), expected);
    check(
        "ALTER TABLE users\n  ADD COLUMN tier text -- paid or not\n    DEFAULT 'free'",
        "ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'",
    );
    let long = one(&format!("SELECT '{}'", "ä ".repeat(200))).summary();
    assert!(long.len() <= 120 && long.ends_with("..."), "{long}");
}
