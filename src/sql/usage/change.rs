//! What a statement changes of the relations.

use pg_query::protobuf::{
    AlterObjectSchemaStmt, AlterTableCmd, AlterTableStmt, AlterTableType as Sub, ColumnDef, ConstrType,
    Constraint, CreateStmt, IndexStmt, ObjectType, RangeVar, RenameStmt,
};
use pg_query::{Node, NodeEnum};

use super::family::Family;
use super::resolve;
use super::schema::{Column, Key, Schema, Table};
use super::touch::{Change, Touch};
use crate::sql::classify::tree;
use crate::sql::name::RelationName;
use crate::sql::snapshot::RelationType;

/// A statement at work.
pub(super) struct Work<'s, 'a> {
    pub schema: &'s mut Schema<'a>,
    pub touched: Vec<Touch>,
}

/// Changes the relations as a statement does, and tells what it touches.
pub(super) fn apply(schema: &mut Schema<'_>, node: &NodeEnum) -> Vec<Touch> {
    let mut work = Work { schema, touched: Vec::new() };
    work.statement(node);
    work.touched
}

impl Work<'_, '_> {
    fn statement(&mut self, node: &NodeEnum) {
        match node {
            NodeEnum::AlterTableStmt(alter) => self.alter(alter),
            NodeEnum::RenameStmt(rename) => self.rename(rename),
            NodeEnum::AlterObjectSchemaStmt(moved) => self.set_schema(moved),
            NodeEnum::DropStmt(drop) => self.drop(drop),
            NodeEnum::CreateStmt(create) => self.create(create),
            NodeEnum::CreateTableAsStmt(create) => {
                let range = create.into.as_ref().and_then(|into| into.rel.as_ref());
                let names = create.into.as_ref().map(|into| tree::names(&into.col_names)).unwrap_or_default();
                self.create_from(
                    range,
                    create.query.as_deref(),
                    &names,
                    create.objtype() == ObjectType::ObjectMatview,
                );
            }
            NodeEnum::ViewStmt(view) => {
                self.create_from(
                    view.view.as_ref(),
                    view.query.as_deref(),
                    &tree::names(&view.aliases),
                    true,
                );
            }
            NodeEnum::IndexStmt(index) => self.index(index),
            NodeEnum::CreateFunctionStmt(function) => {
                if let Some(name) = tree::path(&function.funcname).map(|name| self.schema.place(&name)) {
                    if !function.replace || !self.schema.functions.contains_key(&name) {
                        *self.schema.functions.entry(name.clone()).or_default() += 1;
                    }
                    self.touched.push(Touch::function(name, Change::Altered));
                }
            }
            NodeEnum::CreateEnumStmt(create) => self.new_type(&create.type_name),
            NodeEnum::CreateDomainStmt(create) => self.new_type(&create.domainname),
            NodeEnum::AlterEnumStmt(alter) => self.touch_type(&alter.type_name),
            NodeEnum::AlterDomainStmt(alter) => self.touch_type(&alter.type_name),
            NodeEnum::CreateTrigStmt(trigger) => self.touch_range(trigger.relation.as_ref(), Change::Altered),
            NodeEnum::CreatePolicyStmt(policy) => self.touch_range(policy.table.as_ref(), Change::Altered),
            NodeEnum::AlterPolicyStmt(policy) => self.touch_range(policy.table.as_ref(), Change::Altered),
            NodeEnum::RuleStmt(rule) => self.touch_range(rule.relation.as_ref(), Change::Altered),
            NodeEnum::RefreshMatViewStmt(refresh) => {
                self.touch_range(refresh.relation.as_ref(), Change::Rows)
            }
            NodeEnum::InsertStmt(insert) => self.touch_range(insert.relation.as_ref(), Change::Rows),
            NodeEnum::DeleteStmt(delete) => self.touch_range(delete.relation.as_ref(), Change::Rows),
            NodeEnum::MergeStmt(merge) => self.touch_range(merge.relation.as_ref(), Change::Rows),
            NodeEnum::CopyStmt(copy) if copy.is_from => {
                self.touch_range(copy.relation.as_ref(), Change::Rows)
            }
            NodeEnum::UpdateStmt(update) => {
                if let Some(name) = update.relation.as_ref().and_then(|range| self.known(range)) {
                    for column in update.target_list.iter().filter_map(tree::target) {
                        self.touch_column(&name, &column, Change::Rows);
                    }
                }
            }
            NodeEnum::TruncateStmt(truncate) => self.touch_all(&truncate.relations, Change::Rows),
            NodeEnum::LockStmt(lock) => self.touch_all(&lock.relations, Change::Locked),
            NodeEnum::VacuumStmt(vacuum) => {
                for node in &vacuum.rels {
                    if let Some(NodeEnum::VacuumRelation(relation)) = &node.node {
                        self.touch_range(relation.relation.as_ref(), Change::Locked);
                    }
                }
            }
            NodeEnum::ReindexStmt(reindex) => self.touch_range(reindex.relation.as_ref(), Change::Locked),
            NodeEnum::ClusterStmt(cluster) => self.touch_range(cluster.relation.as_ref(), Change::Locked),
            _ => {}
        }
    }

