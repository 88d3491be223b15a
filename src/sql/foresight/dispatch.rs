//! From the kind of a statement to what looks at it.

use pg_query::protobuf::{ExplainStmt, ObjectType, VariableSetKind, VariableSetStmt};
use pg_query::{Node, NodeEnum};

use super::case::{self, Case};
use super::lock::LockMode;
use super::world::Id;
use super::{alter, composite, create, data, drop, enums, index, objects, rename};
use crate::sql::classify::{has_option, tree};
use crate::sql::snapshot::TypeKind;

pub fn statement(case: &mut Case<'_, '_>, node: &NodeEnum) {
    let known = rows(case, node)
        || tables(case, node)
        || definitions(case, node)
        || parts(case, node)
        || drops(case, node)
        || session(case, node)
        || is_harmless(node);
    if !known {
        case.out.destructive = true;
        case.out.changes_data = true;
        case.opaque(format!("{} is a kind of statement of which nothing is known", tree::label(node)));
    }
}

/// Statements on rows.
fn rows(case: &mut Case<'_, '_>, node: &NodeEnum) -> bool {
    match node {
        NodeEnum::SelectStmt(select) => {
            data::query(case, node);
            if let Some(into) = select.into_clause.as_deref() {
                create::made_from_query(case, into, false, None);
            }
        }
        NodeEnum::InsertStmt(_)
        | NodeEnum::UpdateStmt(_)
        | NodeEnum::DeleteStmt(_)
        | NodeEnum::MergeStmt(_) => {
            data::change(case, node);
        }
        NodeEnum::CopyStmt(stmt) => data::copy(case, stmt),
        NodeEnum::LockStmt(stmt) => data::lock(case, stmt),
        NodeEnum::TruncateStmt(stmt) => objects::truncate(case, stmt),
        NodeEnum::RefreshMatViewStmt(stmt) => objects::refresh(case, stmt),
        NodeEnum::ExplainStmt(stmt) => explain(case, stmt),
        NodeEnum::PrepareStmt(stmt) => stmt.query.iter().for_each(|query| data::planned(case, query)),
        NodeEnum::DeclareCursorStmt(stmt) => stmt.query.iter().for_each(|query| data::planned(case, query)),
        NodeEnum::DoStmt(_) => case.opaque("runs a block of code"),
        NodeEnum::CallStmt(_) => case.opaque("runs a procedure"),
        NodeEnum::ExecuteStmt(_) => case.opaque("runs a statement that was prepared elsewhere"),
        _ => return false,
    }
    true
}

fn explain(case: &mut Case<'_, '_>, stmt: &ExplainStmt) {
    let Some(query) = stmt.query.as_deref() else { return };
    match &query.node {
        Some(node) if has_option(&stmt.options, "analyze") => statement(case, node),
        _ => data::planned(case, query),
    }
}

/// Statements on tables and indexes as a whole.
fn tables(case: &mut Case<'_, '_>, node: &NodeEnum) -> bool {
    match node {
        NodeEnum::AlterTableStmt(stmt) => alter::alter(case, stmt),
        NodeEnum::AlterTableMoveAllStmt(stmt) => {
            case.assume(format!("tables of the tablespace {}", stmt.orig_tablespacename));
            let tables: Vec<Id> =
                case.world.ids().filter(|id| case::has_rows(case.world.kind(*id))).collect();
            for table in tables {
                case.lock(table, LockMode::AccessExclusive);
                case.copy_file(table);
            }
        }
        NodeEnum::IndexStmt(stmt) => index::create(case, stmt),
        NodeEnum::ReindexStmt(stmt) => index::reindex(case, stmt),
        NodeEnum::ClusterStmt(stmt) => index::cluster(case, stmt),
        NodeEnum::VacuumStmt(stmt) => index::vacuum(case, stmt),
        NodeEnum::RenameStmt(stmt) => rename::rename(case, stmt),
        NodeEnum::AlterObjectSchemaStmt(stmt) => objects::set_schema(case, stmt),
        NodeEnum::AlterOwnerStmt(stmt) => objects::set_owner(case, stmt),
        NodeEnum::AlterSeqStmt(stmt) => objects::alter_sequence(case, stmt),
        NodeEnum::AlterDomainStmt(stmt) => composite::alter_domain(case, stmt),
        NodeEnum::ReassignOwnedStmt(stmt) => objects::reassign(case, stmt),
        _ => return false,
    }
    true
}

