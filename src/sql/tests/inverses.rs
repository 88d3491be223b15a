//! Inverses, as text; that they work is proven on a server.

use super::*;

/// Answers every question: nothing is taken, columns are nullable and without default, `old` has both.
fn answers(statements: &[Statement]) -> Facts {
    let answer = |key: FactKey| {
        let value = match &key {
            FactKey::Column { column, .. } => FactValue::Column {
                exists: column != "absent",
                default: (column == "old").then(|| "'before'::text".to_owned()),
                not_null: column == "old",
                identity: column == "identity",
                generated: false,
            },
            FactKey::Rows { .. } => FactValue::Rows(super::super::RowsFact::default()),
            FactKey::Name { name, .. } => FactValue::Name { taken: name == "t_taken_check" },
            FactKey::Before { part, of, .. } => FactValue::Before(before(*part, of)),
        };
        (key, value)
    };
    facts_wanted(statements).into_iter().map(answer).collect()
}

/// Everything is there; of what can be set, the value before is told by its name.
fn before(part: Part, of: &Target) -> Before {
    let absent = of.name.name == "absent" || of.detail.as_deref() == Some("absent");
    let (values, shape) = match part {
        Part::Comment => (vec!["'it''s'".to_owned()], None),
        Part::Type => (vec!["integer".to_owned()], Some("integer".to_owned())),
        Part::Held => (vec!["SELECT".into(), "UPDATE(b)*".into()], Some("INSERT,SELECT,UPDATE".to_owned())),
        Part::Definition => (vec![format!("CREATE {} x AS 1", of.object)], Some("1".to_owned())),
        Part::NotNullName | Part::Privileges | Part::Attach => (Vec::new(), None),
        part => (vec![format!("<{}>", part.name())], None),
    };
    Before { exists: !absent, values, shape, ..Before::default() }
}

/// The inverse of the last statement: its SQL, or the reason why there is none.
fn inverse(sql: &str, suffix: Option<&str>) -> Vec<String> {
    let statements = script(sql).statements;
    let facts = answers(&statements);
    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
    let suffix = suffix.and_then(AsideSuffix::new);
    match derive(&statements, statements.len() - 1, &facts, suffix.as_ref()) {
        Inverse::Exact { statements, .. } => {
            for sql in &statements {
                one(sql);
            }
            statements
        }
        Inverse::None { reason, .. } => vec![format!("none: {reason}")],
    }
}

/// The same of one whose values are placeholders, which is no SQL.
fn inverse_text(sql: &str) -> Vec<String> {
    let statements = script(sql).statements;
    match derive(&statements, statements.len() - 1, &answers(&statements), None) {
        Inverse::Exact { statements, .. } => statements,
        Inverse::None { reason, .. } => vec![format!("none: {reason}")],
    }
}

#[test]
fn drops_what_was_added() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(inverse(sql, None), expected, "{sql}");
    check("ALTER TABLE t ADD a int", &["ALTER TABLE t DROP COLUMN a"]);
    check(
        "ALTER TABLE ONLY \"S s\".t ADD \"A\" int, ADD b int",
        &["ALTER TABLE ONLY \"S s\".t DROP COLUMN b", "ALTER TABLE ONLY \"S s\".t DROP COLUMN \"A\""],
    );
    check("CREATE TABLE s.t (a int)", &["DROP TABLE s.t"]);
    check("CREATE FOREIGN TABLE t (a int) SERVER s", &["DROP FOREIGN TABLE t"]);
    check("CREATE INDEX i ON s.t (a)", &["DROP INDEX IF EXISTS s.i"]);
    check("CREATE INDEX CONCURRENTLY i ON t (a)", &["DROP INDEX CONCURRENTLY IF EXISTS i"]);
    check("CREATE INDEX ON t (a, lower(b))", &["DROP INDEX t_a_lower_idx"]);
}