    fn touch_all(&mut self, nodes: &[Node], change: Change) {
        for node in nodes {
            if let Some(NodeEnum::RangeVar(range)) = &node.node {
                self.touch_range(Some(range), change);
            }
        }
    }

    fn touch_range(&mut self, range: Option<&RangeVar>, change: Change) {
        if let Some(name) = range.and_then(|range| self.known(range)) {
            self.touch(&name, change);
        }
    }

    /// The full name of a relation that is there; of an index, that of its table.
    fn known(&self, range: &RangeVar) -> Option<RelationName> {
        self.known_name(&tree::range(range))
    }

    pub fn known_name(&self, name: &RelationName) -> Option<RelationName> {
        let path = &self.schema.catalog.search_path;
        if let Some((full, _)) = self.schema.find(name, path) {
            return Some(full);
        }
        let index = self.schema.catalog.relation(name)?;
        let is_index = matches!(index.kind, RelationType::Index | RelationType::PartitionedIndex);
        index.owned_by.as_ref().filter(|_| is_index).map(|(table, _)| table.clone())
    }

    /// The relation as it was called before the plan.
    pub fn origin(&self, name: &RelationName) -> RelationName {
        self.schema.get(name).and_then(|table| table.origin.clone()).unwrap_or_else(|| name.clone())
    }

    pub fn touch(&mut self, name: &RelationName, change: Change) {
        let origin = self.origin(name);
        self.touched.push(Touch::relation(origin, None, change));
    }

    pub fn touch_column(&mut self, name: &RelationName, column: &str, change: Change) {
        let table = self.schema.get(name);
        let origins =
            table.as_ref().and_then(|table| table.column(column)).and_then(|of| of.origins.first().cloned());
        let (relation, column) = origins.unwrap_or_else(|| (self.origin(name), Some(column.to_owned())));
        self.touched.push(Touch::relation(relation, column, change));
    }

    /// A relation and its children.
    pub fn family(&self, name: &RelationName) -> Vec<RelationName> {
        let mut all = vec![name.clone()];
        let mut next = 0;
        while let Some(parent) = all.get(next).cloned() {
            let origin = self.origin(&parent);
            for child in &self.schema.catalog.relations {
                let is_child =
                    child.partition_of.as_ref() == Some(&origin) || child.inherits.contains(&origin);
                if is_child && !all.contains(&child.name) && self.schema.get(&child.name).is_some() {
                    all.push(child.name.clone());
                }
            }
            next += 1;
        }
        all
    }

    fn alter(&mut self, alter: &AlterTableStmt) {
        let Some(name) = alter.relation.as_ref().and_then(|range| self.known(range)) else { return };
        let recurses = alter.relation.as_ref().is_some_and(|range| range.inh);
        let family = if recurses { self.family(&name) } else { vec![name.clone()] };
        for node in &alter.cmds {
            if let Some(NodeEnum::AlterTableCmd(command)) = &node.node {
                self.touch_by(&name, command);
                for (position, relation) in family.iter().enumerate() {
                    self.command(relation, command, position > 0);
                }
            }
        }
    }

    fn touch_by(&mut self, name: &RelationName, command: &AlterTableCmd) {
        match command.subtype() {
            Sub::AtDropColumn => self.touch_column(name, &command.name, Change::Dropped),
            Sub::AtAlterColumnType => self.touch_column(name, &command.name, Change::Retyped),
            Sub::AtSetNotNull
            | Sub::AtDropNotNull
            | Sub::AtColumnDefault
            | Sub::AtSetExpression
            | Sub::AtDropExpression
            | Sub::AtAddIdentity
            | Sub::AtDropIdentity
            | Sub::AtSetIdentity
            | Sub::AtSetStatistics
            | Sub::AtSetStorage
            | Sub::AtSetCompression
            | Sub::AtSetOptions => self.touch_column(name, &command.name, Change::Altered),
            _ => self.touch(name, Change::Altered),
        }
    }

