//! Findings for programs.

use serde::Serialize;

use super::look::Linted;
use crate::cli::input::InputProblem;
use crate::sql::{Finding, Severity};

/// What is printed; fields are only ever added.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    summary: Summary,
    findings: Vec<One<'a>>,
    errors: Vec<Problem<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub files: usize,
    pub statements: usize,
    pub high: usize,
    pub medium: usize,
    pub low: usize,
    pub info: usize,
    pub ignored: usize,
    pub overruled: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    file: &'a str,
    /// The field of a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// Short name of the rule.
    rule: &'a str,
    sql: &'a str,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: &'a str,
}

impl Summary {
    pub fn of(linted: &[Linted<'_>]) -> Self {
        let mut files: Vec<&str> = linted.iter().map(|one| one.file).collect();
        files.dedup();
        let statements = linted.iter().map(|one| one.statements.len()).sum();
        let mut summary = Self { files: files.len(), statements, ..Self::default() };
        for finding in linted.iter().flat_map(|one| &one.findings) {
            let counter = match finding {
                Finding { ignored: Some(_), .. } => &mut summary.ignored,
                Finding { overruled: Some(_), .. } => &mut summary.overruled,
                Finding { severity: Severity::High, .. } => &mut summary.high,
                Finding { severity: Severity::Medium, .. } => &mut summary.medium,
                Finding { severity: Severity::Low, .. } => &mut summary.low,
                Finding { severity: Severity::Info, .. } => &mut summary.info,
            };
            *counter += 1;
        }
        summary
    }
}

pub(super) fn render(linted: &[Linted<'_>], problems: &[InputProblem]) -> anyhow::Result<String> {
    let mut findings = Vec::new();
    for one in linted {
        for located in one.located() {
            let mut finding = located.finding.clone();
            // Line and column are those in the file wherever they are known.
            if let Some((line, column)) = located.place {
                (finding.line, finding.column) = (line, column);
            }
            let rule = crate::sql::rule(&located.finding.code)
                .map_or(located.finding.code.as_str(), |rule| rule.name);
            findings.push(One {
                file: one.file,
                field: one.piece.field.as_deref(),
                rule,
                sql: located.sql,
                finding,
            });
        }
    }
    let errors = problems.iter().map(|problem| Problem {
        file: &problem.name,
        line: problem.place.map(|(line, _)| line),
        column: problem.place.map(|(_, column)| column),
        message: &problem.message,
        hint: &problem.hint,
    });
    let document = Document { summary: Summary::of(linted), findings, errors: errors.collect() };
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}
