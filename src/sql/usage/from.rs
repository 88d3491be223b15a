//! What `FROM` brings in, and how names are found in it.

use pg_query::protobuf::{Alias, JoinExpr, RangeVar, SelectStmt};
use pg_query::{Node, NodeEnum};

use super::family::Family;
use super::resolve::{Item, Output, Resolver, Scope, output_column, rename};
use super::schema::Column;
use crate::sql::classify::tree;
use crate::sql::name::RelationName;

/// Columns that every table has.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax", "oid"];

impl Resolver<'_, '_> {
    /// Finds a relation, and notes that it is used.
    pub fn relation(&mut self, range: &RangeVar) -> Item {
        let name = tree::range(range);
        self.out.names.insert(name.name.clone());
        let alias = range.alias.as_ref().map_or_else(|| name.name.clone(), |alias| alias.aliasname.clone());
        let Some((full, table)) = self.schema.find(&name, self.path) else {
            if self.is_known_to_be_absent(&name) {
                self.problem(format!("relation {name} does not exist"));
            }
            return Item { alias, open: true, ..Item::default() };
        };
        self.used(&[(table.origin.clone().unwrap_or_else(|| full.clone()), None)]);
        self.used(&table.behind);
        let mut columns = table.columns.clone();
        rename(
            &mut columns,
            &range.alias.as_ref().map(|alias| tree::names(&alias.colnames)).unwrap_or_default(),
        );
        Item { alias, columns, open: table.open, hidden: false, relation: Some(full) }
    }

    fn is_known_to_be_absent(&self, name: &RelationName) -> bool {
        let of_server = match &name.schema {
            Some(schema) => schema.starts_with("pg_") || schema == "information_schema",
            None => name.name.starts_with("pg_"),
        };
        self.schema.catalog.complete && !of_server
    }

    /// One entry of `FROM`.
    pub fn from(
        &mut self,
        node: &Node,
        items: &mut Vec<Item>,
        merged: &mut Vec<String>,
        outer: Option<&Scope<'_>>,
    ) {
        match &node.node {
            Some(NodeEnum::RangeVar(range)) => {
                let cte = if range.schemaname.is_empty() { self.cte(&range.relname) } else { None };
                let item = match cte {
                    Some(output) => aliased(output, range.alias.as_ref(), &range.relname),
                    None => self.relation(range),
                };
                items.push(item);
            }
            Some(NodeEnum::RangeSubselect(sub)) => {
                let output = if sub.lateral {
                    let scope = Scope { items, merged, outer };
                    self.inner(sub.subquery.as_deref(), Some(&scope))
                } else {
                    self.inner(sub.subquery.as_deref(), outer)
                };
                items.push(aliased(output, sub.alias.as_ref(), ""));
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join, items, merged, outer),
            Some(NodeEnum::RangeTableSample(sample)) => {
                if let Some(relation) = &sample.relation {
                    self.from(relation, items, merged, outer);
                }
            }
            Some(other) => {
                let scope = Scope { items, merged, outer };
                let (alias, default) = self.produced(other, &scope);
                items.push(aliased(Output { columns: Vec::new(), open: true }, alias, &default));
            }
            None => {}
        }
    }

