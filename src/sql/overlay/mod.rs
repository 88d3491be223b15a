//! The state of the catalog between the statements of a plan: what the catalog said, and what the plan changed since.

mod catalog;
mod known;
mod names;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use catalog::Catalog;
use catalog::ColumnState;
use known::Known;
pub(super) use known::Value;
pub(super) use names::{Names, joined};

use super::facts::Before;
use super::kind::{
    AlterTable, Column, Constraint, ConstraintKind, CreateTable, Edit, Kind, Part, Rename, RenameTarget,
    TableAction, Target,
};
use super::name::RelationName;
use super::statement::Statement;

/// What a plan has changed so far. Names are matched as written: `t` and `public.t` are two.
pub(super) struct State<'a> {
    catalog: &'a Catalog<'a>,
    /// Tables, views and sequences that the plan made.
    created: BTreeSet<RelationName>,
    types: BTreeSet<RelationName>,
    schemas: BTreeSet<String>,
    /// Columns that the plan added or changed, under their names of now.
    columns: BTreeMap<(RelationName, String), ColumnState>,
    /// Names of now of what was renamed, to those before the plan.
    relations_before: BTreeMap<RelationName, RelationName>,
    columns_before: BTreeMap<(RelationName, String), String>,
    /// Names of constraints, indexes and sequences that the plan made.
    taken: BTreeSet<RelationName>,
    /// Indexes that the plan made, with the columns of their keys.
    indexes: BTreeMap<RelationName, Vec<String>>,
    /// What else it set, made, replaced and dropped.
    pub known: Known,
}

impl<'a> State<'a> {
    /// The state before the first statement.
    pub fn new(catalog: &'a Catalog<'a>) -> Self {
        Self {
            catalog,
            created: BTreeSet::new(),
            types: BTreeSet::new(),
            schemas: BTreeSet::new(),
            columns: BTreeMap::new(),
            relations_before: BTreeMap::new(),
            columns_before: BTreeMap::new(),
            taken: BTreeSet::new(),
            indexes: BTreeMap::new(),
            known: Known::default(),
        }
    }

    /// The state after some statements.
    pub fn after(statements: &[Statement], catalog: &'a Catalog<'a>) -> Self {
        let mut state = Self::new(catalog);
        for statement in statements {
            state.pass(statement);
        }
        state
    }

    /// Goes on past a statement.
    pub fn pass(&mut self, statement: &Statement) {
        self.apply(&statement.kind);
        self.note_all(&statement.edits);
    }

    /// Goes on past what a statement sets, makes, replaces and drops beside what its kind tells.
    pub fn note_all(&mut self, changes: &[Edit]) {
        for change in changes {
            self.note(change);
        }
    }

    /// Whether the plan made this table, view or sequence.
    pub fn made(&self, relation: &RelationName) -> bool {
        self.created.contains(relation)
    }

    /// Whether the plan made this type.
    pub fn made_type(&self, relation: &RelationName) -> bool {
        self.types.contains(relation)
    }

    /// Whether the plan made this schema.
    pub fn made_schema(&self, schema: &str) -> bool {
        self.schemas.contains(schema)
    }

    /// The key of an index that the plan made.
    pub fn made_index(&self, index: &RelationName) -> Option<&[String]> {
        self.indexes.get(index).map(Vec::as_slice)
    }

    /// Whether the plan added this column, or the whole table.
    pub fn added(&self, relation: &RelationName, column: &str) -> bool {
        self.made(relation)
            || self.columns.get(&(relation.clone(), column.to_owned())).is_some_and(|column| column.added)
    }

    /// What is known of a column.
    pub fn column(&self, relation: &RelationName, column: &str) -> Result<ColumnState, String> {
        let key = (relation.clone(), column.to_owned());
        if let Some(known) = self.columns.get(&key) {
            return Ok(known.clone());
        }
        if self.made(relation) {
            return Err(format!("column {column} of {relation} is not known"));
        }
        let before = self.columns_before.get(&key).cloned().unwrap_or_else(|| column.to_owned());
        self.catalog.column(self.before(relation), before)
    }

