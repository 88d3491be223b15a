//! The way back from `ALTER TABLE`.

use super::{Derived, Undo, may_exist, may_lack};
use crate::sql::aside::{self, AsideSuffix};
use crate::sql::kind::{AlterTable, Column, Constraint, ConstraintKind, RelationKind, TableAction};
use crate::sql::name::{RelationName, quote_ident};
use crate::sql::overlay::State;

pub fn undo_alter(alter: &AlterTable, state: &mut State<'_>, preserve: Option<&AsideSuffix>) -> Derived {
    may_lack(alter.if_exists)?;
    let mut whole = Undo::nothing();
    for action in &alter.actions {
        let part = undo_action(alter, action, state, preserve)?;
        whole = part.then(whole);
        state.alter(alter, action);
    }
    Ok(whole)
}

fn undo_action(
    alter: &AlterTable,
    action: &TableAction,
    state: &State<'_>,
    preserve: Option<&AsideSuffix>,
) -> Derived {
    let relation = &alter.relation;
    let only = if alter.only { "ONLY " } else { "" };
    let table = format!("ALTER {} {only}{relation}", alter.object.sql());
    let column_of = |column: &str| format!("{table} ALTER COLUMN {}", quote_ident(column));
    match action {
        TableAction::AddColumn { column, if_not_exists } => {
            may_exist(*if_not_exists)?;
            undo_add_column(alter, &table, column, state, preserve)
        }
        TableAction::AddConstraint(constraint) => undo_constraint(relation, &table, constraint, state),
        TableAction::ValidateConstraint { .. } => Ok(Undo::nothing()),
        TableAction::SetDefault { column, .. } | TableAction::DropDefault { column } => {
            let before = state.column(relation, column)?;
            let column = column_of(column);
            match before.default {
                _ if before.computed => Err("the column is an identity or generated".into()),
                Some(default) => Ok(Undo::by(format!("{column} SET DEFAULT {default}"))),
                None => Ok(Undo::by(format!("{column} DROP DEFAULT"))),
            }
        }
        TableAction::SetNotNull { column } => {
            let before = state.column(relation, column)?;
            let sql = format!("{} DROP NOT NULL", column_of(column));
            Ok(if before.not_null { Undo::nothing() } else { Undo::by(sql) })
        }
        TableAction::DropNotNull { column } => {
            let before = state.column(relation, column)?;
            if before.not_null && !before.added {
                return Err("NULL may have been written since".into());
            }
            Ok(Undo::nothing())
        }
        TableAction::Setting { .. } if state.made(relation) => Ok(Undo::nothing()),
        TableAction::Setting { action } => Err(format!("what {} has changed is not kept", spelled(action))),
        TableAction::DropColumn { column, .. } => Err(format!("the data of column {column} is gone with it")),
        TableAction::DropConstraint { constraint } => {
            Err(format!("the definition of {constraint} is not kept"))
        }
        TableAction::DetachPartition { .. } => Err("the bounds of the partition are not kept".into()),
        TableAction::Other(action) => Err(format!("{} has no exact inverse", spelled(action))),
    }
}

/// The name of a subcommand in the grammar (`AlterColumnType`) as words of SQL (`ALTER COLUMN TYPE`).
fn spelled(action: &str) -> String {
    let mut words = String::new();
    for c in action.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_uppercase());
    }
    words
}

fn undo_add_column(
    alter: &AlterTable,
    table: &str,
    column: &Column,
    state: &State<'_>,
    preserve: Option<&AsideSuffix>,
) -> Derived {
    let name = quote_ident(&column.name);
    match (alter.object, preserve) {
        (RelationKind::Type, _) => Ok(Undo::destroying(format!("{table} DROP ATTRIBUTE {name}"))),
        (RelationKind::Table, Some(suffix)) if column.generated.is_none() => {
            aside::column(state, &alter.relation, table, column, suffix)
        }
        (kind, _) => {
            let lossless = column.generated.is_some() || kind == RelationKind::ForeignTable;
            Ok(Undo { lossless, ..Undo::by(format!("{table} DROP COLUMN {name}")) })
        }
    }
}

fn undo_constraint(
    relation: &RelationName,
    table: &str,
    constraint: &Constraint,
    state: &State<'_>,
) -> Derived {
    let name = state.constraint_name(relation, constraint)?;
    let mut key = constraint.columns.clone();
    if let Some(index) = &constraint.using_index {
        let made = state.made_index(&relation.sibling(index.clone()));
        key =
            made.ok_or("dropping the constraint would drop its index too, which was there before")?.to_vec();
    }
    let mut whole = Undo::by(format!("{table} DROP CONSTRAINT {}", quote_ident(&name)));
    if constraint.kind == ConstraintKind::PrimaryKey {
        for column in &key {
            if !state.column(relation, column)?.not_null {
                let column = quote_ident(column);
                whole = whole.then(Undo::by(format!("{table} ALTER COLUMN {column} DROP NOT NULL")));
            }
        }
    }
    Ok(whole)
}
