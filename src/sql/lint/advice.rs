//! A second opinion: the rules of squawk, as advice.
//!
//! squawk reads the text alone. What it says of locks and scans is dropped where a finding says the same, and overruled
//! where the catalog shows that it is not so. It decides nothing: where it does not see the statements that the server's
//! grammar sees, it is not heard at all.

use std::collections::BTreeSet;

use squawk_linter::{Linter, Rule, Violation};
use squawk_syntax::SourceFile;
use squawk_syntax::ast::AstNode;

use super::subject::{Subject, Surroundings};
use super::{Finding, Severity};
use crate::sql::foresight::Heavy;
use crate::sql::kind::Kind;
use crate::sql::name::RelationName;
use crate::sql::refusal::Lines;

/// A rule, how much it matters where nothing is known, and the findings that say the same from better knowledge.
struct Advice {
    rule: Rule,
    severity: Severity,
    same: &'static [&'static str],
}

const fn known(rule: Rule, same: &'static [&'static str]) -> Advice {
    Advice { rule, severity: Severity::Low, same }
}

const fn low(rule: Rule) -> Advice {
    Advice { rule, severity: Severity::Low, same: &[] }
}

const fn info(rule: Rule) -> Advice {
    Advice { rule, severity: Severity::Info, same: &[] }
}

/// The rules that are heard. Left out are those of taste (prefer-text-field, prefer-robust-stmts, prefer-identity,
/// prefer-bigint-over-smallint, require-table-schema) and those about what Whimbrel does itself (timeouts, transactions).
const HEARD: &[Advice] = &[
    known(Rule::RequireConcurrentIndexCreation, &["WB101"]),
    known(Rule::RequireConcurrentIndexDeletion, &["WB102"]),
    known(Rule::RequireConcurrentReindex, &["WB103"]),
    known(Rule::RequireConcurrentPartitionDetach, &["WB104"]),
    known(Rule::ConstraintMissingNotValid, &["WB106", "WB107", "WB108", "WB109", "WB110", "WB111", "WB112"]),
    known(Rule::AddingForeignKeyConstraint, &["WB107"]),
    known(Rule::AddingNotNullableField, &["WB109", "WB201"]),
    known(Rule::AddingRequiredField, &["WB201"]),
    known(Rule::AddingSerialPrimaryKeyField, &["WB110", "WB111", "WB113"]),
    known(Rule::DisallowedUniqueConstraint, &["WB111"]),
    known(Rule::AddingFieldWithDefault, &["WB113"]),
    known(Rule::ChangingColumnType, &["WB114", "WB115"]),
    known(Rule::PreferRepack, &["WB116"]),
    known(Rule::IdentifierTooLong, &["WB203"]),
    known(Rule::BanDuplicateColumnAssignments, &["WB204"]),
    known(Rule::BanDropTable, &["WB301"]),
    known(Rule::BanDropColumn, &["WB302"]),
    known(Rule::BanDropView, &["WB303"]),
    known(Rule::BanDropFunction, &["WB303"]),
    known(Rule::BanDropType, &["WB303"]),
    known(Rule::BanDropSchema, &["WB303"]),
    known(Rule::BanDropSequence, &["WB303"]),
    known(Rule::BanDropDomain, &["WB303"]),
    known(Rule::BanDropExtension, &["WB303"]),
    known(Rule::BanDropDatabase, &["WB001"]),
    known(Rule::RenamingTable, &["WB304"]),
    known(Rule::RenamingColumn, &["WB305"]),
    known(Rule::RenamingObject, &["WB304", "WB305", "WB306"]),
    known(Rule::BanSetSchema, &["WB304", "WB306"]),
    known(Rule::BanTruncateCascade, &["WB308"]),
    low(Rule::BanDropNotNull),
    low(Rule::BanDropDefault),
    low(Rule::BanDropConstraint),
    low(Rule::BanDropGeneratedExpression),
    low(Rule::BanAlterIdentity),
    low(Rule::BanCreateDomainWithConstraint),
    low(Rule::BanAlterDomainWithAddConstraint),
    info(Rule::RequireEnumValueOrdering),
    info(Rule::PreferBigintOverInt),
    info(Rule::PreferTimestampTz),
    info(Rule::BanCharField),
];