#[test]
fn drops_constraints_and_others() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(inverse(sql, None), expected, "{sql}");
    check("ALTER TABLE t ADD CHECK (a > 0)", &["ALTER TABLE t DROP CONSTRAINT t_a_check"]);
    check("ALTER TABLE t ADD CHECK (a > b)", &["ALTER TABLE t DROP CONSTRAINT t_check"]);
    check(
        "ALTER TABLE t ADD CHECK (t.a > 0); ALTER TABLE t ADD CHECK (a > 1)",
        &["ALTER TABLE t DROP CONSTRAINT t_a_check1"],
    );
    check("ALTER TABLE t ADD UNIQUE (a, b) INCLUDE (c)", &["ALTER TABLE t DROP CONSTRAINT t_a_b_c_key"]);
    check("ALTER TABLE t ADD FOREIGN KEY (a, b) REFERENCES u", &["ALTER TABLE t DROP CONSTRAINT t_a_b_fkey"]);
    check("ALTER TABLE t ADD CONSTRAINT \"C\" EXCLUDE (a WITH =)", &["ALTER TABLE t DROP CONSTRAINT \"C\""]);
    check(
        "ALTER TABLE t ADD PRIMARY KEY (a, old)",
        &["ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t ALTER COLUMN a DROP NOT NULL"],
    );
    check(
        "CREATE FUNCTION f(a int, OUT b text, c char(3)[]) LANGUAGE sql AS ''",
        &["DROP FUNCTION f(int, char(3)[])"],
    );
    check("CREATE MATERIALIZED VIEW v AS SELECT 1", &["DROP MATERIALIZED VIEW v"]);
    check("CREATE TRIGGER g BEFORE INSERT ON s.t EXECUTE FUNCTION f()", &["DROP TRIGGER g ON s.t"]);
}

#[test]
fn brings_settings_back() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(inverse(sql, None), expected, "{sql}");
    check(
        "ALTER TABLE t ALTER old SET DEFAULT 1",
        &["ALTER TABLE t ALTER COLUMN old SET DEFAULT 'before'::text"],
    );
    check(
        "ALTER TABLE t ALTER old DROP DEFAULT",
        &["ALTER TABLE t ALTER COLUMN old SET DEFAULT 'before'::text"],
    );
    check("ALTER TABLE t ALTER a SET DEFAULT 1", &["ALTER TABLE t ALTER COLUMN a DROP DEFAULT"]);
    check(
        "ALTER TABLE t ALTER a SET DEFAULT 1; ALTER TABLE t ALTER a SET DEFAULT now() + '1 day'",
        &["ALTER TABLE t ALTER COLUMN a SET DEFAULT 1"],
    );
    check(
        "ALTER TABLE t ADD a int DEFAULT (1 + 1); ALTER TABLE t ALTER a DROP DEFAULT",
        &["ALTER TABLE t ALTER COLUMN a SET DEFAULT 1 + 1"],
    );
    check("ALTER TABLE t ALTER old SET NOT NULL", &[]);
    check("ALTER TABLE t ALTER a SET NOT NULL", &["ALTER TABLE t ALTER COLUMN a DROP NOT NULL"]);
    check(
        "ALTER TABLE t RENAME old TO \"New\"; ALTER TABLE t RENAME TO u; ALTER TABLE u ALTER \"New\" SET NOT NULL",
        &[],
    );
    check("ALTER TABLE s.t RENAME TO \"U\"", &["ALTER TABLE s.\"U\" RENAME TO t"]);
    check("ALTER TABLE t RENAME \"A\" TO b", &["ALTER TABLE t RENAME COLUMN b TO \"A\""]);
    check("ALTER TABLE t RENAME CONSTRAINT a TO b", &["ALTER TABLE t RENAME CONSTRAINT b TO a"]);
    check("ALTER TYPE e RENAME VALUE 'a' TO 'it''s'", &["ALTER TYPE e RENAME VALUE 'it''s' TO 'a'"]);
    check("COMMENT ON COLUMN t.a IS 'x'", &["COMMENT ON COLUMN t.a IS 'it''s'"]);
    check("ALTER TABLE t VALIDATE CONSTRAINT c", &[]);
}

