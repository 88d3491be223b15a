//! Relations in relation to others: children, foreign keys, dependents.

use std::collections::HashMap;

use super::{Id, World};
use crate::sql::name::RelationName;
use crate::sql::snapshot::Dependency;

impl<'a> World<'a> {
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
}
