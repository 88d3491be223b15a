//! Where statements and errors are.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// The errors of a text as `line:column code message`.
fn errors(sql: &str) -> Vec<String> {
    let refusals = parse(sql).err().unwrap_or_default();
    refusals
        .iter()
        .map(|refusal| {
            let code = serde_json::to_value(refusal.code).unwrap();
            format!("{}:{} {} {}", refusal.line, refusal.column, code.as_str().unwrap(), refusal.message)
        })
        .collect()
}

#[test]
fn points_at_the_token() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(errors(sql), expected, "{sql}");
    check("SELEC 1", &["1:1 syntax-error syntax error at or near \"SELEC\""]);
    check("SELECT 1;\n  SELECT FROM WHERE x;", &["2:15 syntax-error syntax error at or near \"WHERE\""]);
    check("SELECT (1", &["1:10 syntax-error syntax error at end of input"]);
    check("SELECT (1  -- why\n", &["1:10 syntax-error syntax error at end of input"]);
    check("SELECT ((1)));", &["1:13 syntax-error syntax error at or near \")\""]);
    check(
        "ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int,, ADD c int",
        &["1:50 syntax-error syntax error at or near \",\""],
    );
    check(
        "SELECT ',', 'from', fromage, a FROM FROM;",
        &["1:37 syntax-error syntax error at or near \"FROM\""],
    );
    check(
        "-- größe\nCREATE TABLE größe (\n  ä int,\n  ö ö ö\n);",
        &["4:7 syntax-error syntax error at or near \"ö\""],
    );
    check("SELECT 1;\r\nSELEC 2;\r\n", &["2:1 syntax-error syntax error at or near \"SELEC\""]);
    check(
        "CREATE TABLE t (a timestamp with with time zone)",
        &["1:29 syntax-error syntax error at or near \"with\""],
    );
    check("CREATE TABLE t (a int not not null)", &["1:23 syntax-error syntax error at or near \"not\""]);
    check("SELECT 'a\nb", &["1:8 syntax-error unterminated quoted string at or near \"'a\nb\""]);
    check("SELECT 1; /* open", &["1:11 syntax-error unterminated /* comment at or near \"/* open\""]);
    check("DO $$ BEGIN", &["1:4 syntax-error unterminated dollar-quoted string at or near \"$$ BEGIN\""]);
    check("SELECT \"\"", &["1:8 syntax-error zero-length delimited identifier at or near \"\"\"\""]);
    check("SELECT 12a FROM t", &["1:8 syntax-error trailing junk after numeric literal at or near \"12a\""]);
    check("SELECT 1\0", &["1:9 syntax-error a NUL character cannot be part of SQL"]);
}

#[test]
fn finds_all_errors() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(errors(sql), expected, "{sql}");
    check(
        "SELEC 1;\nCOMMIT;\nSELECT 2 3;\nSET ROLE a;",
        &[
            "1:1 syntax-error syntax error at or near \"SELEC\"",
            "2:1 transaction-control COMMIT is not allowed here: whimbrel controls the transactions",
            "3:10 syntax-error syntax error at or near \"3\"",
            "4:1 role-change SET role is not allowed: the Database says who runs the statements",
        ],
    );
    // Semicolons inside of a body are not the end of a statement.
    check(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;\nSELECT 1;\nSELEC 2; VACUUM FULL;",
        &[
            "3:1 syntax-error syntax error at or near \"SELEC\"",
            "3:10 no-probe VACUUM FULL cannot run in a transaction, and nothing would tell after a crash how far it came",
        ],
    );
    check(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELEC 2; END",
        &["1:69 syntax-error syntax error at or near \"SELEC\""],
    );
}

#[test]
fn knows_psql() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(errors(sql), expected, "{sql}");
    check(
        "\\set x 1\nSELECT 1;\n  \\d users\nSELEC;",
        &[
            "1:1 psql-command \\set is a command of psql, not SQL",
            "3:3 psql-command \\d is a command of psql, not SQL",
            "4:1 syntax-error syntax error at or near \"SELEC\"",
        ],
    );
    check("SELECT 1\n\\gexec\n", &["2:1 psql-command \\gexec is a command of psql, not SQL"]);
    check("\\copy t from 'x'", &["1:1 psql-command \\copy is a command of psql, not SQL"]);
    check("SELECT :'name'", &["1:8 syntax-error syntax error at or near \":\""]);
    check(
        "COPY t FROM stdin;\n1\ta;b\n\\.\nSELECT 1; SELEC",
        &[
            "1:1 copy-data COPY FROM STDIN needs data that is not SQL",
            "4:11 syntax-error syntax error at or near \"SELEC\"",
        ],
    );
    assert!(parse("SELECT '\n\\d users', $$\n\\set$$").is_ok());
}