#[test]
fn sets_back_to_what_was_before() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(inverse_text(sql), expected, "{sql}");
    check("ALTER TABLE t OWNER TO x", &["ALTER TABLE t OWNER TO <owner>"]);
    check("ALTER TABLE t OWNER TO x; ALTER TABLE t OWNER TO y", &["ALTER TABLE t OWNER TO x"]);
    check("ALTER TABLE t RENAME TO u; ALTER TABLE u OWNER TO y", &["ALTER TABLE u OWNER TO <owner>"]);
    check("ALTER TABLE s.t SET SCHEMA \"S\"", &["ALTER TABLE \"S\".t SET SCHEMA s"]);
    check("ALTER TABLE t SET SCHEMA z", &["ALTER TABLE z.t SET SCHEMA <schema>"]);
    check(
        "ALTER TABLE t ALTER a SET STATISTICS 5",
        &["ALTER TABLE t ALTER COLUMN a SET STATISTICS <statistics>"],
    );
    check("ALTER TABLE t ALTER a TYPE bigint", &["ALTER TABLE t ALTER COLUMN a TYPE integer"]);
    check(
        "COMMENT ON FUNCTION f(int, char(3)[]) IS 'x'",
        &["COMMENT ON FUNCTION f(int, char(3)[]) IS 'it''s'"],
    );
    check("CREATE OR REPLACE VIEW v AS SELECT 1", &["CREATE OR REPLACE VIEW x AS 1"]);
    check("CREATE OR REPLACE VIEW absent AS SELECT 1", &["DROP VIEW absent"]);
    check(
        "GRANT SELECT, INSERT, UPDATE ON t TO x",
        &["REVOKE INSERT, UPDATE ON TABLE t FROM x", "GRANT UPDATE (b) ON TABLE t TO x WITH GRANT OPTION"],
    );
    check("GRANT INSERT ON t TO x; GRANT INSERT ON t TO x", &[]);
    check(
        "REVOKE ALL ON t FROM x",
        &["GRANT SELECT ON TABLE t TO x", "GRANT UPDATE (b) ON TABLE t TO x WITH GRANT OPTION"],
    );
}

