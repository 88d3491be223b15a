//! What is dropped that is no relation, with the relations that this concerns.

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, DropOwnedStmt, DropStmt, ObjectType};

use super::{column, path, relations, relations_of_cascade, user};
use crate::sql::classify::tree;
use crate::sql::foresight::case::Case;
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::types::Type;
use crate::sql::foresight::world::Id;
use crate::sql::foresight::{alter, composite, reads};
use crate::sql::name::RelationName;
use crate::sql::snapshot::{Dependency, ObjectRef, RelationType};

/// A trigger, policy or rule.
pub fn part(case: &mut Case<'_, '_>, table: &RelationName, name: &str, stmt: &DropStmt) {
    let Some(id) = case.target(table, stmt.missing_ok) else { return };
    let relation = case.copy(id);
    let trigger = relation.triggers.iter().find(|trigger| trigger.name == name);
    if stmt.missing_ok && is_missing(case, id, name, stmt.remove_type()) {
        return;
    }
    let below = stmt.remove_type() == ObjectType::ObjectTrigger
        && relation.kind == RelationType::PartitionedTable
        && trigger.is_none_or(|trigger| trigger.definition.contains("FOR EACH ROW"));
    let family = case.family(id, below);
    case.lock_all(&family, LockMode::AccessExclusive);
    for one in family {
        case.world.change(one, |relation| match stmt.remove_type() {
            ObjectType::ObjectTrigger => relation.triggers.retain(|trigger| trigger.name != name),
            ObjectType::ObjectPolicy => relation.policies.retain(|policy| policy != name),
            _ => {}
        });
    }
}

/// Whether a trigger or policy is known not to be there.
fn is_missing(case: &Case<'_, '_>, id: Id, name: &str, object: ObjectType) -> bool {
    let Some(relation) = case.world.relation(id).filter(|_| case.world.is_known(id)) else { return false };
    match object {
        ObjectType::ObjectTrigger => !relation.triggers.iter().any(|trigger| trigger.name == name),
        ObjectType::ObjectPolicy => !relation.policies.iter().any(|policy| policy == name),
        _ => false,
    }
}

/// Relations with a column of a type.
pub fn columns_of_type(case: &Case<'_, '_>, name: &RelationName) -> Vec<(Id, String)> {
    let facts = case.world.type_facts(name).map_or_else(|| name.clone(), |facts| facts.name.clone());
    let is_it = |text: &str| {
        Type::parse(text).name().is_some_and(|of| {
            of.name == facts.name
                && (of.schema.is_none() || facts.schema.is_none() || of.schema == facts.schema)
        })
    };
    let mut found = Vec::new();
    for id in case.world.ids() {
        let Some(relation) = case.world.relation(id) else { continue };
        if !matches!(relation.kind, RelationType::View | RelationType::Index | RelationType::PartitionedIndex)
        {
            let columns = relation.columns.iter().filter(|column| is_it(&column.data_type));
            found.extend(columns.map(|column| (id, column.name.clone())));
        }
    }
    found
}

pub fn of_type(case: &mut Case<'_, '_>, name: &RelationName, cascade: bool) {
    let full = case.world.find(name).map_or_else(|| name.clone(), |id| case.world.name(id));
    for table in composite::typed_tables(case, &full) {
        let said = case.world.name(table);
        if cascade {
            case.consequence(format!("drops the table {said}, which is made of the type"));
            relations(case, &[table], true);
        } else {
            case.fails(&format!("{said} is made of this type"));
        }
    }
    if let Some(id) = case.world.find(name).filter(|id| case.world.kind(*id) == RelationType::CompositeType) {
        case.lock(id, LockMode::AccessExclusive);
        case.world.drop(id);
    }
    if !case.world.snapshot.complete && case.world.type_facts(name).is_none() && cascade {
        case.assume(format!("columns of the type {name}"));
        case.out.destructive = true;
    }
    for (id, of) in columns_of_type(case, name) {
        if cascade {
            case.lock(id, LockMode::AccessExclusive);
            case.destroys(id);
            case.consequence(format!("drops the column {of} of {}", case.world.name(id)));
            column(case, id, &of, true);
        } else {
            case.fails(&format!("{}.{of} is of this type", case.world.name(id)));
        }
    }
    case.world.drop_type(name);
}

