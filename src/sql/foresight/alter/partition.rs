//! Partitions and children: attached, detached, created.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, PartitionBoundSpec};

use crate::sql::classify::tree;
use crate::sql::foresight::Heavy;
use crate::sql::foresight::case::{self, Case};
use crate::sql::foresight::implied::{self, Bound};
use crate::sql::foresight::index;
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::world::Id;
use crate::sql::kind::ConstraintKind;
use crate::sql::snapshot::{IndexFacts, RelationType};

/// The default partition of a partitioned table.
fn default_of(case: &mut Case<'_, '_>, parent: Id) -> Option<Id> {
    let children = case.world.children(parent);
    let is_default =
        |id: &Id| case.world.relation(*id).is_some_and(|r| r.partition_bound.as_deref() == Some("DEFAULT"));
    children.into_iter().find(is_default)
}

/// A new partition takes rows that the default one may hold.
fn look_into_default(case: &mut Case<'_, '_>, parent: Id, bound: &Bound) {
    if !case.world.is_known(parent) {
        case.assume(format!("the default partition of {}", case.world.name(parent)));
        if !case.world.is_made(parent) && !matches!(bound, Bound::Default) {
            case.at_least(Heavy::Everything);
        }
    }
    let key = case.copy(parent).partition_key;
    let Some(default) = default_of(case, parent) else { return };
    case.lock(default, LockMode::AccessExclusive);
    if matches!(bound, Bound::Default) {
        return;
    }
    if !implied::outside(&case.copy(default), key.as_deref(), bound) {
        for one in case.world.family(default) {
            case.lock(one, LockMode::AccessExclusive);
            case.scan(one);
        }
    }
}

/// Foreign keys of the parent are made on the partition too, and those that refer to it.
fn foreign_keys(case: &mut Case<'_, '_>, parent: Id, child: Option<Id>) {
    let keys = case.copy(parent).constraints;
    for key in keys.iter().filter(|key| key.kind == ConstraintKind::ForeignKey) {
        let Some(far) = key.references.as_ref().and_then(|far| case.world.find(far)) else { continue };
        case.lock(far, LockMode::ShareRowExclusive);
        if let Some(child) = child {
            case.scan(child);
            case.scan(far);
        }
    }
}

/// The bound as the catalog writes it, as far as it matters here.
fn bound_text(spec: &PartitionBoundSpec) -> String {
    if spec.is_default { "DEFAULT".to_owned() } else { "FOR VALUES".to_owned() }
}

pub fn attach(case: &mut Case<'_, '_>, parent: Id, command: &AlterTableCmd) {
    let Some(NodeEnum::PartitionCmd(partition)) = command.def.as_ref().and_then(|def| def.node.as_ref())
    else {
        return;
    };
    let Some(range) = &partition.name else { return };
    let Some(child) = case.target(&tree::range(range), false) else { return };
    case.world.set_kind(parent, RelationType::PartitionedTable);
    let family = case.family(child, true);
    case.lock_all(&family, LockMode::AccessExclusive);
    let bound = partition.bound.as_ref().map_or(Bound::Hash, implied::bound);
    look_into_default(case, parent, &bound);
    let key = case.copy(parent).partition_key;
    if !is_implied(case, child, key.as_deref(), &bound, parent) {
        family.iter().for_each(|one| case.scan(*one));
    }
    indexes(case, parent, child);
    foreign_keys(case, parent, Some(child));
    let text = partition.bound.as_ref().map(bound_text);
    let name = case.world.name(parent);
    case.world.change(child, |relation| {
        relation.partition_of = Some(name);
        relation.partition_bound = text;
    });
    case.world.add_child(parent, child);
}

/// Whether the rows of a table need not be looked at.
fn is_implied(case: &mut Case<'_, '_>, child: Id, key: Option<&str>, bound: &Bound, parent: Id) -> bool {
    if !case.world.is_known(child) {
        case.assume(format!(
            "whether a valid CHECK keeps the rows of {} within the bound",
            case.world.name(child)
        ));
    }
    if matches!(bound, Bound::Default) {
        // A default partition that is the first takes everything.
        return case.world.is_known(parent) && case.world.children(parent).is_empty();
    }
    implied::within(&case.copy(child), key, bound)
}

