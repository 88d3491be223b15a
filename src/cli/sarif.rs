//! Findings as SARIF 2.1.0, for code scanning.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::input::InputProblem;
use crate::sql::{Class, Finding, Severity, Statement};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A finding in its file.
pub(super) struct Located<'a> {
    /// The file, as it was named.
    pub file: &'a str,
    /// The field of a manifest, if the place in the file is not known.
    pub field: Option<&'a str>,
    /// Line and column in the file, from 1.
    pub place: Option<(u32, u32)>,
    /// Where the statement begins and ends in the file; the end is behind its last character.
    pub statement: Option<((u32, u32), (u32, u32))>,
    /// The finding.
    pub finding: &'a Finding,
    /// The text of the statement.
    pub sql: &'a str,
}

/// The end of a statement, behind its last character: line and column in its script.
pub(super) fn end_of(statement: &Statement) -> (u32, u32) {
    end(&statement.sql, (statement.line, statement.column))
}

/// The same for a text that begins at a line and column.
pub(super) fn end(sql: &str, (line, column): (u32, u32)) -> (u32, u32) {
    let breaks = u32::try_from(sql.matches('\n').count()).unwrap_or(u32::MAX);
    let last = sql.rsplit('\n').next().unwrap_or_default();
    let width = u32::try_from(last.chars().count()).unwrap_or(u32::MAX);
    let column = if breaks == 0 { column + width } else { width + 1 };
    (line + breaks, column)
}

