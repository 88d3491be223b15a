//! SQL in Migrations, and where it stands in the file.

use serde::Deserialize;
use serde_json::Value;

use super::fields::{self, Wrong};
use super::{Content, InputProblem};
use crate::api::{MigrationSpec, TransactionMode};

/// A piece of SQL of an input.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Piece<'a> {
    /// The field of the manifest (`spec.up`); `None` for a file of SQL.
    pub field: Option<String>,
    /// The SQL.
    pub sql: &'a str,
    /// A way back.
    pub down: bool,
    /// Each statement commits by itself.
    pub per_statement: bool,
    /// Where it stands in the file.
    pub frame: Frame,
}

/// Where a piece of SQL stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Frame {
    /// The file is the SQL.
    Whole,
    /// Its first line is that many lines further down, and its lines begin that many characters further to the right.
    Within {
        /// Lines before its first.
        lines: u32,
        /// Characters before those of each line.
        indent: u32,
    },
    /// YAML changed it on the way (a folded or escaped string).
    Unknown,
}

impl<'a> Piece<'a> {
    /// The piece that a file of SQL is.
    pub fn whole(sql: &'a str) -> Self {
        Self { field: None, sql, down: false, per_statement: false, frame: Frame::Whole }
    }

    /// Line and column in the file of a place in the SQL, if that is known.
    pub fn place(&self, (line, column): (u32, u32)) -> Option<(u32, u32)> {
        match self.frame {
            Frame::Whole => Some((line, column)),
            Frame::Within { lines, indent } => Some((line + lines, column + indent)),
            Frame::Unknown => None,
        }
    }
}

/// Whether a text is one of YAML with a Migration in it.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.trim_start_matches("- ").trim().splitn(2, ':');
        words.next() == Some("kind")
            && words.next().is_some_and(|kind| {
                let kind = kind.split(" #").next().unwrap_or_default().trim();
                kind.trim_matches(['"', '\'']) == "Migration"
            })
    })
}

/// The Migrations among the documents of a file; documents of other kinds are left out.
pub(super) fn migrations(name: &str, text: &str) -> Result<Vec<Content>, InputProblem> {
    let mut found = Vec::new();
    let mut start = 0;
    for document in documents(text) {
        let lines_before = text.get(..start).unwrap_or_default().matches('\n').count();
        found.extend(migration(name, document, lines_before)?.map(|(object, spec)| Content::Migration {
            object,
            spec: Box::new(spec),
            start,
        }));
        start += document.len();
    }
    Ok(found)
}

/// The documents of a file with their separators, so that each place in the file is in one of them.
fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if at > start && (line.trim_end() == "---" || line.starts_with("--- ")) {
            documents.extend(text.get(start..at));
            start = at;
        }
        at += line.len();
    }
    documents.extend(text.get(start..));
    documents
}

fn migration(
    name: &str,
    document: &str,
    lines_before: usize,
) -> Result<Option<(String, MigrationSpec)>, InputProblem> {
    let invalid = |error: &serde_yaml::Error| {
        let problem =
            InputProblem::new(name, format!("is not valid YAML: {}", without_place(&error.to_string())));
        match error.location() {
            Some(location) => {
                let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                problem.at((number(location.line() + lines_before), number(location.column())))
            }
            None => problem,
        }
    };
    let mut yaml = serde_yaml::Deserializer::from_str(document)
        .map(serde_yaml::Value::deserialize)
        .next()
        .unwrap_or(Ok(serde_yaml::Value::Null))
        .map_err(|error| invalid(&error))?;
    yaml.apply_merge().map_err(|error| invalid(&error))?;
    // By way of a JSON value, because serde_yaml reads enums with data as tags.
    let value = serde_json::to_value(yaml)
        .map_err(|error| InputProblem::new(name, format!("is not an object of Kubernetes: {error}")))?;
    let ours = value.get("kind").and_then(Value::as_str) == Some("Migration")
        && value
            .get("apiVersion")
            .and_then(Value::as_str)
            .is_none_or(|version| version.starts_with("whimbrel.dev/"));
    if !ours {
        return Ok(None);
    }
    let object = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("migration").to_owned();
    match fields::spec(&value) {
        Ok(spec) => Ok(Some((object, spec))),
        Err(wrong) => Err(not_valid(name, &object, &wrong, (document, lines_before))),
    }
}

