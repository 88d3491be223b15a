//! What goes away, and what goes with it.

mod objects;

use std::collections::BTreeSet;

use pg_query::protobuf::{DropBehavior, DropStmt, ObjectType};
use pg_query::{Node, NodeEnum};

use crate::sql::classify::tree;
use crate::sql::foresight::case::{self, Case};
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::world::Id;
use crate::sql::foresight::{data, index};
use crate::sql::kind::ConstraintKind;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{Dependency, ObjectRef, RelationType};

pub use objects::{columns_of_type, owned, owned_by};

/// Objects of a relation that are dropped alone, with the relation locked.
const PARTS: &[&str] =
    &["rule", "policy", "trigger", "default value", "table constraint", "domain constraint"];

pub fn drop(case: &mut Case<'_, '_>, stmt: &DropStmt) {
    let cascade = stmt.behavior() == DropBehavior::DropCascade;
    match stmt.remove_type() {
        ObjectType::ObjectTable
        | ObjectType::ObjectView
        | ObjectType::ObjectMatview
        | ObjectType::ObjectSequence
        | ObjectType::ObjectForeignTable => {
            let names: Vec<RelationName> = stmt.objects.iter().filter_map(path).collect();
            let ids: Vec<Id> = names.iter().filter_map(|name| case.target(name, stmt.missing_ok)).collect();
            for id in &ids {
                set_kind(case, *id, stmt.remove_type());
            }
            relations(case, &ids, cascade);
        }
        ObjectType::ObjectIndex => {
            for name in stmt.objects.iter().filter_map(path) {
                index::drop(case, &name, stmt.concurrent, stmt.missing_ok);
            }
        }
        ObjectType::ObjectTrigger | ObjectType::ObjectPolicy | ObjectType::ObjectRule => {
            for parts in stmt.objects.iter().map(|object| tree::strings(Some(object))) {
                let Some((last, table)) = parts.split_last() else { continue };
                let (Some(name), Some(table)) = (tree::string(last), tree::path(table)) else { continue };
                objects::part(case, &table, &name, stmt);
            }
        }
        ObjectType::ObjectType | ObjectType::ObjectDomain => {
            for name in stmt.objects.iter().filter_map(path) {
                objects::of_type(case, &name, cascade);
            }
        }
        ObjectType::ObjectSchema => {
            for name in stmt.objects.iter().filter_map(tree::string) {
                objects::schema(case, &name, cascade);
            }
        }
        ObjectType::ObjectStatisticExt => objects::statistics(case, stmt),
        _ => objects::others(case, stmt, cascade),
    }
}

fn set_kind(case: &mut Case<'_, '_>, id: Id, object: ObjectType) {
    match object {
        ObjectType::ObjectView => case.world.set_kind(id, RelationType::View),
        ObjectType::ObjectMatview => case.world.set_kind(id, RelationType::MaterializedView),
        ObjectType::ObjectSequence => case.world.set_kind(id, RelationType::Sequence),
        ObjectType::ObjectForeignTable => case.world.set_kind(id, RelationType::ForeignTable),
        _ => {}
    }
}

/// The name of an object, whatever the node that holds it.
pub fn path(node: &Node) -> Option<RelationName> {
    match &node.node {
        Some(NodeEnum::ObjectWithArgs(function)) => tree::path(&function.objname),
        _ => tree::path(&tree::strings(Some(node))),
    }
}

/// Drops relations with all that belongs to them; with `cascade` also what depends on them.
pub fn relations(case: &mut Case<'_, '_>, ids: &[Id], cascade: bool) {
    let mut pending: Vec<Id> = ids.to_vec();
    let mut done: BTreeSet<Id> = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if !done.insert(id) {
            continue;
        }
        let kind = case.world.kind(id);
        case.lock(id, LockMode::AccessExclusive);
        if !matches!(kind, RelationType::View | RelationType::CompositeType) {
            case.destroys(id);
        }
        if !ids.contains(&id) {
            case.consequence(format!("drops {}", case.world.name(id)));
        }
        let family = case.family(id, true);
        let partitioned = kind == RelationType::PartitionedTable;
        if partitioned || cascade {
            pending.extend(family.into_iter().skip(1));
        } else if family.iter().skip(1).any(|child| !ids.contains(child)) {
            case.fails(&format!("other tables inherit from {}", case.world.name(id)));
        }
        if case::has_rows(kind) || partitioned {
            case.lock_indexes(id, LockMode::AccessExclusive);
            let owned = data::owned_sequences(case, id, None);
            case.lock_all(&owned, LockMode::AccessExclusive);
            pending.extend(owned);
            parents(case, id);
            foreign_keys(case, id, ids, cascade);
        }
        pending.extend(users(case, id, None, ids, cascade));
    }
    for id in done {
        case.world.drop(id);
    }
}