/// Each index of the parent gets its part on the partition: one that is there, or a new one.
fn indexes(case: &mut Case<'_, '_>, parent: Id, child: Id) {
    for wanted in case.indexes(parent) {
        case.lock_index(parent, &wanted.name, LockMode::ShareUpdateExclusive);
        let there = case.copy(child).indexes.into_iter().any(|index| index.valid && same(&index, &wanted));
        if !there {
            let targets = case.world.family(child);
            targets.iter().for_each(|one| case.scan(*one));
            let name = index::chosen_name(case, child, &wanted);
            index::note(case, child, IndexFacts { name, ..wanted });
        }
    }
}

/// Whether one index can be part of another.
pub fn same(one: &IndexFacts, other: &IndexFacts) -> bool {
    one.columns == other.columns
        && one.key_columns == other.key_columns
        && one.method == other.method
        && one.partial == other.partial
        && (one.unique || !other.unique)
}

pub fn detach(case: &mut Case<'_, '_>, parent: Id, command: &AlterTableCmd, finalize: bool) {
    let Some(NodeEnum::PartitionCmd(partition)) = command.def.as_ref().and_then(|def| def.node.as_ref())
    else {
        return;
    };
    let Some(range) = &partition.name else { return };
    let Some(child) = case.target(&tree::range(range), false) else { return };
    case.world.set_kind(parent, RelationType::PartitionedTable);
    case.lock(child, LockMode::AccessExclusive);
    let concurrent = partition.concurrent || finalize;
    if let Some(default) = default_of(case, parent) {
        case.lock(default, LockMode::AccessExclusive);
        if partition.concurrent {
            case.fails("a partitioned table with a default partition cannot detach concurrently");
        }
    } else if !case.world.is_known(parent) && !concurrent {
        case.assume(format!("the default partition of {}", case.world.name(parent)));
    }
    for index in case.indexes(parent) {
        for (table, name) in index::parts(case, parent, &index.name) {
            if table == child {
                case.lock_index(child, &name, LockMode::AccessExclusive);
            }
        }
    }
    foreign_keys(case, parent, None);
    for user in case.referencing(parent) {
        case.lock(user, LockMode::AccessExclusive);
        case.scan(user);
    }
    case.consequence(format!(
        "rows of {} are no longer seen in {}",
        case.world.name(child),
        case.world.name(parent)
    ));
    case.world.remove_child(parent, child);
}

pub fn inherit(case: &mut Case<'_, '_>, child: Id, command: &AlterTableCmd, add: bool) {
    let Some(NodeEnum::RangeVar(range)) = command.def.as_ref().and_then(|def| def.node.as_ref()) else {
        return;
    };
    let Some(parent) = case.target(&tree::range(range), false) else { return };
    if add {
        case.lock(parent, LockMode::ShareUpdateExclusive);
        let name = case.world.name(parent);
        case.world.change(child, |relation| relation.inherits.push(name));
        case.world.add_child(parent, child);
    } else {
        case.lock(parent, LockMode::AccessShare);
        case.world.remove_child(parent, child);
    }
}

/// `CREATE TABLE ... PARTITION OF`: what it does to the partitioned table.
pub fn create_of(case: &mut Case<'_, '_>, parent: Id, spec: &PartitionBoundSpec, foreign: bool) -> String {
    case.world.set_kind(parent, RelationType::PartitionedTable);
    case.lock(parent, LockMode::AccessExclusive);
    look_into_default(case, parent, &implied::bound(spec));
    if !foreign {
        for index in case.indexes(parent) {
            case.lock_index(parent, &index.name, LockMode::ShareUpdateExclusive);
        }
    }
    foreign_keys(case, parent, None);
    debug_assert!(case::can_have_children(case.world.kind(parent)));
    bound_text(spec)
}
