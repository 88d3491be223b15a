//! Resolves the names of a query as the server's analyzer does, and notes what it uses and what it would complain of.

use std::collections::BTreeSet;
use std::rc::Rc;

use pg_query::protobuf::{SelectStmt, SetOperation, WithClause};
use pg_query::{Node, NodeEnum};

use super::family::Family;
use super::schema::{Column, Schema, Use};
use crate::sql::name::RelationName;

/// What a query uses, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    /// Columns and relations, as they were called before the plan.
    pub uses: BTreeSet<Use>,
    /// Relations by their bare names, wherever they were looked for.
    pub names: BTreeSet<String>,
    /// Functions of the user.
    pub functions: BTreeSet<RelationName>,
    /// Types of the user.
    pub types: BTreeSet<RelationName>,
    /// What the server would complain of.
    pub problems: Vec<String>,
}

/// The columns that a query gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    pub columns: Vec<Column>,
    /// There may be further ones.
    pub open: bool,
}

/// Something that `FROM` brings in.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub alias: String,
    pub columns: Vec<Column>,
    pub open: bool,
    /// The columns are found by name only where the item is named too (`excluded`).
    pub hidden: bool,
    /// The relation that it stands for.
    pub relation: Option<RelationName>,
}

/// What the names of an expression are looked up in.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    pub items: &'s [Item],
    /// Columns that a `USING` made one of two.
    pub merged: &'s [String],
    pub outer: Option<&'s Scope<'s>>,
}

#[derive(Clone)]
struct Cte {
    name: String,
    output: Output,
}

/// The analysis of one query.
pub(super) struct Resolver<'s, 'a> {
    pub schema: &'s Schema<'a>,
    pub path: &'s [String],
    pub out: Resolution,
    /// Everything that was used, in order: what belongs to an output is told from it.
    pub trail: Vec<Use>,
    ctes: Vec<Cte>,
}

/// Resolves a statement of the application.
pub(super) fn query(schema: &Schema<'_>, node: &NodeEnum, path: &[String]) -> Resolution {
    let mut resolver = Resolver::new(schema, path);
    resolver.statement(node, None);
    resolver.out
}

/// What stands behind a view: its columns, and what it uses beyond them.
pub(super) struct View {
    pub columns: Vec<Column>,
    pub open: bool,
    pub behind: BTreeSet<Use>,
}

/// Resolves the definition of a view.
pub(super) fn view(schema: &Schema<'_>, node: &NodeEnum, path: &[String]) -> View {
    let mut resolver = Resolver::new(schema, path);
    let output = resolver.statement(node, None);
    let shown: BTreeSet<Use> =
        output.columns.iter().flat_map(|column| column.origins.iter().cloned()).collect();
    // What is used in a column and beyond it counts as used beyond it.
    let mut behind = BTreeSet::new();
    for used in &resolver.trail {
        if !shown.contains(used) || resolver.trail.iter().filter(|other| *other == used).count() > 1 {
            behind.insert(used.clone());
        }
    }
    View { columns: output.columns, open: output.open, behind }
}

impl<'s, 'a> Resolver<'s, 'a> {
    pub fn new(schema: &'s Schema<'a>, path: &'s [String]) -> Self {
        Self { schema, path, out: Resolution::default(), trail: Vec::new(), ctes: Vec::new() }
    }

    pub fn problem(&mut self, text: String) {
        if !self.out.problems.contains(&text) {
            self.out.problems.push(text);
        }
    }

    pub fn used(&mut self, uses: &[Use]) {
        self.trail.extend(uses.iter().cloned());
        self.out.uses.extend(uses.iter().cloned());
    }

