//! `ALTER TYPE` and `ALTER DOMAIN`: what they do to the tables that use the type.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterDomainStmt, AlterTableCmd, AlterTableType as Sub, DropBehavior};

use super::Heavy;
use super::alter::constraint;
use super::case::Case;
use super::drop;
use super::lock::LockMode;
use super::world::Id;
use crate::sql::classify::tree;
use crate::sql::name::RelationName;
use crate::sql::snapshot::RelationType;

/// Attributes of a composite type; `CASCADE` goes on to the tables that are made of it.
pub fn alter(case: &mut Case<'_, '_>, id: Id, commands: &[&AlterTableCmd]) {
    case.world.set_kind(id, RelationType::CompositeType);
    case.lock(id, LockMode::AccessExclusive);
    let name = case.world.name(id);
    let typed = typed_tables(case, &name);
    for command in commands {
        let cascade = command.behavior() == DropBehavior::DropCascade;
        if cascade && !case.world.snapshot.complete {
            case.assume(format!("tables that are made of the type {name}"));
            if command.subtype() == Sub::AtAlterColumnType {
                case.at_least(Heavy::Everything);
            }
        }
        for table in typed.iter().copied().filter(|_| cascade) {
            case.lock(table, LockMode::AccessExclusive);
            if command.subtype() == Sub::AtDropColumn {
                drop::column(case, table, &command.name, true);
            } else if command.subtype() == Sub::AtAlterColumnType {
                case.rewrite(table);
            }
        }
        if command.subtype() == Sub::AtDropColumn {
            case.out.destructive = true;
        }
        if command.subtype() == Sub::AtAlterColumnType && !drop::columns_of_type(case, &name).is_empty() {
            case.fails(&format!("a column is of the type {name}"));
        }
    }
}

/// Tables that were made with `OF`.
pub fn typed_tables(case: &mut Case<'_, '_>, name: &RelationName) -> Vec<Id> {
    let dependents: Vec<RelationName> = case
        .world
        .dependents(name)
        .into_iter()
        .filter(|dependency| dependency.dependent.kind == "table" && dependency.on.column.is_none())
        .filter_map(|dependency| dependency.dependent.relation.clone())
        .collect();
    dependents.iter().filter_map(|table| case.world.find(table)).collect()
}

/// `ALTER DOMAIN`: a new demand is checked in every table that uses it, while writers wait.
pub fn alter_domain(case: &mut Case<'_, '_>, stmt: &AlterDomainStmt) {
    let Some(name) = tree::path(&stmt.type_name) else { return };
    let part = match stmt.def.as_ref().and_then(|def| def.node.as_ref()) {
        Some(NodeEnum::Constraint(part)) => Some(&**part),
        _ => None,
    };
    let checks = match stmt.subtype.as_str() {
        "O" | "V" => true,
        "C" => part.is_none_or(|part| !part.skip_validation),
        _ => false,
    };
    if checks {
        if !case.world.snapshot.complete && case.world.type_facts(&name).is_none() {
            case.assume(format!("tables that use the domain {name}"));
            case.at_least(Heavy::Writes);
        }
        for id in users(case, &name) {
            for table in case.world.family(id) {
                case.lock(table, LockMode::Share);
                case.scan(table);
            }
        }
    }
    let subtype = stmt.subtype.clone();
    let check =
        part.map(|part| tree::optional(&part.conname).unwrap_or_else(|| format!("{}_check", name.name)));
    let default = stmt.def.as_deref().and_then(constraint::text);
    let dropped = stmt.name.clone();
    case.world.change_type(&name, |facts| match subtype.as_str() {
        "O" => facts.not_null = true,
        "N" => facts.not_null = false,
        "C" => facts.checks.extend(check),
        "X" => facts.checks.retain(|known| *known != dropped),
        "T" => facts.default = default,
        _ => {}
    });
}

/// Tables with a column of a domain, or of a domain over it.
fn users(case: &mut Case<'_, '_>, name: &RelationName) -> Vec<Id> {
    let mut domains = vec![name.clone()];
    let mut next = 0;
    while let Some(one) = domains.get(next).cloned() {
        let full = case.world.type_facts(&one).map_or_else(|| one.clone(), |facts| facts.name.clone());
        for facts in &case.world.snapshot.types {
            let over = facts.base.as_deref().map(super::types::Type::parse).and_then(|base| base.name());
            let is_over = over.is_some_and(|over| {
                over.name == full.name && (over.schema.is_none() || over.schema == full.schema)
            });
            if is_over && !domains.contains(&facts.name) {
                domains.push(facts.name.clone());
            }
        }
        next += 1;
    }
    let mut found: Vec<Id> =
        domains.iter().flat_map(|domain| drop::columns_of_type(case, domain)).map(|(id, _)| id).collect();
    found.sort_unstable();
    found.dedup();
    found
}
