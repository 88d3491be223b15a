//! Statements that change rows.

use pg_query::protobuf::{
    CmdType, CopyStmt, DeleteStmt, InsertStmt, MergeStmt, OnConflictClause, RangeVar, ReturningClause,
    UpdateStmt,
};
use pg_query::{Node, NodeEnum};

use super::family::Family;
use super::resolve::{Item, Output, Resolver, Scope};
use super::schema::Column;
use crate::sql::classify::tree;

impl Resolver<'_, '_> {
    pub fn insert(&mut self, insert: &InsertStmt, outer: Option<&Scope<'_>>) -> Output {
        let Some(range) = &insert.relation else { return Output::default() };
        let target = self.relation(range);
        let given = insert.select_stmt.as_deref().map(|query| self.inner(Some(query), outer));
        let named: Vec<String> = insert.cols.iter().filter_map(tree::target).collect();
        let columns = self.assigned(&target, &named, given.as_ref(), !insert.cols.is_empty());
        self.left_out(&target, &columns);
        if let Some(given) = &given {
            for (column, value) in columns.iter().zip(&given.columns) {
                self.assign(&target, column, &value.family);
            }
        }
        if let Some(clause) = insert.on_conflict_clause.as_deref() {
            self.on_conflict(&target, clause, outer);
        }
        self.returning(insert.returning_clause.as_ref(), vec![target], outer)
    }

    /// The columns that get a value.
    fn assigned(
        &mut self,
        target: &Item,
        named: &[String],
        given: Option<&Output>,
        listed: bool,
    ) -> Vec<Column> {
        if listed {
            return named.iter().filter_map(|name| self.set_column(target, name)).collect();
        }
        let Some(given) = given else { return Vec::new() };
        if !given.open && !target.open && given.columns.len() > target.columns.len() {
            let name = shown(target);
            self.problem(format!(
                "INSERT gives {} values, {name} has {} columns",
                given.columns.len(),
                target.columns.len()
            ));
        }
        let count = if given.open { target.columns.len() } else { given.columns.len() };
        let columns: Vec<Column> = target.columns.iter().take(count).cloned().collect();
        for column in &columns {
            self.used(&column.origins);
        }
        columns
    }

    /// A column that a statement sets.
    fn set_column(&mut self, target: &Item, name: &str) -> Option<Column> {
        if let Some(column) = target.columns.iter().find(|column| column.name == name) {
            self.used(&column.origins);
            return Some(column.clone());
        }
        if !target.open {
            self.problem(format!("column {name} of {} does not exist", shown(target)));
        }
        None
    }

    /// A column that must not be empty, that nothing fills, and that is not given.
    fn left_out(&mut self, target: &Item, columns: &[Column]) {
        let Some(table) = target.relation.as_ref().and_then(|relation| self.schema.get(relation)) else {
            return;
        };
        if table.is_view || table.fills {
            return;
        }
        let given = |name: &str| columns.iter().any(|column| column.name == name);
        for column in table.columns.iter().filter(|of| of.not_null && !of.filled && !given(&of.name)) {
            self.problem(format!(
                "column {} of {} is NOT NULL without a default, and the INSERT does not give it",
                column.name,
                shown(target)
            ));
        }
    }

    fn assign(&mut self, target: &Item, column: &Column, value: &Family) {
        if !value.assigns_to(&column.family) {
            let (is, gets) = (column.family.words(), value.words());
            self.problem(format!("column {} of {} is {is} and gets {gets}", column.name, shown(target)));
        }
    }

    fn on_conflict(&mut self, target: &Item, clause: &OnConflictClause, outer: Option<&Scope<'_>>) {
        let excluded = Item { alias: "excluded".to_owned(), hidden: true, ..target.clone() };
        let items = [target.clone(), excluded];
        let scope = Scope { items: &items, merged: &[], outer };
        if let Some(infer) = clause.infer.as_deref() {
            self.arbiter(target, infer, &scope);
        }
        self.set(target, &clause.target_list, &scope);
        self.condition(clause.where_clause.as_deref(), &scope, "WHERE");
    }

    /// What tells that two rows conflict.
    fn arbiter(&mut self, target: &Item, infer: &pg_query::protobuf::InferClause, scope: &Scope<'_>) {
        let mut names = Vec::new();
        let mut plain = true;
        for element in &infer.index_elems {
            let Some(NodeEnum::IndexElem(element)) = &element.node else { continue };
            match (&element.expr, element.name.is_empty()) {
                (None, false) => {
                    self.column(std::slice::from_ref(&element.name), scope);
                    names.push(element.name.clone());
                }
                (Some(expression), _) => {
                    self.expression(expression, scope);
                    plain = false;
                }
                _ => {}
            }
        }
        let Some(table) = target.relation.as_ref().and_then(|relation| self.schema.get(relation)) else {
            return;
        };
        if !infer.conname.is_empty() {
            if !table.keys.iter().any(|key| key.name == infer.conname) {
                self.problem(format!("constraint {} of {} does not exist", infer.conname, shown(target)));
            }
        } else if plain && !table.keys.iter().any(|key| key.columns.iter().eq(sorted(&names))) {
            let (names, name) = (names.join(", "), shown(target));
            self.problem(format!("no unique index on {name} ({names}) for ON CONFLICT"));
        }
    }

