//! Objects that get another name, another schema, or go away.

use std::collections::BTreeSet;

use pg_query::protobuf::{AlterObjectSchemaStmt, DropBehavior, DropStmt, ObjectType, RangeVar, RenameStmt};
use pg_query::{Node, NodeEnum};

use super::change::Work;
use super::schema;
use super::touch::{Change, Touch};
use crate::sql::classify::tree;
use crate::sql::name::RelationName;

/// Kinds of objects that are relations with columns.
const RELATIONS: &[ObjectType] = &[
    ObjectType::ObjectTable,
    ObjectType::ObjectView,
    ObjectType::ObjectMatview,
    ObjectType::ObjectForeignTable,
    ObjectType::ObjectSequence,
];

const FUNCTIONS: &[ObjectType] = &[
    ObjectType::ObjectFunction,
    ObjectType::ObjectProcedure,
    ObjectType::ObjectRoutine,
    ObjectType::ObjectAggregate,
];

const TYPES: &[ObjectType] = &[ObjectType::ObjectType, ObjectType::ObjectDomain];

pub(super) fn rename(work: &mut Work<'_, '_>, rename: &RenameStmt) {
    let relation = rename.relation.as_ref().and_then(|range| work.known_name(&tree::range(range)));
    match (rename.rename_type(), relation) {
        (ObjectType::ObjectColumn | ObjectType::ObjectAttribute, Some(name)) => {
            rename_column(work, &name, rename);
        }
        (ObjectType::ObjectTabconstraint, Some(name)) => {
            work.touch(&name, Change::Altered);
            work.schema.change(&name, |table| {
                for key in table.keys.iter_mut().filter(|key| key.name == rename.subname) {
                    key.name.clone_from(&rename.newname);
                }
            });
        }
        (ObjectType::ObjectIndex, Some(name)) => work.touch(&name, Change::Altered),
        (kind, Some(name)) if RELATIONS.contains(&kind) => {
            let to = name.sibling(rename.newname.clone());
            work.relocate(&name, to);
        }
        (ObjectType::ObjectSchema, _) => {
            for name in work.relations_in(&rename.subname) {
                let to = RelationName::qualified(rename.newname.clone(), name.name.clone());
                work.relocate(&name, to);
            }
        }
        (kind, _) => {
            let Some(name) = rename.object.as_deref().and_then(path) else { return };
            if FUNCTIONS.contains(&kind) {
                let to = |name: &RelationName| name.sibling(rename.newname.clone());
                work.move_function(&name, Change::Renamed, to);
            } else if TYPES.contains(&kind) {
                work.move_type(&name, Change::Renamed, |name| Some(name.sibling(rename.newname.clone())));
            }
        }
    }
}

fn rename_column(work: &mut Work<'_, '_>, name: &RelationName, rename: &RenameStmt) {
    work.touch_column(name, &rename.subname, Change::Renamed);
    let recurses = rename.relation.as_ref().is_some_and(|range: &RangeVar| range.inh);
    let family = if recurses { work.family(name) } else { vec![name.clone()] };
    for relation in family {
        work.schema.change(&relation, |table| {
            for column in table.columns.iter_mut().filter(|of| of.name == rename.subname) {
                column.name.clone_from(&rename.newname);
            }
            for key in &mut table.keys {
                if key.columns.remove(&rename.subname) {
                    key.columns.insert(rename.newname.clone());
                }
            }
        });
    }
}

pub(super) fn set_schema(work: &mut Work<'_, '_>, moved: &AlterObjectSchemaStmt) {
    let into = |name: &RelationName| RelationName::qualified(moved.newschema.clone(), name.name.clone());
    if RELATIONS.contains(&moved.object_type()) {
        if let Some(name) = moved.relation.as_ref().and_then(|range| work.known_name(&tree::range(range))) {
            work.relocate(&name, into(&name));
        }
    } else if let Some(name) = moved.object.as_deref().and_then(path) {
        if FUNCTIONS.contains(&moved.object_type()) {
            work.move_function(&name, Change::Renamed, into);
        } else if TYPES.contains(&moved.object_type()) {
            work.move_type(&name, Change::Renamed, |name| Some(into(name)));
        }
    }
}

/// The name of an object in `DROP`, `ALTER ... RENAME` and the like.
fn path(node: &Node) -> Option<RelationName> {
    match &node.node {
        Some(NodeEnum::ObjectWithArgs(object)) => tree::path(&object.objname),
        Some(NodeEnum::List(list)) => tree::path(&list.items),
        Some(NodeEnum::TypeName(name)) => tree::path(&name.names),
        _ => None,
    }
}

impl Work<'_, '_> {
    fn relocate(&mut self, name: &RelationName, to: RelationName) {
        self.touch(name, Change::Renamed);
        if let Some(table) = self.schema.get(name) {
            self.schema.set(name.clone(), None);
            self.schema.set(to, Some((*table).clone()));
        }
    }

    fn relations_in(&self, schema: &str) -> Vec<RelationName> {
        let here = |name: &&RelationName| name.schema.as_deref() == Some(schema);
        self.schema.names().iter().filter(here).cloned().collect()
    }

