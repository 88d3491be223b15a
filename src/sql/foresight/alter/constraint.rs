//! Constraints: added, validated, dropped.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, ConstrType, Constraint, DropBehavior};

use super::column;
use crate::sql::classify::{table, tree};
use crate::sql::foresight::case::Case;
use crate::sql::foresight::data;
use crate::sql::foresight::index;
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::world::{Found, Id};
use crate::sql::kind::ConstraintKind;
use crate::sql::name::object_name;
use crate::sql::snapshot::{ConstraintFacts, IndexFacts, RelationType};

/// An expression as SQL.
pub fn text(node: &pg_query::Node) -> Option<String> {
    table::expression(node)
}

pub fn kind(part: &Constraint) -> Option<ConstraintKind> {
    Some(match part.contype() {
        ConstrType::ConstrCheck => ConstraintKind::Check,
        ConstrType::ConstrUnique => ConstraintKind::Unique,
        ConstrType::ConstrPrimary => ConstraintKind::PrimaryKey,
        ConstrType::ConstrForeign => ConstraintKind::ForeignKey,
        ConstrType::ConstrExclusion => ConstraintKind::Exclude,
        ConstrType::ConstrNotnull => ConstraintKind::NotNull,
        _ => return None,
    })
}

/// The facts of a constraint; `column` is the one that it is written with.
pub fn facts(
    case: &Case<'_, '_>,
    id: Id,
    part: &Constraint,
    column: Option<&str>,
) -> Option<ConstraintFacts> {
    let kind = kind(part)?;
    let own = |keys: &[pg_query::Node]| match column {
        Some(column) if keys.is_empty() => vec![column.to_owned()],
        _ => tree::names(keys),
    };
    let columns = match kind {
        ConstraintKind::Check => part.raw_expr.as_deref().and_then(tree::columns).unwrap_or_default(),
        ConstraintKind::ForeignKey => own(&part.fk_attrs),
        ConstraintKind::Exclude => Vec::new(),
        _ => own(&part.keys),
    };
    let references = part.pktable.as_ref().map(|range| {
        let name = tree::range(range);
        case.world.find(&name).map_or(name, |id| case.world.name(id))
    });
    let definition = match kind {
        ConstraintKind::Check => {
            format!("CHECK ({})", part.raw_expr.as_deref().and_then(text).unwrap_or_default())
        }
        ConstraintKind::ForeignKey => foreign_definition(part, references.as_ref().map(ToString::to_string)),
        _ => String::new(),
    };
    let name = tree::optional(&part.conname).unwrap_or_else(|| chosen_name(case, id, kind, &columns));
    let indexed =
        matches!(kind, ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::Exclude);
    Some(ConstraintFacts {
        index: indexed.then(|| name.clone()),
        name,
        kind,
        columns,
        definition,
        validated: !part.skip_validation,
        enforced: part.is_enforced || !matches!(kind, ConstraintKind::Check | ConstraintKind::ForeignKey),
        references,
    })
}

fn foreign_definition(part: &Constraint, references: Option<String>) -> String {
    let columns = tree::names(&part.pk_attrs);
    let columns = if columns.is_empty() { String::new() } else { format!("({})", columns.join(", ")) };
    let action = |code: &str, event: &str| {
        let words = match code {
            "c" => "CASCADE",
            "n" => "SET NULL",
            "d" => "SET DEFAULT",
            "r" => "RESTRICT",
            _ => return String::new(),
        };
        format!(" ON {event} {words}")
    };
    format!(
        "FOREIGN KEY REFERENCES {}{columns}{}{}",
        references.unwrap_or_default(),
        action(&part.fk_upd_action, "UPDATE"),
        action(&part.fk_del_action, "DELETE")
    )
}