#[test]
fn takes_the_text_as_it_is() {
    let check = |sql: &str, expected: &[(&str, u32, u32)]| {
        let found: Vec<_> = script(sql).statements.into_iter().map(|s| (s.sql, s.line, s.column)).collect();
        let found: Vec<_> = found.iter().map(|(sql, line, column)| (sql.as_str(), *line, *column)).collect();
        assert_eq!(found, expected, "{sql}");
    };
    check("SELECT 1", &[("SELECT 1", 1, 1)]);
    check(
        "-- before\n  SELECT /* in */ 1 -- after\n ;;\n; SELECT 2 ; -- end",
        &[("SELECT /* in */ 1", 2, 3), ("SELECT 2", 4, 3)],
    );
    check("SELECT 'ä;'; SELECT 'ö'", &[("SELECT 'ä;'", 1, 1), ("SELECT 'ö'", 1, 14)]);
    check("DO $x$ BEGIN; END $x$;\nSELECT 1", &[("DO $x$ BEGIN; END $x$", 1, 1), ("SELECT 1", 2, 1)]);
}

#[test]
fn survives_depth_and_size() {
    let start = Instant::now();
    let check = |sql: String, code: Option<Code>| {
        let head = sql.chars().take(30).collect::<String>();
        let found = std::thread::Builder::new()
            .stack_size(2 * 1024 * 1024)
            .spawn(move || parse(&sql).err().map(|refusals| refusals[0].code))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(found, code, "{head}");
    };
    check(format!("SELECT {}1{}", "(".repeat(1000), ")".repeat(1000)), None);
    check(format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)), Some(Code::TooDeep));
    check(format!("SELECT 1{}", "+1".repeat(500)), None);
    check(format!("ALTER TABLE t ADD CHECK (a{})", "||a".repeat(500)), None);
    check(format!("SELECT 1{}", "+1".repeat(900)), Some(Code::TooDeep));
    check(format!("SELECT 1{}", "+1".repeat(90_000)), Some(Code::TooDeep));
    check(format!("SELECT {}1", "- ".repeat(90_000)), Some(Code::TooDeep));
    check(format!("SELECT {}1", "NOT ".repeat(40_000)), Some(Code::TooDeep));
    check(format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000)), Some(Code::TooDeep));
    check(format!("SELECT 1{}", ", 1".repeat(60_000)), None);
    check("SELECT 1;".repeat(20_000), None);
    check("x".repeat(MAX_BYTES + 1), Some(Code::TooLong));
    check("a;".repeat(90_000), Some(Code::SyntaxError));
    assert!(start.elapsed() < Duration::from_mins(2), "{:?}", start.elapsed());
}

#[test]
fn threads_take_turns() {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for n in 0..20 {
                    assert_eq!(script(&format!("SELECT {thread}; SELECT {n}")).statements.len(), 2);
                    assert_eq!(errors("SELEC 1").len(), 1);
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn never_panics(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn never_panics_on_pieces(pieces in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "ALTER TABLE", "t", "ADD COLUMN", "c", "int", ";", "'", "\"", "$$", "$a$", "(", ")", ",", "\n", "\\d", "--",
        "/*", "*/", "BEGIN", "COMMIT", "CREATE", "INDEX", "CONCURRENTLY", "ON", "NOT", "NULL", "DEFAULT", "1", "::", ":", "ä",
        "E'\\'", "U&\"", "whimbrel", ".", "schema", "set", "search_path", "=", "DROP", "RENAME", "TO",
    ]), 0..25)) {
        let text = pieces.join(" ");
        if let Err(refusals) = parse(&text) {
            let lines = u32::try_from(text.lines().count().max(1)).unwrap();
            for refusal in refusals {
                prop_assert!((1..=lines + 1).contains(&refusal.line), "{refusal}");
            }
        }
    }

    #[test]
    fn statements_parse_again(names in prop::collection::vec("[a-zA-Z\"ä ]{1,8}", 1..4)) {
        let text: Vec<String> = names.iter().map(|name| format!("DROP TABLE {}", quote_ident(name))).collect();
        let found = script(&text.join(" ;\n-- x\n")).statements;
        prop_assert_eq!(found.iter().map(|s| s.sql.clone()).collect::<Vec<_>>(), text);
        for (statement, name) in found.iter().zip(&names) {
            let relations = vec![RelationName::unqualified(name)];
            prop_assert_eq!(&statement.kind, &Kind::DropTable { relations, if_exists: false, cascade: false });
        }
    }
}
