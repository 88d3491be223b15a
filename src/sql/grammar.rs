//! The parser of PostgreSQL, made safe to call.
//!
//! Two things about the C library shape this file. It swaps the process's standard error for a pipe during a call, which
//! two threads at once would get wrong, so calls take turns. And it, its Rust side and our own walk recurse with the depth
//! of the statement, so all of that runs on threads whose stack holds the deepest tree that the library lets pass.

use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use pg_query::protobuf::{ParseResult, RawStmt, ScanToken};
use pg_query::{NodeEnum, ParserOptions};
use rayon_core::{ThreadPool, ThreadPoolBuilder};

use super::refusal::{Code, Objection};
use super::token::{self, Token};

/// Stack of a parsing thread in bytes; only what is touched takes memory. The library gives up at 2 MiB of its own
/// frames or some hundred levels; decoding and walking the tree takes more for each level, in a debug build above all.
const STACK: usize = 64 * 1024 * 1024;

/// More would only wait for each other: parsing takes turns.
const MOST_THREADS: usize = 4;

/// What the library says of statements that are too deep for it.
const TOO_DEEP: &[&str] = &["stack depth limit exceeded", "memory exhausted", "nested too deeply"];

/// Syntax errors that are looked for before giving up.
const MAX_ERRORS: usize = 20;

/// Semicolons before a syntax error that are tried as the end of the statement before; some stand inside of a statement.
const MAX_STEPS_BACK: usize = 50;

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tokens of a text, comments included.
pub(super) fn scan(text: &str) -> Result<Vec<ScanToken>, pg_query::Error> {
    // The library makes a slice of a null pointer, and aborts, when there is no token.
    if text.bytes().all(|byte| b" \t\n\r\x0b\x0c".contains(&byte)) {
        return Ok(Vec::new());
    }
    let _turn = turn();
    pg_query::scan_tokens(text)
}

/// SQL of a tree.
pub(super) fn deparse(node: NodeEnum) -> Option<String> {
    let stmt =
        RawStmt { stmt: Some(Box::new(pg_query::Node { node: Some(node) })), stmt_location: 0, stmt_len: 0 };
    let _turn = turn();
    pg_query::deparse(&ParseResult { version: 0, stmts: vec![stmt] }, pg_query::DeparseOptions::default())
        .ok()
}

fn parse(text: &str) -> Result<Vec<RawStmt>, pg_query::Error> {
    let _turn = turn();
    pg_query::parse(text, ParserOptions::DEFAULT).map(|result| result.protobuf.stmts)
}

/// What the parser of PL/pgSQL makes of a `CREATE FUNCTION`, in its own form.
pub(super) fn plpgsql(text: &str) -> Option<serde_json::Value> {
    let _turn = turn();
    pg_query::parse_plpgsql(text).ok()
}

/// The message of the first error, if there is one; cheaper than [`parse`].
fn complaint(text: &str) -> Option<String> {
    let _turn = turn();
    match pg_query::split_with_parser(text) {
        Ok(_) => None,
        Err(error) => Some(bare(&error)),
    }
}

/// The server's own words of an error.
fn bare(error: &pg_query::Error) -> String {
    match error {
        pg_query::Error::Parse(message) | pg_query::Error::Split(message) => message.clone(),
        other => other.to_string(),
    }
}

static DEEP: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let pool = ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK);
    pool.thread_name(|_| "sql-parser".to_owned()).build().ok()
});

/// Runs `work`, which may parse and walk trees, on a deep stack. `None` if no thread could be had, or if it panicked.
pub(super) fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    // What panicked is dropped with all that it had in hand.
    let caught = || catch_unwind(AssertUnwindSafe(work)).ok();
    DEEP.as_ref()?.install(caught)
}

/// One statement in its text.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Byte offset of its first token in the whole text.
    pub start: usize,
    /// Its text.
    pub sql: String,
    /// Its tokens; offsets are those in `sql`.
    pub tokens: Vec<Token>,
    /// Its tree.
    pub node: NodeEnum,
}

/// What was read: statements that are correct, and what is not.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub statements: Vec<Parsed>,
    pub objections: Vec<Objection>,
}