/// Statements that are left out of a script before it is judged.
const LEFT_OUT: &[&str] = &["begin", "start", "commit", "end", "set", "reset"];

/// Whether a name is that of a rule that is heard.
pub fn is_rule(name: &str) -> bool {
    HEARD.iter().any(|advice| advice.rule.to_string() == name)
}

/// The rules that are heard: name, severity, and the findings that say the same.
#[cfg(test)]
pub fn heard() -> impl Iterator<Item = (String, Severity, &'static [&'static str])> {
    HEARD.iter().map(|advice| (advice.rule.to_string(), advice.severity, advice.same))
}

/// What squawk says, and no finding says already.
pub fn given(text: &str, around: &Surroundings<'_>, findings: &[Finding]) -> Vec<Finding> {
    let lines = Lines::new(text);
    let starts: Vec<usize> = around.statements.iter().map(|one| lines.offset(one.line, one.column)).collect();
    let Some(violations) = violations(text, &starts, around.catalog.major) else {
        return Vec::new();
    };
    let mut given = Vec::new();
    let said: BTreeSet<(usize, String)> =
        findings.iter().map(|finding| (finding.statement, finding.code.clone())).collect();
    let subjects: Vec<Subject<'_>> = around.subjects().collect();
    for violation in violations {
        let Some(advice) = HEARD.iter().find(|advice| advice.rule == violation.code) else { continue };
        let offset = usize::from(violation.text_range.start());
        let Some(index) = starts.partition_point(|start| *start <= offset).checked_sub(1) else { continue };
        let Some(subject) = subjects.get(index) else { continue };
        if advice.same.iter().any(|code| said.contains(&(index, (*code).to_owned()))) {
            continue;
        }
        let overruled = overruled(subject, advice);
        let (line, column) = lines.place(offset);
        let message = match &violation.help {
            Some(help) => format!("{} {help}", violation.message),
            None => violation.message.clone(),
        };
        given.push(Finding {
            code: advice.rule.to_string(),
            severity: if overruled.is_some() { Severity::Info } else { advice.severity },
            statement: index,
            line,
            column,
            message: message.split_whitespace().collect::<Vec<_>>().join(" "),
            overruled,
            ..Finding::default()
        });
    }
    given
}

/// What squawk says, if it sees the same statements.
fn violations(text: &str, starts: &[usize], major: Option<u32>) -> Option<Vec<Violation>> {
    let file = SourceFile::parse(text);
    if !file.errors().is_empty() {
        return None;
    }
    let mut seen = BTreeSet::new();
    for statement in file.tree().stmts() {
        let mut token = statement.syntax().first_token()?;
        while token.kind().is_trivia() {
            token = token.next_token()?;
        }
        let offset = usize::from(token.text_range().start());
        let word: String = text.get(offset..)?.chars().take_while(char::is_ascii_alphabetic).collect();
        if starts.binary_search(&offset).is_ok() || !LEFT_OUT.contains(&word.to_ascii_lowercase().as_str()) {
            seen.insert(offset);
        }
    }
    if !seen.iter().eq(starts.iter()) {
        return None;
    }
    let mut linter = Linter::from(HEARD.iter().map(|advice| advice.rule));
    // Transactions are judged by what Whimbrel makes of the script, not by words in it.
    linter.settings.assume_in_transaction = false;
    if let Some(version) = major.and_then(|major| major.to_string().parse().ok()) {
        linter.settings.pg_version = version;
    }
    Some(linter.lint(&file, text))
}

/// Why an advice does not hold here.
fn overruled(subject: &Subject<'_>, advice: &Advice) -> Option<String> {
    let of: Option<&RelationName> = match &subject.statement.kind {
        Kind::AlterTable(alter) => Some(&alter.relation),
        Kind::CreateIndex(index) => Some(&index.relation),
        _ => None,
    };
    if let Some(table) = of.filter(|table| subject.is_new(table)) {
        return Some(format!("{table} is made by the same script, so nobody uses it yet"));
    }
    if advice.same.is_empty() {
        return None;
    }
    if subject.foreseen.heavy == Heavy::None {
        let sure = if subject.foreseen.assumptions.is_empty() { "" } else { ", as far as is known" };
        return Some(format!("nothing is read or rewritten here while others wait{sure}"));
    }
    Some("what is foreseen of the statement says otherwise".to_owned())
}
