//! Indexes: created, dropped, built anew, altered; `CLUSTER` and `VACUUM`.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableCmd, AlterTableType as Sub, ClusterStmt, IndexStmt, ReindexObjectType, ReindexStmt, VacuumStmt,
};

use super::Heavy;
use super::alter::is_index_kind;
use super::case::{self, Case};
use super::data;
use super::lock::LockMode;
use super::world::Id;
use crate::sql::classify::{has_option, tree};
use crate::sql::name::{RelationName, object_name};
use crate::sql::snapshot::{ConstraintFacts, IndexFacts, Persistence, RelationType};

/// Builds an index on a table, and its parts on partitions.
pub fn build(case: &mut Case<'_, '_>, tables: &[Id], index: &IndexFacts) {
    for (at, table) in tables.iter().enumerate() {
        if at > 0 {
            case.lock(*table, LockMode::Share);
        }
        case.scan(*table);
        let name = if at == 0 { index.name.clone() } else { chosen_name(case, *table, index) };
        note(case, *table, IndexFacts { name, ..index.clone() });
    }
}

/// Adds an index to the facts of its table.
pub fn note(case: &mut Case<'_, '_>, table: Id, index: IndexFacts) {
    let name = index.name.clone();
    case.world.change(table, |relation| relation.indexes.push(index));
    case.world.note_index(table, &name);
}

/// The name that the server gives an index, but for the number that it appends when that is taken.
pub fn chosen_name(case: &Case<'_, '_>, table: Id, index: &IndexFacts) -> String {
    let relation = case.world.name(table);
    let label = if index.primary { "pkey" } else { "idx" };
    let joined: Vec<&str> = index.columns.iter().map(|column| column.as_deref().unwrap_or("expr")).collect();
    let joined = joined.join("_");
    let base = object_name(&relation.name, Some(joined.as_str()).filter(|_| !index.primary), label);
    let mut name = base.clone();
    let mut number = 1;
    while case.world.index_table(&relation.sibling(name.clone())).is_some() {
        name = format!("{base}{number}");
        number += 1;
    }
    name
}

fn facts(case: &Case<'_, '_>, table: Id, stmt: &IndexStmt) -> IndexFacts {
    let expressions: Vec<_> = stmt
        .index_params
        .iter()
        .filter(|node| tree::index_column(node).is_none())
        .chain(stmt.where_clause.as_deref())
        .cloned()
        .collect();
    let parameters = stmt.index_params.iter().chain(&stmt.index_including_params);
    let mut facts = IndexFacts {
        name: stmt.idxname.clone(),
        columns: parameters.map(tree::index_column).collect(),
        used_columns: tree::mentioned(expressions.iter()),
        key_columns: u32::try_from(stmt.index_params.len()).unwrap_or_default(),
        unique: stmt.unique,
        valid: true,
        partial: stmt.where_clause.is_some(),
        method: stmt.access_method.clone(),
        ..IndexFacts::default()
    };
    if facts.name.is_empty() {
        facts.name = chosen_name(case, table, &facts);
    }
    facts
}

pub fn create(case: &mut Case<'_, '_>, stmt: &IndexStmt) {
    let Some(range) = &stmt.relation else { return };
    let Some(table) = case.target(&tree::range(range), false) else { return };
    let mode = if stmt.concurrent { LockMode::ShareUpdateExclusive } else { LockMode::Share };
    case.lock(table, mode);
    let index = facts(case, table, stmt);
    if stmt.if_not_exists
        && case.world.index_table(&case.world.name(table).sibling(index.name.clone())).is_some()
    {
        return;
    }
    let named = index.columns.iter().flatten().chain(&index.used_columns).cloned().collect::<Vec<_>>();
    case.needs_columns(table, &named);
    let name = case.world.name(table).sibling(index.name.clone());
    if case.is_taken(&name, Persistence::Permanent) {
        return;
    }
    let partitioned = case.world.kind(table) == RelationType::PartitionedTable;
    let tables = if partitioned && range.inh { case.world.family(table) } else { vec![table] };
    if partitioned && !range.inh {
        note(case, table, IndexFacts { valid: false, ..index });
        return;
    }
    for node in stmt.index_params.iter().chain(stmt.where_clause.as_deref()) {
        data::stored(case, node);
    }
    build(case, &tables, &index);
    if stmt.concurrent {
        case.consequence("waits for all transactions that are older; leaves an invalid index if it fails");
    }
}

