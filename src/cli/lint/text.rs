//! Findings for a person.

use std::fmt::Write as _;

use super::json::Summary;
use super::look::Linted;
use crate::cli::render::{FAINT, FRAME, GOOD, STRONG, Surface, printable, style_of};
use crate::sql::{Finding, Severity};

pub(super) fn render(linted: &[Linted<'_>], all: bool, surface: Surface) -> String {
    let mut text = String::new();
    for one in linted {
        for finding in &one.findings {
            let hidden = finding.overruled.is_some() && finding.ignored.is_none() && !all;
            if !hidden {
                text.push_str(&item(one, finding, all, surface));
            }
        }
    }
    text.push_str(&summary(&Summary::of(linted), all, surface));
    text
}

fn item(one: &Linted<'_>, finding: &Finding, all: bool, surface: Surface) -> String {
    let rule = crate::sql::rule(&finding.code).map(|rule| format!(" {}", rule.name)).unwrap_or_default();
    let (label, style) = match (&finding.ignored, &finding.overruled) {
        (Some(_), _) => ("Ignored".to_owned(), FAINT),
        (None, Some(_)) => ("Overruled".to_owned(), FAINT),
        (None, None) => (format!("{:?}", finding.severity), style_of(finding.severity)),
    };
    let mut text = format!(
        "{} {} {}{rule}\n",
        surface.paint(STRONG, &format!("{}:", printable(&one.location(finding)))),
        surface.paint(style, &label),
        surface.paint(style, &finding.code),
    );
    let why = finding.ignored.as_ref().or(finding.overruled.as_ref());
    if let (Some(why), false) = (why, all) {
        text.push_str(&surface.wrap(&printable(why), 4));
        text.push_str("\n\n");
        return text;
    }
    text.push_str(&surface.wrap(&printable(&finding.message), 4));
    text.push('\n');
    if let Some(why) = why {
        text.push_str(&surface.wrap(&format!("but: {}", printable(why)), 4));
        text.push('\n');
    }
    if !finding.safe_form.is_empty() && finding.counts() {
        let _ = writeln!(text, "    {}", surface.paint(FRAME, "instead:"));
        for line in finding.safe_form.lines() {
            let style = if line.starts_with("--") { FAINT } else { GOOD };
            let _ = writeln!(text, "      {}", surface.paint(style, &printable(line)));
        }
    }
    text.push('\n');
    text
}

fn summary(summary: &Summary, all: bool, surface: Surface) -> String {
    let levels = [
        (Severity::High, summary.high),
        (Severity::Medium, summary.medium),
        (Severity::Low, summary.low),
        (Severity::Info, summary.info),
    ];
    let found: Vec<String> = levels
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(severity, number)| surface.paint(style_of(*severity), &format!("{number} {severity:?}")))
        .collect();
    let mut parts =
        vec![if found.is_empty() { surface.paint(GOOD, "no findings") } else { found.join(", ") }];
    if summary.ignored > 0 {
        parts.push(format!("{} ignored", summary.ignored));
    }
    if summary.overruled > 0 {
        let more = if all { "" } else { " (--all shows it)" };
        parts.push(format!("{} overruled{more}", summary.overruled));
    }
    let plural = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    parts.push(format!("{} in {}", plural(summary.statements, "statement"), plural(summary.files, "file")));
    format!("{}\n", parts.join(" · "))
}