    fn command(&mut self, name: &RelationName, command: &AlterTableCmd, is_child: bool) {
        let definition = command.def.as_deref().and_then(|node| node.node.as_ref());
        let column = command.name.clone();
        match (command.subtype(), definition) {
            (Sub::AtAddColumn, Some(NodeEnum::ColumnDef(added))) => self.add_column(name, added),
            (Sub::AtDropColumn, _) => self.drop_column(name, &column, command.behavior()),
            (Sub::AtAlterColumnType, Some(NodeEnum::ColumnDef(typed))) => {
                let family = self.family_of(typed);
                self.change_column(name, &column, |of| of.family = family);
            }
            (Sub::AtSetNotNull, _) => self.change_column(name, &column, |of| of.not_null = true),
            (Sub::AtDropNotNull, _) => self.change_column(name, &column, |of| of.not_null = false),
            (Sub::AtColumnDefault, default) => {
                let filled = default.is_some();
                self.change_column(name, &column, |of| of.filled = filled);
            }
            (Sub::AtAddIdentity, _) => self.change_column(name, &column, |of| of.filled = true),
            (Sub::AtDropIdentity | Sub::AtDropExpression, _) => {
                self.change_column(name, &column, |of| of.filled = false)
            }
            (Sub::AtAddConstraint, Some(NodeEnum::Constraint(constraint))) => {
                self.add_constraint(name, constraint, is_child);
            }
            (Sub::AtDropConstraint, _) => {
                self.schema.change(name, |table| table.keys.retain(|key| key.name != column))
            }
            _ => {}
        }
    }

    fn change_column(&mut self, name: &RelationName, column: &str, change: impl FnOnce(&mut Column)) {
        self.schema.change(name, |table| {
            if let Some(column) = table.columns.iter_mut().find(|of| of.name == column) {
                change(column);
            }
        });
    }

    fn family_of(&self, definition: &ColumnDef) -> Family {
        let Some(name) = definition.type_name.as_ref() else { return Family::Any };
        let Some(path) = tree::path(&name.names) else { return Family::Any };
        if !name.array_bounds.is_empty() {
            return Family::Other(format!("{}[]", path.name));
        }
        if ["serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"]
            .contains(&path.name.as_str())
        {
            return Family::Number;
        }
        Family::named(&path, self.schema.catalog)
    }

    fn new_column(&self, name: &RelationName, definition: &ColumnDef) -> Column {
        let kinds: Vec<ConstrType> = definition.constraints.iter().filter_map(constraint_kind).collect();
        let has = |wanted: &[ConstrType]| kinds.iter().any(|kind| wanted.contains(kind));
        let serial = definition
            .type_name
            .as_ref()
            .and_then(|of| tree::path(&of.names))
            .is_some_and(|of| of.name.contains("serial"));
        Column {
            name: definition.colname.clone(),
            family: self.family_of(definition),
            not_null: serial
                || has(&[ConstrType::ConstrNotnull, ConstrType::ConstrPrimary, ConstrType::ConstrIdentity]),
            filled: serial
                || has(&[ConstrType::ConstrDefault, ConstrType::ConstrGenerated, ConstrType::ConstrIdentity]),
            origins: [(name.clone(), Some(definition.colname.clone()))].into(),
        }
    }

    fn add_column(&mut self, name: &RelationName, definition: &ColumnDef) {
        let column = self.new_column(name, definition);
        self.schema.change(name, |table| {
            if table.column(&column.name).is_none() {
                table.columns.push(column);
            }
        });
        for node in &definition.constraints {
            if let Some(NodeEnum::Constraint(constraint)) = &node.node {
                self.add_key(name, constraint, std::slice::from_ref(&definition.colname));
            }
        }
    }

    fn add_constraint(&mut self, name: &RelationName, constraint: &Constraint, is_child: bool) {
        match constraint.contype() {
            ConstrType::ConstrNotnull => {
                for column in tree::names(&constraint.keys) {
                    self.change_column(name, &column, |of| of.not_null = true);
                }
            }
            _ if !is_child => self.add_key(name, constraint, &tree::names(&constraint.keys)),
            _ => {}
        }
    }

    fn add_key(&mut self, name: &RelationName, constraint: &Constraint, columns: &[String]) {
        let primary = constraint.contype() == ConstrType::ConstrPrimary;
        if !primary && constraint.contype() != ConstrType::ConstrUnique {
            return;
        }
        self.schema.change(name, |table| {
            // The key of an index that is there already is known.
            let of_index = table.keys.iter().find(|key| key.name == constraint.indexname).cloned();
            let columns = of_index.map_or_else(|| columns.iter().cloned().collect(), |key| key.columns);
            for column in table.columns.iter_mut().filter(|of| primary && columns.contains(&of.name)) {
                column.not_null = true;
            }
            table.keys.push(Key { name: constraint.conname.clone(), columns, primary });
        });
    }

