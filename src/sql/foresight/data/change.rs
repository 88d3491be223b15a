//! Rows that are inserted, updated, deleted, and what hangs on them.

use pg_query::protobuf::{
    CmdType, CopyStmt, DeleteStmt, InsertStmt, MergeStmt, OnConflictAction, RangeVar, UpdateStmt,
};
use pg_query::{Node, NodeEnum};

use super::{below, definition, expression, query, reaches_index, read};
use crate::sql::classify::tree;
use crate::sql::foresight::case::Case;
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::world::Id;
use crate::sql::foresight::{reads, route};
use crate::sql::kind::ConstraintKind;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{ConstraintFacts, RelationType};

/// A statement that changes rows, with all that it reads.
pub fn change(case: &mut Case<'_, '_>, node: &NodeEnum) {
    query(case, node);
    match node {
        NodeEnum::InsertStmt(stmt) => insert_rows(case, stmt),
        NodeEnum::UpdateStmt(stmt) => update_rows(case, stmt),
        NodeEnum::DeleteStmt(stmt) => delete_rows(case, stmt),
        NodeEnum::MergeStmt(stmt) => merge_rows(case, stmt),
        _ => {}
    }
}

/// The relation that rows are changed of.
fn changed(case: &mut Case<'_, '_>, range: Option<&RangeVar>) -> Option<(Id, bool)> {
    let range = range?;
    let id = case.target(&tree::range(range), false)?;
    case.out.changes_data = true;
    Some((id, range.inh))
}

/// Takes the lock of a writer on a relation and what is below it; for a view, on its tables. Gives the tables.
fn write(case: &mut Case<'_, '_>, id: Id, inherit: bool, event: &str) -> Vec<Id> {
    if case.world.kind(id) != RelationType::View {
        let family = below(case, id, inherit);
        case.lock_all(&family, LockMode::RowExclusive);
        for one in &family {
            triggers(case, *one, event);
        }
        return family;
    }
    case.lock(id, LockMode::RowExclusive);
    triggers(case, id, event);
    let Some(view) = definition(case, id) else {
        case.assume(format!("what the view {} reads", case.world.name(id)));
        return Vec::new();
    };
    let instead = case.copy(id).triggers.iter().any(|trigger| trigger.definition.contains("INSTEAD OF"));
    let simple = view.relations.len() == 1 && !instead;
    let mut tables = Vec::new();
    for access in &view.relations {
        let Some(base) = case.target_in_view(&access.name) else { continue };
        if simple && case.world.kind(base) == RelationType::View && base != id {
            tables.extend(write(case, base, access.inherit, event));
        } else if simple {
            let family = below(case, base, access.inherit);
            case.lock_all(&family, LockMode::RowExclusive);
            tables.extend(family);
        } else {
            read(case, base, LockMode::AccessShare, access.inherit, true, 1);
        }
    }
    tables
}

/// Triggers that fire.
pub fn triggers(case: &mut Case<'_, '_>, id: Id, event: &str) {
    let name = case.world.name(id);
    if !case.world.is_known(id) {
        case.assume(format!("triggers and foreign keys of {name}"));
    }
    let relation = case.copy(id);
    for trigger in relation.triggers.iter().filter(|trigger| trigger.enabled) {
        let head = trigger.definition.split(" ON ").next().unwrap_or_default();
        if head.contains(event) {
            case.consequence(format!("fires the trigger {} of {name}", trigger.name));
        }
    }
}

fn foreign_keys(case: &Case<'_, '_>, id: Id) -> Vec<ConstraintFacts> {
    let relation = case.copy(id);
    relation.constraints.into_iter().filter(|c| c.kind == ConstraintKind::ForeignKey && c.enforced).collect()
}

/// The tables that rows with new values in some columns (all, if `None`) have to refer to.
fn referred(case: &mut Case<'_, '_>, id: Id, columns: Option<&[String]>) {
    for key in foreign_keys(case, id) {
        let concerned =
            columns.is_none_or(|columns| key.columns.iter().any(|column| columns.contains(column)));
        if let Some(target) = key.references.as_ref().filter(|_| concerned)
            && let Some(target) = case.world.find(target)
        {
            case.lock(target, LockMode::RowShare);
        }
    }
}

