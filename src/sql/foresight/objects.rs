//! Statements on what belongs to a relation, and on objects that are none.

use pg_query::protobuf::{
    AlterObjectSchemaStmt, AlterOwnerStmt, AlterPublicationStmt, AlterSeqStmt, CommentStmt, CreatePolicyStmt,
    CreatePublicationStmt, CreateStatsStmt, CreateTrigStmt, DropBehavior, GrantStmt, GrantTargetType,
    ObjectType, ReassignOwnedStmt, RefreshMatViewStmt, RuleStmt, TruncateStmt,
};
use pg_query::{Node, NodeEnum};

use super::case::Case;
use super::lock::LockMode;
use super::world::Id;
use super::{alter, create, data, drop, reads};
use crate::sql::classify::tree;
use crate::sql::grammar;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{RelationType, TriggerFacts};

/// `CREATE TRIGGER`: writers wait, on partitions too.
pub fn trigger(case: &mut Case<'_, '_>, stmt: &CreateTrigStmt) {
    let Some(range) = &stmt.relation else { return };
    let Some(id) = case.target(&tree::range(range), false) else { return };
    let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
    let family = case.family(id, partitioned && stmt.row);
    case.lock_all(&family, LockMode::ShareRowExclusive);
    if let Some(far) = stmt.constrrel.as_ref().and_then(|range| case.target(&tree::range(range), false)) {
        case.lock(far, LockMode::AccessShare);
    }
    let function = tree::path(&stmt.funcname).unwrap_or_default();
    let definition = grammar::deparse(NodeEnum::CreateTrigStmt(Box::new(stmt.clone()))).unwrap_or_default();
    for one in family {
        let facts = TriggerFacts {
            name: stmt.trigname.clone(),
            definition: definition.clone(),
            function: function.sql(),
            enabled: true,
        };
        case.world.change(one, |relation| {
            relation.triggers.retain(|trigger| trigger.name != facts.name);
            relation.triggers.push(facts);
        });
    }
    case.consequence(format!("every change that fires it runs {function}"));
}

pub fn policy(case: &mut Case<'_, '_>, stmt: &CreatePolicyStmt) {
    let Some(id) = stmt.table.as_ref().and_then(|range| case.target(&tree::range(range), false)) else {
        return;
    };
    case.lock(id, LockMode::AccessExclusive);
    for expression in stmt.qual.iter().chain(&stmt.with_check) {
        data::stored(case, expression);
    }
    case.world.change(id, |relation| relation.policies.push(stmt.policy_name.clone()));
}

pub fn rule(case: &mut Case<'_, '_>, stmt: &RuleStmt) {
    let Some(id) = stmt.relation.as_ref().and_then(|range| case.target(&tree::range(range), false)) else {
        return;
    };
    case.lock(id, LockMode::AccessExclusive);
    for action in &stmt.actions {
        let mut found = reads::of_expression(action);
        // OLD and NEW are the rows of the rule's own table.
        found.relations.retain(|access| !["old", "new"].contains(&access.name.name.as_str()));
        data::analyzed(case, &found);
        if let Some(node) = &action.node {
            data::analyzed_target(case, node);
        }
    }
    case.consequence(format!("statements on {} are rewritten by the rule", case.world.name(id)));
}

pub fn statistics(case: &mut Case<'_, '_>, stmt: &CreateStatsStmt) {
    for range in stmt.relations.iter().filter_map(tree::relation) {
        let Some(id) = case.target(&range, false) else { continue };
        case.lock(id, LockMode::ShareUpdateExclusive);
        if let Some(name) = tree::path(&stmt.defnames) {
            let name = case.world.placed(&name);
            case.world.statistics.insert(name.clone(), id);
            case.world.statistics.insert(RelationName::unqualified(name.name), id);
        }
    }
}

/// The tables that a publication statement names.
fn published(case: &mut Case<'_, '_>, objects: &[Node]) -> Vec<Id> {
    let mut found = Vec::new();
    for node in objects {
        let Some(NodeEnum::PublicationObjSpec(spec)) = &node.node else { continue };
        let Some(range) = spec.pubtable.as_ref().and_then(|table| table.relation.as_ref()) else { continue };
        let Some(id) = case.target(&tree::range(range), false) else { continue };
        let below = range.inh && case.world.kind(id) != RelationType::PartitionedTable;
        found.extend(if below { case.world.family(id) } else { vec![id] });
    }
    found
}

