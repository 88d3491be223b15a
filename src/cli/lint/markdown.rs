//! Findings for a pull request.

use std::fmt::Write as _;

use super::json::Summary;
use super::look::Linted;
use crate::cli::render::printable;
use crate::sql::Finding;

pub(super) fn render(linted: &[Linted<'_>]) -> String {
    let summary = Summary::of(linted);
    let mut text = format!(
        "### Migrations: {} High, {} Medium, {} Low, {} Info\n\nStatements: {} · files: {} · ignored: {} · overruled: {}\n",
        summary.high,
        summary.medium,
        summary.low,
        summary.info,
        summary.statements,
        summary.files,
        summary.ignored,
        summary.overruled
    );
    let all = || linted.iter().flat_map(|one| one.findings.iter().map(move |finding| (one, finding)));
    if all().any(|(_, finding)| finding.counts()) {
        text.push_str("\n| Severity | Finding | Place | Why |\n|---|---|---|---|\n");
        for (one, finding) in all().filter(|(_, finding)| finding.counts()) {
            text.push_str(&row(one, finding));
        }
    }
    for (one, finding) in all().filter(|(_, finding)| finding.counts() && !finding.safe_form.is_empty()) {
        let _ = write!(
            text,
            "\n<details><summary>{} {}: the form that does no harm</summary>\n\n```sql\n{}```\n\n</details>\n",
            cell(&one.location(finding)),
            finding.code,
            printable(&finding.safe_form)
        );
    }
    if all().any(|(_, finding)| finding.ignored.is_some()) {
        text.push_str("\nIgnored:\n\n");
        for (one, finding) in all() {
            if let Some(reason) = &finding.ignored {
                let _ =
                    writeln!(text, "- {} {}: {}", cell(&one.location(finding)), finding.code, cell(reason));
            }
        }
    }
    text
}

fn row(one: &Linted<'_>, finding: &Finding) -> String {
    format!(
        "| {:?} | {} | `{}` | {} |\n",
        finding.severity,
        finding.code,
        cell(&one.location(finding)),
        cell(&finding.message)
    )
}

/// A text that stays within its cell.
fn cell(text: &str) -> String {
    let line = printable(text).split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "\\`")
}
