//! What is refused, left out, and accepted.

use super::*;

/// Refused at their first character, by code.
const REFUSED: &[(Code, &[&str])] = &[
    (Code::Empty, &["", "-- nothing\n;", "BEGIN; COMMIT"]),
    (
        Code::TransactionControl,
        &[
            "COMMIT",
            "BEGIN",
            "ROLLBACK",
            "SAVEPOINT a",
            "RELEASE a",
            "PREPARE TRANSACTION 'a'",
            "COMMIT PREPARED 'a'",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
        ],
    ),
    (
        Code::RoleChange,
        &[
            "SET ROLE a",
            "SET LOCAL ROLE a",
            "RESET ROLE",
            "SET SESSION AUTHORIZATION a",
            "RESET SESSION AUTHORIZATION",
            "SET role = 'a'",
        ],
    ),
    (
        Code::SessionState,
        &[
            "RESET ALL",
            "DISCARD ALL",
            "DISCARD TEMP",
            "LOAD 'x'",
            "LISTEN a",
            "UNLISTEN *",
            "PREPARE a AS SELECT 1",
            "EXECUTE a",
            "DEALLOCATE a",
            "CREATE TEMP TABLE a (b int)",
            "CREATE TABLE pg_temp.a (b int)",
            "SELECT 1 INTO TEMP a",
            "DECLARE a CURSOR WITH HOLD FOR SELECT 1",
        ],
    ),
    (
        Code::Setting,
        &[
            "SET search_path = a",
            "SET LOCAL search_path TO a, public",
            "SET SCHEMA 'a'",
            "SET work_mem = '1GB'",
            "SET LOCAL work_mem = '1GB'",
            "RESET work_mem",
            "SET CONSTRAINTS ALL DEFERRED",
            "SET TIME ZONE 'UTC'",
        ],
    ),
    (Code::CopyData, &["COPY t FROM STDIN"]),
    (
        Code::FileAccess,
        &["COPY t FROM PROGRAM 'x'", "COPY t TO PROGRAM 'x'", "COPY t TO STDOUT", "COPY t TO '/x'"],
    ),
    (
        Code::ServerWide,
        &[
            "ALTER SYSTEM SET a = 1",
            "CREATE DATABASE a",
            "DROP DATABASE a",
            "CREATE TABLESPACE a LOCATION '/a'",
            "DROP TABLESPACE a",
            "ALTER DATABASE a SET TABLESPACE b",
            "CREATE SUBSCRIPTION a CONNECTION '' PUBLICATION b",
            "DROP SUBSCRIPTION a",
        ],
    ),
    (
        Code::NoProbe,
        &[
            "REINDEX DATABASE a",
            "REINDEX SYSTEM a",
            "REINDEX SCHEMA a",
            "CLUSTER",
            "VACUUM FULL t",
            "VACUUM (FULL) t",
        ],
    ),
    (Code::NameRequired, &["CREATE INDEX CONCURRENTLY ON t (a)"]),
];

/// Everything that is wrong, as code and column.
fn found(sql: &str) -> Vec<(Code, u32)> {
    let refusals = parse(sql).err().unwrap_or_else(|| panic!("accepted: {sql}"));
    refusals.iter().map(|refusal| (refusal.code, refusal.column)).collect()
}

#[test]
fn refuses() {
    for (code, sql) in REFUSED.iter().flat_map(|(code, list)| list.iter().map(move |sql| (*code, sql))) {
        assert_eq!(found(sql), [(code, 1)], "{sql}");
    }
    let check = |sql: &str, code: Code, column: u32| assert_eq!(found(sql), [(code, column)], "{sql}");
    check("SELECT set_config('work_mem', '1GB', false)", Code::Setting, 8);
    check("SELECT pg_catalog.set_config('search_path', '', false)", Code::Setting, 19);
    check("BEGIN; CREATE INDEX CONCURRENTLY i ON t (a); COMMIT", Code::NotInTransaction, 8);
    check("BEGIN; VACUUM t; COMMIT", Code::NotInTransaction, 8);
}

