//! The catalog as the statements so far have left it.
//!
//! A relation has a number for as long as it lives, whatever it is called; relations that the catalog does not know get
//! one when a statement first names them. What is looked up often is indexed, when it is first asked for.

mod links;
mod types;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::names::Names;
use super::reads::Reads;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{
    ColumnFacts, ConstraintFacts, Dependency, FunctionFacts, Relation, RelationType, Snapshot, TypeFacts,
};

/// The number of a relation.
pub type Id = usize;

/// A relation, and where it comes from.
pub struct Entry<'a> {
    pub relation: Cow<'a, Relation>,
    /// Its facts are known: the catalog has it, or the script made it.
    pub known: bool,
    /// The script made it, so that nobody else waits for it.
    pub made: bool,
    pub dropped: bool,
}

/// An answer that may not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<T> {
    Yes(T),
    No,
    Unknown,
}

/// The catalog of now.
pub struct World<'a> {
    pub snapshot: &'a Snapshot,
    entries: Vec<Entry<'a>>,
    by_name: Names<'a, Id>,
    /// Tables of indexes.
    index_tables: Names<'a, Id>,
    pub search_path: Vec<String>,
    /// Schemas that the script made.
    pub made_schemas: HashSet<String>,
    pub time_zone: Option<String>,
    types: Names<'a, Cow<'a, TypeFacts>>,
    functions: Option<HashMap<Cow<'a, str>, Vec<Cow<'a, FunctionFacts>>>>,
    made_functions: Vec<FunctionFacts>,
    children: Option<HashMap<Id, Vec<Id>>>,
    referencing: Option<HashMap<Id, Vec<Id>>>,
    dependents: Option<HashMap<&'a RelationName, Vec<&'a Dependency>>>,
    made_indexes: HashSet<RelationName>,
    /// What renamed relations were called when the views that read them were made.
    former: Names<'a, Id>,
    pub definitions: HashMap<Id, Option<Rc<Reads>>>,
    /// Tables of statistics that the script made.
    pub statistics: HashMap<RelationName, Id>,
}

fn schema_of(name: &RelationName) -> &str {
    name.schema.as_deref().unwrap_or_default()
}

