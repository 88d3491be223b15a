//! `ALTER TABLE` and its like for views, sequences, indexes and composite types.

pub mod column;
pub mod constraint;
mod partition;
mod retype;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType as Sub, ConstrType, ObjectType, ReplicaIdentityStmt,
    RoleSpec, RoleSpecType,
};

use super::case::Case;
use super::lock::LockMode;
use super::world::{Found, Id};
use super::{composite, data, index};
use crate::sql::classify::tree;
use crate::sql::kind::{ConstraintKind, Generated};
use crate::sql::name::RelationName;
use crate::sql::snapshot::{Persistence, RelationType, ReplicaIdentity};
pub use partition::create_of;

/// Storage parameters that need more than `SHARE UPDATE EXCLUSIVE` (`reloptions.c` of the server).
const STRONG_OPTIONS: &[&str] = &[
    "user_catalog_table",
    "security_barrier",
    "security_invoker",
    "check_option",
    "buffering",
    "fastupdate",
    "gin_pending_list_limit",
    "pages_per_range",
    "autosummarize",
];

pub fn alter(case: &mut Case<'_, '_>, stmt: &AlterTableStmt) {
    let Some(range) = &stmt.relation else { return };
    let name = tree::range(range);
    let commands: Vec<&AlterTableCmd> = stmt
        .cmds
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::AlterTableCmd(command)) => Some(&**command),
            _ => None,
        })
        .collect();
    let is_index = case.world.index_table(&name).is_some() || stmt.objtype() == ObjectType::ObjectIndex;
    if is_index && case.world.find(&name).is_none_or(|id| is_index_kind(case.world.kind(id))) {
        index::alter(case, &name, &commands, stmt.missing_ok);
        return;
    }
    let Some(id) = case.target(&name, stmt.missing_ok) else { return };
    match stmt.objtype() {
        ObjectType::ObjectType => return composite::alter(case, id, &commands),
        ObjectType::ObjectView => case.world.set_kind(id, RelationType::View),
        ObjectType::ObjectMatview => case.world.set_kind(id, RelationType::MaterializedView),
        ObjectType::ObjectSequence => case.world.set_kind(id, RelationType::Sequence),
        ObjectType::ObjectForeignTable => case.world.set_kind(id, RelationType::ForeignTable),
        _ => {}
    }
    if !range.inh {
        children_of_only(case, id, &commands);
    }
    let recurses = range.inh && commands.iter().any(|command| recursive(case, id, command));
    let family = case.family(id, recurses);
    let strongest = commands.iter().map(|command| mode(case, id, command)).max();
    case.lock(id, strongest.unwrap_or(LockMode::AccessExclusive));
    for command in commands {
        if range.inh && recursive(case, id, command) && !is_constraint(command.subtype()) {
            case.lock_all(&family, strongest.unwrap_or(LockMode::AccessExclusive));
        }
        let own = [id];
        let targets: &[Id] = if range.inh && recursive(case, id, command) { &family } else { &own };
        act(case, id, targets, command);
    }
}

/// With `ONLY`, the children still have to note that a column or constraint is their own from now on.
fn children_of_only(case: &mut Case<'_, '_>, id: Id, commands: &[&AlterTableCmd]) {
    let drops = |command: &&AlterTableCmd| {
        matches!(command.subtype(), Sub::AtDropColumn)
            || command.subtype() == Sub::AtDropConstraint
                && matches!(case.world.constraint(id, &command.name), Found::Yes(facts) if facts.kind == ConstraintKind::Check)
    };
    if commands.iter().any(drops) {
        let children = case.world.children(id);
        case.lock_all(&children, LockMode::AccessExclusive);
    }
}

pub fn is_index_kind(kind: RelationType) -> bool {
    matches!(kind, RelationType::Index | RelationType::PartitionedIndex)
}

/// Subcommands that find themselves what else they lock.
fn is_constraint(sub: Sub) -> bool {
    matches!(sub, Sub::AtAddConstraint | Sub::AtValidateConstraint | Sub::AtDropConstraint)
}