#[test]
fn keeps_away_from_the_ledger() {
    let check = |sql: &str, column: u32| assert_eq!(found(sql), [(Code::ReservedSchema, column)], "{sql}");
    check("SELECT * FROM whimbrel.runs", 15);
    check("DELETE FROM Whimbrel . runs", 13);
    check("DELETE FROM \"whimbrel\".runs", 13);
    check("DELETE FROM U&\"whimbre\\006C\".runs", 13);
    check("DELETE FROM app.whimbrel.runs", 17);
    check("ALTER TABLE whimbrel.runs ADD COLUMN a int", 13);
    check("CREATE TABLE whimbrel.mine (a int)", 14);
    check("CREATE FUNCTION whimbrel.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", 17);
    check("DROP SCHEMA whimbrel CASCADE", 13);
    check("DROP SCHEMA IF EXISTS a, b, whimbrel", 29);
    check("CREATE SCHEMA whimbrel", 15);
    check("CREATE SCHEMA IF NOT EXISTS whimbrel", 29);
    check("CREATE SCHEMA AUTHORIZATION whimbrel", 29);
    check("ALTER SCHEMA whimbrel RENAME TO a", 14);
    check("ALTER SCHEMA a RENAME TO whimbrel", 26);
    check("ALTER TABLE t SET SCHEMA whimbrel", 26);
    check("GRANT ALL ON SCHEMA a, whimbrel TO b", 24);
    check("GRANT ALL ON ALL TABLES IN SCHEMA whimbrel TO b", 35);
    check("ALTER DEFAULT PRIVILEGES IN SCHEMA whimbrel GRANT ALL ON TABLES TO b", 36);
    check("IMPORT FOREIGN SCHEMA a FROM SERVER b INTO whimbrel", 44);
    check("ALTER ROLE a SET search_path = public, whimbrel", 40);
    check("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = 'whimbrel' AS 'SELECT 1'", 64);
    check("CREATE EXTENSION a SCHEMA whimbrel", 27);
    // Others of that name.
    script("GRANT USAGE ON SCHEMA app TO whimbrel");
    script("CREATE SCHEMA app AUTHORIZATION whimbrel");
    script("CREATE TABLE whimbrel (whimbrel int)");
    script("SELECT 'whimbrel.runs', whimbrel FROM app.whimbrel");
}

#[test]
fn says_where_and_what_to_do() {
    let refusals = parse("CREATE TABLE a (b int);\n  SET search_path = app;\n").unwrap_err();
    assert_eq!(
        refusals[0].to_string(),
        "2:3: SET search_path is not allowed here: it would hold for some statements only; set spec.searchPath, or write \
         the schema before the name"
    );
}

#[test]
fn leaves_out_what_is_set_anyway() {
    let found = script(
        "SET lock_timeout = '1s';\nSELECT 1;\n SET LOCAL statement_timeout = 0;\nSET client_min_messages TO warning",
    );
    assert_eq!(found.statements.len(), 1);
    let notes: Vec<_> =
        found.notes.iter().map(|note| (note.line, note.column, note.message.as_str())).collect();
    assert_eq!(
        notes,
        [
            (1, 1, "lock_timeout is left out: it is set for every statement anyway"),
            (3, 2, "statement_timeout is left out: it is set for every statement anyway"),
            (4, 1, "client_min_messages is left out: it is set for every statement anyway"),
        ]
    );
}

#[test]
fn takes_one_transaction_around_everything() {
    let check = |sql: &str, wants: bool, count: usize| {
        let found = script(sql);
        assert_eq!((found.wants_single_transaction, found.statements.len()), (wants, count), "{sql}");
    };
    check("SELECT 1; SELECT 2", false, 2);
    check("BEGIN; SELECT 1; SELECT 2; COMMIT;", true, 2);
    check("START TRANSACTION; SELECT 1; END", true, 1);
    check("SET lock_timeout = 1; BEGIN; SET LOCAL work_mem = '1GB'; SELECT 1; COMMIT;", true, 2);
    check("BEGIN; CREATE TEMP TABLE a (b int) ON COMMIT DROP; SELECT 1; COMMIT;", true, 2);
    let check = |sql: &str, columns: &[u32]| {
        let refusals = parse(sql).unwrap_err();
        assert!(refusals.iter().all(|refusal| refusal.code == Code::TransactionControl), "{refusals:?}");
        assert_eq!(refusals.iter().map(|refusal| refusal.column).collect::<Vec<_>>(), columns, "{sql}");
    };
    check("BEGIN; SELECT 1; COMMIT; SELECT 2", &[1, 18]);
    check("BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 1; COMMIT", &[18, 26]);
    check("BEGIN; SELECT 1; COMMIT AND CHAIN", &[1, 18]);
    check("BEGIN; SELECT 1", &[1]);
}
