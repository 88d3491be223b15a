//! A `down` that a person wrote, made to put aside what the same plan added instead of destroying it.

use super::aside::{self, Aside, AsideSuffix};
use super::facts::Facts;
use super::inverse::Undo;
use super::kind::{AlterTable, Column, ConstraintKind, CreateTable, Kind, RenameTarget, TableAction};
use super::name::{RelationName, quote_ident};
use super::overlay::{Catalog, Names, State};
use super::statement::Statement;

/// Replaces, in a written `down`, the drops of columns and tables that `up` added by putting them aside.
///
/// All other statements stay as they are, and so do drops with `CASCADE`, of what may have been there before `up` (`IF NOT
/// EXISTS`), of what `up` renamed, and of what cannot be put aside. `facts` are those of [`super::facts_wanted`] for `up`.
pub fn aside_written(
    down: &[Statement],
    up: &[Statement],
    facts: &Facts,
    suffix: &AsideSuffix,
) -> (Vec<String>, Vec<Aside>) {
    let added = Added { up, catalog: Catalog::new(facts), suffix };
    let mut whole = Undo::default();
    for statement in down {
        let replaced = match &statement.kind {
            Kind::DropTable { relations, if_exists, cascade: false } => added.tables(relations, *if_exists),
            Kind::AlterTable(alter) => added.columns(alter),
            _ => None,
        };
        whole = whole.then(replaced.unwrap_or_else(|| Undo::by(statement.sql.clone())));
    }
    (whole.statements, whole.aside)
}

/// What `up` added.
struct Added<'a> {
    up: &'a [Statement],
    catalog: Catalog<'a>,
    suffix: &'a AsideSuffix,
}