pub fn schema(case: &mut Case<'_, '_>, schema: &str, cascade: bool) {
    if !case.world.snapshot.complete {
        case.assume(format!("objects of the schema {schema}"));
        case.out.destructive |= cascade;
    }
    let within: Vec<Id> = case
        .world
        .ids()
        .filter(|id| case.world.name(*id).schema.as_deref() == Some(schema))
        .filter(|id| !alter::is_index_kind(case.world.kind(*id)))
        .collect();
    if !cascade {
        if !within.is_empty() {
            case.fails(&format!("the schema {schema} is not empty"));
        }
        return;
    }
    relations(case, &within, true);
    let types: Vec<RelationName> = case
        .world
        .snapshot
        .types
        .iter()
        .filter(|facts| facts.name.schema.as_deref() == Some(schema))
        .map(|facts| facts.name.clone())
        .collect();
    for name in types {
        of_type(case, &name, true);
    }
}

/// `DROP STATISTICS` locks the table of the statistics.
pub fn statistics(case: &mut Case<'_, '_>, stmt: &DropStmt) {
    for name in stmt.objects.iter().filter_map(path) {
        match table_of_statistics(case, &name) {
            Some(table) => case.lock(table, LockMode::ShareUpdateExclusive),
            None => case.assume(format!("table of the statistics {name}")),
        }
    }
}

pub fn table_of_statistics(case: &Case<'_, '_>, name: &RelationName) -> Option<Id> {
    if let Some(id) = case.world.statistics.get(name) {
        return Some(*id);
    }
    let mut found = case.world.snapshot.dependencies.iter().map(|dependency| &dependency.dependent);
    let object =
        found.find(|object| object.kind == "statistics object" && names_match(&object.identity, name))?;
    case.world.find(object.relation.as_ref()?)
}

/// Whether an identity of the catalog is a name that may lack its schema.
fn names_match(identity: &str, name: &RelationName) -> bool {
    reads::parse_name(identity).is_some_and(|found| {
        found.name == name.name && (name.schema.is_none() || found.schema == name.schema)
    })
}

/// Functions, operators, extensions, publications, servers, ...
pub fn others(case: &mut Case<'_, '_>, stmt: &DropStmt, cascade: bool) {
    let kind = stmt.remove_type();
    let names: Vec<RelationName> = stmt.objects.iter().filter_map(path).collect();
    let routine = matches!(
        kind,
        ObjectType::ObjectFunction
            | ObjectType::ObjectProcedure
            | ObjectType::ObjectRoutine
            | ObjectType::ObjectAggregate
    );
    if !cascade || kind == ObjectType::ObjectPublication {
        return;
    }
    if routine {
        for name in names {
            of_function(case, &name);
        }
        return;
    }
    let words = tree::object(kind);
    for name in names {
        case.assume(format!("what depends on the {words} {name}"));
    }
    case.out.destructive = true;
    case.opaque(format!("drops everything that depends on the {words}"));
    if matches!(kind, ObjectType::ObjectFdw | ObjectType::ObjectForeignServer) {
        let foreign = |id: &Id| case.world.kind(*id) == RelationType::ForeignTable;
        let tables: Vec<Id> = case.world.ids().filter(foreign).collect();
        relations(case, &tables, true);
    }
}

fn of_function(case: &mut Case<'_, '_>, name: &RelationName) {
    if !case.world.snapshot.complete {
        case.assume(format!("what depends on {name}()"));
    }
    let is_it = |object: &ObjectRef| {
        let head = object.identity.split('(').next().unwrap_or_default();
        ["function", "procedure", "aggregate"].contains(&object.kind.as_str()) && names_match(head, name)
    };
    let found: Vec<&Dependency> =
        case.world.snapshot.dependencies.iter().filter(|dependency| is_it(&dependency.on)).collect();
    let mut gone = Vec::new();
    for dependency in found {
        gone.extend(user(case, &dependency.dependent, name, &[], true));
    }
    relations_of_cascade(case, &gone);
}

/// `DROP OWNED`.
pub fn owned(case: &mut Case<'_, '_>, stmt: &DropOwnedStmt) {
    let cascade = stmt.behavior() == DropBehavior::DropCascade;
    for node in &stmt.roles {
        let Some(NodeEnum::RoleSpec(role)) = &node.node else { continue };
        if !case.world.snapshot.complete || role.rolename.is_empty() {
            case.assume(format!("objects of the role {}", role.rolename));
            case.out.destructive = true;
        }
        let ids = owned_by(case, &role.rolename);
        relations(case, &ids, cascade);
    }
}

/// Relations of a role, indexes left out.
pub fn owned_by(case: &Case<'_, '_>, role: &str) -> Vec<Id> {
    let is_its = |id: &Id| {
        case.world.relation(*id).is_some_and(|relation| {
            relation.owner.as_deref() == Some(role) && !alter::is_index_kind(relation.kind)
        })
    };
    case.world.ids().filter(is_its).collect()
}