/// Indexes of partitions that are parts of an index of a partitioned table, all the way down.
pub fn parts(case: &mut Case<'_, '_>, table: Id, index: &str) -> Vec<(Id, String)> {
    let name = case.world.name(table).sibling(index);
    if let Some(id) = case.world.find(&name).filter(|id| is_index_kind(case.world.kind(*id))) {
        let parts: Vec<Id> = case.world.family(id).into_iter().skip(1).collect();
        let part = |id: &Id| {
            let name = case.world.name(*id);
            case.world.index_table(&name).map(|table| (table, name.name))
        };
        return parts.iter().filter_map(part).collect();
    }
    let Some(wanted) = case.copy(table).indexes.into_iter().find(|facts| facts.name == index) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for child in case.world.family(table).into_iter().skip(1) {
        let same = |facts: &IndexFacts| facts.columns == wanted.columns && facts.unique == wanted.unique;
        found.extend(case.copy(child).indexes.into_iter().find(same).map(|facts| (child, facts.name)));
    }
    found
}

/// `DROP INDEX`.
pub fn drop(case: &mut Case<'_, '_>, name: &RelationName, concurrently: bool, missing_ok: bool) {
    let strong = if concurrently { LockMode::ShareUpdateExclusive } else { LockMode::AccessExclusive };
    let Some(table) = case.world.index_table(name) else {
        if case.world.snapshot.complete {
            if !missing_ok {
                case.fails(&format!("there is no index {name}"));
            }
            return;
        }
        case.assume(format!("table of the index {name}"));
        case.lock_unknown_index(name, LockMode::AccessExclusive);
        return;
    };
    case.lock(table, strong);
    // Once nobody uses it any more, an index is locked like any other object that is dropped.
    case.lock_index(table, &name.name, LockMode::AccessExclusive);
    for (part, index) in parts(case, table, &name.name) {
        case.lock(part, LockMode::AccessExclusive);
        case.lock_index(part, &index, LockMode::AccessExclusive);
        case.world.forget_index(part, &index);
    }
    let facts = case.copy(table).indexes.into_iter().find(|index| index.name == name.name);
    if facts.is_some_and(|index| index.unique) {
        case.consequence(format!(
            "{} no longer keeps equal rows out of {}",
            name.name,
            case.world.name(table)
        ));
    }
    case.world.forget_index(table, &name.name);
}

/// Drops the index of a constraint with it.
pub fn drop_of_constraint(case: &mut Case<'_, '_>, table: Id, facts: &ConstraintFacts, cascade: bool) {
    let Some(index) = facts.index.clone() else { return };
    case.lock_index(table, &index, LockMode::AccessExclusive);
    for (part, name) in parts(case, table, &index) {
        case.lock(part, LockMode::AccessExclusive);
        case.lock_index(part, &name, LockMode::AccessExclusive);
        case.world.forget_index(part, &name);
    }
    let name = case.world.name(table);
    for child in case.referencing(table) {
        let keys = case.copy(child).constraints;
        for key in keys.iter().filter(|key| key.references.as_ref() == Some(&name)) {
            let columns = data::referenced_columns(&key.definition);
            if !columns.is_empty() && columns != facts.columns {
                continue;
            }
            if cascade {
                let family = case.world.family(child);
                case.lock_all(&family, LockMode::AccessExclusive);
                case.consequence(format!("drops the foreign key {} of {}", key.name, case.world.name(child)));
                case.world
                    .change(child, |relation| relation.constraints.retain(|facts| facts.name != key.name));
            } else {
                case.fails(&format!("the foreign key {} of {} needs it", key.name, case.world.name(child)));
            }
        }
    }
    case.world.forget_index(table, &index);
}

/// `ALTER INDEX`.
pub fn alter(case: &mut Case<'_, '_>, name: &RelationName, commands: &[&AlterTableCmd], missing_ok: bool) {
    let Some(table) = case.world.index_table(name) else {
        if !(missing_ok && case.world.snapshot.complete) {
            case.lock_unknown_index(name, LockMode::AccessExclusive);
            if commands.iter().any(|command| command.subtype() == Sub::AtSetTableSpace) {
                case.at_least(Heavy::Everything);
            }
        }
        return;
    };
    for command in commands {
        match command.subtype() {
            Sub::AtSetTableSpace => {
                case.lock_index(table, &name.name, LockMode::AccessExclusive);
                let default = case.world.snapshot.settings.get("default_tablespace");
                if command.name != "pg_default" || !default.is_some_and(String::is_empty) {
                    case.replace_file(case.world.name(table).sibling(name.name.clone()));
                    case.at_least(Heavy::Everything);
                }
            }
            Sub::AtAttachPartition => attach(case, table, &name.name, command),
            Sub::AtSetRelOptions | Sub::AtResetRelOptions | Sub::AtSetStatistics => {
                case.lock_index(table, &name.name, LockMode::ShareUpdateExclusive);
            }
            _ => case.lock_index(table, &name.name, LockMode::AccessExclusive),
        }
    }
}