#[test]
fn what_goes_with_the_plan_needs_nothing() {
    let check = |sql: &str| assert_eq!(inverse(sql, Some("r1")), Vec::<String>::new(), "{sql}");
    check("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    check("CREATE TABLE t (a int); DELETE FROM t");
    check("CREATE TABLE t (a int); TRUNCATE t");
    check("CREATE TABLE t (a int); GRANT ALL ON t TO public");
    check("CREATE TABLE t (a int); COMMENT ON COLUMN t.a IS 'x'");
    check("CREATE TABLE t (a int); ALTER TABLE t OWNER TO x, ENABLE ROW LEVEL SECURITY");
    check("ALTER TABLE t ADD a int; UPDATE t SET a = 1");
    check("ALTER TABLE t ADD a int; COMMENT ON COLUMN t.a IS 'x'");
    check("CREATE TYPE e AS ENUM (); ALTER TYPE e ADD VALUE 'a'");
    check("SELECT 1 FROM t");
    check("VACUUM t");
}

#[test]
fn says_why_there_is_none() {
    let check = |sql: &str, part: &str| {
        for suffix in [None, Some("r1")] {
            let found = inverse(sql, suffix);
            assert!(
                found.len() == 1 && found[0].starts_with("none: ") && found[0].contains(part),
                "{sql}: {found:?}"
            );
        }
    };
    check("ALTER TABLE t ADD IF NOT EXISTS a int", "IF NOT EXISTS");
    check("ALTER TABLE IF EXISTS t ADD a int", "IF EXISTS");
    check("CREATE TABLE IF NOT EXISTS t (a int)", "IF NOT EXISTS");
    check("CREATE INDEX IF NOT EXISTS i ON t (a)", "IF NOT EXISTS");
    check("CREATE INDEX ON t ((a + 1))", "write a name");
    check("ALTER TABLE t ADD CHECK (taken > 0)", "t_taken_check is taken");
    check("ALTER TABLE t DROP COLUMN a", "column a");
    check("ALTER TABLE t ADD a int, DROP COLUMN b", "column b");
    check("ALTER TABLE t ALTER a TYPE numeric", "may not come back whole");
    check("ALTER TABLE t ALTER a TYPE bigint USING a * 2", "computed anew");
    check("ALTER TABLE t ALTER absent TYPE bigint", "was not there");
    check("ALTER TABLE t ALTER absent SET DEFAULT 1", "was not there");
    check("ALTER TABLE t ALTER identity SET DEFAULT 1", "identity");
    check("ALTER TABLE t ADD PRIMARY KEY USING INDEX i", "would drop its index");
    check("ALTER TYPE e ADD VALUE 'a'", "an enum value cannot be dropped");
    check("UPDATE t SET a = 1", "rows are updated");
    check("ALTER TABLE t ADD a int; UPDATE t SET a = 1, b = 2", "rows are updated");
    check(
        "CREATE TABLE t (a int); WITH x AS (DELETE FROM u RETURNING *) INSERT INTO t SELECT * FROM x",
        "rows are inserted",
    );
    check("SELECT f()", "a function");
    check("DROP TABLE t", "gone");
    check("DROP SEQUENCE s", "current value");
    check("COMMENT ON FUNCTION absent() IS 'x'", "was not there");
    check("DO $$ BEGIN END $$", "Do has no derived inverse");
    check("GRANT ALL ON ALL TABLES IN SCHEMA s TO public", "does not name");
}

#[test]
fn without_facts_there_is_no_guess() {
    let check = |sql: &str, derived: bool| {
        let statements = script(sql).statements;
        let found = derive(&statements, 0, &Facts::default(), None);
        assert_eq!(matches!(found, Inverse::Exact { .. }), derived, "{sql}: {found:?}");
    };
    check("ALTER TABLE t ADD a int", true);
    check("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", true);
    check("ALTER TABLE t ADD CHECK (a > 0)", false);
    check("ALTER TABLE t ALTER a SET NOT NULL", false);
    check("ALTER TABLE t ALTER a SET DEFAULT 1", false);
    check("CREATE INDEX ON t (a)", false);
}

#[test]
fn puts_aside() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(inverse(sql, Some("r1")), expected, "{sql}");
    check("ALTER TABLE t ADD a int", &["ALTER TABLE t RENAME COLUMN a TO _whimbrel_a_r1"]);
    check(
        "ALTER TABLE s.t ADD \"A\" int NOT NULL DEFAULT 1 CHECK (\"A\" > 0) UNIQUE REFERENCES u",
        &[
            "ALTER TABLE s.t DROP CONSTRAINT \"t_A_fkey\"",
            "ALTER TABLE s.t DROP CONSTRAINT \"t_A_key\"",
            "ALTER TABLE s.t DROP CONSTRAINT \"t_A_check\"",
            "ALTER TABLE s.t ALTER COLUMN \"A\" DROP DEFAULT",
            "ALTER TABLE s.t ALTER COLUMN \"A\" DROP NOT NULL",
            "ALTER TABLE s.t RENAME COLUMN \"A\" TO \"_whimbrel_A_r1\"",
        ],
    );
    check(
        "ALTER TABLE t ADD a serial",
        &[
            "ALTER SEQUENCE t_a_seq RENAME TO _whimbrel_t_a_seq_r1",
            "ALTER TABLE t ALTER COLUMN a DROP DEFAULT",
            "ALTER TABLE t ALTER COLUMN a DROP NOT NULL",
            "ALTER TABLE t RENAME COLUMN a TO _whimbrel_a_r1",
        ],
    );
    check("ALTER TABLE t ADD a int GENERATED ALWAYS AS (b * 2) STORED", &["ALTER TABLE t DROP COLUMN a"]);
    check(
        "CREATE TABLE s.t (a int PRIMARY KEY, b int DEFAULT 1 CHECK (b > 0) REFERENCES u)",
        &[
            "ALTER TABLE s.t ALTER COLUMN b DROP DEFAULT",
            "ALTER TABLE s.t DROP CONSTRAINT t_b_check",
            "ALTER TABLE s.t DROP CONSTRAINT t_b_fkey",
            "ALTER TABLE s.t RENAME CONSTRAINT t_pkey TO _whimbrel_t_pkey_r1",
            "ALTER TABLE s.t RENAME TO _whimbrel_t_r1",
        ],
    );
    check("CREATE SCHEMA s", &["ALTER SCHEMA s RENAME TO _whimbrel_s_r1"]);
    check("CREATE TYPE s.e AS ENUM ()", &["ALTER TYPE s.e RENAME TO _whimbrel_e_r1"]);
    check(
        "CREATE TABLE t (LIKE u INCLUDING ALL)",
        &["none: LIKE and OF make constraints and indexes whose names are not in the statement"],
    );
}

#[test]
fn names_of_what_is_put_aside_fit_and_differ() {
    let suffix = AsideSuffix::new("0123456789abcdef01234567").unwrap();
    let (one, two) = (
        suffix.aside_name(&format!("{}a", "ä".repeat(31))),
        suffix.aside_name(&format!("{}b", "ä".repeat(31))),
    );
    assert!(one.len() <= 63 && one != two && one.starts_with(ASIDE_PREFIX), "{one} {two}");
    for wrong in ["", "A", "a-b", "0123456789abcdef012345678"] {
        assert_eq!(AsideSuffix::new(wrong), None, "{wrong}");
    }
}

