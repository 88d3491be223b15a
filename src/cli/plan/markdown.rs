//! A preview for a pull request.

use std::fmt::Write as _;

use super::tree;
use super::words::{self, placed};
use crate::core::preview::{Preview, StatementPreview, UnitPreview};
use crate::sql::Finding;

/// Characters of a statement in a table.
const EXCERPT: usize = 100;

/// The whole preview, the summary first.
pub(super) fn render(preview: &Preview) -> String {
    let mut text =
        format!("### {}\n\n{}\n\n", escaped(&preview.summary), escaped(&words::server(&preview.server)));
    for reason in &preview.risk_reasons {
        let _ = writeln!(text, "- {}", escaped(reason));
    }
    findings(&mut text, preview);
    for (index, unit) in preview.units.iter().enumerate() {
        self::unit(&mut text, preview, index, unit);
    }
    if !preview.blast_radius.roots.is_empty() {
        let picture = tree::mermaid(&preview.blast_radius);
        let _ = write!(text, "\n#### Blast radius\n\n```mermaid\n{picture}```\n");
    }
    queries(&mut text, preview);
    if !preview.unknown.is_empty() {
        text.push_str("\n#### Not known\n\n");
        for unknown in &preview.unknown {
            let (what, why) = (escaped(&unknown.what), escaped(&unknown.why));
            let remedy = if unknown.remedy.is_empty() {
                String::new()
            } else {
                format!(": {}", code(&unknown.remedy))
            };
            let _ = writeln!(text, "- {what}: {why}{remedy}");
        }
    }
    text
}

fn findings(text: &mut String, preview: &Preview) {
    let (ignored, open): (Vec<&Finding>, Vec<&Finding>) =
        preview.findings.iter().partition(|finding| finding.ignored.is_some());
    if !open.is_empty() {
        text.push_str("\n#### Findings\n\n");
    }
    for finding in open {
        let place = preview.statements.get(finding.statement).map(placed).unwrap_or_default();
        let what = escaped(&words::finding(finding));
        let _ = writeln!(
            text,
            "- **{:?} {}** {}: {what}",
            finding.severity,
            escaped(&finding.code),
            code(&place)
        );
        if !finding.safe_form.is_empty() {
            let _ = write!(text, "\n{}", indented(&fenced("sql", &finding.safe_form)));
        }
    }
    if !ignored.is_empty() {
        let codes: Vec<String> = ignored.iter().map(|finding| escaped(&finding.code)).collect();
        let _ = writeln!(text, "\nIgnored: {}.", codes.join(", "));
    }
}

fn unit(text: &mut String, preview: &Preview, index: usize, unit: &UnitPreview) {
    let title = escaped(&words::unit(unit));
    let _ = write!(text, "\n#### Unit {} of {} · {title}\n\n", index + 1, preview.units.len());
    let _ = write!(text, "{}\n\n", escaped(&words::estimate(preview, unit)));
    text.push_str("| statement | locks | work | grade |\n|---|---|---|---|\n");
    for statement in unit.statements.iter().filter_map(|number| preview.statements.get(*number)) {
        row(text, statement);
    }
    text.push('\n');
    match &unit.way_back {
        None => {
            let _ = writeln!(text, "No way back: {}.", escaped(&unit.reason));
        }
        Some(blocks) => {
            let sql: Vec<String> = blocks.iter().flatten().map(|sql| format!("{sql};")).collect();
            let body = if sql.is_empty() { "-- there is nothing to undo".to_owned() } else { sql.join("\n") };
            let _ = write!(
                text,
                "<details><summary>Way back</summary>\n\n{}\n</details>\n",
                fenced("sql", &body)
            );
        }
    }
}

fn row(text: &mut String, statement: &StatementPreview) {
    let locks: Vec<String> = statement.locks.iter().map(|lock| escaped(&words::lock(lock))).collect();
    let mut work: Vec<String> = words::work(statement).iter().map(|work| escaped(work)).collect();
    work.extend(statement.consequences.iter().map(|consequence| escaped(consequence)));
    work.push(escaped(&words::takes(statement)));
    let _ = writeln!(
        text,
        "| {} {} | {} | {} | {:?} |",
        escaped(&placed(statement)),
        code(&words::one_line(&statement.sql, EXCERPT)).replace('|', "\\|"),
        if locks.is_empty() { "none".to_owned() } else { locks.join("<br>") },
        work.join("<br>"),
        statement.grade,
    );
}

fn queries(text: &mut String, preview: &Preview) {
    let Some(queries) = preview.queries.as_ref().filter(|queries| !queries.is_empty()) else { return };
    let _ = write!(text, "\n#### Queries\n\n{}\n\n", escaped(&words::queries(queries)));
    text.push_str("| query | who | after the change |\n|---|---|---|\n");
    for query in queries {
        let sql = code(&words::one_line(&query.text, EXCERPT)).replace('|', "\\|");
        let after = query
            .breaks
            .as_ref()
            .map_or_else(|| "works".to_owned(), |why| format!("**breaks**: {}", escaped(why)));
        let _ = writeln!(text, "| {sql} | {} | {after} |", escaped(&words::query(query)));
    }
}

/// Text in which nothing is markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            // Behind a blank it cannot end what is struck through.
            '~' if before == ' ' => safe.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '@' => {
                safe.push('\\');
                safe.push(c);
            }
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
        before = c;
    }
    safe
}

/// The longest run of backticks in a text.
fn ticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

/// A text as code within a line.
fn code(text: &str) -> String {
    let fence = "`".repeat(ticks(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A text as a block of code.
fn fenced(language: &str, text: &str) -> String {
    let fence = "`".repeat((ticks(text) + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// A block within a list.
fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |block, line| block + "  " + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_sql_becomes_markup() {
        assert_eq!(escaped("a_b <img> @team |"), "a\\_b \\<img\\> \\@team \\|");
        assert_eq!(escaped("~40 ms, a~b"), "~40 ms, a\\~b");
        assert_eq!(code("a `b` c"), "``a `b` c``");
        assert_eq!(code("`b`"), "`` `b` ``");
        assert_eq!(fenced("sql", "SELECT '```'\n"), "````sql\nSELECT '```'\n````\n");
    }
}