pub fn insert_rows(case: &mut Case<'_, '_>, stmt: &InsertStmt) {
    let Some((id, _)) = changed(case, stmt.relation.as_ref()) else { return };
    let named: Vec<String> = stmt.cols.iter().filter_map(tree::target).collect();
    case.needs_columns(id, &named);
    let parts = route::rows(case, id, stmt);
    let tables = match parts {
        Some(parts) => {
            case.lock(id, LockMode::RowExclusive);
            case.lock_all(&parts, LockMode::RowExclusive);
            for part in &parts {
                triggers(case, *part, "INSERT");
            }
            vec![id]
        }
        None => write(case, id, true, "INSERT"),
    };
    let defaults = stmt.select_stmt.is_none();
    let target = tables.first().copied().unwrap_or(id);
    let all: Vec<String> = case.copy(target).columns.iter().map(|column| column.name.clone()).collect();
    let given = match (defaults, named.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => all.into_iter().take(values_width(stmt).unwrap_or(usize::MAX)).collect(),
        (false, false) => named,
    };
    sequences(case, target, &given);
    referred(case, target, Some(&given));
    if let Some(conflict) = &stmt.on_conflict_clause
        && conflict.action() == OnConflictAction::OnconflictUpdate
    {
        let set: Vec<String> = conflict.target_list.iter().filter_map(tree::target).collect();
        referred(case, target, Some(&set));
        referring(case, target, Some(&set), 0);
    }
}

/// How many values a row of `VALUES` has.
fn values_width(stmt: &InsertStmt) -> Option<usize> {
    let Some(NodeEnum::SelectStmt(select)) = &stmt.select_stmt.as_ref()?.node else { return None };
    match &select.values_lists.first()?.node {
        Some(NodeEnum::List(list)) => Some(list.items.len()),
        _ => None,
    }
}

/// Sequences that give values to the columns that are not written.
fn sequences(case: &mut Case<'_, '_>, id: Id, given: &[String]) {
    let relation = case.copy(id);
    for column in relation.columns.iter().filter(|column| !given.contains(&column.name)) {
        if let Some(sequence) = column.default.as_deref().and_then(named_sequence) {
            if let Some(id) = case.world.find(&sequence) {
                case.lock(id, LockMode::RowExclusive);
            }
        } else if column.identity {
            for sequence in owned_sequences(case, id, Some(&column.name)) {
                case.lock(sequence, LockMode::RowExclusive);
            }
        }
    }
}

/// The sequence of `nextval('...'::regclass)`.
pub fn named_sequence(default: &str) -> Option<RelationName> {
    let rest = default.strip_prefix("nextval('")?;
    reads::parse_name(rest.split_once('\'')?.0)
}

/// Sequences that a table owns, or one of its columns.
pub fn owned_sequences(case: &Case<'_, '_>, id: Id, column: Option<&str>) -> Vec<Id> {
    let name = case.world.name(id);
    let columns = case.world.relation(id).map(|relation| relation.columns.as_slice()).unwrap_or_default();
    // Most sequences are found by the default that uses them; only an identity column has none.
    let mut found: Vec<Id> = columns
        .iter()
        .filter(|facts| column.is_none_or(|column| facts.name == column))
        .filter_map(|facts| match &facts.default {
            Some(default) => named_sequence(default),
            None if facts.identity => Some(name.sibling(format!("{}_{}_seq", name.name, facts.name))),
            None => None,
        })
        .filter_map(|sequence| case.world.find(&sequence))
        .filter(|sequence| owns(case, &name, *sequence, column))
        .collect();
    let expected = columns.iter().filter(|facts| facts.identity).count();
    if found.is_empty() && expected > 0 || column.is_none() {
        let more = case.world.ids().filter(|sequence| owns(case, &name, *sequence, column));
        found.extend(more.collect::<Vec<_>>());
        found.sort_unstable();
        found.dedup();
    }
    found
}

fn owns(case: &Case<'_, '_>, table: &RelationName, sequence: Id, column: Option<&str>) -> bool {
    case.world.relation(sequence).is_some_and(|relation| {
        relation.kind == RelationType::Sequence
            && relation.owned_by.as_ref().is_some_and(|(owner, of)| {
                owner == table && column.is_none_or(|column| of.as_deref() == Some(column))
            })
    })
}

pub fn update_rows(case: &mut Case<'_, '_>, stmt: &UpdateStmt) {
    let Some((id, inherit)) = changed(case, stmt.relation.as_ref()) else {
        return;
    };
    let set: Vec<String> = stmt.target_list.iter().filter_map(tree::target).collect();
    case.needs_columns(id, &set);
    for table in write(case, id, inherit, "UPDATE") {
        target_scan(case, table, stmt.where_clause.as_deref());
        referred(case, table, Some(&set));
        referring(case, table, Some(&set), 0);
    }
}

pub fn delete_rows(case: &mut Case<'_, '_>, stmt: &DeleteStmt) {
    let Some((id, inherit)) = changed(case, stmt.relation.as_ref()) else {
        return;
    };
    case.destroys(id);
    for table in write(case, id, inherit, "DELETE") {
        target_scan(case, table, stmt.where_clause.as_deref());
        referring(case, table, None, 0);
    }
}