    fn move_function(
        &mut self,
        name: &RelationName,
        change: Change,
        to: impl Fn(&RelationName) -> RelationName,
    ) {
        let Some(full) = self.remove_function(name, change) else { return };
        *self.schema.functions.entry(to(&full)).or_default() += 1;
    }

    fn remove_function(&mut self, name: &RelationName, change: Change) -> Option<RelationName> {
        let path = &self.schema.catalog.search_path;
        let full = schema::named(name, path, &self.schema.functions)?;
        self.touched.push(Touch::function(full.clone(), change));
        let left = self.schema.functions.get_mut(&full)?;
        *left -= 1;
        if *left == 0 {
            self.schema.functions.remove(&full);
        }
        Some(full)
    }

    fn move_type(
        &mut self,
        name: &RelationName,
        change: Change,
        to: impl Fn(&RelationName) -> Option<RelationName>,
    ) {
        let Some(full) = self.known_type(name) else { return };
        self.touched.push(Touch::of_type(full.clone(), change));
        self.schema.types.remove(&full);
        self.schema.types.extend(to(&full));
    }

    pub fn drop(&mut self, drop: &DropStmt) {
        let cascade = drop.behavior() == DropBehavior::DropCascade;
        let kind = drop.remove_type();
        for node in &drop.objects {
            if kind == ObjectType::ObjectSchema {
                if let Some(NodeEnum::String(schema)) = &node.node {
                    for name in self.relations_in(&schema.sval) {
                        self.drop_relation(&name, true);
                    }
                }
                continue;
            }
            if matches!(kind, ObjectType::ObjectTrigger | ObjectType::ObjectPolicy | ObjectType::ObjectRule) {
                if let Some(NodeEnum::List(list)) = &node.node
                    && let Some((_, table)) = list.items.split_last()
                    && let Some(name) = tree::path(table).and_then(|name| self.known_name(&name))
                {
                    self.touch(&name, Change::Altered);
                }
                continue;
            }
            let Some(name) = path(node) else { continue };
            if kind == ObjectType::ObjectIndex {
                self.drop_index(&name);
            } else if RELATIONS.contains(&kind) {
                if let Some(name) = self.known_name(&name) {
                    self.drop_relation(&name, cascade);
                }
            } else if FUNCTIONS.contains(&kind) {
                self.remove_function(&name, Change::Dropped);
            } else if TYPES.contains(&kind) {
                self.move_type(&name, Change::Dropped, |_| None);
            }
        }
    }

    fn drop_index(&mut self, name: &RelationName) {
        if let Some(table) = self.known_name(name) {
            self.touch(&table, Change::Altered);
            self.schema.change(&table, |table| table.keys.retain(|key| key.name != name.name));
            return;
        }
        // An index of this plan: its table is the one with a key of that name.
        for table in self.schema.names() {
            self.schema.change(&table, |table| table.keys.retain(|key| key.name != name.name));
        }
    }

    fn drop_relation(&mut self, name: &RelationName, cascade: bool) {
        self.touch(name, Change::Dropped);
        let mut gone = self.family(name);
        if cascade {
            let origins: Vec<RelationName> = gone.iter().map(|name| self.origin(name)).collect();
            gone.extend(self.views_on(&origins, None));
        }
        for name in gone {
            self.schema.set(name, None);
        }
    }

    pub fn drop_column(&mut self, name: &RelationName, column: &str, behavior: DropBehavior) {
        if behavior == DropBehavior::DropCascade {
            let origin =
                self.schema.get(name).and_then(|table| table.column(column)?.origins.first().cloned());
            if let Some((relation, Some(column))) = origin {
                for view in self.views_on(&[relation], Some(&column)) {
                    self.touch(&view, Change::Dropped);
                    self.schema.set(view, None);
                }
            }
        }
        self.schema.change(name, |table| {
            table.columns.retain(|of| of.name != column);
            table.keys.retain(|key| !key.columns.contains(column));
        });
    }

    /// Views that need these relations, or a column of them, and views that need those.
    fn views_on(&self, relations: &[RelationName], column: Option<&str>) -> Vec<RelationName> {
        let mut found: BTreeSet<RelationName> = BTreeSet::new();
        let mut next: Vec<(RelationName, Option<String>)> =
            relations.iter().map(|name| (name.clone(), column.map(ToOwned::to_owned))).collect();
        while let Some((relation, column)) = next.pop() {
            let needs = |on: &crate::sql::ObjectRef| {
                on.relation.as_ref() == Some(&relation) && (column.is_none() || on.column == column)
            };
            for edge in self.schema.catalog.dependencies.iter().filter(|edge| needs(&edge.on)) {
                if matches!(edge.dependent.kind.as_str(), "view" | "materialized view")
                    && let Some(view) = edge.dependent.relation.clone()
                    && found.insert(view.clone())
                {
                    next.push((view, None));
                }
            }
        }
        found.into_iter().collect()
    }
}
