//! `ALTER ... RENAME`.

use pg_query::protobuf::{DropBehavior, ObjectType, RenameStmt};

use super::case::Case;
use super::lock::LockMode;
use super::world::{Found, Id};
use super::{alter, drop, index};
use crate::sql::classify::tree;
use crate::sql::kind::ConstraintKind;
use crate::sql::name::RelationName;
use crate::sql::snapshot::RelationType;

pub fn rename(case: &mut Case<'_, '_>, stmt: &RenameStmt) {
    match stmt.rename_type() {
        ObjectType::ObjectTable
        | ObjectType::ObjectView
        | ObjectType::ObjectMatview
        | ObjectType::ObjectSequence
        | ObjectType::ObjectForeignTable
        | ObjectType::ObjectIndex => relation(case, stmt),
        ObjectType::ObjectColumn | ObjectType::ObjectAttribute => column(case, stmt),
        ObjectType::ObjectTabconstraint => constraint(case, stmt),
        ObjectType::ObjectTrigger | ObjectType::ObjectPolicy | ObjectType::ObjectRule => part(case, stmt),
        ObjectType::ObjectType => named_type(case, stmt),
        ObjectType::ObjectSchema => schema(case, &stmt.subname, &stmt.newname),
        ObjectType::ObjectDomain => {
            let name = stmt.object.as_deref().and_then(drop::path);
            if let Some(name) = name {
                case.world.rename_type(&name, &stmt.newname);
            }
        }
        _ => {}
    }
}

fn target(case: &mut Case<'_, '_>, stmt: &RenameStmt) -> Option<Id> {
    case.target(&tree::range(stmt.relation.as_ref()?), stmt.missing_ok)
}

fn relation(case: &mut Case<'_, '_>, stmt: &RenameStmt) {
    let Some(range) = &stmt.relation else { return };
    let name = tree::range(range);
    let is_index = case.world.index_table(&name).is_some() || stmt.rename_type() == ObjectType::ObjectIndex;
    if is_index {
        // As an index it is renamed without a wait for those who use it; as a table it is not.
        let named_so = stmt.rename_type() == ObjectType::ObjectIndex;
        let mode = if named_so { LockMode::ShareUpdateExclusive } else { LockMode::AccessExclusive };
        index::rename(case, &name, &stmt.newname, mode, stmt.missing_ok);
        if let Some(id) = case.world.find(&name).filter(|id| alter::is_index_kind(case.world.kind(*id))) {
            let to = case.world.name(id).sibling(stmt.newname.clone());
            case.world.rename(id, to);
        }
        return;
    }
    let Some(id) = target(case, stmt) else { return };
    case.lock(id, LockMode::AccessExclusive);
    let before = case.world.name(id);
    case.consequence(format!("statements that name {before} no longer find it"));
    let to = before.sibling(stmt.newname.clone());
    case.world.rename(id, to.clone());
    let owned: Vec<Id> = case
        .world
        .ids()
        .filter(|one| {
            case.world.relation(*one).is_some_and(|r| r.owned_by.as_ref().is_some_and(|(t, _)| *t == before))
        })
        .collect();
    for one in owned {
        case.world.change(one, |relation| {
            if let Some((table, _)) = &mut relation.owned_by {
                table.clone_from(&to);
            }
        });
    }
}

fn column(case: &mut Case<'_, '_>, stmt: &RenameStmt) {
    let Some(range) = &stmt.relation else { return };
    let Some(id) = target(case, stmt) else { return };
    let inherit = range.inh && stmt.rename_type() == ObjectType::ObjectColumn;
    let family = case.family(id, inherit);
    case.lock_all(&family, LockMode::AccessExclusive);
    if stmt.rename_type() == ObjectType::ObjectAttribute && stmt.behavior() == DropBehavior::DropCascade {
        let name = case.world.name(id);
        let typed: Vec<RelationName> = case
            .world
            .dependents(&name)
            .into_iter()
            .filter(|dependency| dependency.dependent.kind == "table" && dependency.on.column.is_none())
            .filter_map(|dependency| dependency.dependent.relation.clone())
            .collect();
        for table in typed.iter().filter_map(|name| case.world.find(name)).collect::<Vec<_>>() {
            case.lock(table, LockMode::AccessExclusive);
        }
    }
    let name = case.world.name(id);
    case.consequence(format!("statements that name {name}.{} fail", stmt.subname));
    alter::rename_column(case, &name, &stmt.subname, &stmt.newname, inherit);
}

fn constraint(case: &mut Case<'_, '_>, stmt: &RenameStmt) {
    let Some(range) = &stmt.relation else { return };
    let Some(id) = target(case, stmt) else { return };
    let facts = match case.world.constraint(id, &stmt.subname) {
        Found::Yes(facts) => Some(facts.clone()),
        _ => None,
    };
    let below = facts.as_ref().is_none_or(|facts| facts.kind == ConstraintKind::Check);
    let family = case.family(id, range.inh && below);
    case.lock_all(&family, LockMode::AccessExclusive);
    if let Some(index) = facts.and_then(|facts| facts.index) {
        case.lock_index(id, &index, LockMode::ShareUpdateExclusive);
        case.world.rename_index(id, &index, &stmt.newname);
    }
    for one in family {
        case.world.change(one, |relation| {
            let found = relation.constraints.iter_mut().filter(|facts| facts.name == stmt.subname);
            found.for_each(|facts| facts.name.clone_from(&stmt.newname));
        });
    }
}

fn part(case: &mut Case<'_, '_>, stmt: &RenameStmt) {
    let Some(id) = target(case, stmt) else { return };
    let row = |trigger: &crate::sql::snapshot::TriggerFacts| {
        trigger.name == stmt.subname && trigger.definition.contains("FOR EACH ROW")
    };
    let below = stmt.rename_type() == ObjectType::ObjectTrigger
        && case.world.kind(id) == RelationType::PartitionedTable
        && case.copy(id).triggers.iter().any(row);
    let family = case.family(id, below);
    case.lock_all(&family, LockMode::AccessExclusive);
    for one in family {
        case.world.change(one, |relation| {
            let triggers = relation.triggers.iter_mut().filter(|trigger| trigger.name == stmt.subname);
            triggers.for_each(|trigger| trigger.name.clone_from(&stmt.newname));
        });
    }
}

fn named_type(case: &mut Case<'_, '_>, stmt: &RenameStmt) {
    let Some(name) = stmt.object.as_deref().and_then(drop::path) else { return };
    if let Some(id) = case.world.find(&name).filter(|id| case.world.kind(*id) == RelationType::CompositeType)
    {
        case.lock(id, LockMode::AccessExclusive);
        let to = case.world.name(id).sibling(stmt.newname.clone());
        case.world.rename(id, to);
    }
    case.world.rename_type(&name, &stmt.newname);
}

/// Everything in the schema is found under its new name from now on.
fn schema(case: &mut Case<'_, '_>, from: &str, to: &str) {
    let within: Vec<Id> =
        case.world.ids().filter(|id| case.world.name(*id).schema.as_deref() == Some(from)).collect();
    for id in within {
        let name = RelationName::qualified(to, case.world.name(id).name);
        case.world.rename(id, name);
    }
    case.consequence(format!("statements that name the schema {from} fail"));
}