    /// Resolves any statement that reads or changes rows.
    pub fn statement(&mut self, node: &NodeEnum, outer: Option<&Scope<'_>>) -> Output {
        let mark = self.ctes.len();
        let output = match node {
            NodeEnum::SelectStmt(select) => self.select(select, outer),
            NodeEnum::InsertStmt(insert) => {
                self.with(insert.with_clause.as_ref(), outer);
                self.insert(insert, outer)
            }
            NodeEnum::UpdateStmt(update) => {
                self.with(update.with_clause.as_ref(), outer);
                self.update(update, outer)
            }
            NodeEnum::DeleteStmt(delete) => {
                self.with(delete.with_clause.as_ref(), outer);
                self.delete(delete, outer)
            }
            NodeEnum::MergeStmt(merge) => {
                self.with(merge.with_clause.as_ref(), outer);
                self.merge(merge, outer)
            }
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::DeclareCursorStmt(cursor) => self.inner(cursor.query.as_deref(), outer),
            NodeEnum::ExplainStmt(explain) => self.inner(explain.query.as_deref(), outer),
            NodeEnum::PrepareStmt(prepare) => self.inner(prepare.query.as_deref(), outer),
            NodeEnum::CallStmt(call) => {
                if let Some(call) = &call.funccall {
                    let empty = Scope { items: &[], merged: &[], outer };
                    self.call(call, &empty);
                }
                Output::default()
            }
            NodeEnum::TruncateStmt(truncate) => {
                self.named_relations(&truncate.relations);
                Output::default()
            }
            NodeEnum::LockStmt(lock) => {
                self.named_relations(&lock.relations);
                Output::default()
            }
            _ => Output { columns: Vec::new(), open: true },
        };
        self.ctes.truncate(mark);
        output
    }

    pub fn inner(&mut self, node: Option<&Node>, outer: Option<&Scope<'_>>) -> Output {
        match node.and_then(|node| node.node.as_ref()) {
            Some(node) => self.statement(node, outer),
            None => Output::default(),
        }
    }

    fn named_relations(&mut self, nodes: &[Node]) {
        for node in nodes {
            if let Some(NodeEnum::RangeVar(range)) = &node.node {
                self.relation(range);
            }
        }
    }

    fn with(&mut self, clause: Option<&WithClause>, outer: Option<&Scope<'_>>) {
        let Some(clause) = clause else { return };
        for cte in &clause.ctes {
            let Some(NodeEnum::CommonTableExpr(cte)) = &cte.node else { continue };
            let names = crate::sql::classify::tree::names(&cte.aliascolnames);
            if clause.recursive {
                // What a recursive query gives is known from its first part; itself, it finds everything in it.
                let output = Output { columns: Vec::new(), open: true };
                self.ctes.push(Cte { name: cte.ctename.clone(), output });
            }
            let mut output = self.inner(cte.ctequery.as_deref(), outer);
            rename(&mut output.columns, &names);
            if clause.recursive {
                self.ctes.pop();
            }
            self.ctes.push(Cte { name: cte.ctename.clone(), output });
        }
    }

    /// A query of `WITH` by its name.
    pub fn cte(&self, name: &str) -> Option<Output> {
        self.ctes.iter().rev().find(|cte| cte.name == name).map(|cte| cte.output.clone())
    }

    fn select(&mut self, select: &SelectStmt, outer: Option<&Scope<'_>>) -> Output {
        let mark = self.ctes.len();
        self.with(select.with_clause.as_ref(), outer);
        let output = if let (Some(left), Some(right)) = (&select.larg, &select.rarg) {
            self.set_operation(left, right, select, outer)
        } else if select.values_lists.is_empty() {
            self.plain_select(select, outer)
        } else {
            self.values(&select.values_lists, outer)
        };
        self.ctes.truncate(mark);
        output
    }

