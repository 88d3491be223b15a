//! Types and functions of the catalog.

use std::borrow::Cow;
use std::collections::HashMap;

use super::World;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{ColumnFacts, FunctionFacts, TypeFacts};

impl<'a> World<'a> {
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