pub fn merge_rows(case: &mut Case<'_, '_>, stmt: &MergeStmt) {
    let Some((id, inherit)) = changed(case, stmt.relation.as_ref()) else {
        return;
    };
    let mut tables = Vec::new();
    for node in &stmt.merge_when_clauses {
        let Some(NodeEnum::MergeWhenClause(when)) = &node.node else { continue };
        let set: Vec<String> = when.target_list.iter().filter_map(tree::target).collect();
        match when.command_type() {
            CmdType::CmdInsert => {
                tables = write(case, id, inherit, "INSERT");
                sequences(case, id, &set);
                referred(case, id, (!set.is_empty()).then_some(&set));
            }
            CmdType::CmdUpdate => {
                tables = write(case, id, inherit, "UPDATE");
                for table in &tables {
                    referred(case, *table, Some(&set));
                    referring(case, *table, Some(&set), 0);
                }
            }
            CmdType::CmdDelete => {
                case.destroys(id);
                tables = write(case, id, inherit, "DELETE");
                for table in &tables {
                    referring(case, *table, None, 0);
                }
            }
            _ => tables = below(case, id, inherit),
        }
    }
    case.lock_all(&tables, LockMode::RowExclusive);
    for table in tables {
        case.scan(table);
    }
}

/// Cascades that are followed.
const MAX_CASCADES: usize = 16;

/// The tables whose rows refer to rows that change in these columns, or that go away (`None`).
fn referring(case: &mut Case<'_, '_>, id: Id, columns: Option<&[String]>, depth: usize) {
    let mut targets = vec![id];
    targets.extend(case.world.parents(id));
    for target in targets {
        let name = case.world.name(target);
        for child in case.world.referencing(target) {
            for key in foreign_keys(case, child).iter().filter(|key| key.references.as_ref() == Some(&name)) {
                let referenced = referenced_columns(&key.definition);
                if let Some(columns) = columns
                    && !referenced.is_empty()
                    && !referenced.iter().any(|column| columns.contains(column))
                {
                    continue;
                }
                let event = if columns.is_some() { "ON UPDATE " } else { "ON DELETE " };
                let action = key.definition.split_once(event).map_or("", |(_, action)| action);
                let cascades = action.starts_with("CASCADE");
                let writes = cascades || action.starts_with("SET ");
                let mode = if writes { LockMode::RowExclusive } else { LockMode::RowShare };
                let family = below(case, child, true);
                case.lock_all(&family, mode);
                if writes {
                    let verb = if cascades && columns.is_none() { "deletes" } else { "changes" };
                    case.consequence(format!("{verb} rows of {} ({})", case.world.name(child), key.name));
                }
                if cascades && depth < MAX_CASCADES {
                    let columns = columns.map(|_| key.columns.clone());
                    referring(case, child, columns.as_deref(), depth + 1);
                }
            }
        }
    }
}

/// The columns in `REFERENCES t(a, b)`; empty if they are not written.
pub fn referenced_columns(definition: &str) -> Vec<String> {
    let Some((_, rest)) = definition.split_once("REFERENCES ") else { return Vec::new() };
    let Some((table, rest)) = rest.split_once('(') else { return Vec::new() };
    if table.trim().contains(' ') {
        return Vec::new();
    }
    let list = rest.split(')').next().unwrap_or_default();
    list.split(',').map(|column| column.trim().trim_matches('"').to_owned()).collect()
}

/// The table whose rows are looked for is read whole, unless the condition leads into an index.
fn target_scan(case: &mut Case<'_, '_>, id: Id, condition: Option<&Node>) {
    let columns = condition.map(reads::looked_up).unwrap_or_default();
    if !reaches_index(case, id, &columns) {
        case.scan(id);
    }
}

pub fn copy(case: &mut Case<'_, '_>, stmt: &CopyStmt) {
    if stmt.is_program {
        case.opaque("runs a program on the server");
    }
    if let Some(query) = stmt.query.as_deref() {
        expression(case, query);
        return;
    }
    let Some(range) = &stmt.relation else { return };
    let Some(id) = case.target(&tree::range(range), false) else { return };
    if !stmt.is_from {
        case.lock(id, LockMode::AccessShare);
        case.scan(id);
        return;
    }
    case.out.changes_data = true;
    let tables = write(case, id, true, "INSERT");
    let target = tables.first().copied().unwrap_or(id);
    let mut given = tree::names(&stmt.attlist);
    if given.is_empty() {
        given = case.copy(target).columns.into_iter().map(|column| column.name).collect();
    }
    sequences(case, target, &given);
    referred(case, target, Some(&given));
}