    /// Whether the plan made this object, or the table that it is a part of.
    pub fn made_target(&self, target: &Target) -> bool {
        let name = &target.name;
        match target.object.as_str() {
            "TYPE" | "DOMAIN" | "DOMAIN CONSTRAINT" => self.made_type(name) || self.made(name),
            "SCHEMA" => self.made_schema(&name.name),
            "FUNCTION" | "PROCEDURE" | "ROUTINE" | "STATISTICS" | "EXTENSION" => self.known.made(target),
            "INDEX" => self.indexes.contains_key(name),
            "COLUMN" => target.detail.as_ref().is_some_and(|column| self.added(name, column)),
            "CONSTRAINT" => {
                self.made(name)
                    || target.detail.as_ref().is_some_and(|one| self.taken.contains(&name.sibling(one)))
                        && self.known.before(target).is_none()
            }
            _ => self.made(name) || self.known.made(target),
        }
    }

    /// What something of an object was before the plan.
    pub fn before_of(&self, part: Part, of: &Target, with: Option<String>) -> Result<Before, String> {
        let name = self.before(&of.name);
        let detail = of.detail.as_ref().map(|detail| match (of.object.as_str(), detail.split_once('\n')) {
            ("COLUMN", _) => self.column_before(&of.name, detail),
            (_, Some((column, option))) => format!("{}\n{option}", self.column_before(&of.name, column)),
            _ => self.known.before(of).unwrap_or_else(|| detail.clone()),
        });
        self.catalog.before(part, Target { object: of.object.clone(), name, detail }, with)
    }

    fn column_before(&self, relation: &RelationName, column: &str) -> String {
        let key = (relation.clone(), column.to_owned());
        self.columns_before.get(&key).cloned().unwrap_or_else(|| column.to_owned())
    }

    /// Whether there is no catalog, and what is asked is only noted.
    pub fn only_asks(&self) -> bool {
        self.catalog.only_asks()
    }

    /// The name of a relation before the plan.
    pub fn before(&self, relation: &RelationName) -> RelationName {
        self.relations_before.get(relation).cloned().unwrap_or_else(|| relation.clone())
    }

    fn take(&mut self, relation: &RelationName, name: Result<String, String>) {
        self.taken.extend(name.ok().map(|name| relation.sibling(name)));
    }

    fn apply(&mut self, kind: &Kind) {
        match kind {
            Kind::CreateTable(table) if !table.if_not_exists => self.create(table),
            Kind::AlterTable(alter) => {
                for action in &alter.actions {
                    self.alter(alter, action);
                }
            }
            Kind::CreateIndex(index) if !index.if_not_exists => {
                let name = Names::of(self).index(index);
                if let Ok(name) = &name {
                    self.indexes.insert(index.relation.sibling(name.clone()), index.key.clone());
                }
                self.take(&index.relation, name);
            }
            Kind::Rename(rename) => self.rename(rename),
            Kind::CreateView { relation, replace: false, if_not_exists: false, .. }
            | Kind::CreateSequence { relation, if_not_exists: false } => {
                self.created.insert(relation.clone());
            }
            Kind::CreateSchema { schema, if_not_exists: false, .. } => {
                self.schemas.insert(schema.clone());
            }
            Kind::CreateType { relation } | Kind::CreateDomain { relation } => {
                self.types.insert(relation.clone());
            }
            Kind::DropTable { relations, .. } => {
                for relation in relations {
                    self.created.remove(relation);
                    taken_out(&mut self.columns, relation);
                }
            }
            _ => {}
        }
    }

    fn create(&mut self, table: &CreateTable) {
        self.created.insert(table.relation.clone());
        for column in &table.columns {
            self.add(&table.relation, column);
        }
        for constraint in &table.constraints {
            self.constrain(&table.relation, constraint);
        }
    }

    /// Goes on past the definition of a column.
    fn add(&mut self, relation: &RelationName, column: &Column) {
        self.columns.insert((relation.clone(), column.name.clone()), column.into());
        if column.serial || column.identity {
            let name = Names::of(self).sequence(relation, &column.name);
            self.take(relation, name);
        }
        for constraint in &column.constraints {
            self.constrain(relation, constraint);
        }
    }

    /// Goes on past a constraint.
    fn constrain(&mut self, relation: &RelationName, constraint: &Constraint) {
        let name = Names::of(self).constraint(relation, constraint);
        if let (Some(index), Ok(name)) = (&constraint.using_index, &name)
            && let Some(key) = self.indexes.remove(&relation.sibling(index.clone()))
        {
            self.indexes.insert(relation.sibling(name.clone()), key);
        }
        self.take(relation, name);
        if constraint.kind == ConstraintKind::PrimaryKey {
            for column in &constraint.columns {
                self.set(relation, column, |state| state.not_null = true);
            }
        }
    }