/// `ALTER INDEX ... ATTACH PARTITION`.
fn attach(case: &mut Case<'_, '_>, table: Id, index: &str, command: &AlterTableCmd) {
    case.lock_index(table, index, LockMode::ShareUpdateExclusive);
    case.lock(table, LockMode::AccessShare);
    let Some(NodeEnum::PartitionCmd(partition)) = command.def.as_ref().and_then(|def| def.node.as_ref())
    else {
        return;
    };
    let Some(part) = partition.name.as_ref().map(tree::range) else { return };
    match case.world.index_table(&part) {
        Some(child) => {
            case.lock_index(child, &part.name, LockMode::AccessExclusive);
            case.lock(child, LockMode::AccessShare);
        }
        None => case.lock_unknown_index(&part, LockMode::AccessExclusive),
    }
}

/// Renames an index; nobody who uses it waits.
pub fn rename(case: &mut Case<'_, '_>, name: &RelationName, to: &str, mode: LockMode, missing_ok: bool) {
    match case.world.index_table(name) {
        Some(table) => {
            case.lock_index(table, &name.name, mode);
            case.world.rename_index(table, &name.name, to);
        }
        None if missing_ok && case.world.snapshot.complete => {}
        None => case.lock_unknown_index(name, mode),
    }
}

pub fn reindex(case: &mut Case<'_, '_>, stmt: &ReindexStmt) {
    let concurrently = has_option(&stmt.params, "concurrently");
    match (stmt.kind(), &stmt.relation) {
        (ReindexObjectType::ReindexObjectIndex, Some(range)) => {
            let name = tree::range(range);
            let Some(table) = case.world.index_table(&name) else {
                case.assume(format!("table of the index {name}"));
                let mode =
                    if concurrently { LockMode::ShareUpdateExclusive } else { LockMode::AccessExclusive };
                case.lock_unknown_index(&name, mode);
                case.replace_file(name);
                if !concurrently {
                    case.at_least(Heavy::Everything);
                }
                return;
            };
            let mut built = parts(case, table, &name.name);
            if case.world.kind(table) == RelationType::PartitionedTable {
                // Let go before the parts are built: each of them is a matter of its own.
                let (on_table, on_index) = if concurrently {
                    (LockMode::ShareUpdateExclusive, LockMode::ShareUpdateExclusive)
                } else {
                    (LockMode::Share, LockMode::AccessExclusive)
                };
                case.lock(table, on_table);
                case.lock_index(table, &name.name, on_index);
            } else {
                built.push((table, name.name));
            }
            for (table, index) in built {
                again(case, table, &index, concurrently);
            }
        }
        (ReindexObjectType::ReindexObjectTable, Some(range)) => {
            let Some(table) = case.target(&tree::range(range), false) else { return };
            let partitioned = case.world.kind(table) == RelationType::PartitionedTable;
            if partitioned {
                case.lock(table, if concurrently { LockMode::ShareUpdateExclusive } else { LockMode::Share });
            }
            let tables = if partitioned { leaves(case, table) } else { vec![table] };
            for one in tables {
                all_again(case, one, concurrently);
            }
        }
        _ => {
            let schema = (stmt.kind() == ReindexObjectType::ReindexObjectSchema).then(|| stmt.name.clone());
            if !concurrently && !case.world.snapshot.complete {
                case.at_least(Heavy::Everything);
            }
            for id in tables_of(case, schema.as_deref()) {
                all_again(case, id, concurrently);
            }
        }
    }
}

/// The tables below a partitioned one that hold its rows.
fn leaves(case: &mut Case<'_, '_>, table: Id) -> Vec<Id> {
    let family = case.world.family(table);
    family.into_iter().filter(|one| case::has_rows(case.world.kind(*one))).collect()
}

