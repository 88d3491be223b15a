//! Whatever the text is: reading it ends, every statement is in it byte for byte and in order, nothing but blanks, comments
//! and semicolons is between them where nothing is refused, places are in the text, and foresight, ways back and findings
//! of what was read can be had.
#![no_main]

use std::process::abort;

use libfuzzer_sys::fuzz_target;
use whimbrel::sql::{Code, Facts, MAX_BYTES, Reading, Snapshot, derive_all, facts_wanted, foresee, lint, read};

fuzz_target!(
    init: {
        // A panic of ours counts wherever it is caught; those of squawk, whose advice can be missed, do not.
        std::panic::set_hook(Box::new(|panic| {
            if panic.location().is_none_or(|at| !at.file().contains("squawk")) {
                eprintln!("{panic}");
                abort();
            }
        }));
    },
    |text: &str| {
        let reading = read(text, MAX_BYTES);
        reassemble(text, &reading);
        let statements = &reading.script.statements;
        let catalog = Snapshot::assumed(None);
        let foreseen = foresee(statements, &catalog);
        assert_eq!(foreseen.len(), statements.len());
        facts_wanted(statements);
        assert_eq!(derive_all(statements, &Facts::default(), None).len(), statements.len());
        for finding in lint(text, statements, &foreseen, &catalog) {
            offset(text, finding.line, finding.column);
            assert!(finding.statement < statements.len(), "{finding:?}");
        }
    }
);

/// Goes through the text: each statement has to come next, at its line and column.
fn reassemble(text: &str, reading: &Reading) {
    let whole = reading.refusals.is_empty() && reading.script.notes.is_empty();
    let mut end = 0;
    for statement in &reading.script.statements {
        let start = offset(text, statement.line, statement.column);
        assert!(start >= end && text[start..].starts_with(&statement.sql), "{statement:?}");
        assert!(
            !whole || reading.script.wants_single_transaction || is_blank(&text[end..start]),
            "left out: {:?}",
            &text[end..start]
        );
        end = start + statement.sql.len();
    }
    assert!(!whole || reading.script.wants_single_transaction || is_blank(&text[end..]), "left over");
    for refusal in &reading.refusals {
        assert_ne!(refusal.code, Code::ParserUnavailable);
        offset(text, refusal.line, refusal.column);
    }
}

/// The byte offset of a line and column, which have to be in the text, or just behind it.
fn offset(text: &str, line: u32, column: u32) -> usize {
    let lines = text.split_inclusive('\n').chain(std::iter::once(""));
    let before = lines.clone().take(line as usize - 1).map(str::len).sum::<usize>();
    let line = lines.skip(line as usize - 1).next().expect("a line behind the end");
    let letters = line.chars().count();
    assert!(column as usize <= letters + 1, "column {column} of a line of {letters} letters");
    before + line.chars().take(column as usize - 1).map(char::len_utf8).sum::<usize>()
}

/// Whether there is nothing in it that a server would look at; written without the scanner that is under test.
fn is_blank(mut text: &str) -> bool {
    while let Some(letter) = text.chars().next() {
        let length = if text.starts_with("--") {
            text.find(['\n', '\r']).unwrap_or(text.len())
        } else if text.starts_with("/*") {
            comment(text)
        } else if " \t\n\r\u{b}\u{c};".contains(letter) {
            1
        } else {
            return false;
        };
        text = &text[length..];
    }
    true
}

/// The length of a comment, which may hold others.
fn comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}
