//! Values of enums.

use pg_query::protobuf::{AlterEnumStmt, CreateEnumStmt};
use pg_query::{Node, NodeEnum};

use super::case::Case;
use crate::sql::classify::tree;
use crate::sql::name::quote_literal;
use crate::sql::snapshot::{TypeFacts, TypeKind};

pub fn create(case: &mut Case<'_, '_>, stmt: &CreateEnumStmt) {
    let Some(name) = tree::path(&stmt.type_name) else { return };
    let label = |node: &Node| match &node.node {
        Some(NodeEnum::String(label)) => Some(label.sval.clone()),
        _ => None,
    };
    let labels = stmt.vals.iter().filter_map(label).collect();
    case.world.make_type(TypeFacts { name, kind: TypeKind::Enum, labels, ..TypeFacts::default() });
}

/// Adds a value, or renames one. No relation is locked, and nothing is read.
pub fn alter(case: &mut Case<'_, '_>, stmt: &AlterEnumStmt) {
    let Some(name) = tree::path(&stmt.type_name) else { return };
    let Some(facts) = case.world.type_facts(&name) else {
        if case.world.snapshot.complete {
            case.fails(&format!("there is no type {name}"));
        }
        return;
    };
    if facts.kind != TypeKind::Enum {
        return case.fails(&format!("{name} is no enum"));
    }
    let has = |value: &str| facts.labels.iter().any(|label| label == value);
    let (new, neighbour) = (&stmt.new_val, &stmt.new_val_neighbor);
    let taken = has(new);
    let missing = [&stmt.old_val, neighbour].into_iter().find(|one| !one.is_empty() && !has(one));
    if taken {
        if !stmt.skip_if_new_val_exists {
            case.fails(&format!("{name} has a value {} already", quote_literal(new)));
        }
    } else if let Some(missing) = missing {
        case.fails(&format!("{name} has no value {}", quote_literal(missing)));
    } else {
        case.world.change_type(&name, |facts| {
            match facts.labels.iter_mut().find(|label| **label == stmt.old_val) {
                Some(label) if !stmt.old_val.is_empty() => label.clone_from(new),
                _ => facts.labels.push(new.clone()),
            }
        });
    }
}
