//! What goes wrong because of the statements before, in the same transaction.

use pg_query::NodeEnum;

use super::Found;
use crate::sql::foresight::{LockMode, RelationLock};
use crate::sql::kind::{Kind, TableAction};
use crate::sql::lint::Severity;
use crate::sql::lint::subject::{Subject, same};
use crate::sql::lint::weigh::{Magnitude, Size};
use crate::sql::name::{RelationName, quote_literal};
use crate::sql::statement::Statement;

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    found.extend(enum_value(subject));
    // The same relation may be locked by several statements; the strongest lock is the one that is felt.
    let held = subject.locking().flat_map(|(statement, foreseen)| {
        let strong = foreseen.locks.iter().filter(|lock| lock.mode.blocks_writes());
        strong.map(move |lock| (statement.line, lock))
    });
    let held: Vec<(u32, &RelationLock)> =
        held.filter(|(_, lock)| is_table(subject, &lock.relation)).collect();
    let Some((line, lock)) = held.iter().copied().max_by_key(|(line, lock)| (lock.mode, u32::MAX - line))
    else {
        return;
    };
    let finding = validated(subject, line, lock)
        .or_else(|| changed(subject, line, lock))
        .or_else(|| held_on(subject, line, lock));
    found.extend(finding);
}

fn is_table(subject: &Subject<'_>, name: &RelationName) -> bool {
    subject.relation(name).is_none_or(|relation| !relation.columns.is_empty())
}

fn waiting(mode: LockMode) -> &'static str {
    if mode.blocks_reads() { "readers and writers of it wait" } else { "writers of it wait" }
}

/// How much long work weighs while a lock is held on another table: by the size of the table that is worked on.
fn weight(work: Size) -> Severity {
    match work.magnitude() {
        Magnitude::Empty => Severity::Info,
        Magnitude::Small => Severity::Low,
        Magnitude::Middling => Severity::Medium,
        Magnitude::Large => Severity::High,
    }
}

fn validated(subject: &Subject<'_>, line: u32, lock: &RelationLock) -> Option<Found> {
    let Kind::AlterTable(alter) = &subject.statement.kind else { return None };
    let validates = |action: &TableAction| matches!(action, TableAction::ValidateConstraint { .. });
    if !alter.actions.iter().any(validates) || subject.foreseen.scans.is_empty() {
        return None;
    }
    let table = &alter.relation;
    let message = format!(
        "VALIDATE CONSTRAINT reads all of {} while {} on {}, taken in line {line} by the same transaction, is held: {}; let \
         it commit first (a step of its own, or transaction: PerStatement)",
        subject.named(table),
        lock.mode,
        lock.relation,
        waiting(lock.mode),
    );
    let severity = weight(subject.size(table));
    Some(subject.finding("WB108", severity, 0, message).without_remedy())
}

/// Rows that are changed while a lock of a change of the schema is held.
fn changed(subject: &Subject<'_>, line: u32, lock: &RelationLock) -> Option<Found> {
    let (relation, many) = match (&subject.statement.kind, subject.node()) {
        (Kind::Update { relation, .. } | Kind::Delete { relation } | Kind::Merge { relation }, _) => {
            (relation, true)
        }
        (Kind::Insert { relation }, Some(NodeEnum::InsertStmt(insert))) => {
            let query = insert.select_stmt.as_ref().and_then(|query| query.node.as_ref());
            let reads = matches!(query, Some(NodeEnum::SelectStmt(select)) if !select.from_clause.is_empty());
            (relation, reads)
        }
        _ => return None,
    };
    let table = relation.as_ref()?;
    if !many
        || subject.is_new(table)
            && matches!(subject.statement.kind, Kind::Update { .. } | Kind::Delete { .. })
    {
        return None;
    }
    let size = subject.size(table);
    let message = format!(
        "rows of {} are changed while {} on {}, taken in line {line} by the same transaction, is held: {}; change rows in a \
         step of its own",
        subject.named(table),
        lock.mode,
        lock.relation,
        waiting(lock.mode),
    );
    let severity = if subject.is_new(table) { Severity::Low } else { weight(size) };
    Some(subject.finding("WB402", severity, 0, message).without_remedy())
}

/// Long work on one table while another one is locked.
fn held_on(subject: &Subject<'_>, line: u32, lock: &RelationLock) -> Option<Found> {
    let long = subject.foreseen.scans.iter().chain(&subject.foreseen.rewrites);
    let work = long
        .filter(|table| !same(table, &lock.relation))
        .max_by_key(|table| subject.size(table).magnitude())?;
    let message = format!(
        "{} on {}, taken in line {line} by the same transaction, is held while this works through {}: {}",
        lock.mode,
        lock.relation,
        subject.named(work),
        waiting(lock.mode),
    );
    let severity = weight(subject.size(work));
    Some(subject.finding("WB120", severity, 0, message).without_remedy())
}

/// A value of an enum that an earlier statement of the transaction added.
fn enum_value(subject: &Subject<'_>) -> Option<Found> {
    let around = subject.around;
    let mine = around.transactions.get(subject.index)?;
    let earlier = around.enum_values.iter().take_while(|index| **index < subject.index);
    let mut together = earlier.filter(|index| around.transactions.get(**index) == Some(mine));
    let used = |value: &str| subject.statement.sql.contains(&quote_literal(value));
    let defines = matches!(
        subject.statement.kind,
        Kind::AddEnumValue { .. } | Kind::Comment { .. } | Kind::CreateFunction { .. } | Kind::Rename(_)
    );
    if defines {
        return None;
    }
    let (line, value, relation) = together.find_map(|index| match around.statements.get(*index)? {
        Statement { kind: Kind::AddEnumValue { relation, value }, line, .. }
            if used(value) && !subject.makes_type(relation, *index) =>
        {
            Some((line, value.as_str(), relation))
        }
        _ => None,
    })?;
    let message = format!(
        "'{value}' of {relation} was added in line {line} by the same transaction, and cannot be used before that commits: \
         give ALTER TYPE a step of its own"
    );
    let at = subject.statement.sql.find(&quote_literal(value)).unwrap_or(0);
    Some(subject.finding("WB202", Severity::High, at, message).without_remedy())
}

impl Subject<'_> {
    /// Whether the same transaction made the type before a statement of it: its new values can then be used.
    fn makes_type(&self, name: &RelationName, index: usize) -> bool {
        let made =
            |one: &Statement| matches!(&one.kind, Kind::CreateType { relation } if same(relation, name));
        let earlier = self.around.statements.iter().zip(&self.around.transactions).take(index);
        let mine = self.around.transactions.get(index);
        earlier.into_iter().any(|(one, transaction)| Some(transaction) == mine && made(one))
    }
}