    /// The assignments of an `UPDATE`.
    fn set(&mut self, target: &Item, list: &[Node], scope: &Scope<'_>) {
        for node in list {
            let Some(NodeEnum::ResTarget(assignment)) = &node.node else { continue };
            let column = self.set_column(target, &assignment.name);
            let Some(value) = assignment.val.as_deref() else { continue };
            let family = self.expression(value, scope);
            if let Some(column) = column.filter(|_| assignment.indirection.is_empty()) {
                self.assign(target, &column, &family);
            }
        }
    }

    /// The changed relation and what stands beside it.
    fn beside(
        &mut self,
        range: &RangeVar,
        others: &[Node],
        outer: Option<&Scope<'_>>,
    ) -> (Item, Vec<Item>, Vec<String>) {
        let target = self.relation(range);
        let (mut items, mut merged) = (vec![target.clone()], Vec::new());
        for node in others {
            self.from(node, &mut items, &mut merged, outer);
        }
        (target, items, merged)
    }

    pub fn update(&mut self, update: &UpdateStmt, outer: Option<&Scope<'_>>) -> Output {
        let Some(range) = &update.relation else { return Output::default() };
        let (target, items, merged) = self.beside(range, &update.from_clause, outer);
        let scope = Scope { items: &items, merged: &merged, outer };
        self.set(&target, &update.target_list, &scope);
        self.condition(update.where_clause.as_deref(), &scope, "WHERE");
        self.returning(update.returning_clause.as_ref(), items, outer)
    }

    pub fn delete(&mut self, delete: &DeleteStmt, outer: Option<&Scope<'_>>) -> Output {
        let Some(range) = &delete.relation else { return Output::default() };
        let (_, items, merged) = self.beside(range, &delete.using_clause, outer);
        let scope = Scope { items: &items, merged: &merged, outer };
        self.condition(delete.where_clause.as_deref(), &scope, "WHERE");
        self.returning(delete.returning_clause.as_ref(), items, outer)
    }

    pub fn merge(&mut self, merge: &MergeStmt, outer: Option<&Scope<'_>>) -> Output {
        let Some(range) = &merge.relation else { return Output::default() };
        let source: Vec<Node> = merge.source_relation.as_deref().cloned().into_iter().collect();
        let (target, items, merged) = self.beside(range, &source, outer);
        let scope = Scope { items: &items, merged: &merged, outer };
        self.condition(merge.join_condition.as_deref(), &scope, "ON");
        for clause in &merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(clause)) = &clause.node else { continue };
            self.condition(clause.condition.as_deref(), &scope, "WHEN");
            match clause.command_type() {
                CmdType::CmdUpdate => self.set(&target, &clause.target_list, &scope),
                CmdType::CmdInsert => {
                    let named: Vec<String> = clause.target_list.iter().filter_map(tree::target).collect();
                    let given: Vec<Family> =
                        clause.values.iter().map(|node| self.expression(node, &scope)).collect();
                    let columns: Vec<Column> = if named.is_empty() {
                        target.columns.iter().take(given.len()).cloned().collect()
                    } else {
                        named.iter().filter_map(|name| self.set_column(&target, name)).collect()
                    };
                    self.left_out(&target, &columns);
                    for (column, value) in columns.iter().zip(&given) {
                        self.assign(&target, column, value);
                    }
                }
                _ => {}
            }
        }
        self.returning(merge.returning_clause.as_ref(), items, outer)
    }

    /// `RETURNING` sees the row before and after, too, under names that may be chosen.
    fn returning(
        &mut self,
        clause: Option<&ReturningClause>,
        items: Vec<Item>,
        outer: Option<&Scope<'_>>,
    ) -> Output {
        let Some(clause) = clause else { return Output::default() };
        let mut items = items;
        let target = items.first().cloned().unwrap_or_default();
        let mut named = vec!["old".to_owned(), "new".to_owned()];
        named.extend(clause.options.iter().filter_map(|option| match &option.node {
            Some(NodeEnum::ReturningOption(option)) => Some(option.value.clone()),
            _ => None,
        }));
        for alias in named {
            if !items.iter().any(|item| item.alias == alias) {
                items.push(Item { alias, hidden: true, ..target.clone() });
            }
        }
        self.targets(&clause.exprs, &Scope { items: &items, merged: &[], outer })
    }

    pub fn copy(&mut self, copy: &CopyStmt) -> Output {
        if let Some(query) = copy.query.as_deref() {
            return self.inner(Some(query), None);
        }
        let Some(range) = &copy.relation else { return Output::default() };
        let target = self.relation(range);
        let named = tree::names(&copy.attlist);
        let columns: Vec<Column> = if named.is_empty() {
            self.whole_row(&target);
            target.columns.clone()
        } else {
            named.iter().filter_map(|name| self.set_column(&target, name)).collect()
        };
        if copy.is_from {
            self.left_out(&target, &columns);
        }
        Output::default()
    }
}

fn sorted(names: &[String]) -> impl Iterator<Item = &String> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}

fn shown(target: &Item) -> String {
    target.relation.as_ref().map_or_else(|| target.alias.clone(), crate::sql::RelationName::sql)
}