/// Statements that make something.
fn definitions(case: &mut Case<'_, '_>, node: &NodeEnum) -> bool {
    match node {
        NodeEnum::CreateStmt(stmt) => create::table(case, stmt, false),
        NodeEnum::CreateForeignTableStmt(stmt) => {
            stmt.base_stmt.iter().for_each(|base| create::table(case, base, true));
        }
        NodeEnum::CreateTableAsStmt(stmt) => create::table_as(case, stmt),
        NodeEnum::ViewStmt(stmt) => create::view(case, stmt),
        NodeEnum::CreateSeqStmt(stmt) => create::sequence(case, stmt),
        NodeEnum::CreateDomainStmt(stmt) => create::domain(case, stmt),
        NodeEnum::CreateEnumStmt(stmt) => enums::create(case, stmt),
        NodeEnum::CreateRangeStmt(stmt) => create::plain_type(case, &stmt.type_name, TypeKind::Range),
        NodeEnum::DefineStmt(stmt) if stmt.kind() == ObjectType::ObjectType => {
            create::plain_type(case, &stmt.defnames, TypeKind::Base);
        }
        NodeEnum::CompositeTypeStmt(stmt) => create::composite(case, stmt.typevar.as_ref(), &stmt.coldeflist),
        NodeEnum::CreateFunctionStmt(stmt) => create::function(case, stmt),
        NodeEnum::CreateSchemaStmt(stmt) => within_schema(case, &stmt.schemaname, &stmt.schema_elts),
        _ => return false,
    }
    true
}

/// `CREATE SCHEMA` with what is made in it.
fn within_schema(case: &mut Case<'_, '_>, schema: &str, elements: &[Node]) {
    if !schema.is_empty() {
        case.world.search_path.insert(0, schema.to_owned());
        case.world.made_schemas.insert(schema.to_owned());
    }
    for node in elements.iter().filter_map(|element| element.node.as_ref()) {
        statement(case, node);
    }
    if !schema.is_empty() {
        case.world.search_path.remove(0);
    }
}

/// Statements on what belongs to a relation.
fn parts(case: &mut Case<'_, '_>, node: &NodeEnum) -> bool {
    match node {
        NodeEnum::CreateTrigStmt(stmt) => objects::trigger(case, stmt),
        NodeEnum::CreatePolicyStmt(stmt) => objects::policy(case, stmt),
        NodeEnum::AlterPolicyStmt(stmt) => {
            if let Some(id) = stmt.table.as_ref().and_then(|range| case.target(&tree::range(range), false)) {
                case.lock(id, LockMode::AccessExclusive);
                stmt.qual
                    .iter()
                    .chain(&stmt.with_check)
                    .for_each(|expression| data::stored(case, expression));
            }
        }
        NodeEnum::RuleStmt(stmt) => objects::rule(case, stmt),
        NodeEnum::CreateStatsStmt(stmt) => objects::statistics(case, stmt),
        NodeEnum::CreatePublicationStmt(stmt) => objects::publication(case, stmt),
        NodeEnum::AlterPublicationStmt(stmt) => objects::alter_publication(case, stmt),
        NodeEnum::CommentStmt(stmt) => objects::comment_on(case, stmt),
        NodeEnum::SecLabelStmt(stmt) => objects::comment(case, stmt.objtype(), stmt.object.as_deref()),
        NodeEnum::GrantStmt(stmt) => objects::grant(case, stmt),
        NodeEnum::AlterObjectDependsStmt(stmt) => {
            if let Some(id) = stmt.relation.as_ref().and_then(|range| case.target(&tree::range(range), false))
            {
                case.lock(id, LockMode::AccessShare);
            }
        }
        NodeEnum::AlterExtensionStmt(stmt) => {
            case.opaque(format!("runs the scripts of the extension {}", stmt.extname));
        }
        NodeEnum::CreateExtensionStmt(stmt) => {
            case.consequence(format!("runs the script of the extension {}", stmt.extname));
        }
        _ => return false,
    }
    true
}

fn drops(case: &mut Case<'_, '_>, node: &NodeEnum) -> bool {
    match node {
        NodeEnum::DropStmt(stmt) => drop::drop(case, stmt),
        NodeEnum::DropOwnedStmt(stmt) => drop::owned(case, stmt),
        NodeEnum::DropdbStmt(stmt) => {
            case.out.destructive = true;
            case.consequence(format!("drops the database {}", stmt.dbname));
        }
        NodeEnum::DropSubscriptionStmt(stmt) => {
            case.consequence(format!("the subscription {} no longer brings changes", stmt.subname));
        }
        NodeEnum::AlterEnumStmt(stmt) => enums::alter(case, stmt),
        NodeEnum::AlterTypeStmt(_) => {}
        _ => return false,
    }
    true
}

