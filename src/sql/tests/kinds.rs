//! Classification: kind, transaction, blocking, probe.

use super::*;

#[test]
fn names_kinds() {
    let check = |sql: &str, name: &str, transactional: bool, blocking: bool| {
        let found = one(sql);
        assert_eq!(
            (found.kind.name(), found.transactional, found.blocking),
            (name, transactional, blocking),
            "{sql}"
        );
        assert_eq!(found.probe().is_some(), !transactional, "{sql}");
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Statement>(&json).unwrap(), found, "{json}");
        assert!(json.contains(&format!("\"name\":\"{name}\"")), "{json}");
    };
    let blocking = true;
    let tx = true;
    check("CREATE TABLE t (a int)", "createTable", tx, !blocking);
    check("CREATE TABLE t (a int REFERENCES u)", "createTable", tx, blocking);
    check(
        "CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t)",
        "createTable",
        tx,
        !blocking,
    );
    check(
        "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES u)",
        "createTable",
        tx,
        blocking,
    );
    check(
        "CREATE TABLE t PARTITION OF u FOR VALUES IN (1)",
        "createTable",
        tx,
        blocking,
    );
    check("CREATE TABLE t () INHERITS (u)", "createTable", tx, blocking);
    check("CREATE TABLE t AS SELECT 1", "createTable", tx, !blocking);
    check("SELECT 1 INTO t", "createTable", tx, !blocking);
    check(
        "CREATE FOREIGN TABLE t (a int) SERVER s",
        "createTable",
        tx,
        !blocking,
    );
    check("ALTER TABLE t ADD COLUMN a int", "alterTable", tx, blocking);
    check("ALTER TABLE t VALIDATE CONSTRAINT c", "alterTable", tx, !blocking);
    check(
        "ALTER TABLE t ALTER a SET STATISTICS 100",
        "alterTable",
        tx,
        !blocking,
    );
    check("ALTER TABLE t SET (fillfactor = 50)", "alterTable", tx, !blocking);
    check(
        "ALTER TABLE t VALIDATE CONSTRAINT c, ADD COLUMN a int",
        "alterTable",
        tx,
        blocking,
    );
    check(
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u NOT VALID",
        "alterTable",
        tx,
        blocking,
    );
    check("ALTER TABLE t DETACH PARTITION p", "alterTable", tx, blocking);
    check(
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        "alterTable",
        !tx,
        !blocking,
    );
    check(
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "alterTable",
        tx,
        blocking,
    );
    check("CREATE INDEX i ON t (a)", "createIndex", tx, blocking);
    check(
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "createIndex",
        !tx,
        !blocking,
    );
    check("DROP INDEX i", "dropIndex", tx, blocking);
    check("DROP INDEX CONCURRENTLY i", "dropIndex", !tx, !blocking);
    check("REINDEX INDEX i", "reindex", tx, blocking);
    check("REINDEX INDEX CONCURRENTLY i", "reindex", !tx, !blocking);
    check("REINDEX (CONCURRENTLY FALSE) TABLE i", "reindex", tx, blocking);
    check("REINDEX (CONCURRENTLY) TABLE i", "reindex", !tx, !blocking);
    check("VACUUM t", "vacuum", !tx, !blocking);
    check("VACUUM (ANALYZE, FULL off) t", "vacuum", !tx, !blocking);
    check("ANALYZE t", "analyze", tx, !blocking);
    check("ALTER TABLE t RENAME COLUMN a TO b", "rename", tx, blocking);
    check("ALTER INDEX t RENAME TO b", "rename", tx, !blocking);
    check("CREATE VIEW v AS SELECT 1", "createView", tx, !blocking);
    check("CREATE OR REPLACE VIEW v AS SELECT 1", "createView", tx, blocking);
    check(
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        "createView",
        tx,
        !blocking,
    );
    check(
        "REFRESH MATERIALIZED VIEW v",
        "refreshMaterializedView",
        tx,
        blocking,
    );
    check(
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "refreshMaterializedView",
        tx,
        !blocking,
    );
    check("CREATE SEQUENCE s", "createSequence", tx, !blocking);
    check("CREATE SCHEMA s", "createSchema", tx, !blocking);
    check("CREATE TYPE e AS ENUM ('a')", "createType", tx, !blocking);
    check("CREATE TYPE e AS (a int)", "createType", tx, !blocking);
    check("CREATE DOMAIN d AS int", "createDomain", tx, !blocking);
    check(
        "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "createFunction",
        tx,
        !blocking,
    );
    check(
        "CREATE TRIGGER g BEFORE INSERT ON t EXECUTE FUNCTION f()",
        "createTrigger",
        tx,
        blocking,
    );
    check("CREATE POLICY p ON t", "createPolicy", tx, blocking);
    check(
        "CREATE STATISTICS s ON a, b FROM t",
        "createStatistics",
        tx,
        !blocking,
    );
    check("COMMENT ON COLUMN s.t.a IS 'x'", "comment", tx, !blocking);
    check("COMMENT ON FUNCTION f() IS 'x'", "other", tx, blocking);
    check("GRANT SELECT ON t TO a", "grant", tx, !blocking);
    check("INSERT INTO t VALUES (1)", "insert", tx, !blocking);
    check("UPDATE t SET a = 1", "update", tx, !blocking);
    check("DELETE FROM t", "delete", tx, !blocking);
    check(
        "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
        "merge",
        tx,
        !blocking,
    );
    check("TRUNCATE t", "truncate", tx, blocking);
    check(
        "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
        "other",
        tx,
        blocking,
    );
    check("SELECT count(*) FROM t", "select", tx, !blocking);
    check("LOCK TABLE t", "lock", tx, blocking);
    check("LOCK TABLE t IN ROW EXCLUSIVE MODE", "lock", tx, !blocking);
    check("ALTER TYPE e ADD VALUE 'b'", "addEnumValue", tx, !blocking);
    check("ALTER TYPE e RENAME VALUE 'a' TO 'b'", "rename", tx, !blocking);
    check("DROP TABLE t", "dropTable", tx, blocking);
    check("DROP VIEW t", "drop", tx, blocking);
    check("DO $$ BEGIN END $$", "other", tx, blocking);
    check("CALL p()", "other", tx, blocking);
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
        let found: Vec<bool> = script(sql)
            .statements
            .iter()
            .map(|statement| statement.blocking)
            .collect();
        assert_eq!(found, expected, "{sql}");
    };
    check(
        "CREATE TABLE t (a int); CREATE INDEX ON t (a); ALTER TABLE t ADD b int; TRUNCATE t",
        &[false; 4],
    );
    check(
        "CREATE TABLE t (a int); ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u",
        &[false, true],
    );
    check(
        "CREATE TABLE t (a int); ALTER TABLE t RENAME TO u; CREATE INDEX ON u (a)",
        &[false; 3],
    );
    check(
        "CREATE TABLE IF NOT EXISTS t (a int); CREATE INDEX ON t (a)",
        &[false, true],
    );
    check("CREATE TABLE t (a int); CREATE INDEX ON s.t (a)", &[false, true]);
}

#[test]
fn probes() {
    let check = |sql: &str, expected: Probe| assert_eq!(one(sql).probe(), Some(expected), "{sql}");
    let name = RelationName::unqualified;
    let qualified = RelationName::qualified;
    check(
        "CREATE INDEX CONCURRENTLY i ON ONLY s.t (a)",
        Probe::IndexValid {
            index: qualified("s", "i"),
            table: qualified("s", "t"),
        },
    );
    check(
        "DROP INDEX CONCURRENTLY IF EXISTS s.i",
        Probe::IndexesAbsent {
            indexes: vec![qualified("s", "i")],
        },
    );
    check(
        "REINDEX INDEX CONCURRENTLY i",
        Probe::IndexRebuilt { index: name("i") },
    );
    check(
        "REINDEX TABLE CONCURRENTLY t",
        Probe::TableReindexed { table: name("t") },
    );
    check("VACUUM", Probe::Repeatable);
    check(
        "ALTER TABLE s.t DETACH PARTITION \"P\" CONCURRENTLY",
        Probe::PartitionDetached {
            parent: qualified("s", "t"),
            partition: name("P"),
        },
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