/// Reads a whole script; goes on after a syntax error with the next statement.
pub(super) fn read(text: &str) -> Reading {
    let mut reading = Reading::default();
    let mut base = 0;
    while let Some(rest) = text.get(base..).filter(|rest| !rest.is_empty()) {
        let error = match parse(rest) {
            Ok(stmts) => {
                reading.statements.extend(place_all(rest, base, stmts));
                break;
            }
            Err(error) => error,
        };
        let failure = Failure::find(rest, &error);
        if failure.good > 0 {
            let stmts = rest.get(..failure.good).and_then(|good| parse(good).ok()).unwrap_or_default();
            reading.statements.extend(place_all(rest, base, stmts));
        }
        let after_copy =
            failure.between_statements && reading.statements.last().is_some_and(is_copy_from_stdin);
        if !after_copy {
            reading.objections.push(failure.objection(rest, base));
        }
        let Some(next) = failure.resume(rest, after_copy).filter(|_| reading.objections.len() < MAX_ERRORS)
        else {
            break;
        };
        base += next;
    }
    reading
}

fn is_copy_from_stdin(parsed: &Parsed) -> bool {
    matches!(&parsed.node, NodeEnum::CopyStmt(copy) if copy.is_from && copy.filename.is_empty())
}

/// Finds the texts of statements; surrounding blanks and comments are left out.
fn place_all(text: &str, base: usize, stmts: Vec<RawStmt>) -> Vec<Parsed> {
    let end = stmts.last().map_or(0, |last| whole(text, last).map_or(text.len(), |range| range.end));
    // The text is scanned once, because the scanner makes everything else take turns.
    let Some(tokens) = text.get(..end).and_then(token::scan) else {
        return Vec::new();
    };
    stmts.into_iter().filter_map(|stmt| place(text, base, &tokens, stmt)).collect()
}

/// The range of a statement as the parser tells it.
fn whole(text: &str, raw: &RawStmt) -> Option<Range<usize>> {
    let from = usize::try_from(raw.stmt_location).ok()?;
    let length = usize::try_from(raw.stmt_len).ok()?;
    Some(from..if length == 0 { text.len() } else { from + length })
}

fn place(text: &str, base: usize, tokens: &[Token], raw: RawStmt) -> Option<Parsed> {
    let range = whole(text, &raw)?;
    let begin = tokens.partition_point(|token| token.start < range.start);
    let end = tokens.partition_point(|token| token.end <= range.end);
    let mut tokens = tokens.get(begin..end)?.to_vec();
    while tokens.last().is_some_and(|token| token.is_semicolon()) {
        tokens.pop();
    }
    let (first, last) = (tokens.first()?.start, tokens.last()?.end);
    for token in &mut tokens {
        token.start -= first;
        token.end -= first;
    }
    Some(Parsed {
        start: base + first,
        sql: text.get(first..last)?.to_owned(),
        tokens,
        node: raw.stmt?.node?,
    })
}

/// The tree of a statement, for a look at what its kind does not tell. Locations are byte offsets in its text.
#[derive(Debug)]
pub(super) struct Tree {
    /// Byte offset that locations are counted from.
    base: usize,
    pub node: NodeEnum,
}

impl Tree {
    /// The byte offset, within the statement's text, of a location in the tree; that of an absent one is 0.
    pub fn offset(&self, location: i32) -> usize {
        usize::try_from(location).unwrap_or(0).saturating_sub(self.base)
    }
}

/// The trees of statements, in one call of the parser; to be walked on a deep stack.
pub(super) fn trees<'a>(statements: impl Iterator<Item = &'a str>) -> Vec<Option<Tree>> {
    let mut text = String::new();
    let mut bases = Vec::new();
    for sql in statements {
        bases.push(text.len());
        text.push_str(sql);
        text.push_str("\n;\n");
    }
    let stmts = parse(&text).unwrap_or_default();
    let mut stmts = stmts.into_iter().peekable();
    let mut trees = Vec::with_capacity(bases.len());
    for (index, base) in bases.iter().enumerate() {
        let end = bases.get(index + 1).copied().unwrap_or(text.len());
        let here = |raw: &RawStmt| usize::try_from(raw.stmt_location).is_ok_and(|start| start < end);
        let node = stmts.next_if(here).and_then(|raw| raw.stmt).and_then(|node| node.node);
        trees.push(node.map(|node| Tree { base: *base, node }));
    }
    trees
}

/// The trees of all statements of a text; none if it is not correct.
pub(super) fn statements(text: &str) -> Vec<NodeEnum> {
    let stmts = parse(text).unwrap_or_default();
    stmts.into_iter().filter_map(|raw| raw.stmt?.node).collect()
}

/// SQL of a node that is a statement.
pub(super) fn deparse_node(node: &pg_query::Node) -> Option<String> {
    deparse(node.node.clone()?)
}

/// A syntax error with its surroundings; offsets are those of the text that was parsed.
struct Failure {
    message: String,
    at: usize,
    /// All statements before this offset are correct.
    good: usize,
    /// The error is at the first token of a statement.
    between_statements: bool,
    /// The next semicolon after the error, if the scanner gets there.
    semicolon: Option<usize>,
}

