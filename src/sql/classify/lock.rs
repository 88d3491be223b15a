//! Which statements run in a transaction, and which make others wait.

use std::collections::BTreeSet;

use pg_query::NodeEnum;

use crate::sql::kind::{
    AlterTable, Constraint, CreateTable, Kind, RelationKind, Rename, RenameTarget, TableAction,
};
use crate::sql::name::RelationName;

/// Modes of `LOCK TABLE` from SHARE on stop writers.
const SHARE: i32 = 5;

/// Whether a statement can run in a transaction.
pub(in crate::sql) fn transactional(kind: &Kind) -> bool {
    match kind {
        Kind::CreateIndex(index) => !index.concurrently,
        Kind::DropIndex { concurrently, .. } | Kind::Reindex { concurrently, .. } => !concurrently,
        Kind::Vacuum => false,
        Kind::AlterTable(alter) => !alter
            .actions
            .iter()
            .any(|action| matches!(action, TableAction::DetachPartition { concurrently: true, .. })),
        _ => true,
    }
}

/// Whether a statement may hold a lock that stops readers or writers of a relation that is not among `created`. What is
/// not known is taken to do so.
pub(in crate::sql) fn blocking(kind: &Kind, node: &NodeEnum, created: &BTreeSet<RelationName>) -> bool {
    let known = |relation: &RelationName| created.contains(relation);
    match kind {
        Kind::CreateTable(table) => creates_blocking(table, created),
        Kind::AlterTable(alter) => alters_blocking(alter, created),
        Kind::CreateIndex(index) => !index.concurrently && !known(&index.relation),
        Kind::DropIndex { concurrently, .. } | Kind::Reindex { concurrently, .. } => !concurrently,
        Kind::Rename(rename) => renames_blocking(rename, created),
        Kind::CreateView { relation, replace, .. } => *replace && !known(relation),
        Kind::CreateSchema { with_objects, .. } => *with_objects,
        Kind::CreateTrigger { relation, .. } | Kind::CreatePolicy { relation, .. } => !known(relation),
        Kind::Truncate { relations, cascade } => *cascade || !relations.iter().all(known),
        Kind::RefreshMaterializedView { relation } => {
            let concurrent = matches!(node, NodeEnum::RefreshMatViewStmt(refresh) if refresh.concurrent);
            !concurrent && !known(relation)
        }
        Kind::Lock => !matches!(node, NodeEnum::LockStmt(lock) if lock.mode < SHARE),
        Kind::DropTable { .. } | Kind::Drop { .. } => true,
        Kind::Other(_) => other_blocking(node),
        Kind::Vacuum
        | Kind::Analyze
        | Kind::CreateSequence { .. }
        | Kind::CreateType { .. }
        | Kind::CreateDomain { .. }
        | Kind::CreateFunction { .. }
        | Kind::CreateStatistics { .. }
        | Kind::Comment { .. }
        | Kind::Grant { .. }
        | Kind::Insert { .. }
        | Kind::Update { .. }
        | Kind::Delete { .. }
        | Kind::Merge { .. }
        | Kind::Select { .. }
        | Kind::SetLocal { .. }
        | Kind::AddEnumValue { .. } => false,
    }
}

fn refers_outside<'a>(
    constraints: impl IntoIterator<Item = &'a Constraint>,
    known: impl Fn(&RelationName) -> bool,
) -> bool {
    constraints.into_iter().filter_map(|constraint| constraint.references.as_ref()).any(|table| !known(table))
}

fn creates_blocking(table: &CreateTable, created: &BTreeSet<RelationName>) -> bool {
    let known = |other: &RelationName| *other == table.relation || created.contains(other);
    let mut parents = table.inherits.iter().chain(&table.partition_of);
    let of_columns = table.columns.iter().flat_map(|column| &column.constraints);
    parents.any(|parent| !created.contains(parent))
        || refers_outside(table.constraints.iter().chain(of_columns), known)
}

fn alters_blocking(alter: &AlterTable, created: &BTreeSet<RelationName>) -> bool {
    let new = created.contains(&alter.relation);
    alter.actions.iter().any(|action| match action {
        TableAction::ValidateConstraint { .. } | TableAction::DetachPartition { concurrently: true, .. } => {
            false
        }
        TableAction::Setting { action, .. } if alter.object == RelationKind::Table => {
            !new && ![
                "SetStatistics",
                "SetOptions",
                "ResetOptions",
                "SetRelOptions",
                "ResetRelOptions",
                "ClusterOn",
                "DropCluster",
            ]
            .contains(&action.as_str())
        }
        TableAction::AddConstraint(constraint) => {
            !new || refers_outside([constraint], |table| created.contains(table))
        }
        TableAction::AddColumn { column, .. } => {
            !new || refers_outside(&column.constraints, |table| created.contains(table))
        }
        TableAction::SetDefault { .. }
        | TableAction::DropDefault { .. }
        | TableAction::SetNotNull { .. }
        | TableAction::DropNotNull { .. }
        | TableAction::Setting { .. } => !new,
        _ => true,
    })
}

fn renames_blocking(rename: &Rename, created: &BTreeSet<RelationName>) -> bool {
    match &rename.target {
        RenameTarget::Relation { object: RelationKind::Index, .. }
        | RenameTarget::Schema { .. }
        | RenameTarget::Named { .. }
        | RenameTarget::EnumValue { .. } => false,
        RenameTarget::Relation { relation, .. }
        | RenameTarget::Column { relation, .. }
        | RenameTarget::Constraint { relation, .. }
        | RenameTarget::OfTable { relation, .. } => !created.contains(relation),
        RenameTarget::Other { .. } => true,
    }
}

/// Statements without a kind of their own that take no lock on a relation.
fn other_blocking(node: &NodeEnum) -> bool {
    !matches!(
        node,
        NodeEnum::VariableShowStmt(_)
            | NodeEnum::NotifyStmt(_)
            | NodeEnum::CreateRoleStmt(_)
            | NodeEnum::AlterRoleStmt(_)
            | NodeEnum::AlterRoleSetStmt(_)
            | NodeEnum::DropRoleStmt(_)
            | NodeEnum::GrantRoleStmt(_)
            | NodeEnum::AlterDefaultPrivilegesStmt(_)
            | NodeEnum::AlterDatabaseSetStmt(_)
            | NodeEnum::CreateCastStmt(_)
            | NodeEnum::AlterFunctionStmt(_)
            | NodeEnum::CreateForeignServerStmt(_)
            | NodeEnum::CreateFdwStmt(_)
            | NodeEnum::CreateUserMappingStmt(_)
    )
}