/// The name that the server gives, but for the number that it appends when that is taken.
fn chosen_name(case: &Case<'_, '_>, id: Id, kind: ConstraintKind, columns: &[String]) -> String {
    let table = case.world.name(id).name;
    let joined = columns.join("_");
    let column = Some(joined.as_str()).filter(|joined| !joined.is_empty());
    let base = match kind {
        ConstraintKind::PrimaryKey => object_name(&table, None, "pkey"),
        ConstraintKind::Unique => object_name(&table, column, "key"),
        ConstraintKind::ForeignKey => object_name(&table, column, "fkey"),
        ConstraintKind::Exclude => object_name(&table, column, "excl"),
        ConstraintKind::NotNull => object_name(&table, column, "not_null"),
        ConstraintKind::Check => object_name(&table, column.filter(|_| columns.len() == 1), "check"),
    };
    let taken = |name: &str| matches!(case.world.constraint(id, name), Found::Yes(_));
    let mut name = base.clone();
    let mut number = 1;
    while taken(&name) {
        name = format!("{base}{number}");
        number += 1;
    }
    name
}

pub fn add(case: &mut Case<'_, '_>, id: Id, family: &[Id], command: &AlterTableCmd) {
    let Some(NodeEnum::Constraint(part)) = command.def.as_ref().and_then(|def| def.node.as_ref()) else {
        return;
    };
    let Some(facts) = facts(case, id, part, None) else { return };
    let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
    let own = [id];
    // From PostgreSQL 18 on all that inherits is locked first, whether the constraint will concern it or not.
    if case.world.snapshot.major.is_none() || case.world.at_least(18) {
        let foreign = facts.kind == ConstraintKind::ForeignKey;
        let mode = if foreign { LockMode::ShareRowExclusive } else { LockMode::AccessExclusive };
        case.lock_all(family, mode);
    }
    match facts.kind {
        ConstraintKind::Check | ConstraintKind::NotNull => {
            let targets = if part.is_no_inherit { &own } else { family };
            case.lock_all(targets, LockMode::AccessExclusive);
            for one in targets {
                demand(case, *one, &facts, part);
            }
        }
        ConstraintKind::ForeignKey => {
            let targets = if partitioned { family } else { &own };
            case.lock_all(targets, LockMode::ShareRowExclusive);
            let checks = facts.validated && facts.enforced;
            foreign_key(case, targets, part, &facts, checks);
        }
        ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::Exclude => {
            case.lock(id, LockMode::AccessExclusive);
            unique(case, id, family, part, &facts);
        }
    }
}

/// `CHECK` and `NOT NULL`.
fn demand(case: &mut Case<'_, '_>, id: Id, facts: &ConstraintFacts, part: &Constraint) {
    if facts.kind == ConstraintKind::NotNull {
        let Some(name) = facts.columns.first() else { return };
        if part.skip_validation {
            column::note_constraint(case, id, facts.clone());
            column::mark_not_null_pending(case, id, name);
        } else {
            column::require(case, id, name);
            column::note_constraint(case, id, facts.clone());
        }
        return;
    }
    if facts.validated && facts.enforced {
        case.scan(id);
    }
    if let Some(expression) = part.raw_expr.as_deref() {
        data::stored(case, expression);
    }
    column::note_constraint(case, id, facts.clone());
}

/// A foreign key; `checks` tells whether the rows are looked at.
fn foreign_key(
    case: &mut Case<'_, '_>,
    targets: &[Id],
    part: &Constraint,
    facts: &ConstraintFacts,
    checks: bool,
) {
    let Some(range) = &part.pktable else { return };
    let Some(far) = case.target(&tree::range(range), false) else { return };
    let partitioned = case.world.kind(far) == RelationType::PartitionedTable;
    let fars = if partitioned { case.world.family(far) } else { vec![far] };
    case.lock_all(&fars, LockMode::ShareRowExclusive);
    if checks {
        // With nothing to look for, the other side is not read.
        let empty = targets.iter().all(|one| case.is_empty(*one));
        for one in targets.iter().chain(fars.iter().filter(|_| !empty)) {
            case.scan(*one);
        }
    }
    let name = case.world.name(far);
    for one in targets {
        let facts = ConstraintFacts { references: Some(name.clone()), ..facts.clone() };
        column::note_constraint(case, *one, facts);
        case.world.add_reference(far, *one);
    }
}