pub fn publication(case: &mut Case<'_, '_>, stmt: &CreatePublicationStmt) {
    for id in published(case, &stmt.pubobjects) {
        case.lock(id, LockMode::ShareUpdateExclusive);
        case.world.change(id, |relation| relation.publications.push(stmt.pubname.clone()));
    }
}

pub fn alter_publication(case: &mut Case<'_, '_>, stmt: &AlterPublicationStmt) {
    use pg_query::protobuf::AlterPublicationAction as Action;
    let mut tables = published(case, &stmt.pubobjects);
    let name = stmt.pubname.clone();
    let holds = |case: &Case<'_, '_>, id: Id| {
        case.world.relation(id).is_some_and(|relation| relation.publications.contains(&name))
    };
    if stmt.action() == Action::ApSetObjects && !stmt.pubobjects.is_empty() {
        let before: Vec<Id> = case.world.ids().filter(|id| holds(case, *id)).collect();
        if !case.world.snapshot.complete {
            case.assume(format!("tables of the publication {name}"));
        }
        tables.extend(before);
    }
    for id in tables {
        case.lock(id, LockMode::ShareUpdateExclusive);
        let add = stmt.action() != Action::ApDropObjects;
        case.world.change(id, |relation| {
            relation.publications.retain(|known| *known != name);
            if add {
                relation.publications.push(name.clone());
            }
        });
    }
}

/// `COMMENT` and `SECURITY LABEL`.
pub fn comment(case: &mut Case<'_, '_>, object: ObjectType, node: Option<&Node>) {
    let parts = tree::strings(node);
    let (table, mode) = match object {
        ObjectType::ObjectTable
        | ObjectType::ObjectView
        | ObjectType::ObjectMatview
        | ObjectType::ObjectSequence
        | ObjectType::ObjectForeignTable
        | ObjectType::ObjectIndex => (tree::path(&parts), LockMode::ShareUpdateExclusive),
        ObjectType::ObjectColumn => {
            (parts.split_last().and_then(|(_, table)| tree::path(table)), LockMode::ShareUpdateExclusive)
        }
        ObjectType::ObjectTabconstraint
        | ObjectType::ObjectTrigger
        | ObjectType::ObjectPolicy
        | ObjectType::ObjectRule => {
            (parts.split_last().and_then(|(_, table)| tree::path(table)), LockMode::AccessShare)
        }
        _ => return,
    };
    let Some(table) = table else { return };
    if object == ObjectType::ObjectIndex {
        match case.world.index_table(&table) {
            Some(id) => case.lock_index(id, &table.name, mode),
            None => case.lock_unknown_index(&table, mode),
        }
    } else if let Some(id) = case.target(&table, false) {
        case.lock(id, mode);
    }
}

pub fn comment_on(case: &mut Case<'_, '_>, stmt: &CommentStmt) {
    comment(case, stmt.objtype(), stmt.object.as_deref());
}

/// `GRANT` and `REVOKE`: relations that are named are looked up under a lock from PostgreSQL 18 on.
pub fn grant(case: &mut Case<'_, '_>, stmt: &GrantStmt) {
    let looks = case.world.snapshot.major.is_none() || case.world.at_least(18);
    if !looks || !matches!(stmt.objtype(), ObjectType::ObjectTable | ObjectType::ObjectSequence) {
        return;
    }
    // `ALL TABLES IN SCHEMA` takes the tables from the catalog, without looking them up by name.
    if stmt.targtype() == GrantTargetType::AclTargetObject {
        for name in stmt.objects.iter().filter_map(tree::relation) {
            if let Some(id) = case.target(&name, false) {
                case.lock(id, LockMode::AccessShare);
            }
        }
    }
}

pub fn alter_sequence(case: &mut Case<'_, '_>, stmt: &AlterSeqStmt) {
    let Some(range) = &stmt.sequence else { return };
    let Some(id) = case.target(&tree::range(range), stmt.missing_ok) else { return };
    case.world.set_kind(id, RelationType::Sequence);
    case.lock(id, LockMode::ShareRowExclusive);
    let is_owner =
        |node: &Node| matches!(&node.node, Some(NodeEnum::DefElem(one)) if one.defname == "owned_by");
    let owner = create::owner(case, &stmt.options);
    if stmt.options.iter().any(is_owner) {
        case.world.change(id, |relation| relation.owned_by = owner);
    }
}