impl<'a> World<'a> {
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut world = Self {
            snapshot,
            entries: Vec::with_capacity(snapshot.relations.len()),
            by_name: Names::with_capacity(snapshot.relations.len()),
            index_tables: Names::with_capacity(snapshot.relations.len()),
            search_path: snapshot.search_path.clone(),
            made_schemas: HashSet::new(),
            time_zone: snapshot.settings.get("TimeZone").cloned(),
            types: Names::with_capacity(snapshot.types.len()),
            functions: None,
            made_functions: Vec::new(),
            children: None,
            referencing: None,
            dependents: None,
            made_indexes: HashSet::new(),
            former: Names::with_capacity(0),
            definitions: HashMap::new(),
            statistics: HashMap::new(),
        };
        for facts in &snapshot.types {
            world.types.add(schema_of(&facts.name), &facts.name.name, Cow::Borrowed(facts));
        }
        for (id, relation) in snapshot.relations.iter().enumerate() {
            let schema = schema_of(&relation.name);
            world.by_name.add(schema, &relation.name.name, id);
            for index in &relation.indexes {
                world.index_tables.add(schema, &index.name, id);
            }
            world.entries.push(Entry {
                relation: Cow::Borrowed(relation),
                known: true,
                made: false,
                dropped: false,
            });
        }
        world
    }

    /// The lowest major version that may be meant, for what only newer ones can do.
    pub fn at_least(&self, major: u32) -> bool {
        self.snapshot.major.is_some_and(|actual| actual >= major)
    }

    pub fn find(&self, name: &RelationName) -> Option<Id> {
        self.by_name.look_up(&self.search_path, name).copied().filter(|id| !self.is_dropped(*id))
    }

    /// Finds what a view that was made before means by a name.
    pub fn find_in_view(&self, name: &RelationName) -> Option<Id> {
        let former = self.former.look_up(&self.search_path, name).copied();
        former.filter(|id| !self.is_dropped(*id)).or_else(|| self.find(name))
    }

    fn is_dropped(&self, id: Id) -> bool {
        self.entries.get(id).is_none_or(|entry| entry.dropped)
    }

    /// The relation of a name; one that is not known is made up, with nothing known of it.
    pub fn resolve(&mut self, name: &RelationName) -> Id {
        self.find(name)
            .unwrap_or_else(|| self.push(Relation { name: name.clone(), ..Relation::default() }, false))
    }

    fn push(&mut self, relation: Relation, made: bool) -> Id {
        let id = self.entries.len();
        self.by_name.insert(&relation.name, id);
        self.entries.push(Entry { relation: Cow::Owned(relation), known: made, made, dropped: false });
        id
    }

    /// Adds what a statement makes, with all that is known of it.
    pub fn make(&mut self, mut relation: Relation) -> Id {
        relation.name = self.placed(&relation.name);
        let parents: Vec<RelationName> =
            relation.inherits.iter().chain(&relation.partition_of).cloned().collect();
        let indexes: Vec<String> = relation.indexes.iter().map(|index| index.name.clone()).collect();
        let refers: Vec<RelationName> =
            relation.constraints.iter().filter_map(|constraint| constraint.references.clone()).collect();
        let id = self.push(relation, true);
        for parent in parents {
            let parent = self.resolve(&parent);
            self.add_child(parent, id);
        }
        for target in refers {
            let target = self.resolve(&target);
            self.add_reference(target, id);
        }
        for index in indexes {
            self.note_index(id, &index);
        }
        id
    }

    /// The name of something new: in the first schema of the search path that is there, if the catalog knows that.
    pub fn placed(&self, name: &RelationName) -> RelationName {
        let there =
            |schema: &&String| self.snapshot.schemas.contains(schema) || self.made_schemas.contains(*schema);
        let schema = self.search_path.iter().find(there).or_else(|| self.search_path.first());
        match (&name.schema, schema) {
            (None, Some(schema)) if self.snapshot.complete => RelationName::qualified(schema, &name.name),
            _ => name.clone(),
        }
    }

    pub fn entry(&self, id: Id) -> Option<&Entry<'a>> {
        self.entries.get(id)
    }

    pub fn relation(&self, id: Id) -> Option<&Relation> {
        self.entries.get(id).map(|entry| &*entry.relation)
    }

    /// A relation as it was before, to look at while the world changes.
    pub fn copy(&self, id: Id) -> Relation {
        self.relation(id).cloned().unwrap_or_default()
    }

    pub fn change(&mut self, id: Id, change: impl FnOnce(&mut Relation)) {
        if let Some(entry) = self.entries.get_mut(id) {
            change(entry.relation.to_mut());
        }
    }

    pub fn name(&self, id: Id) -> RelationName {
        self.relation(id).map(|relation| relation.name.clone()).unwrap_or_default()
    }

    pub fn kind(&self, id: Id) -> RelationType {
        self.relation(id).map(|relation| relation.kind).unwrap_or_default()
    }

    pub fn is_made(&self, id: Id) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.made)
    }

    pub fn is_known(&self, id: Id) -> bool {
        self.entries.get(id).is_some_and(|entry| entry.known)
    }

    pub fn set_kind(&mut self, id: Id, kind: RelationType) {
        if !self.is_known(id) && self.kind(id) != kind {
            self.change(id, |relation| relation.kind = kind);
        }
    }

    pub fn column(&self, id: Id, column: &str) -> Found<&ColumnFacts> {
        let Some(entry) = self.entries.get(id) else { return Found::Unknown };
        match entry.relation.columns.iter().find(|facts| facts.name == column) {
            Some(facts) => Found::Yes(facts),
            None if entry.known => Found::No,
            None => Found::Unknown,
        }
    }

    pub fn constraint(&self, id: Id, name: &str) -> Found<&ConstraintFacts> {
        let Some(entry) = self.entries.get(id) else { return Found::Unknown };
        match entry.relation.constraints.iter().find(|facts| facts.name == name) {
            Some(facts) => Found::Yes(facts),
            None if entry.known => Found::No,
            None => Found::Unknown,
        }
    }

    /// Ids of all relations that are there.
    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.entries.iter().enumerate().filter(|(_, entry)| !entry.dropped).map(|(id, _)| id)
    }

    pub fn rename(&mut self, id: Id, to: RelationName) {
        let before = self.name(id);
        let users = [self.children(id), self.referencing(id)].concat();
        for user in users {
            self.change(user, |relation| {
                let names = relation.inherits.iter_mut().chain(&mut relation.partition_of).chain(
                    relation.constraints.iter_mut().filter_map(|constraint| constraint.references.as_mut()),
                );
                names.filter(|name| **name == before).for_each(|name| *name = to.clone());
            });
        }
        let indexes: Vec<String> =
            self.relation(id).map(|r| r.indexes.iter().map(|i| i.name.clone()).collect()).unwrap_or_default();
        self.by_name.remove(&before);
        self.by_name.insert(&to, id);
        self.former.insert(&before, id);
        for index in indexes {
            let made = self.made_indexes.remove(&before.sibling(index.clone()));
            self.index_tables.remove(&before.sibling(index.clone()));
            self.index_tables.insert(&to.sibling(index.clone()), id);
            if made {
                self.made_indexes.insert(to.sibling(index));
            }
        }
        self.change(id, |relation| relation.name = to);
    }

    /// The columns of a relation that the script made are not followed.
    pub fn forget_columns(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.known = false;
        }
    }

    pub fn drop(&mut self, id: Id) {
        let name = self.name(id);
        self.by_name.remove(&name);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.dropped = true;
        }
    }

    /// The table of an index.
    pub fn index_table(&self, index: &RelationName) -> Option<Id> {
        self.index_tables.look_up(&self.search_path, index).copied().filter(|id| !self.is_dropped(*id))
    }

    /// Notes an index that the script made; its facts are among those of the table.
    pub fn note_index(&mut self, table: Id, index: &str) {
        let name = self.name(table).sibling(index);
        self.index_tables.insert(&name, table);
        self.made_indexes.insert(name);
    }

    pub fn is_made_index(&self, name: &RelationName) -> bool {
        self.made_indexes.contains(name)
    }

    pub fn forget_index(&mut self, table: Id, index: &str) {
        let name = self.name(table).sibling(index);
        self.index_tables.remove(&name);
        self.made_indexes.remove(&name);
        self.change(table, |relation| relation.indexes.retain(|facts| facts.name != index));
        if let Some(id) = self.find(&name) {
            self.drop(id);
        }
    }

    pub fn rename_index(&mut self, table: Id, index: &str, to: &str) {
        let (before, after) = (self.name(table).sibling(index), self.name(table).sibling(to));
        self.index_tables.remove(&before);
        self.index_tables.insert(&after, table);
        if self.made_indexes.remove(&before) {
            self.made_indexes.insert(after);
        }
        self.change(table, |relation| {
            relation
                .indexes
                .iter_mut()
                .filter(|facts| facts.name == index)
                .for_each(|facts| facts.name = to.into());
            let constraints = relation.constraints.iter_mut();
            constraints.filter(|facts| facts.index.as_deref() == Some(index)).for_each(|facts| {
                facts.index = Some(to.into());
                facts.name = to.into();
            });
        });
    }
}
