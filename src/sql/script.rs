//! A whole script: from text to statements.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::TransactionStmtKind;
use serde::{Deserialize, Serialize};

use super::classify;
use super::grammar::{self, Parsed};
use super::kind::{Kind, RelationKind};
use super::name::RelationName;
use super::refusal::{Code, Lines, Note, Objection, Refusal};
use super::refuse;
use super::statement::Statement;

/// Longest script, in bytes: as much SQL as a Migration may hold.
pub const MAX_BYTES: usize = 192 * 1024;

/// The statements of a script, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// What is sent, one by one.
    pub statements: Vec<Statement>,
    /// `BEGIN ... COMMIT` stood around everything: the author wishes for one transaction. The two are left out.
    pub wants_single_transaction: bool,
    /// What was left out or overruled.
    pub notes: Vec<Note>,
}

/// Longest file, in bytes: what is read on the command line may be longer than what a Migration may hold.
pub const MAX_FILE_BYTES: usize = 8 * 1024 * 1024;

/// What a text holds: what can be read of it, and everything that stands in its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The statements that can be read, refused ones too.
    pub script: Script,
    /// Everything that is wrong or not allowed, in the order of the text.
    pub refusals: Vec<Refusal>,
}

/// Parses a script with PostgreSQL's own grammar.
///
/// # Errors
/// Everything that is wrong with it or not allowed, in the order of the text.
pub fn parse(text: &str) -> Result<Script, Vec<Refusal>> {
    let reading = read(text, MAX_BYTES);
    if reading.refusals.is_empty() { Ok(reading.script) } else { Err(reading.refusals) }
}

/// Reads as much of a script as can be read; a text that is longer than `max_bytes` is not looked at.
pub fn read(text: &str, max_bytes: usize) -> Reading {
    let lines = Lines::new(text);
    let refused = |offset, code, message: &str, hint: &str| Reading {
        script: Script::default(),
        refusals: vec![Objection::new(offset, code, message, hint).placed(&lines)],
    };
    if text.len() > max_bytes {
        let message = format!("the SQL is {} bytes long, more than {max_bytes}", text.len());
        return refused(0, Code::TooLong, &message, "split the migration");
    }
    if let Some(at) = text.find('\0') {
        return refused(at, Code::SyntaxError, "a NUL character cannot be part of SQL", "");
    }
    grammar::on_deep_stack(|| assemble(text, &lines)).unwrap_or_else(|| {
        let message = "the parser could not be run on this text";
        refused(0, Code::ParserUnavailable, message, "try again; simplify the SQL")
    })
}

fn assemble(text: &str, lines: &Lines<'_>) -> Reading {
    let reading = grammar::read(text);
    let (mut statements, mut objections) = (reading.statements, reading.objections);
    let mut script = Script::default();
    statements.retain(|parsed| match refuse::overruled(parsed) {
        Some(message) => {
            let (line, column) = lines.place(parsed.start);
            script.notes.push(Note { line, column, message });
            false
        }
        None => true,
    });
    script.wants_single_transaction = unwrap_transaction(&mut statements);
    let mut created = BTreeSet::new();
    for parsed in &statements {
        let statement = statement(lines, parsed, &created);
        objections.extend(refuse::objection(parsed, &statement, script.wants_single_transaction));
        note_created(&statement, &mut created);
        script.statements.push(statement);
    }
    if script.statements.is_empty() && objections.is_empty() {
        objections.push(Objection::new(0, Code::Empty, "there is no SQL statement", "write at least one"));
    }
    objections.sort_by_key(|objection| objection.offset);
    Reading { script, refusals: objections.into_iter().map(|objection| objection.placed(lines)).collect() }
}

/// Takes away `BEGIN` and `COMMIT` around everything, and tells whether they were there.
fn unwrap_transaction(statements: &mut Vec<Parsed>) -> bool {
    let control = |parsed: Option<&Parsed>, kinds: &[TransactionStmtKind]| {
        parsed.is_some_and(|parsed| {
            matches!(&parsed.node, NodeEnum::TransactionStmt(control)
                if kinds.contains(&control.kind()) && control.options.is_empty() && !control.chain)
        })
    };
    let begins = control(
        statements.first(),
        &[TransactionStmtKind::TransStmtBegin, TransactionStmtKind::TransStmtStart],
    );
    let commits = statements.len() > 1 && control(statements.last(), &[TransactionStmtKind::TransStmtCommit]);
    if begins && commits {
        statements.pop();
        statements.remove(0);
    }
    begins && commits
}

fn statement(lines: &Lines<'_>, parsed: &Parsed, created: &BTreeSet<RelationName>) -> Statement {
    let (line, column) = lines.place(parsed.start);
    let kind = classify::kind(&parsed.node, &parsed.sql, &parsed.tokens);
    let transactional = classify::transactional(&kind);
    let blocking = classify::blocking(&kind, &parsed.node, created);
    let edits = classify::edits(&parsed.node);
    Statement { sql: parsed.sql.clone(), line, column, kind, transactional, blocking, edits }
}

/// Keeps track of the relations that this script made: nobody else waits for them.
fn note_created(statement: &Statement, created: &mut BTreeSet<RelationName>) {
    match &statement.kind {
        Kind::CreateTable(table) if !table.if_not_exists => {
            created.insert(table.relation.clone());
        }
        Kind::CreateView { relation, replace: false, if_not_exists: false, .. } => {
            created.insert(relation.clone());
        }
        Kind::Rename(rename) => {
            if let super::kind::RenameTarget::Relation { object: RelationKind::Table, relation } =
                &rename.target
                && created.remove(relation)
            {
                created.insert(relation.sibling(rename.to.clone()));
            }
        }
        _ => {}
    }
}
