//! `ADD COLUMN`, `DROP COLUMN`, defaults, `NOT NULL`, identities.

use pg_query::protobuf::{AlterTableCmd, ColumnDef, ConstrType, Constraint, DropBehavior};
use pg_query::{Node, NodeEnum};

use super::constraint;
use crate::sql::classify::tree;
use crate::sql::foresight::case::Case;
use crate::sql::foresight::implied;
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::types::{self, Type};
use crate::sql::foresight::volatility;
use crate::sql::foresight::world::{Found, Id};
use crate::sql::foresight::{data, drop};
use crate::sql::kind::{ConstraintKind, Generated};
use crate::sql::snapshot::{ColumnFacts, ConstraintFacts, Persistence, Relation, RelationType};

/// What the definition of a column says.
#[derive(Default)]
pub struct Parts<'d> {
    pub facts: ColumnFacts,
    pub serial: bool,
    pub default: Option<&'d Node>,
    pub constraints: Vec<&'d Constraint>,
}

pub fn parts(definition: &ColumnDef) -> Parts<'_> {
    let mut parts = Parts::default();
    parts.facts.name.clone_from(&definition.colname);
    parts.facts.not_null = definition.is_not_null;
    if let Some(name) = &definition.type_name {
        parts.serial = matches!(tree::names(&name.names).as_slice(), [only] if crate::sql::classify::table::SERIAL.contains(&only.as_str()));
        parts.facts.data_type = Type::of(name).to_string();
    }
    for node in &definition.constraints {
        let Some(NodeEnum::Constraint(one)) = &node.node else { continue };
        match one.contype() {
            ConstrType::ConstrNotnull => parts.facts.not_null = true,
            ConstrType::ConstrDefault => parts.default = one.raw_expr.as_deref(),
            ConstrType::ConstrIdentity => {
                parts.facts.identity = true;
                parts.facts.not_null = true;
            }
            ConstrType::ConstrGenerated => {
                let kind = if one.generated_kind == "v" { Generated::Virtual } else { Generated::Stored };
                parts.facts.generated = Some(kind);
                parts.default = one.raw_expr.as_deref();
            }
            ConstrType::ConstrPrimary => {
                parts.facts.not_null = true;
                parts.constraints.push(one);
            }
            ConstrType::ConstrCheck
            | ConstrType::ConstrUnique
            | ConstrType::ConstrExclusion
            | ConstrType::ConstrForeign => parts.constraints.push(one),
            _ => {}
        }
    }
    parts.facts.not_null |= parts.serial;
    if let Some(default) = parts.default {
        parts.facts.default = Some(constraint::text(default).unwrap_or_default());
    }
    parts
}

pub fn add(case: &mut Case<'_, '_>, targets: &[Id], command: &AlterTableCmd) {
    let Some(NodeEnum::ColumnDef(definition)) = command.def.as_ref().and_then(|def| def.node.as_ref()) else {
        return;
    };
    let mut parts = parts(definition);
    let Some(first) = targets.first().copied() else { return };
    if let Found::Yes(_) = case.world.column(first, &definition.colname) {
        if !command.missing_ok {
            case.fails(&format!("{} already has a column {}", case.world.name(first), definition.colname));
        }
        return;
    }
    let rewrites = fills_rows(case, definition, &parts);
    let has_value =
        parts.serial || parts.facts.identity || parts.default.is_some_and(|node| !volatility::is_null(node));
    if let Some(default) = parts.default {
        data::stored(case, default);
        if rewrites {
            data::evaluated(case, default);
        }
    }
    sequence(case, first, &mut parts);
    for id in targets {
        if !matches!(case.world.column(*id, &definition.colname), Found::Yes(_)) {
            case.world.change(*id, |relation| relation.columns.push(parts.facts.clone()));
        }
        if rewrites {
            case.rewrite(*id);
        } else if parts.facts.not_null && parts.facts.generated.is_some() {
            case.scan(*id);
        } else if parts.facts.not_null && !has_value {
            case.scan(*id);
            case.consequence(format!(
                "fails if {} has rows: {} has no value for them",
                case.world.name(*id),
                definition.colname
            ));
        }
    }
    for part in &parts.constraints {
        constraint::add_to_new_column(case, targets, part, &definition.colname, has_value);
    }
}

