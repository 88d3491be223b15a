//! The relations as a query sees them, while the statements of a plan change them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::family::Family;
use super::resolve;
use crate::sql::grammar;
use crate::sql::kind::ConstraintKind;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{Relation, RelationType, Snapshot};

/// A column of the catalog as it was before the plan, or a relation as a whole.
pub(super) type Use = (RelationName, Option<String>);

/// A column that a query can name.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    pub family: Family,
    pub not_null: bool,
    /// It gets a value by itself: a default, an identity, an expression.
    pub filled: bool,
    /// What stands behind it in the catalog before the plan.
    pub origins: Rc<[Use]>,
}

/// Columns of which no two rows are equal.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub name: String,
    pub columns: BTreeSet<String>,
    pub primary: bool,
}

/// A relation.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub columns: Vec<Column>,
    /// What it was called before the plan.
    pub origin: Option<RelationName>,
    /// It may have further columns.
    pub open: bool,
    pub is_view: bool,
    /// A trigger may fill columns before a row is inserted.
    pub fills: bool,
    pub keys: Vec<Key>,
    /// What a view uses beyond its columns.
    pub behind: Rc<[Use]>,
}

impl Table {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// The catalog, and what was changed of it.
pub(super) struct Schema<'a> {
    pub catalog: &'a Snapshot,
    index: HashMap<&'a RelationName, &'a Relation>,
    /// `None` for what is gone.
    tables: RefCell<HashMap<RelationName, Option<Rc<Table>>>>,
    /// Functions by name, with the number of those that share it.
    pub functions: BTreeMap<RelationName, usize>,
    pub types: BTreeSet<RelationName>,
}

impl<'a> Schema<'a> {
    pub fn new(catalog: &'a Snapshot) -> Self {
        let index = catalog.relations.iter().map(|relation| (&relation.name, relation)).collect();
        let mut functions = BTreeMap::new();
        for function in &catalog.functions {
            *functions.entry(function.name.clone()).or_default() += 1;
        }
        let types = catalog.types.iter().map(|of| of.name.clone()).collect();
        Self { catalog, index, tables: RefCell::default(), functions, types }
    }

    /// A relation by its full name.
    pub fn get(&self, name: &RelationName) -> Option<Rc<Table>> {
        if let Some(known) = self.tables.borrow().get(name) {
            return known.clone();
        }
        let relation = *self.index.get(name)?;
        if matches!(relation.kind, RelationType::Index | RelationType::PartitionedIndex) {
            return None;
        }
        let mut table = self.described(relation);
        // A view that refers to itself by way of others finds its columns only.
        self.tables.borrow_mut().insert(name.clone(), Some(Rc::new(table.clone())));
        if let Some(definition) = relation.definition.as_deref().filter(|_| table.is_view) {
            self.look_behind(name, definition, &mut table);
            self.tables.borrow_mut().insert(name.clone(), Some(Rc::new(table.clone())));
        }
        Some(Rc::new(table))
    }

    /// A relation as a statement names it.
    pub fn find(&self, name: &RelationName, path: &[String]) -> Option<(RelationName, Rc<Table>)> {
        if name.schema.is_some() {
            return Some((name.clone(), self.get(name)?));
        }
        path.iter().find_map(|schema| {
            let full = RelationName::qualified(schema.clone(), name.name.clone());
            let table = self.get(&full)?;
            Some((full, table))
        })
    }

    /// Where something new goes, or an object that is known under the name.
    pub fn place(&self, name: &RelationName) -> RelationName {
        match (&name.schema, self.catalog.search_path.iter().find(|of| self.catalog.schemas.contains(of))) {
            (None, Some(schema)) => RelationName::qualified(schema.clone(), name.name.clone()),
            (None, None) => RelationName::qualified("public", name.name.clone()),
            _ => name.clone(),
        }
    }

    /// The names of all relations that are there.
    pub fn names(&self) -> Vec<RelationName> {
        let changed = self.tables.borrow();
        let there = |name: &&RelationName| changed.get(*name).is_none_or(Option::is_some);
        let new = changed.iter().filter(|(name, table)| table.is_some() && !self.index.contains_key(name));
        self.index.keys().copied().filter(there).chain(new.map(|(name, _)| name)).cloned().collect()
    }

    pub fn set(&mut self, name: RelationName, table: Option<Table>) {
        self.tables.get_mut().insert(name, table.map(Rc::new));
    }

    /// Changes a relation that is there.
    pub fn change(&mut self, name: &RelationName, change: impl FnOnce(&mut Table)) {
        if let Some(table) = self.get(name) {
            let mut table = Table::clone(&table);
            change(&mut table);
            self.set(name.clone(), Some(table));
        }
    }

    fn described(&self, relation: &Relation) -> Table {
        let columns = relation.columns.iter().map(|facts| Column {
            name: facts.name.clone(),
            family: Family::of(&facts.data_type, self.catalog),
            not_null: facts.not_null,
            filled: facts.default.is_some() || facts.identity || facts.generated.is_some(),
            origins: Rc::from([(relation.name.clone(), Some(facts.name.clone()))]),
        });
        let keys = relation.indexes.iter().filter(|index| index.unique && index.valid).map(|index| Key {
            name: index.name.clone(),
            columns: index.columns.iter().take(index.key_columns as usize).flatten().cloned().collect(),
            primary: index.primary,
        });
        let of_constraints = relation.constraints.iter().filter(|of| {
            matches!(of.kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique | ConstraintKind::Exclude)
                && !relation.indexes.iter().any(|index| index.name == of.name)
        });
        let of_constraints = of_constraints.map(|of| Key {
            name: of.name.clone(),
            columns: of.columns.iter().cloned().collect(),
            primary: of.kind == ConstraintKind::PrimaryKey,
        });
        let fills = |definition: &str| {
            let event = definition.split(" ON ").next().unwrap_or_default();
            event.contains("BEFORE") && event.contains("INSERT")
        };
        Table {
            columns: columns.collect(),
            origin: Some(relation.name.clone()),
            open: relation.columns.is_empty() && !self.catalog.complete,
            is_view: matches!(relation.kind, RelationType::View | RelationType::MaterializedView),
            fills: relation.triggers.iter().any(|trigger| fills(&trigger.definition)),
            keys: keys.chain(of_constraints).collect(),
            behind: Rc::from([]),
        }
    }

    /// Follows the columns of a view to those of tables.
    fn look_behind(&self, name: &RelationName, definition: &str, table: &mut Table) {
        let tree =
            grammar::trees(std::iter::once(definition.trim_end_matches([';', ' ', '\n']))).pop().flatten();
        let Some(tree) = tree else { return };
        let view = resolve::view(self, &tree.node, &self.catalog.search_path);
        table.behind = view.behind.into_iter().collect();
        for (column, origins) in table.columns.iter_mut().zip(view.columns) {
            let own = (name.clone(), Some(column.name.clone()));
            column.origins = std::iter::once(own).chain(origins.origins.iter().cloned()).collect();
        }
    }
}

/// Finds the name of another kind of object.
pub(super) fn named<T>(
    name: &RelationName,
    path: &[String],
    of: &BTreeMap<RelationName, T>,
) -> Option<RelationName> {
    if name.schema.is_some() {
        return of.contains_key(name).then(|| name.clone());
    }
    let full = |schema: &String| RelationName::qualified(schema.clone(), name.name.clone());
    path.iter().map(full).find(|full| of.contains_key(full))
}
