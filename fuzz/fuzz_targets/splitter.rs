//! Whatever the text is: reading it ends, every statement is in it byte for byte and in order, and the foresight of what was
//! read says something of each statement.
#![no_main]

use libfuzzer_sys::fuzz_target;
use whimbrel::sql::{MAX_BYTES, Snapshot, foresee, read};

fuzz_target!(|text: &str| {
    let reading = read(text, MAX_BYTES);
    let mut rest = text;
    for statement in &reading.script.statements {
        let at = rest.find(&statement.sql).expect("a statement that is not in the text, or not in order");
        rest = &rest[at + statement.sql.len()..];
    }
    let foreseen = foresee(&reading.script.statements, &Snapshot::assumed(None));
    assert_eq!(foreseen.len(), reading.script.statements.len());
});