/// A partition that goes away changes its partitioned table and the default partition.
fn parents(case: &mut Case<'_, '_>, id: Id) {
    let relation = case.copy(id);
    let Some(parent) = relation.partition_of.as_ref().and_then(|name| case.world.find(name)) else { return };
    case.lock(parent, LockMode::AccessExclusive);
    for sibling in case.world.children(parent) {
        if case.copy(sibling).partition_bound.as_deref() == Some("DEFAULT") {
            case.lock(sibling, LockMode::AccessExclusive);
        }
    }
}

/// Foreign keys go away on both sides.
fn foreign_keys(case: &mut Case<'_, '_>, id: Id, ids: &[Id], cascade: bool) {
    let relation = case.copy(id);
    if !case.world.is_known(id) {
        case.assume(format!("tables that {} refers to", relation.name));
    }
    let inherited = relation.partition_of.as_ref().and_then(|parent| case.world.find(parent));
    let inherited =
        inherited.filter(|parent| !ids.contains(parent)).map(|parent| case.copy(parent).constraints);
    for key in relation.constraints.iter().filter(|key| key.kind == ConstraintKind::ForeignKey) {
        // The key of a partition is part of that of its partitioned table, which stays.
        if inherited
            .iter()
            .flatten()
            .any(|parent| parent.name == key.name && parent.references == key.references)
        {
            continue;
        }
        if let Some(far) = key.references.as_ref().and_then(|far| case.world.find(far)) {
            let fars = case.world.family(far);
            case.lock_all(&fars, LockMode::AccessExclusive);
        }
    }
    for child in case.referencing(id).into_iter().filter(|child| *child != id) {
        if !cascade && !ids.contains(&child) {
            case.fails(&format!("{} refers to {}", case.world.name(child), relation.name));
            continue;
        }
        let family = case.world.family(child);
        case.lock_all(&family, LockMode::AccessExclusive);
        if !ids.contains(&child) {
            case.consequence(format!(
                "drops the foreign key of {} to {}",
                case.world.name(child),
                relation.name
            ));
        }
        case.world.change(child, |child| {
            child.constraints.retain(|key| key.references.as_ref() != Some(&relation.name))
        });
    }
}

/// Whether what a dependency speaks of has not been dropped meanwhile.
pub fn is_there(case: &Case<'_, '_>, object: &ObjectRef) -> bool {
    object.relation.as_ref().is_none_or(|relation| case.world.find(relation).is_some())
}

/// What depends on a relation, or on one of its columns: gives the relations that are dropped too.
fn users(case: &mut Case<'_, '_>, id: Id, column: Option<&str>, ids: &[Id], cascade: bool) -> Vec<Id> {
    let name = case.world.name(id);
    let concerned = |dependency: &&&Dependency| {
        column.is_none_or(|column| dependency.on.column.as_deref() == Some(column))
            && dependency.dependent.relation.as_ref() != Some(&name)
    };
    let found: Vec<&Dependency> = case.world.dependents(&name).into_iter().collect();
    let found: Vec<&Dependency> = found.iter().filter(concerned).copied().collect();
    let mut dropped = Vec::new();
    for dependency in found {
        dropped.extend(user(case, &dependency.dependent, &name, ids, cascade));
    }
    for view in made_views(case, id) {
        if cascade {
            dropped.push(view);
        } else if !ids.contains(&view) {
            case.fails(&format!("{} uses {name}", case.world.name(view)));
        }
    }
    if !case.world.snapshot.complete && !case.world.is_made(id) && cascade {
        case.assume(format!("what depends on {name}"));
    }
    dropped
}

/// Views that the script made over a relation.
fn made_views(case: &mut Case<'_, '_>, id: Id) -> Vec<Id> {
    let first = case.world.snapshot.relations.len();
    let views: Vec<Id> = case.world.ids().filter(|view| *view >= first && *view != id).collect();
    let mut found = Vec::new();
    for view in views {
        if matches!(case.world.kind(view), RelationType::View | RelationType::MaterializedView)
            && let Some(reads) = data::definition(case, view)
            && reads.relations.iter().any(|access| case.world.find_in_view(&access.name) == Some(id))
        {
            found.push(view);
        }
    }
    found
}

