//! A preview for a person at a terminal.

use anstyle::Style;

use super::tree;
use super::words::{self, placed};
use crate::cli::render::{ERROR, FAINT, GOOD, STRONG, Surface, printable, style_of};
use crate::core::preview::{Preview, QueryPreview, Risk, StatementPreview, UnitPreview};
use crate::sql::{Finding, Severity};

/// Lines of a statement or of an inverse that are shown.
const MOST_LINES: usize = 12;
/// Queries that are shown.
const MOST_QUERIES: usize = 20;
/// Where what is said of a statement begins, and how wide its labels are.
const INDENT: usize = 5;
const LABEL: usize = 9;

/// The whole preview, the summary first.
pub(super) fn render(preview: &Preview, surface: Surface) -> String {
    let mut page = Page { text: String::new(), surface };
    page.head(preview);
    for (index, unit) in preview.units.iter().enumerate() {
        page.unit(preview, index, unit);
    }
    page.blast_radius(preview);
    page.queries(preview);
    page.unknown(preview);
    page.text
}

struct Page {
    text: String,
    surface: Surface,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn paint(&self, style: Style, text: &str) -> String {
        self.surface.paint(style, text)
    }

    fn title(&mut self, title: &str) {
        let title = self.paint(STRONG, title);
        self.line("");
        self.line(&title);
    }

    /// A label, and a text that is broken into lines beside it.
    fn labelled(&mut self, label: &str, text: &str) {
        let wrapped = self.surface.wrap(&printable(text), INDENT + LABEL);
        let label = self.paint(FAINT, &format!("{label:LABEL$}"));
        self.line(&format!("{}{label}{}", " ".repeat(INDENT), wrapped.trim_start()));
    }

    /// A label, and SQL whose lines stay as they are.
    fn sql(&mut self, label: &str, sql: &str) {
        let width = if label.is_empty() { 0 } else { LABEL };
        let mut label = format!("{label:width$}");
        let lines: Vec<&str> = sql.lines().collect();
        for line in lines.iter().take(MOST_LINES) {
            let painted = self.paint(FAINT, &label);
            self.line(&format!("{}{painted}{}", " ".repeat(INDENT), printable(line)));
            label = " ".repeat(width);
        }
        if lines.len() > MOST_LINES {
            let more = format!("... {} more lines", lines.len() - MOST_LINES);
            let more = self.paint(FAINT, &more);
            self.line(&format!("{}{label}{more}", " ".repeat(INDENT)));
        }
    }

    fn head(&mut self, preview: &Preview) {
        let (first, rest) = preview.summary.split_once(" · ").unwrap_or((&preview.summary, ""));
        let style = match preview.risk {
            Risk::High => ERROR,
            Risk::Medium => style_of(Severity::Medium),
            Risk::Low => GOOD,
        };
        let summary = format!("{} · {}", self.paint(style, first), self.paint(STRONG, &printable(rest)));
        self.line(&summary);
        let server = self.paint(FAINT, &printable(&words::server(&preview.server)));
        self.line(&server);
        for reason in preview.risk_reasons.iter().take(MOST_LINES) {
            let wrapped = self.surface.wrap(&printable(reason), 4);
            self.line(&format!("  - {}", wrapped.trim_start()));
        }
        if preview.risk_reasons.len() > MOST_LINES {
            self.line(&format!("  - and {} more", preview.risk_reasons.len() - MOST_LINES));
        }
    }

    fn unit(&mut self, preview: &Preview, index: usize, unit: &UnitPreview) {
        self.title(&format!("Unit {} of {} · {}", index + 1, preview.units.len(), words::unit(unit)));
        let estimate = self.surface.wrap(&words::estimate(preview, unit), 2);
        let estimate = self.paint(FAINT, &estimate);
        self.line(&estimate);
        for statement in unit.statements.iter().filter_map(|number| preview.statements.get(*number)) {
            self.statement(statement);
        }
        self.line("");
        match &unit.way_back {
            None => self.labelled("way back", &format!("none: {}", unit.reason)),
            Some(blocks) => {
                let all: Vec<String> = blocks.iter().flatten().map(|sql| format!("{sql};")).collect();
                if all.is_empty() {
                    self.labelled("way back", "there is nothing to undo");
                } else {
                    self.sql("way back", &all.join("\n"));
                }
            }
        }
    }