    /// A function or the like in `FROM`: its alias, and the name without one.
    fn produced<'n>(&mut self, node: &'n NodeEnum, scope: &Scope<'_>) -> (Option<&'n Alias>, String) {
        let mut default = String::new();
        let alias = match node {
            NodeEnum::RangeFunction(function) => {
                for node in &function.functions {
                    let Some(NodeEnum::List(list)) = &node.node else { continue };
                    if let Some(NodeEnum::FuncCall(call)) =
                        list.items.first().and_then(|node| node.node.as_ref())
                    {
                        default = tree::path(&call.funcname).map(|name| name.name).unwrap_or_default();
                    }
                    self.expressions(list.items.get(..1).unwrap_or_default(), scope);
                }
                function.alias.as_ref()
            }
            NodeEnum::RangeTableFunc(table) => {
                self.any(node, scope);
                table.alias.as_ref()
            }
            NodeEnum::JsonTable(table) => {
                self.any(node, scope);
                table.alias.as_ref()
            }
            _ => None,
        };
        (alias, default)
    }

    fn join(
        &mut self,
        join: &JoinExpr,
        items: &mut Vec<Item>,
        merged: &mut Vec<String>,
        outer: Option<&Scope<'_>>,
    ) {
        let start = items.len();
        if let Some(left) = &join.larg {
            self.from(left, items, merged, outer);
        }
        let middle = items.len();
        if let Some(right) = &join.rarg {
            self.from(right, items, merged, outer);
        }
        for name in tree::names(&join.using_clause) {
            for side in [items.get(start..middle), items.get(middle..)].into_iter().flatten() {
                let found = side.iter().find_map(|item| item.columns.iter().find(|of| of.name == name));
                match found {
                    Some(column) => self.used(&column.origins.clone()),
                    None if side.iter().any(|item| item.open) => {}
                    None => self.problem(format!("column {name} of USING does not exist on both sides")),
                }
            }
            merged.push(name);
        }
        if join.is_natural {
            let left: Vec<String> = columns(items.get(start..middle)).map(|of| of.name.clone()).collect();
            let both: Vec<Column> =
                columns(items.get(middle..)).filter(|of| left.contains(&of.name)).cloned().collect();
            for column in both {
                self.used(&column.origins);
                merged.push(column.name);
            }
        }
        if let Some(condition) = &join.quals {
            let here = items.get(start..).unwrap_or_default();
            // Within LATERAL, what stands to the left is visible too.
            let around = Scope { items: items.get(..start).unwrap_or_default(), merged: &[], outer };
            self.condition(
                Some(condition),
                &Scope { items: here, merged, outer: Some(&around) },
                "JOIN ... ON",
            );
        }
        if let Some(alias) = join.alias.as_ref() {
            let inside: Vec<Item> = items.drain(start..).collect();
            let open = inside.iter().any(|item| item.open);
            let columns = inside.into_iter().flat_map(|item| item.columns).collect();
            items.push(aliased(Output { columns, open }, Some(alias), ""));
        }
    }

    /// The column that a name of one or more parts stands for.
    pub fn column(&mut self, parts: &[String], scope: &Scope<'_>) -> Family {
        match parts {
            [name] => self.bare_column(name, scope),
            [.., alias, name] => self.qualified_column(alias, name, scope),
            [] => Family::Any,
        }
    }

    fn bare_column(&mut self, name: &str, scope: &Scope<'_>) -> Family {
        let mut level = Some(scope);
        let mut open = false;
        while let Some(at) = level {
            let visible = || at.items.iter().filter(|item| !item.hidden);
            let mut found =
                visible().filter_map(|item| item.columns.iter().find(|column| column.name == name));
            if let Some(column) = found.next() {
                let others = found.count();
                self.used(&column.origins.clone());
                if others > 0 && !at.merged.iter().any(|of| of == name) {
                    self.problem(format!("column reference {name} is ambiguous"));
                }
                return column.family.clone();
            }
            open |= visible().any(|item| item.open);
            if let Some(item) = at.items.iter().find(|item| item.alias == name) {
                self.whole_row(&item.clone());
                return Family::Any;
            }
            level = at.outer;
        }
        if !open && !SYSTEM_COLUMNS.contains(&name) {
            self.problem(format!("column {name} does not exist"));
        }
        Family::Any
    }

    fn qualified_column(&mut self, alias: &str, name: &str, scope: &Scope<'_>) -> Family {
        let mut level = Some(scope);
        while let Some(at) = level {
            if let Some(item) = at.items.iter().find(|item| item.alias == alias) {
                if let Some(column) = item.columns.iter().find(|column| column.name == name) {
                    self.used(&column.origins.clone());
                    return column.family.clone();
                }
                if !item.open && !SYSTEM_COLUMNS.contains(&name) {
                    let shown = item.relation.as_ref().map_or_else(|| alias.to_owned(), RelationName::sql);
                    self.problem(format!("column {name} of {shown} does not exist"));
                }
                return Family::Any;
            }
            level = at.outer;
        }
        self.problem(format!("{alias}.{name}: no {alias} in FROM"));
        Family::Any
    }

    pub fn whole_row(&mut self, item: &Item) {
        for column in &item.columns {
            self.used(&column.origins);
        }
    }

    /// The results of a query: `*` and names are resolved.
    pub fn targets(&mut self, targets: &[Node], scope: &Scope<'_>) -> Output {
        let mut output = Output::default();
        for target in targets {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { continue };
            let Some(value) = target.val.as_deref() else { continue };
            if let Some(NodeEnum::ColumnRef(column)) = &value.node
                && matches!(
                    column.fields.last().and_then(|node| node.node.as_ref()),
                    Some(NodeEnum::AStar(_))
                )
            {
                self.star(&tree::names(&column.fields), scope, &mut output);
                continue;
            }
            if matches!(&value.node, Some(NodeEnum::AIndirection(_))) {
                // A composite that is taken apart gives any number of columns.
                output.open |= target.name.is_empty();
            }
            let mark = self.trail.len();
            let family = self.expression(value, scope);
            let origins = self.trail.get(mark..).unwrap_or_default().into();
            let name = if target.name.is_empty() { given_name(value) } else { target.name.clone() };
            output.columns.push(output_column(name, family, origins));
        }
        output
    }

    fn star(&mut self, of: &[String], scope: &Scope<'_>, output: &mut Output) {
        let alias = of.last();
        let mut seen = Vec::new();
        let mut level = Some(scope);
        while let Some(at) = level {
            let wanted = at.items.iter().filter(|item| match alias {
                Some(alias) => item.alias == *alias,
                None => !item.hidden,
            });
            let wanted: Vec<Item> = wanted.cloned().collect();
            for item in &wanted {
                self.whole_row(item);
                output.open |= item.open;
                for column in &item.columns {
                    if at.merged.contains(&column.name) && alias.is_none() {
                        if seen.contains(&column.name) {
                            continue;
                        }
                        seen.push(column.name.clone());
                    }
                    output.columns.push(column.clone());
                }
            }
            if !wanted.is_empty() || alias.is_none() {
                return;
            }
            level = at.outer;
        }
        output.open = true;
        let alias = alias.cloned().unwrap_or_default();
        self.problem(format!("{alias}.*: no {alias} in FROM"));
    }

    /// A column beside `GROUP BY` needs the primary key of its table among the groups.
    pub fn grouped(&mut self, select: &SelectStmt, scope: &Scope<'_>) {
        if select.group_clause.is_empty() {
            return;
        }
        let reference = |node: &Node| match &node.node {
            Some(NodeEnum::ColumnRef(column)) => Some(tree::names(&column.fields)),
            _ => None,
        };
        let Some(groups) = select.group_clause.iter().map(reference).collect::<Option<Vec<_>>>() else {
            return;
        };
        let place = |parts: &[String]| {
            let name = parts.last()?;
            let of = |item: &&Item| match parts {
                [.., alias, _] => item.alias == *alias,
                _ => item.columns.iter().any(|column| column.name == *name),
            };
            let item = scope.items.iter().find(of)?;
            Some((item.alias.clone(), name.clone()))
        };
        let groups: Vec<(String, String)> = groups.iter().filter_map(|parts| place(parts)).collect();
        for target in &select.target_list {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { continue };
            let Some((alias, name)) =
                target.val.as_deref().and_then(reference).and_then(|parts| place(&parts))
            else {
                continue;
            };
            let item = scope.items.iter().find(|item| item.alias == alias);
            let Some(relation) = item.and_then(|item| item.relation.as_ref()) else { continue };
            let of_item = |column: &String| groups.contains(&(alias.clone(), column.clone()));
            let table = self.schema.get(relation);
            let by_key = table.is_some_and(|table| {
                table.keys.iter().any(|key| key.primary && key.columns.iter().all(of_item))
            });
            if !of_item(&name) && !by_key {
                self.problem(format!(
                    "column {alias}.{name} must appear in GROUP BY: the primary key is not there"
                ));
            }
        }
    }
}

