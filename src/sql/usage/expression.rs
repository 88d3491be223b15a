//! Expressions: the names in them, and the families of their values.

use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, SubLink, SubLinkType, TypeName};
use pg_query::{Node, NodeEnum};
use serde_json::Value;

use super::family::{Family, signature};
use super::resolve::{Resolver, Scope};
use crate::sql::classify::tree;
use crate::sql::name::RelationName;

/// Operators that compare.
const COMPARISONS: &[&str] = &["=", "<>", "!=", "<", ">", "<=", ">="];

impl Resolver<'_, '_> {
    pub fn expressions(&mut self, nodes: &[Node], scope: &Scope<'_>) {
        for node in nodes {
            self.expression(node, scope);
        }
    }

    /// Something that must be a boolean.
    pub fn condition(&mut self, node: Option<&Node>, scope: &Scope<'_>, place: &str) {
        let Some(node) = node else { return };
        let family = self.expression(node, scope);
        if !family.mixes(&Family::Bool) {
            self.problem(format!("{place} of {} instead of a boolean", family.words()));
        }
    }

    fn optional(&mut self, node: Option<&Node>, scope: &Scope<'_>) -> Family {
        node.map_or(Family::Any, |node| self.expression(node, scope))
    }

    /// Resolves an expression, and tells the family of its value.
    pub fn expression(&mut self, node: &Node, scope: &Scope<'_>) -> Family {
        let Some(node) = &node.node else { return Family::Any };
        match node {
            NodeEnum::ColumnRef(column) => {
                let names = tree::names(&column.fields);
                if names.len() < column.fields.len() {
                    if let Some(item) =
                        scope.items.iter().find(|item| Some(&item.alias) == names.last()).cloned()
                    {
                        self.whole_row(&item);
                    }
                    return Family::Any;
                }
                self.column(&names, scope)
            }
            NodeEnum::AConst(constant) => match &constant.val {
                Some(Val::Ival(_) | Val::Fval(_)) => Family::Number,
                Some(Val::Boolval(_)) => Family::Bool,
                _ => Family::Any,
            },
            NodeEnum::AExpr(operation) => self.operation(operation, scope),
            NodeEnum::BoolExpr(bool) => {
                for argument in &bool.args {
                    self.condition(Some(argument), scope, "AND, OR or NOT");
                }
                Family::Bool
            }
            NodeEnum::NullTest(test) => {
                self.optional(test.arg.as_deref(), scope);
                Family::Bool
            }
            NodeEnum::BooleanTest(test) => {
                self.condition(test.arg.as_deref(), scope, "IS TRUE or FALSE");
                Family::Bool
            }
            NodeEnum::TypeCast(cast) => {
                self.optional(cast.arg.as_deref(), scope);
                self.type_name(cast.type_name.as_ref())
            }
            NodeEnum::FuncCall(call) => self.call(call, scope),
            NodeEnum::SubLink(link) => self.sublink(link, scope),
            NodeEnum::CaseExpr(case) => {
                let tested = self.optional(case.arg.as_deref(), scope);
                let mut results = Vec::new();
                for when in &case.args {
                    let Some(NodeEnum::CaseWhen(when)) = &when.node else { continue };
                    if case.arg.is_some() {
                        let value = self.optional(when.expr.as_deref(), scope);
                        self.compare(&tested, &value, "CASE");
                    } else {
                        self.condition(when.expr.as_deref(), scope, "CASE WHEN");
                    }
                    results.push(self.optional(when.result.as_deref(), scope));
                }
                results.push(self.optional(case.defresult.as_deref(), scope));
                self.mixed(&results, "CASE")
            }
            NodeEnum::CoalesceExpr(coalesce) => {
                let families: Vec<Family> =
                    coalesce.args.iter().map(|node| self.expression(node, scope)).collect();
                self.mixed(&families, "COALESCE")
            }
            NodeEnum::MinMaxExpr(choice) => {
                let families: Vec<Family> =
                    choice.args.iter().map(|node| self.expression(node, scope)).collect();
                self.mixed(&families, "GREATEST or LEAST")
            }
            other => {
                self.any(other, scope);
                Family::Any
            }
        }
    }