/// The lock that a subcommand takes on its table (`AlterTableGetLockLevel` of the server).
fn mode(case: &Case<'_, '_>, id: Id, command: &AlterTableCmd) -> LockMode {
    let node = command.def.as_ref().and_then(|def| def.node.as_ref());
    match (command.subtype(), node) {
        (
            Sub::AtSetStatistics
            | Sub::AtClusterOn
            | Sub::AtDropCluster
            | Sub::AtSetOptions
            | Sub::AtResetOptions
            | Sub::AtAttachPartition
            | Sub::AtDetachPartitionFinalize
            | Sub::AtValidateConstraint,
            _,
        ) => LockMode::ShareUpdateExclusive,
        (
            Sub::AtSetRelOptions | Sub::AtResetRelOptions | Sub::AtReplaceRelOptions,
            Some(NodeEnum::List(list)),
        ) => {
            let strong = list.items.iter().any(|item| {
                matches!(&item.node, Some(NodeEnum::DefElem(option)) if STRONG_OPTIONS.contains(&option.defname.as_str()))
            });
            let view = case.world.kind(id) == RelationType::View;
            if strong || view { LockMode::AccessExclusive } else { LockMode::ShareUpdateExclusive }
        }
        (Sub::AtDetachPartition, Some(NodeEnum::PartitionCmd(partition))) if partition.concurrent => {
            LockMode::ShareUpdateExclusive
        }
        (Sub::AtAddConstraint, Some(NodeEnum::Constraint(part)))
            if part.contype() == ConstrType::ConstrForeign =>
        {
            LockMode::ShareRowExclusive
        }
        (
            Sub::AtEnableTrig
            | Sub::AtEnableAlwaysTrig
            | Sub::AtEnableReplicaTrig
            | Sub::AtDisableTrig
            | Sub::AtEnableTrigAll
            | Sub::AtDisableTrigAll
            | Sub::AtEnableTrigUser
            | Sub::AtDisableTrigUser,
            _,
        ) => LockMode::ShareRowExclusive,
        _ => LockMode::AccessExclusive,
    }
}

/// Whether a subcommand concerns children and partitions too.
fn recursive(case: &Case<'_, '_>, id: Id, command: &AlterTableCmd) -> bool {
    let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
    match command.subtype() {
        Sub::AtAddColumn
        | Sub::AtColumnDefault
        | Sub::AtDropNotNull
        | Sub::AtSetNotNull
        | Sub::AtSetExpression
        | Sub::AtDropExpression
        | Sub::AtSetStatistics
        | Sub::AtSetStorage
        | Sub::AtDropColumn
        | Sub::AtAddConstraint
        | Sub::AtValidateConstraint
        | Sub::AtDropConstraint
        | Sub::AtAlterColumnType => true,
        Sub::AtAlterConstraint => partitioned,
        Sub::AtAddIdentity | Sub::AtSetIdentity | Sub::AtDropIdentity => partitioned && !is_before_17(case),
        sub if mode_of_trigger(sub) => partitioned && case.copy(id).triggers.iter().any(is_row_trigger),
        _ => false,
    }
}

fn is_before_17(case: &Case<'_, '_>) -> bool {
    case.world.snapshot.major.is_some_and(|major| major < 17)
}

fn is_row_trigger(trigger: &crate::sql::snapshot::TriggerFacts) -> bool {
    trigger.definition.contains("FOR EACH ROW")
}

fn mode_of_trigger(sub: Sub) -> bool {
    matches!(
        sub,
        Sub::AtEnableTrig
            | Sub::AtEnableAlwaysTrig
            | Sub::AtEnableReplicaTrig
            | Sub::AtDisableTrig
            | Sub::AtEnableTrigAll
            | Sub::AtDisableTrigAll
            | Sub::AtEnableTrigUser
            | Sub::AtDisableTrigUser
    )
}

/// What a subcommand does beyond its lock.
fn act(case: &mut Case<'_, '_>, id: Id, targets: &[Id], command: &AlterTableCmd) {
    match command.subtype() {
        Sub::AtAddColumn | Sub::AtAddColumnToView => column::add(case, targets, command),
        Sub::AtDropColumn => column::drop(case, targets, command),
        Sub::AtColumnDefault => column::set_default(case, targets, command),
        Sub::AtSetNotNull => column::set_not_null(case, targets, &command.name),
        Sub::AtDropNotNull => {
            targets.iter().for_each(|one| column::mark_not_null(case, *one, &command.name, false));
        }
        Sub::AtSetExpression => column::set_expression(case, targets, &command.name),
        Sub::AtDropExpression => drop_expression(case, targets, &command.name),
        Sub::AtAddIdentity => column::identity(case, targets, command, true),
        Sub::AtDropIdentity => column::identity(case, targets, command, false),
        Sub::AtSetIdentity => column::set_identity(case, id, command),
        Sub::AtAlterColumnType => retype::retype(case, targets, command),
        Sub::AtAddConstraint => constraint::add(case, id, targets, command),
        Sub::AtValidateConstraint => constraint::validate(case, id, targets, &command.name),
        Sub::AtAlterConstraint => constraint::alter(case, id, targets, command),
        Sub::AtDropConstraint => constraint::drop(case, id, targets, command),
        Sub::AtAttachPartition => partition::attach(case, id, command),
        Sub::AtDetachPartition => partition::detach(case, id, command, false),
        Sub::AtDetachPartitionFinalize => partition::detach(case, id, command, true),
        Sub::AtAddInherit => partition::inherit(case, id, command, true),
        Sub::AtDropInherit => partition::inherit(case, id, command, false),
        _ => act_on_storage(case, id, command),
    }
}