    fn statement(&mut self, statement: &StatementPreview) {
        self.line("");
        let place = self.paint(FAINT, &printable(&placed(statement)));
        self.line(&format!("  {place}"));
        self.sql("", &statement.sql);
        for lock in &statement.locks {
            self.labelled("lock", &words::lock(lock));
        }
        if statement.locks.is_empty() && !statement.opaque {
            self.labelled("lock", "none on what is there");
        }
        for work in words::work(statement) {
            self.labelled("work", &work);
        }
        for consequence in &statement.consequences {
            self.labelled("also", consequence);
        }
        if !statement.assumptions.is_empty() {
            self.labelled("assumed", &format!("the worst of {}", statement.assumptions.join("; ")));
        }
        self.labelled("takes", &words::takes(statement));
        self.labelled("grade", &format!("{:?}: {}", statement.grade, statement.grade_reason));
        if let Some(inverse) = statement.inverse.as_ref().filter(|inverse| !inverse.is_empty()) {
            self.sql("inverse", inverse);
        }
        for finding in &statement.findings {
            self.finding(finding);
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let word =
            if finding.ignored.is_some() { "Ignored".to_owned() } else { format!("{:?}", finding.severity) };
        let style = if finding.ignored.is_some() { FAINT } else { style_of(finding.severity) };
        let head = format!("{} {}", word, finding.code);
        let wrapped = self.surface.wrap(&printable(&format!("{head} {}", words::finding(finding))), INDENT);
        let rest = wrapped.trim_start().strip_prefix(&head).unwrap_or_default().to_owned();
        let head = self.paint(style, &head);
        self.line(&format!("{}{head}{rest}", " ".repeat(INDENT)));
        if !finding.safe_form.is_empty() && finding.ignored.is_none() {
            self.sql("instead", &finding.safe_form);
        }
    }

    fn blast_radius(&mut self, preview: &Preview) {
        if preview.blast_radius.roots.is_empty() {
            return;
        }
        self.title("Blast radius");
        for line in tree::lines(&preview.blast_radius) {
            self.line(&format!("  {}", printable(&line)));
        }
    }

    fn queries(&mut self, preview: &Preview) {
        let Some(queries) = preview.queries.as_ref().filter(|queries| !queries.is_empty()) else { return };
        self.title(&words::queries(queries));
        for query in queries.iter().take(MOST_QUERIES) {
            self.query(query);
        }
        if queries.len() > MOST_QUERIES {
            self.line(&format!("  and {} more", queries.len() - MOST_QUERIES));
        }
    }

    fn query(&mut self, query: &QueryPreview) {
        let (sign, style) = if query.breaks.is_some() { ("breaks", ERROR) } else { ("works", GOOD) };
        let sign = self.paint(style, &format!("{sign:LABEL$}"));
        let room = self.surface.width.saturating_sub(2 + LABEL);
        self.line(&format!("  {sign}{}", printable(&words::one_line(&query.text, room))));
        let about = self.paint(FAINT, &printable(&words::query(query)));
        self.line(&format!("  {}{about}", " ".repeat(LABEL)));
        if let Some(breaks) = &query.breaks {
            let wrapped = self.surface.wrap(&printable(breaks), 2 + LABEL);
            self.line(&wrapped);
        }
    }

    fn unknown(&mut self, preview: &Preview) {
        if preview.unknown.is_empty() {
            return;
        }
        self.title("Not known");
        for unknown in &preview.unknown {
            let wrapped = self.surface.wrap(&printable(&format!("{}: {}", unknown.what, unknown.why)), 4);
            self.line(&format!("  - {}", wrapped.trim_start()));
            if !unknown.remedy.is_empty() {
                let wrapped = self.surface.wrap(&printable(&unknown.remedy), 4);
                self.line(&wrapped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_given_orders_by_a_statement() {
        let statement = StatementPreview { sql: "SELECT '\u{1b}[2J'".into(), ..StatementPreview::default() };
        let unit = UnitPreview { statements: vec![0], ..UnitPreview::default() };
        let preview = Preview { statements: vec![statement], units: vec![unit], ..Preview::default() };
        for surface in [Surface::PLAIN, Surface { colour: true, width: 80 }] {
            assert!(!render(&preview, surface).contains("\u{1b}[2J"), "{surface:?}");
        }
    }
}