/// Whether every row has to be written anew to hold the new column.
fn fills_rows(case: &mut Case<'_, '_>, definition: &ColumnDef, parts: &Parts<'_>) -> bool {
    if parts.serial || parts.facts.identity {
        return true;
    }
    match parts.facts.generated {
        Some(Generated::Virtual) => return false,
        Some(Generated::Stored) => return true,
        None => {}
    }
    if let Some(name) = &definition.type_name {
        let wanted = Type::of(name);
        match types::below_domains(case.world, &wanted).1 {
            Some(true) => return true,
            Some(false) => {}
            None => {
                case.assume(format!("whether {wanted} is a domain with constraints"));
                return true;
            }
        }
        let default = case.world_type_default(&wanted);
        if parts.default.is_none()
            && let Some(default) = default
            && let Some(node) = implied::expression(&default)
        {
            return is_volatile(case, &node);
        }
    }
    parts.default.is_some_and(|default| is_volatile(case, default))
}

fn is_volatile(case: &mut Case<'_, '_>, default: &Node) -> bool {
    let (volatile, unknown) = volatility::is_volatile(case.world, default);
    for function in unknown {
        case.assume(format!("volatility of {function}()"));
    }
    volatile
}

/// The sequence of a `serial` or identity column.
fn sequence(case: &mut Case<'_, '_>, id: Id, parts: &mut Parts<'_>) {
    if !parts.serial && !parts.facts.identity {
        return;
    }
    let table = case.world.name(id);
    let name = table.sibling(format!("{}_{}_seq", table.name, parts.facts.name));
    if parts.serial {
        parts.facts.default = Some(format!("nextval('{}'::regclass)", name.sql()));
    }
    case.world.make(Relation {
        name,
        kind: RelationType::Sequence,
        owned_by: Some((table, Some(parts.facts.name.clone()))),
        ..Relation::default()
    });
}

pub fn drop(case: &mut Case<'_, '_>, targets: &[Id], command: &AlterTableCmd) {
    let column = &command.name;
    let cascade = command.behavior() == DropBehavior::DropCascade;
    for id in targets {
        match case.world.column(*id, column) {
            Found::No if command.missing_ok => continue,
            Found::No => {
                case.fails(&format!("{} has no column {column}", case.world.name(*id)));
                continue;
            }
            _ => {}
        }
        case.destroys(*id);
        drop::column(case, *id, column, cascade);
    }
}

pub fn set_default(case: &mut Case<'_, '_>, targets: &[Id], command: &AlterTableCmd) {
    let default = command.def.as_deref();
    if let Some(default) = default {
        data::stored(case, default);
    }
    let text = default.and_then(constraint::text);
    for id in targets {
        case.world.change(*id, |relation| {
            let found = relation.columns.iter_mut().find(|facts| facts.name == command.name);
            if let Some(facts) = found {
                facts.default.clone_from(&text);
            }
        });
    }
}

/// `SET NOT NULL`: no look at the rows, where a constraint tells already that none is null.
pub fn set_not_null(case: &mut Case<'_, '_>, targets: &[Id], column: &str) {
    for id in targets {
        require(case, *id, column);
    }
}

/// Makes a column `NOT NULL`.
pub fn require(case: &mut Case<'_, '_>, id: Id, column: &str) {
    match case.world.column(id, column) {
        Found::Yes(facts) if facts.not_null => {
            let pending = case.copy(id).constraints.into_iter().any(|facts| {
                facts.kind == ConstraintKind::NotNull
                    && !facts.validated
                    && facts.columns == [column.to_owned()]
            });
            if pending {
                case.scan(id);
            }
        }
        Found::No => case.fails(&format!("{} has no column {column}", case.world.name(id))),
        _ if implied::not_null(&case.copy(id), column) => {}
        _ => {
            if !case.world.is_known(id) {
                case.assume(format!(
                    "whether a valid CHECK ({column} IS NOT NULL) is on {}",
                    case.world.name(id)
                ));
            }
            case.scan(id);
        }
    }
    mark_not_null(case, id, column, true);
}