/// The same for what concerns the table as a whole.
fn act_on_storage(case: &mut Case<'_, '_>, id: Id, command: &AlterTableCmd) {
    match command.subtype() {
        Sub::AtSetLogged => column::persistence(case, id, Persistence::Permanent),
        Sub::AtSetUnLogged => {
            column::persistence(case, id, Persistence::Unlogged);
            case.consequence(format!(
                "{} is emptied after a crash, and is not on standbys",
                case.world.name(id)
            ));
        }
        Sub::AtSetTableSpace => set_tablespace(case, id, &command.name),
        Sub::AtSetAccessMethod => {
            let default = case.world.snapshot.settings.get("default_table_access_method");
            if command.name != default.map_or("heap", String::as_str) {
                case.rewrite(id);
            }
        }
        Sub::AtClusterOn => {
            case.lock_index(id, &command.name, LockMode::ShareUpdateExclusive);
            index::note_clustered(case, id, Some(&command.name));
        }
        Sub::AtDropCluster => index::note_clustered(case, id, None),
        Sub::AtReplicaIdentity => replica_identity(case, id, command),
        Sub::AtChangeOwner => owner(case, id, command.newowner.as_ref()),
        Sub::AtAddOf => {
            if let Some(NodeEnum::TypeName(name)) = command.def.as_ref().and_then(|def| def.node.as_ref())
                && let Some(of) = tree::path(&name.names).and_then(|of| case.target(&of, false))
            {
                case.lock(of, LockMode::AccessShare);
            }
        }
        Sub::AtDisableTrig | Sub::AtDisableTrigAll | Sub::AtDisableTrigUser => {
            case.consequence(format!("triggers of {} no longer fire", case.world.name(id)));
        }
        _ => {}
    }
}

/// The files move, without a look at the rows, unless they are there already.
fn set_tablespace(case: &mut Case<'_, '_>, id: Id, space: &str) {
    let default = case.world.snapshot.settings.get("default_tablespace");
    let same = space == "pg_default" && default.is_some_and(String::is_empty);
    if !same && super::case::has_rows(case.world.kind(id)) {
        case.copy_file(id);
    }
}

fn drop_expression(case: &mut Case<'_, '_>, targets: &[Id], column: &str) {
    for one in targets {
        case.world.change(*one, |relation| {
            let found = relation.columns.iter_mut().find(|facts| facts.name == column);
            if let Some(facts) = found.filter(|facts| facts.generated == Some(Generated::Stored)) {
                facts.generated = None;
                facts.default = None;
            }
        });
    }
}

fn replica_identity(case: &mut Case<'_, '_>, id: Id, command: &AlterTableCmd) {
    let Some(NodeEnum::ReplicaIdentityStmt(stmt)) = command.def.as_ref().and_then(|def| def.node.as_ref())
    else {
        return;
    };
    let ReplicaIdentityStmt { identity_type, name } = stmt;
    let identity = match identity_type.as_str() {
        "f" => ReplicaIdentity::Full,
        "n" => ReplicaIdentity::Nothing,
        "i" => {
            case.lock_index(id, name, LockMode::Share);
            ReplicaIdentity::Index(name.clone())
        }
        _ => ReplicaIdentity::Default,
    };
    if identity == ReplicaIdentity::Nothing && !case.copy(id).publications.is_empty() {
        case.consequence(format!("UPDATE and DELETE on {} fail while it is published", case.world.name(id)));
    }
    case.world.change(id, |relation| relation.replica_identity = identity);
}

/// A new owner takes the indexes and sequences too; the old one is no change.
pub fn owner(case: &mut Case<'_, '_>, id: Id, role: Option<&RoleSpec>) {
    let named = role.filter(|role| role.roletype() == RoleSpecType::RolespecCstring);
    let relation = case.copy(id);
    if named.is_some_and(|role| relation.owner.as_deref() == Some(role.rolename.as_str())) {
        return;
    }
    if named.is_none() {
        case.assume("the role of the session");
    }
    if case.world.is_known(id) || super::case::can_have_children(relation.kind) {
        case.lock_indexes(id, LockMode::AccessExclusive);
        for sequence in data::owned_sequences(case, id, None) {
            case.lock(sequence, LockMode::AccessExclusive);
        }
    }
    let new = named.map(|role| role.rolename.clone());
    case.world.change(id, |relation| relation.owner = new);
}

/// `ALTER TABLE ... RENAME COLUMN`, in the table and what inherits from it.
pub fn rename_column(case: &mut Case<'_, '_>, relation: &RelationName, from: &str, to: &str, inherit: bool) {
    let Some(id) = case.world.find(relation) else { return };
    let family = if inherit { case.world.family(id) } else { vec![id] };
    for one in family {
        if matches!(case.world.column(one, to), Found::Yes(_)) {
            continue;
        }
        let swap = |name: &mut String| {
            if name == from {
                to.clone_into(name);
            }
        };
        case.world.change(one, |relation| {
            relation.columns.iter_mut().for_each(|facts| swap(&mut facts.name));
            relation.constraints.iter_mut().for_each(|facts| {
                if facts.columns.iter().any(|name| name == from) {
                    facts.columns.iter_mut().for_each(swap);
                    facts.definition = super::drop::replace_word(&facts.definition, from, to);
                }
            });
            for index in &mut relation.indexes {
                index.columns.iter_mut().flatten().for_each(swap);
                index.used_columns.iter_mut().for_each(swap);
            }
        });
    }
}