pub fn refresh(case: &mut Case<'_, '_>, stmt: &RefreshMatViewStmt) {
    let Some(range) = &stmt.relation else { return };
    let Some(id) = case.target(&tree::range(range), false) else { return };
    case.world.set_kind(id, RelationType::MaterializedView);
    if stmt.concurrent {
        case.lock(id, LockMode::Exclusive);
        case.scan(id);
    } else {
        case.lock(id, LockMode::AccessExclusive);
    }
    if stmt.skip_data {
        case.replace_files(id);
        case.consequence(format!("{} cannot be read until it is refreshed", case.world.name(id)));
        return;
    }
    if !stmt.concurrent {
        case.replace_files(id);
        case.work_on(id);
        if !case.world.is_known(id) || !case.copy(id).indexes.is_empty() {
            case.scan(id);
        }
    }
    match data::definition(case, id) {
        Some(reads) => {
            for access in &reads.relations {
                if let Some(base) = case.target_in_view(&access.name) {
                    data::read(case, base, access.mode, access.inherit, true, 1);
                }
            }
        }
        None => case.assume(format!("what {} reads", case.world.name(id))),
    }
}

pub fn truncate(case: &mut Case<'_, '_>, stmt: &TruncateStmt) {
    let mut tables: Vec<Id> = Vec::new();
    for node in &stmt.relations {
        let Some(NodeEnum::RangeVar(range)) = &node.node else { continue };
        let Some(id) = case.target(&tree::range(range), false) else { continue };
        tables.extend(case.family(id, range.inh));
    }
    let cascade = stmt.behavior() == DropBehavior::DropCascade;
    let mut next = 0;
    while let Some(table) = tables.get(next).copied() {
        next += 1;
        for child in case.referencing(table) {
            for one in case.world.family(child) {
                if tables.contains(&one) {
                    continue;
                }
                if cascade {
                    case.consequence(format!("empties {} too", case.world.name(one)));
                    tables.push(one);
                } else {
                    case.fails(&format!("{} refers to {}", case.world.name(one), case.world.name(table)));
                }
            }
        }
    }
    for table in tables {
        case.out.changes_data = true;
        case.destroys(table);
        case.lock(table, LockMode::AccessExclusive);
        case.replace_files(table);
        data::triggers(case, table, "TRUNCATE");
        if stmt.restart_seqs {
            for sequence in data::owned_sequences(case, table, None) {
                case.lock(sequence, LockMode::AccessExclusive);
            }
        }
    }
}

/// `ALTER ... SET SCHEMA`.
pub fn set_schema(case: &mut Case<'_, '_>, stmt: &AlterObjectSchemaStmt) {
    let Some(range) = &stmt.relation else { return };
    let Some(id) = case.target(&tree::range(range), stmt.missing_ok) else { return };
    case.lock(id, LockMode::AccessExclusive);
    let name = case.world.name(id);
    case.consequence(format!("statements that name {name} no longer find it"));
    let owned = data::owned_sequences(case, id, None);
    for one in owned.into_iter().chain([id]) {
        case.lock(one, LockMode::AccessExclusive);
        let moved = RelationName::qualified(stmt.newschema.clone(), case.world.name(one).name);
        case.world.rename(one, moved);
    }
    let moved = case.world.name(id);
    let sequences: Vec<Id> = case
        .world
        .ids()
        .filter(|one| {
            case.world
                .relation(*one)
                .is_some_and(|relation| relation.owned_by.as_ref().is_some_and(|(owner, _)| *owner == name))
        })
        .collect();
    for sequence in sequences {
        case.world.change(sequence, |relation| {
            if let Some((owner, _)) = &mut relation.owned_by {
                owner.clone_from(&moved);
            }
        });
    }
}

/// `ALTER ... OWNER TO` of what is no table.
pub fn set_owner(case: &mut Case<'_, '_>, stmt: &AlterOwnerStmt) {
    let composite =
        stmt.object.as_deref().and_then(drop::path).and_then(|name| case.world.find(&name)).filter(|id| {
            stmt.object_type() == ObjectType::ObjectType
                && case.world.kind(*id) == RelationType::CompositeType
        });
    if let Some(id) = composite {
        case.lock(id, LockMode::AccessExclusive);
    }
}

pub fn reassign(case: &mut Case<'_, '_>, stmt: &ReassignOwnedStmt) {
    for node in &stmt.roles {
        let Some(NodeEnum::RoleSpec(role)) = &node.node else { continue };
        if !case.world.snapshot.complete || role.rolename.is_empty() {
            case.assume(format!("objects of the role {}", role.rolename));
        }
        for id in drop::owned_by(case, &role.rolename) {
            case.lock(id, LockMode::AccessExclusive);
            alter::owner(case, id, stmt.newrole.as_ref());
        }
    }
}