pub fn mark_not_null(case: &mut Case<'_, '_>, id: Id, column: &str, not_null: bool) {
    let known = case.world.is_known(id);
    case.world.change(id, |relation| {
        for facts in relation.constraints.iter_mut().filter(|facts| facts.kind == ConstraintKind::NotNull) {
            facts.validated |= not_null && facts.columns == [column.to_owned()];
        }
        if !not_null {
            relation.constraints.retain(|facts| {
                facts.kind != ConstraintKind::NotNull || facts.columns != [column.to_owned()]
            });
        }
        match relation.columns.iter_mut().find(|facts| facts.name == column) {
            Some(facts) => facts.not_null = not_null,
            None if !known => relation.columns.push(ColumnFacts {
                name: column.to_owned(),
                not_null,
                ..ColumnFacts::default()
            }),
            None => {}
        }
    });
}

/// `ADD GENERATED AS IDENTITY`, `DROP IDENTITY`, and changes of its sequence.
pub fn identity(case: &mut Case<'_, '_>, targets: &[Id], command: &AlterTableCmd, add: bool) {
    let column = &command.name;
    for id in targets {
        if add {
            let table = case.world.name(*id);
            let name = table.sibling(format!("{}_{column}_seq", table.name));
            let owned_by = Some((table, Some(column.clone())));
            case.world.make(Relation { name, kind: RelationType::Sequence, owned_by, ..Relation::default() });
        } else {
            for sequence in data::owned_sequences(case, *id, Some(column)) {
                case.lock(sequence, LockMode::AccessExclusive);
                case.world.drop(sequence);
            }
        }
        case.world.change(*id, |relation| {
            let found = relation.columns.iter_mut().find(|facts| facts.name == *column);
            if let Some(facts) = found {
                facts.identity = add;
            }
        });
    }
}

/// `SET GENERATED`, `RESTART`, ... of an identity column.
pub fn set_identity(case: &mut Case<'_, '_>, id: Id, command: &AlterTableCmd) {
    for sequence in data::owned_sequences(case, id, Some(&command.name)) {
        case.lock(sequence, LockMode::ShareRowExclusive);
    }
}

/// `SET EXPRESSION` (17) writes a stored column anew.
pub fn set_expression(case: &mut Case<'_, '_>, targets: &[Id], column: &str) {
    for id in targets {
        match case.world.column(*id, column) {
            Found::Yes(facts) if facts.generated == Some(Generated::Virtual) => continue,
            Found::Yes(_) => {}
            _ => case.assume(format!("how {}.{column} is generated", case.world.name(*id))),
        }
        case.rewrite(*id);
    }
}

/// `SET LOGGED` and `SET UNLOGGED` write everything anew, unless it is so already.
pub fn persistence(case: &mut Case<'_, '_>, id: Id, persistence: Persistence) {
    if case.world.is_known(id) && case.copy(id).persistence == persistence {
        return;
    }
    case.rewrite(id);
    for sequence in data::owned_sequences(case, id, None) {
        if case.world.at_least(15) || case.world.snapshot.major.is_none() {
            case.lock(sequence, LockMode::AccessExclusive);
        }
    }
    case.world.change(id, |relation| relation.persistence = persistence);
}

/// The facts of a constraint as they stand after the statement.
pub fn note_constraint(case: &mut Case<'_, '_>, id: Id, facts: ConstraintFacts) {
    case.world.change(id, |relation| {
        relation.constraints.retain(|known| known.name != facts.name);
        relation.constraints.push(facts);
    });
}

/// A `NOT NULL` that new rows have to satisfy, but old ones may not.
pub fn mark_not_null_pending(case: &mut Case<'_, '_>, id: Id, column: &str) {
    case.world.change(id, |relation| {
        let found = relation.columns.iter_mut().find(|facts| facts.name == column);
        if let Some(facts) = found {
            facts.not_null = true;
        }
    });
}
