//! The way back from `ALTER TABLE`.

use super::edit::{undo_edits, unmoved};
use super::{Derived, Undo, may_exist, may_lack};
use crate::sql::aside::{self, AsideSuffix};
use crate::sql::kind::{
    AlterTable, Column, Constraint, ConstraintKind, Edit, Part, RelationKind, TableAction, Target,
};
use crate::sql::name::{RelationName, object_name, quote_ident};
use crate::sql::overlay::{Names, State};

/// The inverse of every subcommand, the last one first; the state is the one after them, whether there are inverses or not.
pub fn undo_alter(alter: &AlterTable, state: &mut State<'_>, preserve: Option<&AsideSuffix>) -> Derived {
    let mut whole = may_lack(alter.if_exists).map(|()| Undo::nothing());
    for action in &alter.actions {
        whole = whole.and_then(|whole| Ok(undo_action(alter, action, state, preserve)?.then(whole)));
        state.alter(alter, action);
    }
    whole
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
            let free = !before.not_null || before.added;
            if free && !state.only_asks() {
                Ok(Undo::nothing())
            } else {
                not_null_again(alter, &table, column, state)
            }
        }
        TableAction::Setting { .. } if state.made(relation) => Ok(Undo::nothing()),
        TableAction::Setting { action, edits } if edits.is_empty() => {
            Err(format!("what {} has changed is not kept", spelled(action)))
        }
        TableAction::Setting { edits, .. } => undo_edits(edits, state),
        TableAction::DropColumn { column, .. } => Err(format!("the data of column {column} is gone with it")),
        TableAction::DropConstraint { constraint, if_exists, cascade } => {
            let what = Target::within("CONSTRAINT", relation.clone(), constraint);
            undo_edits(&[Edit::Drop { what, if_exists: *if_exists, cascade: *cascade }], state)
        }
        TableAction::AttachPartition { partition } => attached(&table, relation, partition, state),
        TableAction::DetachPartition { partition, concurrently } => {
            detached(&table, partition, *concurrently, state)
        }
        TableAction::Other(action) => Err(format!("{} has no exact inverse", spelled(action))),
    }
}

/// Makes a column `NOT NULL` again without a scan under a lock that stops anybody: writers are held to it from the first
/// statement on, so that what stands in the way are rows that were written since.
fn not_null_again(alter: &AlterTable, table: &str, column: &str, state: &State<'_>) -> Derived {
    let relation = &alter.relation;
    let of = Target::within("COLUMN", relation.clone(), column);
    let named = state.before_of(Part::NotNullName, &of, None)?;
    if let Some(reason) = named.lost {
        return Err(reason);
    }
    let quoted = quote_ident(column);
    let check = quote_ident(&object_name(&relation.name, Some(column), "is_not_null"));
    let mut statements = vec![
        format!("{table} ADD CONSTRAINT {check} CHECK ({quoted} IS NOT NULL) NOT VALID"),
        format!("{table} VALIDATE CONSTRAINT {check}"),
        format!("{table} ALTER COLUMN {quoted} SET NOT NULL"),
        format!("{table} DROP CONSTRAINT {check}"),
    ];
    let chosen = object_name(&relation.name, Some(column), "not_null");
    if let Some(name) = named.values.first().filter(|name| **name != chosen) {
        statements.push(format!(
            "{table} RENAME CONSTRAINT {} TO {}",
            quote_ident(&chosen),
            quote_ident(name)
        ));
    }
    let condition = format!("no row has been given a NULL in {column} since");
    Ok(Undo { statements, condition: Some(condition), ..Undo::default() })
}

fn attached(table: &str, parent: &RelationName, partition: &RelationName, state: &State<'_>) -> Derived {
    if !state.made(partition) {
        let of = Target::new("TABLE", partition.clone());
        let before = state.before_of(Part::Attach, &of, Some(state.before(parent).sql()))?;
        if let Some(reason) = before.lost {
            return Err(reason);
        }
    }
    Ok(Undo::by(format!("{table} DETACH PARTITION {partition}")))
}

fn detached(table: &str, partition: &RelationName, concurrently: bool, state: &State<'_>) -> Derived {
    let before = state.before_of(Part::PartitionBound, &Target::new("TABLE", partition.clone()), None)?;
    let bound = before.values.first().map_or("DEFAULT", String::as_str);
    if !before.exists {
        return Err(format!("{partition} was no partition before"));
    }
    unmoved(bound, state)?;
    let mut statements = vec![format!("{table} ATTACH PARTITION {partition} {bound}")];
    if concurrently {
        // The server leaves a check behind that says what the bound said.
        let name = before.shape.or_else(|| state.only_asks().then(String::new));
        let name = name.ok_or("the server chooses the name of the check that stands for the bound")?;
        statements.push(format!("ALTER TABLE {partition} DROP CONSTRAINT IF EXISTS {}", quote_ident(&name)));
    }
    Ok(Undo { statements, ..Undo::default() })
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
    let name = Names::of(state).constraint(relation, constraint)?;
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