/// The whole document.
pub(super) fn document(findings: &[Located<'_>], problems: &[InputProblem]) -> Value {
    let codes: BTreeSet<&str> = findings.iter().map(|one| one.finding.code.as_str()).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let results: Vec<Value> = findings.iter().map(|one| result(one, &codes)).collect();
    let notifications: Vec<Value> = problems.iter().map(notification).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "whimbrel",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(code)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": problems.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

fn rule(code: &str) -> Value {
    let Some(rule) = crate::sql::rule(code) else {
        return json!({
            "id": code,
            "name": code,
            "shortDescription": {"text": format!("Advice of squawk: {code}")},
            "fullDescription": {"text": format!("Advice of squawk: {code}")},
            "defaultConfiguration": {"level": "note"},
            "help": {
                "text": format!("A rule of squawk, which reads the text alone: {code}."),
                "markdown": format!("A rule of [squawk](https://squawkhq.com/docs/{code}), which reads the text alone."),
            },
            "properties": {"tags": ["advice"]},
        });
    };
    let level = match rule.class {
        Class::Availability | Class::Correctness | Class::Loss => "error",
        Class::Compatibility => "warning",
        Class::Review => "note",
    };
    json!({
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "defaultConfiguration": {"level": level},
        "help": {
            "text": rule.summary,
            "markdown": format!(
                "**{}** `{}`\n\n{}\n\nTo accept it, write on the line before the statement:\n\n```sql\n\
                 -- whimbrel:ignore {} why it does no harm here\n```\n",
                rule.code, rule.name, rule.summary, rule.code
            ),
        },
        "properties": {"tags": [rule.class.to_string()]},
    })
}

fn result(one: &Located<'_>, codes: &[&str]) -> Value {
    let finding = one.finding;
    let mut text = finding.message.clone();
    if let Some(field) = one.field {
        text = format!("{field}:{}:{}: {text}", finding.line, finding.column);
    }
    let mut markdown = text.clone();
    if !finding.safe_form.is_empty() {
        text = format!("{text}\n\nInstead:\n{}", finding.safe_form);
        markdown = format!("{markdown}\n\nInstead:\n\n```sql\n{}```\n", finding.safe_form);
    }
    let mut result = json!({
        "ruleId": finding.code,
        "ruleIndex": codes.iter().position(|code| *code == finding.code),
        "level": level(finding.severity),
        "message": {"text": text, "markdown": markdown},
        "locations": [{"physicalLocation": physical(one)}],
        "partialFingerprints": {"whimbrelFinding/v1": fingerprint(one)},
        "properties": {"severity": finding.severity},
    });
    let suppressed = [("inSource", &finding.ignored), ("external", &finding.overruled)];
    let suppressions: Vec<Value> = suppressed
        .iter()
        .filter_map(|(kind, why)| why.as_ref().map(|why| json!({"kind": kind, "justification": why})))
        .collect();
    if let Some(object) = result.as_object_mut() {
        if !suppressions.is_empty() {
            object.insert("suppressions".to_owned(), Value::Array(suppressions));
        }
        if let Some(fix) = fix(one) {
            object.insert("fixes".to_owned(), json!([fix]));
        }
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

fn physical(one: &Located<'_>) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": uri(one.file)}});
    if let (Some((line, column)), Some(object)) = (one.place, physical.as_object_mut()) {
        let mut region = json!({"startLine": line, "startColumn": column});
        let end = one.statement.map(|(_, end)| end).filter(|end| *end > (line, column));
        if let (Some((end_line, end_column)), Some(object)) = (end, region.as_object_mut()) {
            object.insert("endLine".to_owned(), json!(end_line));
            object.insert("endColumn".to_owned(), json!(end_column));
        }
        object.insert("region".to_owned(), region);
    }
    physical
}

/// The safe form in place of the statement; the semicolon behind that stays.
fn fix(one: &Located<'_>) -> Option<Value> {
    let ((line, column), (end_line, end_column)) = one.statement?;
    let text = one.finding.safe_form.trim_end().strip_suffix(';').filter(|text| !text.is_empty())?;
    let indent = " ".repeat(usize::try_from(column.saturating_sub(1)).unwrap_or(0));
    Some(json!({
        "description": {"text": "The form that does no harm"},
        "artifactChanges": [{
            "artifactLocation": {"uri": uri(one.file)},
            "replacements": [{
                "deletedRegion": {
                    "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
                },
                "insertedContent": {"text": text.replace('\n', &format!("\n{indent}"))},
            }],
        }],
    }))
}

fn notification(problem: &InputProblem) -> Value {
    let text = if problem.hint.is_empty() {
        problem.message.clone()
    } else {
        format!("{}; {}", problem.message, problem.hint)
    };
    let mut location = json!({"artifactLocation": {"uri": uri(&problem.name)}});
    if let (Some((line, column)), None, Some(object)) =
        (problem.place, &problem.field, location.as_object_mut())
    {
        object.insert("region".to_owned(), json!({"startLine": line, "startColumn": column}));
    }
    json!({"level": "error", "message": {"text": text}, "locations": [{"physicalLocation": location}]})
}

/// A path as a URI reference: relative ones are relative to where the command was run.
fn uri(path: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'~');
    let bare = path.strip_prefix("./").unwrap_or(path);
    let encoded = utf8_percent_encode(bare, KEPT).to_string();
    if bare.starts_with('/') { format!("file://{encoded}") } else { encoded }
}

/// The same for the same finding after lines have moved.
fn fingerprint(one: &Located<'_>) -> String {
    let mut hash = Sha256::new();
    for part in [one.file, &one.finding.code, one.sql] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut text = String::new();
    for byte in hash.finalize().iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        let check = |path: &str, expected: &str| assert_eq!(uri(path), expected);
        check("./migrations/1 a.sql", "migrations/1%20a.sql");
        check("/srv/ä.sql", "file:///srv/%C3%A4.sql");
        check("a.sql", "a.sql");
    }

    #[test]
    fn a_statement_ends_behind_its_last_character() {
        let check = |sql: &str, expected: (u32, u32)| {
            let script = crate::sql::parse(sql).unwrap();
            assert_eq!(end_of(&script.statements[0]), expected, "{sql}");
        };
        check("SELECT 1;", (1, 9));
        check("  SELECT 'ä';", (1, 13));
        check("SELECT\n  1 ;", (2, 4));
    }
}