fn all_again(case: &mut Case<'_, '_>, table: Id, concurrently: bool) {
    let mode = if concurrently { LockMode::ShareUpdateExclusive } else { LockMode::Share };
    case.lock(table, mode);
    if !case.world.is_known(table) {
        case.scan(table);
        case.at_least(if concurrently { Heavy::None } else { Heavy::Everything });
    }
    for index in case.indexes(table) {
        again(case, table, &index.name, concurrently);
    }
}

fn again(case: &mut Case<'_, '_>, table: Id, index: &str, concurrently: bool) {
    if concurrently {
        case.lock(table, LockMode::ShareUpdateExclusive);
        case.lock_index(table, index, LockMode::ShareUpdateExclusive);
    } else {
        case.lock(table, LockMode::Share);
        case.lock_index(table, index, LockMode::AccessExclusive);
        // The planner looks at every index of a table, so that readers wait as well.
        if !case.world.is_made(table) {
            case.at_least(Heavy::Everything);
        }
    }
    if case.world.kind(table) != RelationType::PartitionedTable {
        case.rebuild(table, index);
    }
}

/// Tables and materialized views, of one schema or of all.
fn tables_of(case: &mut Case<'_, '_>, schema: Option<&str>) -> Vec<Id> {
    if !case.world.snapshot.complete {
        case.assume("tables of the database");
    }
    let wanted = |id: &Id| {
        case::has_rows(case.world.kind(*id))
            && schema.is_none_or(|schema| case.world.name(*id).schema.as_deref() == Some(schema))
    };
    case.world.ids().filter(wanted).collect()
}

pub fn cluster(case: &mut Case<'_, '_>, stmt: &ClusterStmt) {
    let mut tables = Vec::new();
    if let Some(range) = &stmt.relation {
        let Some(id) = case.target(&tree::range(range), false) else { return };
        let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
        case.lock(id, LockMode::AccessExclusive);
        tables.extend(if partitioned { leaves(case, id) } else { vec![id] });
        for table in tables.iter().filter(|_| !stmt.indexname.is_empty()) {
            note_clustered(case, *table, Some(&stmt.indexname));
        }
    } else {
        let is_clustered = |id: &Id| {
            let relation = case.world.relation(*id);
            relation.is_some_and(|relation| relation.indexes.iter().any(|index| index.clustered))
        };
        tables.extend(case.world.ids().filter(is_clustered));
        if !case.world.snapshot.complete {
            case.assume("tables that were clustered before");
            case.at_least(Heavy::Everything);
        }
    }
    for table in tables {
        case.lock(table, LockMode::AccessExclusive);
        case.rewrite(table);
    }
}

/// Notes the index by which a table is clustered from now on.
pub fn note_clustered(case: &mut Case<'_, '_>, table: Id, index: Option<&str>) {
    case.world.change(table, |relation| {
        relation.indexes.iter_mut().for_each(|facts| facts.clustered = Some(facts.name.as_str()) == index);
    });
}

/// `VACUUM` and `ANALYZE`.
pub fn vacuum(case: &mut Case<'_, '_>, stmt: &VacuumStmt) {
    let full = stmt.is_vacuumcmd && has_option(&stmt.options, "full");
    let ranges: Vec<_> = stmt
        .rels
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::VacuumRelation(relation)) => relation.relation.as_ref(),
            _ => None,
        })
        .collect();
    let mut tables = Vec::new();
    for range in &ranges {
        let Some(id) = case.target(&tree::range(range), false) else { continue };
        let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
        // From PostgreSQL 18 on, children by inheritance are worked on too.
        let goes_on =
            partitioned || range.inh && (case.world.at_least(18) || case.world.snapshot.major.is_none());
        let mut family = case.family(id, goes_on);
        if stmt.is_vacuumcmd {
            case.lock(id, if full { LockMode::AccessExclusive } else { LockMode::ShareUpdateExclusive });
            family.retain(|one| case::has_rows(case.world.kind(*one)));
        }
        if !stmt.is_vacuumcmd && !partitioned {
            // Children by inheritance are sampled for the statistics of the whole.
            let children = case.world.family(id);
            for child in &children {
                case.lock(*child, LockMode::AccessShare);
            }
        }
        tables.extend(family);
    }
    if ranges.is_empty() {
        tables = tables_of(case, None);
    }
    for table in tables {
        if full {
            case.lock(table, LockMode::AccessExclusive);
            case.rewrite(table);
        } else {
            case.lock(table, LockMode::ShareUpdateExclusive);
        }
    }
}