    /// A node that is not looked at closely: the names in it.
    pub fn any(&mut self, node: &NodeEnum, scope: &Scope<'_>) {
        match node {
            NodeEnum::List(list) => self.expressions(&list.items, scope),
            NodeEnum::RowExpr(row) => self.expressions(&row.args, scope),
            NodeEnum::AArrayExpr(array) => self.expressions(&array.elements, scope),
            NodeEnum::GroupingSet(set) => self.expressions(&set.content, scope),
            NodeEnum::SortBy(sort) => {
                self.optional(sort.node.as_deref(), scope);
            }
            NodeEnum::CollateClause(collate) => {
                self.optional(collate.arg.as_deref(), scope);
            }
            NodeEnum::AIndirection(indirection) => {
                self.optional(indirection.arg.as_deref(), scope);
                for part in &indirection.indirection {
                    if matches!(&part.node, Some(NodeEnum::AIndices(_))) {
                        self.deep(part, scope);
                    }
                }
            }
            NodeEnum::WindowDef(window) => {
                self.expressions(&window.partition_clause, scope);
                self.expressions(&window.order_clause, scope);
            }
            NodeEnum::NamedArgExpr(argument) => {
                self.optional(argument.arg.as_deref(), scope);
            }
            NodeEnum::MultiAssignRef(assigned) => {
                self.optional(assigned.source.as_deref(), scope);
            }
            NodeEnum::ResTarget(target) => {
                self.optional(target.val.as_deref(), scope);
            }
            other => self.deep(&Node { node: Some(other.clone()) }, scope),
        }
    }

    /// Finds the names in whatever the grammar has.
    fn deep(&mut self, node: &Node, scope: &Scope<'_>) {
        if let Ok(value) = serde_json::to_value(node) {
            self.names_in(&value, scope);
        }
    }

    fn names_in(&mut self, value: &Value, scope: &Scope<'_>) {
        match value {
            Value::Object(object) => {
                if let Some(fields) =
                    object.get("ColumnRef").and_then(|column| column.get("fields")?.as_array())
                {
                    let names = fields.iter().map(|field| {
                        field.pointer("/node/String/sval").and_then(Value::as_str).map(ToOwned::to_owned)
                    });
                    if let Some(names) = names.collect::<Option<Vec<String>>>() {
                        self.column(&names, scope);
                    }
                    return;
                }
                object.values().for_each(|inner| self.names_in(inner, scope));
            }
            Value::Array(items) => items.iter().for_each(|inner| self.names_in(inner, scope)),
            _ => {}
        }
    }

    fn operation(&mut self, operation: &AExpr, scope: &Scope<'_>) -> Family {
        let name = operation.name.last().and_then(tree::string).unwrap_or_default();
        let left = self.optional(operation.lexpr.as_deref(), scope);
        match operation.kind() {
            AExprKind::AexprIn | AExprKind::AexprBetween | AExprKind::AexprNotBetween => {
                if let Some(NodeEnum::List(list)) =
                    operation.rexpr.as_deref().and_then(|node| node.node.as_ref())
                {
                    for item in &list.items {
                        let right = self.expression(item, scope);
                        self.compare(&left, &right, &name);
                    }
                }
                Family::Bool
            }
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => {
                self.optional(operation.rexpr.as_deref(), scope);
                Family::Bool
            }
            _ => {
                let right = self.optional(operation.rexpr.as_deref(), scope);
                self.operator(&name, &left, &right, operation.lexpr.is_some())
            }
        }
    }

    fn operator(&mut self, name: &str, left: &Family, right: &Family, binary: bool) -> Family {
        if COMPARISONS.contains(&name) {
            self.compare(left, right, name);
            return Family::Bool;
        }
        let operands = if binary { vec![left, right] } else { vec![right] };
        for operand in &operands {
            if operand.takes(name) == Some(false)
                && !(name.starts_with('-') && name.len() > 1 && **operand == *right)
            {
                self.problem(format!("there is no operator {name} for {}", operand.words()));
            }
        }
        match name {
            "||" => {
                let plain = |of: &Family| {
                    !matches!(
                        of,
                        Family::Any | Family::Text | Family::Other(_) | Family::Jsonb | Family::Bytes
                    )
                };
                if plain(left) && plain(right) {
                    self.problem(format!(
                        "there is no operator || for {} and {}",
                        left.words(),
                        right.words()
                    ));
                }
                if *left == Family::Text || *right == Family::Text { Family::Text } else { Family::Any }
            }
            "+" | "-" | "*" | "/" | "%" if binary => self.arithmetic(name, left, right),
            "->>" | "#>>" => Family::Text,
            _ if matches!(left.takes(name), Some(true)) && name.contains('~') => Family::Bool,
            _ => Family::Any,
        }
    }