#[test]
fn purges_in_order() {
    let sql =
        "CREATE SCHEMA s; CREATE TYPE s.e AS ENUM (); CREATE TABLE s.t (a int); ALTER TABLE s.t ADD b s.e";
    let statements = script(sql).statements;
    let suffix = AsideSuffix::new("r1").unwrap();
    let asides: Vec<Aside> = (0..statements.len())
        .rev()
        .flat_map(|index| match derive(&statements, index, &answers(&statements), Some(&suffix)) {
            Inverse::Exact { aside, .. } => aside,
            Inverse::None { reason, .. } => panic!("{reason}"),
        })
        .collect();
    assert_eq!(
        purge(&asides),
        [
            "ALTER TABLE _whimbrel_s_r1._whimbrel_t_r1 DROP COLUMN _whimbrel_b_r1",
            "DROP TABLE _whimbrel_s_r1._whimbrel_t_r1",
            "DROP TYPE _whimbrel_s_r1._whimbrel_e_r1",
            "DROP SCHEMA _whimbrel_s_r1",
        ]
    );
}

#[test]
fn leaves_what_a_person_wrote() {
    let check = |up: &str, down: &str, expected: &[&str]| {
        let (up, down) = (script(up).statements, script(down).statements);
        let suffix = AsideSuffix::new("r1").unwrap();
        assert_eq!(aside_written(&down, &up, &answers(&up), &suffix).0, expected);
    };
    check(
        "ALTER TABLE t ADD a int",
        "ALTER TABLE t DROP a, DROP old",
        &["ALTER TABLE t RENAME COLUMN a TO _whimbrel_a_r1", "ALTER TABLE t DROP COLUMN old"],
    );
    check(
        "CREATE TABLE t (a int)",
        "DROP TABLE IF EXISTS t, u; SELECT 1",
        &["ALTER TABLE t RENAME TO _whimbrel_t_r1", "DROP TABLE IF EXISTS u", "SELECT 1"],
    );
    for (up, down) in [
        ("CREATE TABLE t (a int)", "DROP TABLE t CASCADE"),
        ("CREATE TABLE IF NOT EXISTS t (a int)", "DROP TABLE t"),
        ("ALTER TABLE t ADD a int; ALTER TABLE t RENAME a TO b", "ALTER TABLE t DROP b"),
        ("ALTER TABLE t ADD a int", "ALTER TABLE t DROP a, ALTER old DROP NOT NULL"),
        ("ALTER TABLE t ADD a int", "UPDATE t SET old = 1"),
        ("ALTER TABLE t ADD a int GENERATED ALWAYS AS (b) STORED", "ALTER TABLE t DROP a"),
    ] {
        check(up, down, &[down]);
    }
}

/// A script with something of everything that one statement leaves for the next.
fn long(tables: usize) -> String {
    let of_table = |n: usize| {
        format!(
            "CREATE TABLE t{n} (id serial PRIMARY KEY, a text UNIQUE, b int DEFAULT 3 CHECK (b > 0), c int);
             ALTER TABLE t{n} ADD COLUMN d text DEFAULT 'x', ADD UNIQUE (a, b), ALTER c SET NOT NULL;
             CREATE INDEX ON t{n} (c); CREATE INDEX i{n} ON t{n} (d);
             ALTER TABLE t{n} RENAME COLUMN c TO e; COMMENT ON COLUMN t{n}.e IS 'new';
             ALTER TABLE old{n} RENAME COLUMN x TO y; COMMENT ON COLUMN old{n}.y IS 'one'; GRANT SELECT ON old{n} TO app;
             ALTER TABLE old{n} RENAME TO former{n}; COMMENT ON TABLE former{n} IS 'two'; REVOKE ALL ON former{n} FROM app;
             ALTER TABLE old{n} ALTER c SET DEFAULT 1, ALTER missing TYPE bigint; CREATE VIEW v{n} AS SELECT 1;
             ALTER TABLE former{n} DROP CONSTRAINT k{n}; DROP TABLE t{n};"
        )
    };
    (0..tables).map(of_table).collect()
}

#[test]
fn one_walk_gives_what_each_statement_alone_gives() {
    let statements = script(&long(3)).statements;
    let facts = answers(&statements);
    for suffix in [None, AsideSuffix::new("r1")] {
        let walked = derive_all(&statements, &facts, suffix.as_ref());
        assert_eq!(walked.len(), statements.len());
        for (index, inverse) in walked.iter().enumerate() {
            let alone = derive(&statements, index, &facts, suffix.as_ref());
            assert_eq!(*inverse, alone, "{}", statements[index].sql);
        }
    }
}