/// One object that depends on what is dropped; the relation that it is, if it goes as a whole.
fn user(
    case: &mut Case<'_, '_>,
    object: &ObjectRef,
    on: &RelationName,
    ids: &[Id],
    cascade: bool,
) -> Option<Id> {
    let relation = object.relation.as_ref().and_then(|name| case.world.find(name));
    if object.relation.is_some() && relation.is_none() {
        return None;
    }
    if object.kind.contains("publication")
        || object.kind == "statistics object"
        || object.kind == "table constraint"
    {
        return None;
    }
    if relation.is_some_and(|relation| ids.contains(&relation)) {
        return None;
    }
    if matches!(relation.map(|id| case.world.kind(id)), Some(RelationType::Sequence)) {
        return None;
    }
    if !cascade {
        case.fails(&format!("the {} {} depends on {on}", object.kind, object.identity));
        return None;
    }
    case.consequence(format!("drops the {} {}", object.kind, object.identity));
    let relation = relation?;
    case.lock(relation, LockMode::AccessExclusive);
    if let Some(name) = &object.column {
        if object.kind != "default value" {
            self::column(case, relation, name, true);
        }
        return None;
    }
    let whole = !PARTS.contains(&object.kind.as_str()) && !object.kind.ends_with("column");
    whole.then_some(relation)
}

/// Drops a column with all that uses it.
pub fn column(case: &mut Case<'_, '_>, id: Id, name: &str, cascade: bool) {
    let relation = case.copy(id);
    let has = |columns: &[String]| columns.iter().any(|column| column == name);
    if !case.world.is_known(id) {
        case.assume(format!("indexes, constraints and foreign keys of {}.{name}", relation.name));
    }
    if relation.partition_key.as_deref().is_some_and(|key| mentions(key, name)) {
        case.fails(&format!("{name} is part of the partition key"));
    }
    for facts in relation.constraints.iter().filter(|facts| has(&facts.columns)) {
        match facts.kind {
            ConstraintKind::ForeignKey => {
                if let Some(far) = facts.references.as_ref().and_then(|far| case.world.find(far)) {
                    let fars = case.world.family(far);
                    case.lock_all(&fars, LockMode::AccessExclusive);
                }
            }
            ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::Exclude => {
                index::drop_of_constraint(case, id, facts, cascade);
            }
            ConstraintKind::Check | ConstraintKind::NotNull => {}
        }
        if facts.kind != ConstraintKind::NotNull {
            case.consequence(format!("drops the constraint {} of {}", facts.name, relation.name));
        }
    }
    for facts in &relation.indexes {
        if has(&facts.columns.iter().flatten().cloned().collect::<Vec<_>>()) || has(&facts.used_columns) {
            case.lock_index(id, &facts.name, LockMode::AccessExclusive);
            case.consequence(format!("drops the index {}", facts.name));
            case.world.forget_index(id, &facts.name);
        }
    }
    for sequence in data::owned_sequences(case, id, Some(name)) {
        case.lock(sequence, LockMode::AccessExclusive);
        case.world.drop(sequence);
    }
    let gone = users(case, id, Some(name), &[], cascade);
    case.world.change(id, |relation| {
        relation.columns.retain(|facts| facts.name != name);
        relation.constraints.retain(|facts| !facts.columns.iter().any(|column| column == name));
    });
    relations_of_cascade(case, &gone);
}

fn relations_of_cascade(case: &mut Case<'_, '_>, gone: &[Id]) {
    if !gone.is_empty() {
        relations(case, gone, true);
    }
}

/// Whether a word stands in a text.
pub fn mentions(text: &str, word: &str) -> bool {
    replace_word(text, word, "") != text
}

/// Replaces a word in a text.
pub fn replace_word(text: &str, word: &str, by: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (start, found) in text.match_indices(word) {
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text.get(start + found.len()..).and_then(|text| text.chars().next());
        if before.is_some_and(is_part) || after.is_some_and(is_part) {
            continue;
        }
        out.push_str(text.get(at..start).unwrap_or_default());
        out.push_str(by);
        at = start + found.len();
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}