    fn arithmetic(&mut self, name: &str, left: &Family, right: &Family) -> Family {
        use Family::{Interval, Number, Time};
        match (left, right) {
            (Number, Number) => Number,
            (Interval, Interval) => Interval,
            (Time, Interval) | (Interval, Time) => Time,
            (Time, Time) if name == "+" => {
                self.problem("there is no operator + for two timestamps".to_owned());
                Family::Any
            }
            _ => Family::Any,
        }
    }

    fn compare(&mut self, left: &Family, right: &Family, operator: &str) {
        if !left.compares(right) {
            self.problem(format!(
                "there is no operator {operator} for {} and {}",
                left.words(),
                right.words()
            ));
        }
    }

    fn mixed(&mut self, families: &[Family], place: &str) -> Family {
        let mut known = families.iter().filter(|family| **family != Family::Any);
        let Some(first) = known.next() else { return Family::Any };
        if let Some(other) = known.find(|other| !first.mixes(other)) {
            self.problem(format!("{place} of {} and {}", first.words(), other.words()));
        }
        first.clone()
    }

    /// The family of a type that is named.
    pub fn type_name(&mut self, name: Option<&TypeName>) -> Family {
        let Some(path) = name.and_then(|name| tree::path(&name.names)) else { return Family::Any };
        let known = |full: &RelationName| self.schema.types.contains(full);
        let full = match &path.schema {
            Some(_) => Some(path.clone()).filter(known),
            None => {
                let full = |schema: &String| RelationName::qualified(schema.clone(), path.name.clone());
                self.path.iter().map(full).find(known)
            }
        };
        if let Some(full) = full {
            self.out.types.insert(full);
        }
        if name.is_some_and(|name| !name.array_bounds.is_empty()) {
            return Family::Other(format!("{}[]", path.name));
        }
        Family::named(&path, self.schema.catalog)
    }

    /// A call of a function.
    pub fn call(&mut self, call: &FuncCall, scope: &Scope<'_>) -> Family {
        let arguments: Vec<Family> = call.args.iter().map(|node| self.expression(node, scope)).collect();
        self.expressions(&call.agg_order, scope);
        self.condition(call.agg_filter.as_deref(), scope, "FILTER");
        if let Some(window) = &call.over {
            self.expressions(&window.partition_clause, scope);
            self.expressions(&window.order_clause, scope);
        }
        let Some(name) = tree::path(&call.funcname) else { return Family::Any };
        if let Some(full) = self.schema.named(&name, self.path, &self.schema.functions) {
            self.out.functions.insert(full);
            return Family::Any;
        }
        if name.schema.as_deref().is_some_and(|schema| schema != "pg_catalog") {
            return Family::Any;
        }
        self.built_in(&name.name, &arguments)
    }

    fn built_in(&mut self, name: &str, arguments: &[Family]) -> Family {
        let signature = signature(name);
        if let Some(first) = arguments.first()
            && !signature.takes.is_empty()
            && !matches!(first, Family::Any | Family::Other(_))
            && !signature.takes.contains(first)
        {
            self.problem(format!("there is no function {name} of {}", first.words()));
        }
        if let ("date_trunc" | "date_part" | "extract", Some(of)) = (name, arguments.last())
            && !matches!(of, Family::Any | Family::Other(_) | Family::Time | Family::Clock | Family::Interval)
        {
            self.problem(format!("there is no function {name} of {}", of.words()));
        }
        match (signature.result, arguments.first()) {
            (Some(result), _) => result,
            (None, Some(first)) if matches!(name, "sum" | "avg" | "min" | "max") => first.clone(),
            _ => Family::Any,
        }
    }

    fn sublink(&mut self, link: &SubLink, scope: &Scope<'_>) -> Family {
        let left = self.optional(link.testexpr.as_deref(), scope);
        let output = self.inner(link.subselect.as_deref(), Some(scope));
        let first = output.columns.first().map_or(Family::Any, |column| column.family.clone());
        let is_row = matches!(
            link.testexpr.as_deref().and_then(|node| node.node.as_ref()),
            Some(NodeEnum::RowExpr(_))
        );
        let single = !is_row && !output.open;
        match link.sub_link_type() {
            SubLinkType::AnySublink | SubLinkType::AllSublink => {
                if single && output.columns.len() != 1 {
                    self.problem("a subquery has too many columns".to_owned());
                } else if single {
                    self.compare(&left, &first, "IN");
                }
                Family::Bool
            }
            SubLinkType::ExprSublink => {
                if single && output.columns.len() != 1 {
                    self.problem("a subquery must return only one column".to_owned());
                }
                first
            }
            SubLinkType::ExistsSublink => Family::Bool,
            _ => Family::Any,
        }
    }
}