/// Constraints that rest on an index.
fn unique(case: &mut Case<'_, '_>, id: Id, family: &[Id], part: &Constraint, facts: &ConstraintFacts) {
    let primary = facts.kind == ConstraintKind::PrimaryKey;
    let mut facts = facts.clone();
    if part.indexname.is_empty() {
        if primary {
            not_null(case, id, family, &facts.columns);
        }
        let index = IndexFacts {
            name: facts.name.clone(),
            columns: facts.columns.iter().cloned().map(Some).collect(),
            key_columns: u32::try_from(facts.columns.len()).unwrap_or_default(),
            unique: facts.kind != ConstraintKind::Exclude,
            primary,
            valid: true,
            method: "btree".to_owned(),
            ..IndexFacts::default()
        };
        let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
        let own = [id];
        index::build(case, if partitioned { family } else { &own }, &index);
    } else {
        let table = case.copy(id);
        let index = table.indexes.into_iter().find(|index| index.name == part.indexname);
        if index.is_none() {
            case.assume(format!("whether the index {} is valid, and of which columns", part.indexname));
        }
        if let Some(index) = &index
            && !index.valid
        {
            case.fails(&format!("the index {} is not valid", index.name));
        }
        facts.columns =
            index.as_ref().map(|index| index.columns.iter().flatten().cloned().collect()).unwrap_or_default();
        if part.conname.is_empty() {
            facts.name.clone_from(&part.indexname);
        } else if part.conname != part.indexname {
            case.lock_index(id, &part.indexname, LockMode::ShareUpdateExclusive);
            case.world.rename_index(id, &part.indexname, &part.conname);
        }
        facts.index = Some(facts.name.clone());
        if primary {
            let known = index.is_some();
            not_null(case, id, family, &facts.columns);
            if !known {
                case.scan(id);
            }
        }
    }
    column::note_constraint(case, id, facts);
}

/// The columns of a primary key are made `NOT NULL`, in children as well.
fn not_null(case: &mut Case<'_, '_>, id: Id, family: &[Id], columns: &[String]) {
    for name in columns {
        let nullable = !matches!(case.world.column(id, name), Found::Yes(facts) if facts.not_null);
        if nullable && case.world.is_known(id) {
            case.lock_all(family, LockMode::AccessExclusive);
        }
        if nullable {
            for one in family {
                column::require(case, *one, name);
            }
        }
    }
}

/// A constraint that is written with a new column.
pub fn add_to_new_column(
    case: &mut Case<'_, '_>,
    targets: &[Id],
    part: &Constraint,
    name: &str,
    has_value: bool,
) {
    let Some(id) = targets.first().copied() else { return };
    let Some(facts) = facts(case, id, part, Some(name)) else { return };
    match facts.kind {
        ConstraintKind::Check => {
            for one in targets {
                if facts.enforced {
                    case.scan(*one);
                }
                column::note_constraint(case, *one, facts.clone());
            }
        }
        ConstraintKind::ForeignKey => {
            let checks = has_value && facts.enforced;
            let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
            let own = [id];
            foreign_key(case, if partitioned { targets } else { &own }, part, &facts, checks);
        }
        ConstraintKind::NotNull => {}
        _ => unique(case, id, targets, part, &facts),
    }
}