/// Says what is wrong with an object, at its line where there is only one that it can be.
fn not_valid(
    name: &str,
    object: &str,
    wrong: &Wrong,
    (document, lines_before): (&str, usize),
) -> InputProblem {
    let (path, what, hint) = match wrong {
        Wrong::Value(path, what) => {
            (path.as_str(), format!("{path}: {what}"), "compare it with docs/migration.md".to_owned())
        }
        Wrong::Unknown(paths) => {
            let first = paths.first().map_or("", String::as_str);
            let (within, _) = fields::split(first);
            let known = fields::known(within).join(", ");
            let within = if within.is_empty() { "an object" } else { within };
            let fields = if paths.len() == 1 { "unknown field" } else { "unknown fields" };
            (first, format!("{fields} {}", paths.join(", ")), format!("{within} has: {known}"))
        }
    };
    let problem = InputProblem::new(name, format!("Migration {object} is not valid: {what}")).hint(hint);
    let (_, key) = fields::split(path);
    let key = key.split('[').next().unwrap_or_default();
    match lines_of(document, key).as_slice() {
        [(line, column)] => problem.at((line + u32::try_from(lines_before).unwrap_or(0), *column)),
        _ => problem,
    }
}

/// Lines and columns, from 1, at which a key stands first in its line.
fn lines_of(document: &str, key: &str) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(document.lines()) {
        let rest = text.trim_start_matches([' ', '-']);
        if rest.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')) {
            found.push((line, u32::try_from(text.len() - rest.len() + 1).unwrap_or(u32::MAX)));
        }
    }
    found
}

/// The parser's message without the place, which is told apart.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

/// The pieces of SQL of a Migration.
pub(super) fn pieces<'a>(spec: &'a MigrationSpec, text: &str, start: usize) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut add = |field: String, sql: &'a str, down: bool, mode: TransactionMode| {
        let frame = frame(text, start, sql);
        let per_statement = mode == TransactionMode::PerStatement;
        pieces.push(Piece { field: Some(field), sql, down, per_statement, frame });
    };
    if let Some(up) = &spec.up {
        add("spec.up".to_owned(), up, false, TransactionMode::Auto);
    }
    for (index, step) in spec.steps.iter().flatten().enumerate() {
        if let Some(sql) = &step.sql {
            add(format!("spec.steps[{index}].sql.up"), &sql.up, false, sql.transaction);
        }
    }
    if let Some(down) = &spec.down {
        add("spec.down".to_owned(), down, true, TransactionMode::Auto);
    }
    for (index, step) in spec.steps.iter().flatten().enumerate() {
        if let Some((sql, down)) = step.sql.as_ref().and_then(|sql| Some((sql, sql.down.as_ref()?))) {
            add(format!("spec.steps[{index}].sql.down"), down, true, sql.transaction);
        }
    }
    pieces
}

/// Looks for the lines of the SQL in the document: all of them one after the other, moved to the right by the same number
/// of blanks, as in a literal block; or a single line behind its key.
fn frame(text: &str, start: usize, sql: &str) -> Frame {
    let before = text.get(..start).unwrap_or_default().matches('\n').count();
    let lines: Vec<&str> = text.get(start..).unwrap_or_default().lines().collect();
    let wanted: Vec<&str> = sql.lines().collect();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let Some(lead) = wanted.iter().position(|line| !line.trim().is_empty()) else {
        return Frame::Unknown;
    };
    let first = wanted.get(lead).copied().unwrap_or_default();
    for (index, line) in lines.iter().enumerate().skip(lead) {
        let Some(indent) = line.strip_suffix(first).filter(|indent| indent.bytes().all(|byte| byte == b' '))
        else {
            continue;
        };
        let same = lines
            .get(index - lead..)
            .unwrap_or_default()
            .iter()
            .zip(&wanted)
            .all(|(line, wanted)| line.strip_prefix(indent).unwrap_or(line.trim_end()) == *wanted);
        if same && lines.len() - (index - lead) >= wanted.len() {
            return Frame::Within { lines: number(before + index - lead), indent: number(indent.len()) };
        }
    }
    if wanted.len() > 1 {
        return Frame::Unknown;
    }
    let inline = lines.iter().enumerate().find_map(|(index, line)| {
        let (key, _) = line.split_once(": ")?;
        let at = line.find(first).filter(|at| *at > key.len())?;
        let indent = line.get(..at)?.chars().count();
        Some(Frame::Within { lines: number(before + index), indent: number(indent) })
    });
    inline.unwrap_or(Frame::Unknown)
}