impl Failure {
    fn find(text: &str, error: &pg_query::Error) -> Self {
        let message = bare(error);
        let at = locate(text, &message);
        let tokens = token::scan(text).or_else(|| token::scan(text.get(..at?)?)).unwrap_or_default();
        let known = at.unwrap_or(0);
        let good = tokens
            .iter()
            .rev()
            .filter(|token| token.is_semicolon() && (at.is_none() || token.start < known))
            .take(MAX_STEPS_BACK)
            .map(|token| token.end)
            .find(|end| text.get(..*end).is_some_and(|before| complaint(before).is_none()))
            .unwrap_or(0);
        let at = at
            .or_else(|| tokens.iter().map(|token| token.start).find(|start| *start >= good))
            .unwrap_or(good);
        let between_statements = !tokens.iter().any(|token| (good..at).contains(&token.start));
        // Where a body written in SQL ends cannot be told once it is wrong.
        let mut before = tokens.iter().filter(|token| (good..at).contains(&token.start));
        let in_body = before.any(|token| token.is_word(text, "atomic"));
        let semicolon =
            tokens.iter().find(|token| token.is_semicolon() && token.end > at).map(|token| token.end);
        let semicolon = semicolon.filter(|_| !in_body);
        Self { message, at, good, between_statements, semicolon }
    }

    fn objection(&self, text: &str, base: usize) -> Objection {
        let rest = text.get(self.at..).unwrap_or_default();
        let offset = base + self.at;
        if rest.starts_with('\\') {
            let command = rest.split_whitespace().next().unwrap_or_default();
            return Objection::new(
                offset,
                Code::PsqlCommand,
                format!("{command} is a command of psql, not SQL"),
                "leave it out; only SQL is sent to the server",
            );
        }
        if TOO_DEEP.iter().any(|words| self.message.contains(words)) {
            return Objection::new(
                offset,
                Code::TooDeep,
                "the statement is nested too deeply",
                "split it, or use a list instead of nesting",
            );
        }
        let hint =
            if rest.starts_with(':') { "variables of psql are not replaced; write the value" } else { "" };
        Objection::new(offset, Code::SyntaxError, self.message.clone(), hint)
    }

    /// Where to go on reading.
    fn resume(&self, text: &str, after_copy: bool) -> Option<usize> {
        let rest = text.get(self.at..)?;
        if after_copy {
            let end = rest.find("\n\\.").map(|at| at + 3).or_else(|| rest.starts_with("\\.").then_some(2))?;
            return Some(self.at + end);
        }
        if rest.starts_with('\\') {
            return rest.find('\n').map(|end| self.at + end + 1);
        }
        self.semicolon
    }
}

/// Byte offset of an error. The library keeps the position to itself, but tells the text of the token, and the parser
/// reads from left to right: cut after the right occurrence, or any later one, the text gives the same message; cut after
/// an earlier one, it does not.
fn locate(text: &str, message: &str) -> Option<usize> {
    if message.ends_with("at end of input") {
        return token::scan(text).map(|tokens| tokens.last().map_or(0, |token| token.end));
    }
    let (_, quoted) = message.split_once(" at or near \"")?;
    let near = quoted.strip_suffix('"')?;
    let candidates: Vec<usize> =
        text.match_indices(near).map(|(at, _)| at).filter(|at| stands_alone(text, *at, near)).collect();
    let reached = |at: usize| {
        let end = lookahead(text, at + near.len(), near);
        text.get(..end).and_then(complaint).is_some_and(|found| found == message)
    };
    let index = candidates.partition_point(|at| !reached(*at));
    candidates.get(index).or(candidates.last()).copied()
}

/// Whether a word that was found is not a part of a longer one.
fn stands_alone(text: &str, at: usize, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let before = text.get(..at).and_then(|before| before.chars().next_back()).is_some_and(part);
    let after = text.get(at + word.len()..).and_then(|after| after.chars().next()).is_some_and(part);
    !(before && word.starts_with(part) || after && word.ends_with(part))
}

/// Where to cut behind a word: a few are read together with the one that follows.
fn lookahead(text: &str, end: usize, word: &str) -> usize {
    if !["not", "nulls", "with", "without", "format"].iter().any(|pair| word.eq_ignore_ascii_case(pair)) {
        return end;
    }
    let rest = text.get(end..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start().len();
    let next = rest
        .trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .map(char::len_utf8)
        .sum::<usize>();
    end + blank + next
}