fn columns(items: Option<&[Item]>) -> impl Iterator<Item = &Column> {
    items.unwrap_or_default().iter().flat_map(|item| &item.columns)
}

fn aliased(output: Output, alias: Option<&Alias>, default: &str) -> Item {
    let Output { mut columns, open } = output;
    if let Some(alias) = alias {
        rename(&mut columns, &tree::names(&alias.colnames));
    }
    let alias = alias.map_or_else(|| default.to_owned(), |alias| alias.aliasname.clone());
    Item { alias, columns, open, hidden: false, relation: None }
}

/// The name that the server gives to a result.
fn given_name(value: &Node) -> String {
    match &value.node {
        Some(NodeEnum::ColumnRef(column)) => tree::names(&column.fields).pop().unwrap_or_default(),
        Some(NodeEnum::FuncCall(call)) => {
            tree::path(&call.funcname).map(|name| name.name).unwrap_or_default()
        }
        Some(NodeEnum::TypeCast(cast)) => {
            let inner = cast.arg.as_deref().map(given_name).filter(|name| name != "?column?");
            let of_type =
                || cast.type_name.as_ref().and_then(|of| tree::path(&of.names)).map(|name| name.name);
            inner.or_else(of_type).unwrap_or_default()
        }
        Some(NodeEnum::CaseExpr(_)) => "case".to_owned(),
        Some(NodeEnum::CoalesceExpr(_)) => "coalesce".to_owned(),
        _ => "?column?".to_owned(),
    }
}
