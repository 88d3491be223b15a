//! `ALTER COLUMN ... TYPE`.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, ColumnDef};

use crate::sql::classify::tree;
use crate::sql::foresight::case::Case;
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::types::{self, Cost, Type};
use crate::sql::foresight::world::{Found, Id};
use crate::sql::foresight::{data, drop};
use crate::sql::kind::ConstraintKind;
use crate::sql::snapshot::ConstraintFacts;

/// Objects that hold a column's type fast.
const HOLDERS: &[&str] = &["view", "materialized view", "rule", "policy", "generated column", "trigger"];

pub fn retype(case: &mut Case<'_, '_>, targets: &[Id], command: &AlterTableCmd) {
    let Some(NodeEnum::ColumnDef(definition)) = command.def.as_ref().and_then(|def| def.node.as_ref()) else {
        return;
    };
    let Some(name) = &definition.type_name else { return };
    let new = Type::of(name);
    for id in targets {
        change(case, *id, &command.name, &new, definition);
    }
}

fn change(case: &mut Case<'_, '_>, id: Id, column: &str, new: &Type, definition: &ColumnDef) {
    blockers(case, id, column);
    let cost = cost(case, id, column, new, definition);
    if let Some(using) = definition.raw_default.as_deref() {
        data::expression(case, using);
    }
    if cost == Cost::Rewrite {
        case.rewrite(id);
    }
    indexes(case, id, column, cost, definition.coll_clause.is_some());
    constraints(case, id, column, cost);
    identity(case, id, column, new);
    case.consequence(format!("the statistics of {}.{column} are lost until ANALYZE", case.world.name(id)));
    case.world.change(id, |relation| {
        let found = relation.columns.iter_mut().find(|facts| facts.name == column);
        if let Some(facts) = found {
            facts.data_type = new.to_string();
        }
    });
}

fn cost(case: &mut Case<'_, '_>, id: Id, column: &str, new: &Type, definition: &ColumnDef) -> Cost {
    if let Some(using) = definition.raw_default.as_deref()
        && !is_plain(using, column, new)
    {
        return Cost::Rewrite;
    }
    let Some(old) = case.column_type(id, column) else { return Cost::Rewrite };
    let (cost, unknown) = types::cost(case.world, &Type::parse(&old), new);
    match unknown {
        Some(fact) if fact.starts_with("what the type") => case.assume(format!("what the type {new} is")),
        Some(fact) => case.assume(fact),
        None => {}
    }
    cost
}

/// `USING column` or `USING column::type` is what is done anyway.
fn is_plain(using: &pg_query::Node, column: &str, new: &Type) -> bool {
    match &using.node {
        Some(NodeEnum::ColumnRef(reference)) => {
            reference.fields.last().and_then(tree::string).as_deref() == Some(column)
        }
        Some(NodeEnum::TypeCast(cast)) => {
            cast.type_name.as_ref().is_some_and(|name| Type::of(name) == *new)
                && cast.arg.as_deref().is_some_and(|arg| is_plain(arg, column, new))
        }
        _ => false,
    }
}

/// What makes the server refuse the change.
fn blockers(case: &mut Case<'_, '_>, id: Id, column: &str) {
    let relation = case.copy(id);
    for dependency in case.world.dependents(&relation.name) {
        let holds = HOLDERS.contains(&dependency.dependent.kind.as_str());
        if holds
            && dependency.on.column.as_deref() == Some(column)
            && drop::is_there(case, &dependency.dependent)
        {
            let (kind, what) = (&dependency.dependent.kind, &dependency.dependent.identity);
            case.fails(&format!("the {kind} {what} uses {}.{column}", relation.name));
        }
    }
    if relation.partition_key.as_deref().is_some_and(|key| drop::mentions(key, column)) {
        case.fails(&format!("{}.{column} is part of the partition key", relation.name));
    }
}

/// Indexes of the column are made anew, or kept under another number.
fn indexes(case: &mut Case<'_, '_>, id: Id, column: &str, cost: Cost, collation: bool) {
    let concerned = |name: &String| name == column;
    for index in case.indexes(id) {
        let plain = index.columns.iter().flatten().any(concerned);
        let used = index.used_columns.iter().any(concerned);
        if !plain && !used {
            continue;
        }
        case.lock_index(id, &index.name, LockMode::AccessExclusive);
        let expression = index.partial || index.columns.iter().any(Option::is_none);
        if cost != Cost::Nothing || collation || expression {
            case.rebuild(id, &index.name);
        }
    }
}

/// Constraints of the column are made anew, and its foreign keys on both sides.
fn constraints(case: &mut Case<'_, '_>, id: Id, column: &str, cost: Cost) {
    let relation = case.copy(id);
    let concerned = |facts: &&ConstraintFacts| facts.columns.iter().any(|name| name == column);
    for facts in relation.constraints.iter().filter(concerned) {
        match facts.kind {
            ConstraintKind::Check if facts.validated && facts.enforced => case.scan(id),
            ConstraintKind::ForeignKey => {
                let Some(target) = facts.references.as_ref().and_then(|name| case.world.find(name)) else {
                    continue;
                };
                let family = case.world.family(target);
                case.lock_all(&family, LockMode::AccessExclusive);
                if cost != Cost::Nothing && facts.validated {
                    case.scan(id);
                    case.scan(target);
                }
            }
            _ => {}
        }
    }
    if !case.world.is_known(id) && relation.constraints.is_empty() {
        case.assume(format!("constraints and foreign keys of {}", relation.name));
    }
    for child in case.referencing(id) {
        let keys = case.copy(child).constraints;
        for key in keys.iter().filter(|key| key.references.as_ref() == Some(&relation.name)) {
            let referenced = data::referenced_columns(&key.definition);
            if !referenced.is_empty() && !referenced.iter().any(|name| name == column) {
                continue;
            }
            let family = case.world.family(child);
            case.lock_all(&family, LockMode::AccessExclusive);
            if cost != Cost::Nothing && key.validated {
                case.scan(child);
                case.scan(id);
            }
        }
    }
}

/// The sequence of an identity column takes the type of the column.
fn identity(case: &mut Case<'_, '_>, id: Id, column: &str, new: &Type) {
    let Found::Yes(facts) = case.world.column(id, column) else { return };
    if !facts.identity || Type::parse(&facts.data_type) == *new {
        return;
    }
    for sequence in data::owned_sequences(case, id, Some(column)) {
        case.lock(sequence, LockMode::ShareRowExclusive);
    }
}
