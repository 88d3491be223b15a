//! Findings: what a person should know before a statement runs, why, and the form that does no harm.

mod advice;
mod check;
mod ignore;
mod rule;
mod safe;
mod subject;
mod weigh;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::foresight::Foreseen;
use super::kind::Kind;
use super::refusal::{Code, Refusal};
use super::snapshot::Snapshot;
use super::statement::Statement;
use super::{grammar, usage};
pub use crate::api::Severity;
pub use advice::is_rule as is_advice;
pub use rule::{Class, RULES, Rule, find as rule};
use subject::Surroundings;

/// Something that a person should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Finding {
    /// Stable: `WB` and three digits for what rests on locks, catalog and measurement; the rule's own name for advice.
    pub code: String,
    /// How much it matters here: lock, size and traffic of the tables are in it.
    pub severity: Severity,
    /// Index of the statement.
    pub statement: usize,
    /// Line of the place, from 1.
    pub line: u32,
    /// Column of the place in characters, from 1.
    pub column: u32,
    /// What, and why it matters, in one sentence.
    pub message: String,
    /// The same change in a form that does no harm, as SQL that can be pasted; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub safe_form: String,
    /// Why it matters less than the rule says, if the catalog or a measurement says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overruled: Option<String>,
    /// The reason of a `-- whimbrel:ignore CODE reason` that covers it; it then counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

/// Which statements commit together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Those that can share a transaction do.
    #[default]
    Auto,
    /// All of them.
    Single,
    /// Each alone.
    PerStatement,
}

impl Grouping {
    /// The number of the transaction of each statement, from 0.
    fn transactions(self, statements: &[Statement]) -> Vec<usize> {
        let mut number = 0;
        let mut numbers = Vec::with_capacity(statements.len());
        let mut before: Option<&Statement> = None;
        for statement in statements {
            let apart = match (self, before) {
                (_, None) | (Self::Single, _) => false,
                (Self::PerStatement, _) => true,
                (Self::Auto, Some(before)) => !before.transactional || !statement.transactional,
            };
            number += usize::from(apart);
            numbers.push(number);
            before = Some(statement);
        }
        numbers
    }
}

/// Finds what is worth knowing about the statements of one script. `text` is the script, for its comments.
pub fn lint(text: &str, statements: &[Statement], foreseen: &[Foreseen], catalog: &Snapshot) -> Vec<Finding> {
    lint_script(text, statements, foreseen, catalog, Grouping::Auto, &[])
}

/// The same for statements that are known to commit together, or not to; what is refused of them is a finding, too, unless
/// it cannot be read at all.
pub fn lint_script(
    text: &str,
    statements: &[Statement],
    foreseen: &[Foreseen],
    catalog: &Snapshot,
    grouping: Grouping,
    refusals: &[Refusal],
) -> Vec<Finding> {
    let queries = catalog.queries.as_ref().is_some_and(|queries| !queries.is_empty());
    let impacts = if queries { usage::impacts(statements, catalog) } else { Vec::new() };
    let blocks = |foreseen: &Foreseen| foreseen.locks.iter().any(|lock| lock.mode.blocks_writes());
    let adds = |one: &Statement| matches!(one.kind, Kind::AddEnumValue { .. });
    let mut findings = grammar::on_deep_stack(|| {
        let around = Surroundings {
            statements,
            foreseen,
            trees: grammar::trees(statements.iter().map(|statement| statement.sql.as_str())),
            transactions: grouping.transactions(statements),
            strong: (0..foreseen.len()).filter(|index| foreseen.get(*index).is_some_and(blocks)).collect(),
            enum_values: (0..statements.len())
                .filter(|index| statements.get(*index).is_some_and(adds))
                .collect(),
            made: subject::made(statements),
            catalog,
            impacts,
        };
        let mut findings = refused(refusals, statements);
        for subject in around.subjects() {
            let mut found = check::all(&subject);
            safe::write(&subject, &mut found);
            findings.extend(found.into_iter().map(|one| one.finding));
        }
        // On a stack of its own, so that a fault of squawk takes nothing away.
        let advice = grammar::on_deep_stack(|| advice::given(text, &around, &findings));
        findings.extend(advice.unwrap_or_default());
        findings
    })
    .unwrap_or_default();
    ignore::apply(text, statements, &mut findings);
    findings.sort_by(|a, b| (a.line, a.column).cmp(&(b.line, b.column)).then(b.severity.cmp(&a.severity)));
    findings
}

/// Findings for statements that Whimbrel does not run; what cannot be read at all is an error, not a finding.
fn refused(refusals: &[Refusal], statements: &[Statement]) -> Vec<Finding> {
    let readable = refusals.iter().filter(|refusal| !refusal.code.is_unreadable());
    readable
        .map(|refusal| {
            let place = (refusal.line, refusal.column);
            let after = statements.partition_point(|statement| (statement.line, statement.column) <= place);
            let code = if refusal.code == Code::NotInTransaction { "WB105" } else { "WB001" };
            let hint = if refusal.hint.is_empty() { String::new() } else { format!("; {}", refusal.hint) };
            Finding {
                code: code.to_owned(),
                severity: Severity::High,
                statement: after.saturating_sub(1),
                line: refusal.line,
                column: refusal.column,
                message: format!("{}{hint}", refusal.message),
                ..Finding::default()
            }
        })
        .collect()
}

impl Finding {
    /// Whether it counts: it is neither ignored nor overruled.
    pub fn counts(&self) -> bool {
        self.ignored.is_none() && self.overruled.is_none()
    }
}

#[cfg(test)]
mod tests;
