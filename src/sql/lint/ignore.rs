//! Comments that say that a finding is known: `-- whimbrel:ignore WB101,WB206 reason`.

use pg_query::protobuf::Token as Symbol;

use super::advice;
use super::rule;
use super::{Finding, Severity};
use crate::sql::grammar;
use crate::sql::refusal::Lines;
use crate::sql::statement::Statement;

/// The word that such a comment begins with.
const MARK: &str = "whimbrel:ignore";

/// What a comment says.
#[derive(Debug, PartialEq, Eq)]
struct Ignore {
    /// Byte offset of the comment.
    offset: usize,
    /// Codes, or names of rules.
    codes: Vec<String>,
    reason: String,
}

/// Marks findings that a comment covers, and adds findings about comments that do not do what they should.
pub fn apply(text: &str, statements: &[Statement], findings: &mut Vec<Finding>) {
    // A finding is one about a statement.
    if statements.is_empty() || !text.contains(MARK) {
        return;
    }
    let lines = Lines::new(text);
    let ends: Vec<(usize, usize)> = statements
        .iter()
        .map(|statement| {
            let start = lines.offset(statement.line, statement.column);
            (start, start + statement.sql.len())
        })
        .collect();
    let mut about = Vec::new();
    for ignore in comments(text) {
        let target = target(text, &ends, ignore.offset);
        let mut say = |code: &str, severity: Severity, message: String| {
            let (line, column) = lines.place(ignore.offset);
            let statement = target.unwrap_or_else(|| statements.len().saturating_sub(1));
            about.push(Finding {
                code: code.to_owned(),
                severity,
                statement,
                line,
                column,
                message,
                ..Finding::default()
            });
        };
        if ignore.codes.is_empty() {
            say("WB503", Severity::Low, format!("{MARK} names no finding: write the code and a reason"));
            continue;
        }
        for code in &ignore.codes {
            if !is_known(code) {
                say("WB503", Severity::Low, format!("there is no finding {code}"));
            } else if ignore.reason.is_empty() {
                say("WB501", Severity::Low, format!("{code} is not ignored: write a reason behind the code"));
            } else if !cover(findings, target, code, &ignore.reason) {
                say("WB502", Severity::Info, format!("there is no {code} here to ignore"));
            }
        }
    }
    findings.append(&mut about);
}

fn is_known(code: &str) -> bool {
    rule::find(code).is_some() || rule::RULES.iter().any(|rule| rule.name == code) || advice::is_rule(code)
}

/// Marks what a code means at a statement, and tells whether there was something.
fn cover(findings: &mut [Finding], target: Option<usize>, code: &str, reason: &str) -> bool {
    let named = rule::RULES.iter().find(|rule| rule.name == code).map_or(code, |rule| rule.code);
    let mut covered = false;
    for finding in findings.iter_mut().filter(|one| one.code == named && Some(one.statement) == target) {
        finding.ignored = Some(reason.to_owned());
        covered = true;
    }
    covered
}

/// The statement that a comment is about: the one that it stands in or behind on the same line, or the next one.
fn target(text: &str, statements: &[(usize, usize)], offset: usize) -> Option<usize> {
    let line = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
    let same_line = statements.iter().rposition(|(start, end)| *start < offset && *end > line);
    same_line.or_else(|| statements.iter().position(|(start, _)| *start >= offset))
}

fn comments(text: &str) -> Vec<Ignore> {
    let tokens = grammar::scan(text).unwrap_or_default();
    let kinds = [Symbol::SqlComment as i32, Symbol::CComment as i32];
    let comments = tokens.iter().filter(|token| kinds.contains(&token.token));
    comments
        .filter_map(|token| {
            let start = usize::try_from(token.start).ok()?;
            read(start, text.get(start..usize::try_from(token.end).ok()?)?)
        })
        .collect()
}

fn read(offset: usize, comment: &str) -> Option<Ignore> {
    let inner = comment.trim_start_matches("--").trim_start_matches("/*").trim_end_matches("*/").trim();
    let mut rest = inner.strip_prefix(MARK)?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t', ':']) {
        return None;
    }
    rest = rest.trim_start_matches([' ', '\t', ':']);
    let mut codes = Vec::new();
    loop {
        let length =
            rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count();
        let (code, after) = rest.split_at_checked(length)?;
        if code.is_empty() {
            break;
        }
        codes.push(code.to_owned());
        let Some(next) = after.trim_start().strip_prefix(',') else {
            rest = after;
            break;
        };
        rest = next.trim_start();
    }
    let reason = rest.trim_start_matches([' ', '\t', ':', '-', '\u{2013}', '\u{2014}']).trim();
    Some(Ignore { offset, codes, reason: reason.split_whitespace().collect::<Vec<_>>().join(" ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_read() {
        let check = |comment: &str, codes: &[&str], reason: &str| {
            let found = read(0, comment).unwrap();
            assert_eq!(
                (found.codes.iter().map(String::as_str).collect::<Vec<_>>(), found.reason.as_str()),
                (codes.to_vec(), reason)
            );
        };
        check("-- whimbrel:ignore WB101 small table", &["WB101"], "small table");
        check("--whimbrel:ignore WB101,WB206: small", &["WB101", "WB206"], "small");
        check("-- whimbrel:ignore WB101, WB206 - it is\tsmall", &["WB101", "WB206"], "it is small");
        check("/* whimbrel:ignore index-blocks-writes why not */", &["index-blocks-writes"], "why not");
        check("-- whimbrel:ignore WB101", &["WB101"], "");
        check("-- whimbrel:ignore", &[], "");
        assert_eq!(read(0, "-- whimbrel:ignored WB101 x"), None);
        assert_eq!(read(0, "-- see whimbrel:ignore"), None);
    }

    #[test]
    fn a_comment_is_about_the_statement_it_stands_at() {
        let text = "SELECT 1; -- a\n-- b\nSELECT\n -- c\n 2; -- d\n\n-- e\n";
        let first = (0, 8);
        let second = (text.find("SELECT\n").unwrap(), text.find("2;").unwrap() + 1);
        let check = |mark: &str, expected: Option<usize>| {
            assert_eq!(target(text, &[first, second], text.find(mark).unwrap()), expected, "{mark}");
        };
        check("-- a", Some(0));
        check("-- b", Some(1));
        check("-- c", Some(1));
        check("-- d", Some(1));
        check("-- e", None);
    }
}
