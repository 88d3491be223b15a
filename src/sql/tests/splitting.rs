//! What the splitter makes of a text: the pieces are in it, byte for byte and in order, and nothing but blanks, comments and
//! semicolons is between them.

use proptest::prelude::*;

use super::*;

/// Statements with everything in them that could be taken for the end of one.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "SELECT 'a;b', 'it''s; ''', E'\\';', e'\\\\', U&'\\0041;'",
    "SELECT \"a;b\" FROM \"c\"\"; d\"",
    "SELECT $$;$$, $a$ $$ ; $b$ ; $a$",
    "SELECT 1 /* ; /* nested ; */ ; */ + 2",
    "SELECT 1 -- ; not the end\n + 2",
    "SELECT B'1', X'1F', N'a;', 1e5, .5, 0x1F, 1_000",
    "SELECT a::int, b->>'x;y', c @> ';', d ?| array[';'], 5 % 2, -1, @ 2",
    "INSERT INTO größe VALUES ('ä;ö', 'Ω')",
    "DO $do$ BEGIN PERFORM 1; PERFORM 2; END; $do$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2;'",
    "CREATE PROCEDURE p(a int) LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (CASE WHEN a > 1 THEN 1 END); END",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO a VALUES (1); DELETE FROM b)",
    "CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT 1",
    "CREATE TABLE t (a int DEFAULT 1, CHECK (a > 0), b text COLLATE \"C\")",
    "ALTER TABLE t ADD COLUMN c text DEFAULT ';', ALTER d SET NOT NULL",
    "COMMENT ON TABLE t IS 'first\nsecond;\nthird'",
    "CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW WHEN (new.a > 1) EXECUTE FUNCTION f()",
    "WITH a AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM a",
    "CREATE INDEX CONCURRENTLY i ON t (lower(a)) WHERE b <> ';'",
];

/// What may stand between two statements; all but the first two end one.
const BETWEEN: &[&str] = &[
    ";",
    " ;\n",
    ";;",
    "; -- it's a comment; with $$ and \"\n",
    ";/* ; ' $$ \" */",
    ";\r\n\t;\n",
    "-- before\n;",
    ";\u{c}",
    "/* a /* b */ c */ ; /**/ ; --\n",
];

/// What may stand before the first and after the last.
const AROUND: &[&str] = &["", " ", "\n\n", "-- c\n", "/* ; */", ";", " ; ;", "\t"];

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(from)
}

/// Goes through the text: each piece has to come next, and what is skipped to hold nothing.
fn reassemble(text: &str, pieces: &[&str]) -> Result<(), TestCaseError> {
    let mut rest = text;
    for piece in pieces {
        let Some(at) = blank(rest).filter(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(piece)))
        else {
            return Err(TestCaseError::fail(format!("{piece:?} is not what comes next in {rest:?}")));
        };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    prop_assert_eq!(blank(rest), Some(rest.len()), "left over: {:?}", rest);
    Ok(())
}

/// Bytes at the beginning that are blanks, comments or semicolons; written without the scanner that is under test. `None`
/// for a comment that does not end.
fn blank(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("--") {
            at += rest.find('\n').map_or(rest.len(), |end| end + 1);
        } else if rest.starts_with("/*") {
            at += comment(rest)?;
        } else if rest.starts_with([' ', '\t', '\n', '\r', '\u{b}', '\u{c}', ';']) {
            at += 1;
        } else {
            break;
        }
    }
    Some(at)
}

/// Bytes of the comment at the beginning; comments nest.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let rest = text.get(at..)?;
        let mark = rest.get(..2).unwrap_or_default();
        at += match mark {
            "/*" | "*/" => 2,
            _ => rest.chars().next()?.len_utf8(),
        };
        depth = match mark {
            "/*" => depth + 1,
            "*/" => depth - 1,
            _ => depth,
        };
        if depth == 0 {
            return Some(at);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn pieces_are_what_was_written(
        first in pick(AROUND),
        parts in prop::collection::vec((pick(STATEMENTS), pick(BETWEEN)), 1..8),
        last in (pick(STATEMENTS), pick(AROUND)),
    ) {
        let mut text = first.to_owned();
        for (statement, between) in &parts {
            text.push_str(statement);
            text.push_str(between);
        }
        text.push_str(last.0);
        text.push_str(if last.1.starts_with("--") { "\n" } else { "" });
        text.push_str(last.1);
        let written: Vec<&str> = parts.iter().map(|part| part.0).chain([last.0]).collect();
        let found = read(&text, MAX_BYTES).script.statements;
        let found: Vec<&str> = found.iter().map(|statement| statement.sql.as_str()).collect();
        prop_assert_eq!(&found, &written, "{}", &text);
        reassemble(&text, &found)?;
    }

    #[test]
    fn nothing_is_lost_of_what_is_read(pieces in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "1", "'a'", "'", "\"b\"", "\"", "$$", "$a$", ";", ";", "\n", "--", "/*", "*/", "(", ")", ",", "FROM", "t",
        "E'\\'", "BEGIN", "ATOMIC", "END", "CREATE FUNCTION f() RETURNS int", "ä", "::", "-", "*", "/", "\\", "DELETE",
    ]), 0..20)) {
        let text = pieces.join(" ");
        let reading = read(&text, MAX_BYTES);
        // What cannot be read is not a piece.
        if reading.refusals.iter().all(|refusal| refusal.code != Code::SyntaxError && refusal.code != Code::PsqlCommand)
            && reading.script.notes.is_empty()
            && !reading.script.wants_single_transaction
        {
            let found: Vec<&str> = reading.script.statements.iter().map(|one| one.sql.as_str()).collect();
            reassemble(&text, &found)?;
        }
    }
}

#[test]
fn a_piece_stands_where_its_line_and_column_say() {
    let text = STATEMENTS.join(";\n  ");
    let lines: Vec<&str> = text.split('\n').collect();
    for statement in read(&text, MAX_BYTES).script.statements {
        let line = lines[statement.line as usize - 1];
        let rest: String = line.chars().skip(statement.column as usize - 1).collect();
        let first = statement.sql.split('\n').next().unwrap_or_default();
        assert!(rest.starts_with(first), "{}:{} {rest:?} {first:?}", statement.line, statement.column);
    }
}
