//! The catalog as the statements so far have left it.
//!
//! A relation has a number for as long as it lives, whatever it is called; relations that the catalog does not know get
//! one when a statement first names them. What is looked up often is indexed, when it is first asked for.

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
    pub time_zone: Option<String>,
    types: Names<'a, Cow<'a, TypeFacts>>,
    functions: Option<HashMap<Cow<'a, str>, Vec<Cow<'a, FunctionFacts>>>>,
    made_functions: Vec<FunctionFacts>,
    children: Option<HashMap<Id, Vec<Id>>>,
    referencing: Option<HashMap<Id, Vec<Id>>>,
    dependents: Option<HashMap<&'a RelationName, Vec<&'a Dependency>>>,
    made_indexes: HashSet<RelationName>,
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
            time_zone: snapshot.settings.get("TimeZone").cloned(),
            types: Names::with_capacity(snapshot.types.len()),
            functions: None,
            made_functions: Vec::new(),
            children: None,
            referencing: None,
            dependents: None,
            made_indexes: HashSet::new(),
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

    /// The name of something new: in the first schema of the search path, if the catalog knows that one.
    pub fn placed(&self, name: &RelationName) -> RelationName {
        match (&name.schema, self.search_path.first()) {
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

    /// The relation may have rows from now on.
    pub fn fill(&mut self, id: Id) {
        if self.relation(id).is_some_and(|relation| relation.rows == Some(0.0)) {
            self.change(id, |relation| relation.rows = None);
        }
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

    fn build_children(&mut self) {
        if self.children.is_some() {
            return;
        }
        let mut map: HashMap<Id, Vec<Id>> = HashMap::new();
        for id in self.ids() {
            let Some(relation) = self.relation(id) else { continue };
            for parent in relation.inherits.iter().chain(&relation.partition_of) {
                if let Some(parent) = self.find(parent) {
                    map.entry(parent).or_default().push(id);
                }
            }
        }
        self.children = Some(map);
    }

    /// Direct children and partitions.
    pub fn children(&mut self, id: Id) -> Vec<Id> {
        self.build_children();
        let found = self.children.as_ref().and_then(|map| map.get(&id)).cloned().unwrap_or_default();
        found.into_iter().filter(|child| !self.is_dropped(*child)).collect()
    }

    pub fn add_child(&mut self, parent: Id, child: Id) {
        self.build_children();
        let list = self.children.get_or_insert_default().entry(parent).or_default();
        if !list.contains(&child) {
            list.push(child);
        }
    }

    pub fn remove_child(&mut self, parent: Id, child: Id) {
        self.build_children();
        self.children.get_or_insert_default().entry(parent).or_default().retain(|id| *id != child);
        let name = self.name(parent);
        self.change(child, |relation| {
            relation.inherits.retain(|parent| *parent != name);
            if relation.partition_of.as_ref() == Some(&name) {
                relation.partition_of = None;
                relation.partition_bound = None;
            }
        });
    }

    /// The relation and everything below it.
    pub fn family(&mut self, id: Id) -> Vec<Id> {
        let mut found = vec![id];
        let mut next = 0;
        while let Some(one) = found.get(next).copied() {
            for child in self.children(one) {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
            next += 1;
        }
        found
    }

    /// Parents by inheritance, or the partitioned table.
    pub fn parents(&self, id: Id) -> Vec<Id> {
        let relation = self.relation(id);
        let names =
            relation.into_iter().flat_map(|relation| relation.inherits.iter().chain(&relation.partition_of));
        names.filter_map(|name| self.find(name)).collect()
    }

    fn build_referencing(&mut self) {
        if self.referencing.is_some() {
            return;
        }
        let mut map: HashMap<Id, Vec<Id>> = HashMap::new();
        for id in self.ids() {
            let Some(relation) = self.relation(id) else { continue };
            for target in relation.constraints.iter().filter_map(|constraint| constraint.references.as_ref())
            {
                if let Some(target) = self.find(target) {
                    let list = map.entry(target).or_default();
                    if !list.contains(&id) {
                        list.push(id);
                    }
                }
            }
        }
        self.referencing = Some(map);
    }

    /// Tables with a foreign key to this one, itself included.
    pub fn referencing(&mut self, id: Id) -> Vec<Id> {
        self.build_referencing();
        let name = self.name(id);
        let found = self.referencing.as_ref().and_then(|map| map.get(&id)).cloned().unwrap_or_default();
        found
            .into_iter()
            .filter(|child| !self.is_dropped(*child))
            .filter(|child| {
                self.relation(*child).is_some_and(|relation| {
                    relation.constraints.iter().any(|c| {
                        c.references
                            .as_ref()
                            .is_some_and(|target| *target == name || self.find(target) == Some(id))
                    })
                })
            })
            .collect()
    }

    pub fn add_reference(&mut self, target: Id, child: Id) {
        self.build_referencing();
        let list = self.referencing.get_or_insert_default().entry(target).or_default();
        if !list.contains(&child) {
            list.push(child);
        }
    }

    /// What depends on a relation, or on one of its columns.
    pub fn dependents(&mut self, name: &RelationName) -> Vec<&'a Dependency> {
        if self.dependents.is_none() {
            let mut map: HashMap<&'a RelationName, Vec<&'a Dependency>> = HashMap::new();
            for dependency in &self.snapshot.dependencies {
                if let Some(relation) = &dependency.on.relation {
                    map.entry(relation).or_default().push(dependency);
                }
            }
            self.dependents = Some(map);
        }
        self.dependents.as_ref().and_then(|map| map.get(name)).cloned().unwrap_or_default()
    }

    pub fn type_facts(&self, name: &RelationName) -> Option<&TypeFacts> {
        self.types.look_up(&self.search_path, name).map(|facts| &**facts)
    }

    pub fn make_type(&mut self, mut facts: TypeFacts) {
        facts.name = self.placed(&facts.name);
        let name = facts.name.clone();
        self.types.insert(&name, Cow::Owned(facts));
    }

    pub fn change_type(&mut self, name: &RelationName, change: impl FnOnce(&mut TypeFacts)) {
        if let Some(facts) = self.type_facts(name) {
            let mut facts = facts.clone();
            let key = facts.name.clone();
            change(&mut facts);
            self.types.insert(&key, Cow::Owned(facts));
        }
    }

    pub fn drop_type(&mut self, name: &RelationName) {
        if let Some(facts) = self.type_facts(name) {
            let key = facts.name.clone();
            self.types.remove(&key);
        }
    }

    /// Gives a type another name; columns of it follow.
    pub fn rename_type(&mut self, name: &RelationName, to: &str) {
        let Some(facts) = self.type_facts(name).cloned() else { return };
        let renamed = TypeFacts { name: facts.name.sibling(to), ..facts.clone() };
        let (before, after) = (facts.name.sql(), renamed.name.sql());
        self.drop_type(name);
        self.make_type(renamed);
        for id in 0..self.entries.len() {
            let uses = |column: &ColumnFacts| {
                [before.as_str(), facts.name.name.as_str()].contains(&column.data_type.as_str())
            };
            if self.relation(id).is_some_and(|relation| relation.columns.iter().any(uses)) {
                self.change(id, |relation| {
                    let columns = relation.columns.iter_mut().filter(|column| uses(column));
                    columns.for_each(|column| column.data_type.clone_from(&after));
                });
            }
        }
    }

    pub fn make_function(&mut self, function: FunctionFacts) {
        self.made_functions.push(function);
    }

    /// Functions of a name, whatever their arguments.
    pub fn functions(&mut self, name: &RelationName) -> Vec<&FunctionFacts> {
        let snapshot = self.snapshot;
        let map = self.functions.get_or_insert_with(|| {
            let mut map: HashMap<Cow<'a, str>, Vec<Cow<'a, FunctionFacts>>> = HashMap::new();
            for facts in &snapshot.functions {
                map.entry(Cow::Borrowed(&facts.name.name)).or_default().push(Cow::Borrowed(facts));
            }
            map
        });
        let matches = |facts: &&FunctionFacts| name.schema.is_none() || facts.name.schema == name.schema;
        let made: Vec<&FunctionFacts> =
            self.made_functions.iter().filter(|facts| facts.name.name == name.name).collect();
        if !made.is_empty() {
            return made;
        }
        let found = map.get(name.name.as_str()).into_iter().flatten();
        found.map(|facts| &**facts).filter(matches).collect()
    }
}