/// Settings of the session that change what later statements do.
fn session(case: &mut Case<'_, '_>, node: &NodeEnum) -> bool {
    match node {
        NodeEnum::VariableSetStmt(stmt) => set(case, stmt),
        NodeEnum::DiscardStmt(_)
        | NodeEnum::VariableShowStmt(_)
        | NodeEnum::ConstraintsSetStmt(_)
        | NodeEnum::TransactionStmt(_)
        | NodeEnum::LoadStmt(_)
        | NodeEnum::CheckPointStmt(_)
        | NodeEnum::FetchStmt(_)
        | NodeEnum::ClosePortalStmt(_)
        | NodeEnum::DeallocateStmt(_)
        | NodeEnum::ListenStmt(_)
        | NodeEnum::UnlistenStmt(_)
        | NodeEnum::NotifyStmt(_) => {}
        _ => return false,
    }
    true
}

fn set(case: &mut Case<'_, '_>, stmt: &VariableSetStmt) {
    let values: Vec<String> = stmt.args.iter().filter_map(text).collect();
    let is_value = stmt.kind() == VariableSetKind::VarSetValue;
    let snapshot = case.world.snapshot;
    if stmt.name.eq_ignore_ascii_case("search_path") {
        case.world.search_path = if is_value { values } else { snapshot.search_path.clone() };
    } else if stmt.name.eq_ignore_ascii_case("timezone") {
        let value =
            if is_value { values.into_iter().next() } else { snapshot.settings.get("TimeZone").cloned() };
        case.world.time_zone = value;
    }
}

fn text(node: &Node) -> Option<String> {
    use pg_query::protobuf::a_const::Val;
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match constant.val.as_ref()? {
            Val::Sval(value) => Some(value.sval.clone()),
            Val::Ival(value) => Some(value.ival.to_string()),
            Val::Fval(value) => Some(value.fval.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Statements on objects that are no relations, and that no relation is locked for.
fn is_harmless(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::CreateRoleStmt(_)
            | NodeEnum::AlterRoleStmt(_)
            | NodeEnum::AlterRoleSetStmt(_)
            | NodeEnum::DropRoleStmt(_)
            | NodeEnum::GrantRoleStmt(_)
            | NodeEnum::AlterDefaultPrivilegesStmt(_)
            | NodeEnum::CreatedbStmt(_)
            | NodeEnum::AlterDatabaseStmt(_)
            | NodeEnum::AlterDatabaseSetStmt(_)
            | NodeEnum::AlterDatabaseRefreshCollStmt(_)
            | NodeEnum::AlterSystemStmt(_)
            | NodeEnum::CreateTableSpaceStmt(_)
            | NodeEnum::DropTableSpaceStmt(_)
            | NodeEnum::AlterTableSpaceOptionsStmt(_)
            | NodeEnum::CreateCastStmt(_)
            | NodeEnum::CreateConversionStmt(_)
            | NodeEnum::CreateTransformStmt(_)
            | NodeEnum::CreatePlangStmt(_)
            | NodeEnum::CreateOpClassStmt(_)
            | NodeEnum::CreateOpFamilyStmt(_)
            | NodeEnum::AlterOpFamilyStmt(_)
            | NodeEnum::AlterOperatorStmt(_)
            | NodeEnum::AlterFunctionStmt(_)
            | NodeEnum::AlterCollationStmt(_)
            | NodeEnum::AlterStatsStmt(_)
            | NodeEnum::DefineStmt(_)
            | NodeEnum::CreateAmStmt(_)
            | NodeEnum::AlterTsdictionaryStmt(_)
            | NodeEnum::AlterTsconfigurationStmt(_)
            | NodeEnum::CreateFdwStmt(_)
            | NodeEnum::AlterFdwStmt(_)
            | NodeEnum::CreateForeignServerStmt(_)
            | NodeEnum::AlterForeignServerStmt(_)
            | NodeEnum::CreateUserMappingStmt(_)
            | NodeEnum::AlterUserMappingStmt(_)
            | NodeEnum::DropUserMappingStmt(_)
            | NodeEnum::ImportForeignSchemaStmt(_)
            | NodeEnum::CreateEventTrigStmt(_)
            | NodeEnum::AlterEventTrigStmt(_)
            | NodeEnum::AlterExtensionContentsStmt(_)
            | NodeEnum::CreateSubscriptionStmt(_)
            | NodeEnum::AlterSubscriptionStmt(_)
    )
}