    fn create(&mut self, create: &CreateStmt) {
        let Some(name) = create.relation.as_ref().map(|range| self.schema.place(&tree::range(range))) else {
            return;
        };
        if self.schema.get(&name).is_some() && create.if_not_exists {
            return;
        }
        let mut table = Table::default();
        let parents = create.inh_relations.iter().filter_map(tree::relation);
        for parent in parents.filter_map(|parent| self.known_name(&parent)) {
            if let Some(parent) = self.schema.get(&parent) {
                table.columns.extend(parent.columns.iter().cloned());
            }
        }
        let definitions = create.table_elts.iter().filter_map(|node| match &node.node {
            Some(NodeEnum::ColumnDef(definition)) => Some(definition.as_ref()),
            _ => None,
        });
        let definitions: Vec<&ColumnDef> = definitions.collect();
        table.columns.extend(definitions.iter().map(|definition| self.new_column(&name, definition)));
        table.open = definitions.len() < create.table_elts.iter().filter(|node| !is_constraint(node)).count();
        self.schema.set(name.clone(), Some(table));
        for definition in definitions {
            for node in &definition.constraints {
                if let Some(NodeEnum::Constraint(constraint)) = &node.node {
                    self.add_key(&name, constraint, std::slice::from_ref(&definition.colname));
                }
            }
        }
        for node in create.table_elts.iter().chain(&create.constraints) {
            if let Some(NodeEnum::Constraint(constraint)) = &node.node {
                self.add_constraint(&name, constraint, false);
            }
        }
        self.touched.push(Touch::relation(name, None, Change::Created));
    }

    fn create_from(
        &mut self,
        range: Option<&RangeVar>,
        query: Option<&Node>,
        names: &[String],
        is_view: bool,
    ) {
        let Some(name) = range.map(|range| self.schema.place(&tree::range(range))) else { return };
        let Some(query) = query.and_then(|query| query.node.as_ref()) else { return };
        let origin = self.schema.get(&name).and_then(|table| table.origin.clone());
        let seen = resolve::view(self.schema, query, &self.schema.catalog.search_path);
        let mut table = Table { columns: seen.columns, origin, open: seen.open, is_view, ..Table::default() };
        resolve::rename(&mut table.columns, names);
        table.behind = seen.behind.into_iter().collect();
        let change = if self.schema.get(&name).is_some() { Change::Altered } else { Change::Created };
        self.schema.set(name.clone(), Some(table));
        self.touched.push(Touch::relation(name, None, change));
    }

    fn index(&mut self, index: &IndexStmt) {
        let Some(name) = index.relation.as_ref().and_then(|range| self.known(range)) else { return };
        self.touch(&name, Change::Altered);
        let columns: Option<_> = index.index_params.iter().map(tree::index_column).collect();
        if let (true, Some(columns)) = (index.unique && index.where_clause.is_none(), columns) {
            let key = Key { name: index.idxname.clone(), columns, primary: false };
            self.schema.change(&name, |table| table.keys.push(key));
        }
    }

    fn new_type(&mut self, name: &[Node]) {
        if let Some(name) = tree::path(name) {
            let name = self.schema.place(&name);
            self.schema.types.insert(name);
        }
    }

    fn touch_type(&mut self, name: &[Node]) {
        if let Some(name) = tree::path(name).and_then(|name| self.known_type(&name)) {
            self.touched.push(Touch::of_type(name, Change::Altered));
        }
    }

    pub fn known_type(&self, name: &RelationName) -> Option<RelationName> {
        let full = |schema: &String| RelationName::qualified(schema.clone(), name.name.clone());
        match &name.schema {
            Some(_) => Some(name.clone()),
            None => {
                self.schema.catalog.search_path.iter().map(full).find(|full| self.schema.types.contains(full))
            }
        }
    }

    fn rename(&mut self, rename: &RenameStmt) {
        super::moved::rename(self, rename);
    }

    fn set_schema(&mut self, moved: &AlterObjectSchemaStmt) {
        super::moved::set_schema(self, moved);
    }
}

fn constraint_kind(node: &Node) -> Option<ConstrType> {
    match &node.node {
        Some(NodeEnum::Constraint(constraint)) => Some(constraint.contype()),
        _ => None,
    }
}

fn is_constraint(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::Constraint(_)))
}