impl Added<'_> {
    /// Puts those aside that `up` made, and drops the others. `None` if there is nothing to put aside.
    fn tables(&self, relations: &[RelationName], if_exists: bool) -> Option<Undo> {
        let mut whole = Undo::default();
        let mut others = Vec::new();
        for relation in relations {
            match self.table(relation) {
                Some(undo) => whole = whole.then(undo),
                None => others.push(relation.sql()),
            }
        }
        let if_exists = if if_exists { "IF EXISTS " } else { "" };
        if !others.is_empty() {
            whole = whole.then(Undo::by(format!("DROP TABLE {if_exists}{}", others.join(", "))));
        }
        (!whole.aside.is_empty()).then_some(whole)
    }

    /// The same for the columns of a table, if the statement does nothing else.
    fn columns(&self, alter: &AlterTable) -> Option<Undo> {
        let mut whole = Undo::default();
        for action in &alter.actions {
            let TableAction::DropColumn { column, if_exists, cascade: false } = action else {
                return None;
            };
            whole = whole.then(self.column(&alter.relation, column).unwrap_or_else(|| {
                let if_exists = if *if_exists { "IF EXISTS " } else { "" };
                let (table, column) = (&alter.relation, quote_ident(column));
                Undo::by(format!("ALTER TABLE {table} DROP COLUMN {if_exists}{column}"))
            }));
        }
        (!alter.if_exists && !whole.aside.is_empty()).then_some(whole)
    }

    /// Puts a table aside in the shape that the whole of `up` gave it.
    fn table(&self, relation: &RelationName) -> Option<Undo> {
        let (made, create) =
            self.up.iter().enumerate().find_map(|(index, statement)| match &statement.kind {
                Kind::CreateTable(table) if table.relation == *relation && !table.if_not_exists => {
                    Some((index, table))
                }
                _ => None,
            })?;
        let mut table = create.clone();
        let mut first = Undo::default();
        for (index, statement) in self.up.iter().enumerate().skip(made + 1) {
            match &statement.kind {
                Kind::CreateTable(child) if child.inherits.contains(relation) => return None,
                Kind::CreateTable(child) if child.partition_of.as_ref() == Some(relation) => return None,
                Kind::Rename(rename) if speaks_of(&rename.target, relation) => return None,
                Kind::AlterTable(alter) if alter.relation == *relation => reshape(&mut table, alter),
                Kind::CreateIndex(made) if made.relation == *relation => {
                    let name = Names::of(&self.state(index)).index(made).ok()?;
                    if self.taken_over(relation, &name) {
                        continue;
                    }
                    let aside_name = quote_ident(&self.suffix.aside_name(&name));
                    let name = relation.sibling(name);
                    first =
                        first.then(Undo::by(format!("ALTER INDEX IF EXISTS {name} RENAME TO {aside_name}")));
                }
                Kind::CreateTrigger { trigger, relation: on, .. } if on == relation => {
                    let trigger = quote_ident(trigger);
                    first = first.then(Undo::by(format!("DROP TRIGGER IF EXISTS {trigger} ON {relation}")));
                }
                _ => {}
            }
        }
        Some(first.then(aside::table(&self.state(made), &table, self.suffix).ok()?))
    }

    /// Whether a constraint of the table takes an index over, and renames it with itself.
    fn taken_over(&self, relation: &RelationName, index: &String) -> bool {
        let of_table = self.up.iter().filter_map(|statement| match &statement.kind {
            Kind::AlterTable(alter) if alter.relation == *relation => Some(&alter.actions),
            _ => None,
        });
        of_table.flatten().any(|action| {
            matches!(action, TableAction::AddConstraint(constraint) if constraint.using_index.as_ref() == Some(index))
        })
    }

    /// Puts a column aside in the shape that the whole of `up` gave it; keys, checks and indexes with it go.
    fn column(&self, relation: &RelationName, name: &str) -> Option<Undo> {
        let (made, mut column) =
            self.up.iter().enumerate().find_map(|(index, statement)| match &statement.kind {
                Kind::AlterTable(alter) if alter.relation == *relation => {
                    Some((index, added_column(alter, name)?))
                }
                _ => None,
            })?;
        if column.generated.is_some() {
            return None;
        }
        let mut first = Undo::default();
        for (index, statement) in self.up.iter().enumerate().skip(made) {
            match &statement.kind {
                Kind::Rename(rename) if speaks_of(&rename.target, relation) => return None,
                Kind::CreateIndex(made)
                    if made.relation == *relation && made.mentions.iter().any(|one| one == name) =>
                {
                    let name = relation.sibling(Names::of(&self.state(index)).index(made).ok()?);
                    first = first.then(Undo::by(format!("DROP INDEX IF EXISTS {name}")));
                }
                Kind::AlterTable(alter) if alter.relation == *relation => {
                    first = first.then(self.let_go(index, alter, &mut column)?);
                }
                _ => {}
            }
        }
        let table = format!("ALTER TABLE {relation}");
        let last = aside::column(&self.state_at(made, name), relation, &table, &column, self.suffix).ok()?;
        Some(first.then(last))
    }

    /// What an `ALTER TABLE` of `up` has bound to the column, undone.
    fn let_go(&self, index: usize, alter: &AlterTable, column: &mut Column) -> Option<Undo> {
        let mut state = self.state(index);
        let mut whole = Undo::default();
        for action in &alter.actions {
            match action {
                TableAction::AddConstraint(constraint) if constraint.columns.contains(&column.name) => {
                    let name = quote_ident(&Names::of(&state).constraint(&alter.relation, constraint).ok()?);
                    let sql = format!("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {name}", alter.relation);
                    whole = whole.then(Undo::by(sql));
                    column.not_null |= constraint.kind == ConstraintKind::PrimaryKey;
                }
                TableAction::SetNotNull { column: of } if *of == column.name => column.not_null = true,
                TableAction::SetDefault { column: of, default } if *of == column.name => {
                    column.default = Some(default.clone());
                }
                _ => {}
            }
            state.alter(alter, action);
        }
        Some(whole)
    }

    /// The state before a statement of `up`.
    fn state(&self, index: usize) -> State<'_> {
        State::after(self.up.get(..index).unwrap_or_default(), &self.catalog)
    }

    /// The state before the subcommand that adds a column.
    fn state_at(&self, index: usize, column: &str) -> State<'_> {
        let mut state = self.state(index);
        if let Some(Statement { kind: Kind::AlterTable(alter), .. }) = self.up.get(index) {
            let before = alter.actions.iter().take_while(|action| added(action, column).is_none());
            before.for_each(|action| state.alter(alter, action));
        }
        state
    }
}

fn added<'a>(action: &'a TableAction, name: &str) -> Option<&'a Column> {
    match action {
        TableAction::AddColumn { column, if_not_exists: false } if column.name == name => Some(column),
        _ => None,
    }
}

fn added_column(alter: &AlterTable, name: &str) -> Option<Column> {
    alter.actions.iter().find_map(|action| added(action, name)).cloned()
}

/// Whether a rename is one of the relation, or of a part of it.
fn speaks_of(target: &RenameTarget, relation: &RelationName) -> bool {
    match target {
        RenameTarget::Relation { relation: of, .. }
        | RenameTarget::Column { relation: of, .. }
        | RenameTarget::Constraint { relation: of, .. } => of == relation,
        RenameTarget::Schema { schema } => relation.schema.as_ref() == Some(schema),
        _ => false,
    }
}

/// Makes the definition of a table what an `ALTER TABLE` makes of the table.
fn reshape(table: &mut CreateTable, alter: &AlterTable) {
    for action in &alter.actions {
        match action {
            TableAction::AddColumn { column, .. } => table.columns.push(column.clone()),
            TableAction::DropColumn { column, .. } => table.columns.retain(|one| one.name != *column),
            TableAction::AddConstraint(constraint) => table.constraints.push(constraint.clone()),
            TableAction::DropConstraint { constraint, .. } => {
                table.constraints.retain(|one| one.name.as_ref() != Some(constraint));
            }
            TableAction::SetDefault { column, default } => {
                for one in table.columns.iter_mut().filter(|one| one.name == *column) {
                    one.default = Some(default.clone());
                }
            }
            _ => {}
        }
    }
}