    fn set(&mut self, relation: &RelationName, column: &str, change: impl FnOnce(&mut ColumnState)) {
        if let Ok(mut state) = self.column(relation, column) {
            change(&mut state);
            self.columns.insert((relation.clone(), column.to_owned()), state);
        }
    }

    /// Goes on past a subcommand of `ALTER TABLE`.
    pub fn alter(&mut self, alter: &AlterTable, action: &TableAction) {
        let relation = &alter.relation;
        match action {
            TableAction::AddColumn { column, if_not_exists: false } => self.add(relation, column),
            TableAction::AddConstraint(constraint) => self.constrain(relation, constraint),
            TableAction::SetDefault { column, default } => {
                self.set(relation, column, |state| state.default = Some(default.clone()));
            }
            TableAction::DropDefault { column } => self.set(relation, column, |state| state.default = None),
            TableAction::SetNotNull { column } => self.set(relation, column, |state| state.not_null = true),
            TableAction::DropNotNull { column } => self.set(relation, column, |state| state.not_null = false),
            TableAction::DropColumn { column, .. } => {
                self.columns.remove(&(relation.clone(), column.clone()));
            }
            TableAction::DropConstraint { constraint, .. } => {
                self.taken.remove(&relation.sibling(constraint.clone()));
            }
            TableAction::Setting { edits, .. } => {
                self.note_all(edits);
            }
            _ => {}
        }
    }

    /// Goes on past a change.
    fn note(&mut self, change: &Edit) {
        if let Edit::Set { part: Part::Schema, of, value: Some(schema), .. } = change
            && !of.is_function()
        {
            let schema = schema.trim_matches('"').replace("\"\"", "\"");
            self.relation_moves(&of.name, &RelationName::qualified(schema, &of.name.name));
        }
        self.known.note(change);
    }

    /// Goes on past a relation's change of name or schema.
    fn relation_moves(&mut self, relation: &RelationName, now: &RelationName) {
        let before = self.relations_before.remove(relation).unwrap_or_else(|| relation.clone());
        for set in [&mut self.created, &mut self.taken, &mut self.types] {
            if set.remove(relation) {
                set.insert(now.clone());
            }
        }
        if let Some(key) = self.indexes.remove(relation) {
            self.indexes.insert(now.clone(), key);
        }
        moved(&mut self.columns, relation, now);
        moved(&mut self.columns_before, relation, now);
        self.known.moves(relation, now);
        self.relations_before.insert(now.clone(), before);
    }

    fn rename(&mut self, rename: &Rename) {
        let to = rename.to.clone();
        match &rename.target {
            RenameTarget::Relation { relation, .. } | RenameTarget::Named { relation, .. } => {
                self.relation_moves(relation, &relation.sibling(to));
            }
            RenameTarget::Column { relation, column, .. } => {
                let (was, now) = ((relation.clone(), column.clone()), (relation.clone(), to.clone()));
                let before = self.columns_before.remove(&was).unwrap_or_else(|| column.clone());
                if let Some(state) = self.columns.remove(&was) {
                    self.columns.insert(now.clone(), state);
                }
                self.columns_before.insert(now, before);
                self.known.part_moves("COLUMN", relation, column, &to);
            }
            RenameTarget::Constraint { relation, constraint, .. } => {
                self.taken.remove(&relation.sibling(constraint.clone()));
                self.taken.insert(relation.sibling(to.clone()));
                self.known.part_moves("CONSTRAINT", relation, constraint, &to);
            }
            RenameTarget::OfTable { object, relation, name } => {
                self.known.part_moves(object, relation, name, &to);
            }
            RenameTarget::Schema { schema } => {
                if self.schemas.remove(schema) {
                    self.schemas.insert(to);
                }
                self.known.forget_name(schema);
            }
            RenameTarget::EnumValue { .. } | RenameTarget::Other { .. } => {}
        }
    }
}

/// Moves what is kept of a relation's columns to its new name.
fn moved<T>(map: &mut BTreeMap<(RelationName, String), T>, from: &RelationName, to: &RelationName) {
    for (column, value) in taken_out(map, from) {
        map.insert((to.clone(), column), value);
    }
}

/// Takes out what is kept of a relation's columns.
fn taken_out<T>(map: &mut BTreeMap<(RelationName, String), T>, relation: &RelationName) -> Vec<(String, T)> {
    let first = (relation.clone(), String::new());
    let keys: Vec<_> =
        map.range(first..).map(|(key, _)| key).take_while(|key| key.0 == *relation).cloned().collect();
    keys.into_iter().filter_map(|key| map.remove(&key).map(|value| (key.1, value))).collect()
}