pub fn validate(case: &mut Case<'_, '_>, id: Id, family: &[Id], name: &str) {
    let known = match case.world.constraint(id, name) {
        Found::Yes(facts) => Some(facts.clone()),
        Found::No => {
            case.fails(&format!("{} has no constraint {name}", case.world.name(id)));
            return;
        }
        Found::Unknown => None,
    };
    let Some(facts) = known else {
        case.assume(format!("what the constraint {name} of {} demands", case.world.name(id)));
        case.lock_all(family, LockMode::ShareUpdateExclusive);
        for one in family {
            case.scan(*one);
        }
        return;
    };
    if facts.validated {
        return;
    }
    let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
    let own = [id];
    let targets = if facts.kind == ConstraintKind::ForeignKey && !partitioned { &own } else { family };
    case.lock_all(targets, LockMode::ShareUpdateExclusive);
    if let Some(far) = facts.references.as_ref().and_then(|far| case.world.find(far)) {
        let fars = case.world.family(far);
        case.lock_all(&fars, LockMode::RowShare);
        for one in &fars {
            case.scan(*one);
        }
    }
    for one in targets {
        case.scan(*one);
        case.world.change(*one, |relation| {
            relation.constraints.iter_mut().filter(|c| c.name == name).for_each(|c| c.validated = true);
        });
    }
}

/// `ALTER CONSTRAINT`: one that is enforced from now on (18) is checked.
pub fn alter(case: &mut Case<'_, '_>, id: Id, targets: &[Id], command: &AlterTableCmd) {
    let Some(NodeEnum::AtalterConstraint(change)) = command.def.as_ref().and_then(|def| def.node.as_ref())
    else {
        return;
    };
    if !change.alter_enforceability {
        return;
    }
    let Found::Yes(facts) = case.world.constraint(id, &change.conname) else {
        case.assume(format!("which table the constraint {} refers to", change.conname));
        for one in targets {
            case.scan(*one);
        }
        return;
    };
    let facts = facts.clone();
    if facts.enforced == change.is_enforced {
        return;
    }
    if let Some(far) = facts.references.as_ref().and_then(|far| case.world.find(far)) {
        let fars = case.world.family(far);
        let mode = if change.is_enforced { LockMode::ShareRowExclusive } else { LockMode::AccessExclusive };
        case.lock_all(&fars, mode);
        if change.is_enforced {
            fars.iter().chain(targets).for_each(|one| case.scan(*one));
        }
    }
    let facts = ConstraintFacts { enforced: change.is_enforced, validated: change.is_enforced, ..facts };
    for one in targets {
        column::note_constraint(case, *one, facts.clone());
    }
}

pub fn drop(case: &mut Case<'_, '_>, id: Id, family: &[Id], command: &AlterTableCmd) {
    let name = &command.name;
    let facts = match case.world.constraint(id, name) {
        Found::Yes(facts) => facts.clone(),
        Found::No => {
            if !command.missing_ok {
                case.fails(&format!("{} has no constraint {name}", case.world.name(id)));
            }
            return;
        }
        Found::Unknown => {
            let table = case.world.name(id);
            case.assume(format!(
                "what the constraint {name} of {table} is: a foreign key locks the table it refers to"
            ));
            return;
        }
    };
    let partitioned = case.world.kind(id) == RelationType::PartitionedTable;
    match facts.kind {
        ConstraintKind::ForeignKey => {
            if partitioned {
                case.lock_all(family, LockMode::AccessExclusive);
            }
            if let Some(far) = facts.references.as_ref().and_then(|far| case.world.find(far)) {
                let partitioned = case.world.kind(far) == RelationType::PartitionedTable;
                let fars = if partitioned { case.world.family(far) } else { vec![far] };
                case.lock_all(&fars, LockMode::AccessExclusive);
            }
        }
        ConstraintKind::Check | ConstraintKind::NotNull => {
            case.lock_all(family, LockMode::AccessExclusive);
            let columns = facts.columns.first().filter(|_| facts.kind == ConstraintKind::NotNull);
            if let Some(column) = columns {
                for one in family {
                    column::mark_not_null(case, *one, column, false);
                }
            }
        }
        _ => {
            let cascade = command.behavior() == DropBehavior::DropCascade;
            index::drop_of_constraint(case, id, &facts, cascade);
        }
    }
    let targets = if matches!(facts.kind, ConstraintKind::Check | ConstraintKind::NotNull) || partitioned {
        family
    } else {
        &[id]
    };
    for one in targets {
        case.world.change(*one, |relation| relation.constraints.retain(|facts| facts.name != *name));
    }
}