    fn set_operation(
        &mut self,
        left: &SelectStmt,
        right: &SelectStmt,
        whole: &SelectStmt,
        outer: Option<&Scope<'_>>,
    ) -> Output {
        let (mut left, right) = (self.select(left, outer), self.select(right, outer));
        let words = match whole.op() {
            SetOperation::SetopIntersect => "INTERSECT",
            SetOperation::SetopExcept => "EXCEPT",
            _ => "UNION",
        };
        if !left.open && !right.open && left.columns.len() != right.columns.len() {
            self.problem(format!("each {words} query must have the same number of columns"));
        }
        for (one, other) in left.columns.iter_mut().zip(&right.columns) {
            if !one.family.mixes(&other.family) {
                let (a, b) = (one.family.words(), other.family.words());
                self.problem(format!("{words} of {a} and {b} (column {})", one.name));
            }
            if one.family == Family::Any {
                one.family = other.family.clone();
            }
            one.origins = one.origins.iter().chain(other.origins.iter()).cloned().collect();
        }
        left.open |= right.open;
        self.sorted(&whole.sort_clause, &left, &Scope { items: &[], merged: &[], outer }, true);
        left
    }

    fn values(&mut self, lists: &[Node], outer: Option<&Scope<'_>>) -> Output {
        let scope = Scope { items: &[], merged: &[], outer };
        let mut columns: Vec<Column> = Vec::new();
        for list in lists {
            let Some(NodeEnum::List(list)) = &list.node else { continue };
            for (position, value) in list.items.iter().enumerate() {
                let mark = self.trail.len();
                let family = self.expression(value, &scope);
                let origins = self.trail.get(mark..).unwrap_or_default().into();
                match columns.get_mut(position) {
                    Some(column) if column.family == Family::Any => column.family = family,
                    Some(_) => {}
                    None => columns.push(output_column(format!("column{}", position + 1), family, origins)),
                }
            }
        }
        Output { columns, open: false }
    }

    fn plain_select(&mut self, select: &SelectStmt, outer: Option<&Scope<'_>>) -> Output {
        let (mut items, mut merged) = (Vec::new(), Vec::new());
        for node in &select.from_clause {
            self.from(node, &mut items, &mut merged, outer);
        }
        let scope = Scope { items: &items, merged: &merged, outer };
        let output = self.targets(&select.target_list, &scope);
        self.condition(select.where_clause.as_deref(), &scope, "WHERE");
        for node in &select.group_clause {
            self.sort_key(node, &output, &scope, false);
        }
        self.grouped(select, &scope);
        self.condition(select.having_clause.as_deref(), &scope, "HAVING");
        self.expressions(&select.window_clause, &scope);
        for node in &select.distinct_clause {
            if node.node.is_some() {
                self.sort_key(node, &output, &scope, false);
            }
        }
        self.sorted(&select.sort_clause, &output, &scope, false);
        for limit in [&select.limit_count, &select.limit_offset].into_iter().flatten() {
            self.expression(limit, &scope);
        }
        output
    }

    fn sorted(&mut self, keys: &[Node], output: &Output, scope: &Scope<'_>, names_only: bool) {
        for key in keys {
            if let Some(NodeEnum::SortBy(sort)) = &key.node
                && let Some(node) = sort.node.as_deref()
            {
                self.sort_key(node, output, scope, names_only);
            }
        }
    }

    /// A key of `ORDER BY` or `GROUP BY` may be the name of an output.
    fn sort_key(&mut self, node: &Node, output: &Output, scope: &Scope<'_>, names_only: bool) {
        if let Some(NodeEnum::ColumnRef(column)) = &node.node {
            let names = crate::sql::classify::tree::names(&column.fields);
            if let [name] = names.as_slice()
                && (output.open && names_only || output.columns.iter().any(|of| of.name == *name))
            {
                return;
            }
        }
        self.expression(node, scope);
    }
}

/// Gives columns the names that an alias lists.
pub(super) fn rename(columns: &mut [Column], names: &[String]) {
    for (column, name) in columns.iter_mut().zip(names) {
        column.name.clone_from(name);
    }
}

/// A column of a result.
pub(super) fn output_column(name: String, family: Family, origins: Rc<[Use]>) -> Column {
    Column { name, family, not_null: false, filled: false, origins }
}
