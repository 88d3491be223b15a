//! Reading the nodes of a tree.

use pg_query::protobuf::{FunctionParameterMode, ObjectType, RangeVar, WithClause};
use pg_query::{Node, NodeEnum};
use serde_json::Value;

use crate::sql::kind::RelationKind;
use crate::sql::name::{MAX_IDENTIFIER, RelationName, clip};

/// A string that is empty where the grammar had nothing.
pub fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The name in a reference to a relation.
pub fn range(range: &RangeVar) -> RelationName {
    RelationName { schema: optional(&range.schemaname), name: range.relname.clone() }
}

/// The same of a node.
pub fn relation(node: &Node) -> Option<RelationName> {
    match &node.node {
        Some(NodeEnum::RangeVar(var)) => Some(range(var)),
        _ => None,
    }
}

/// The text of a string node.
pub fn string(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::String(string)) => Some(string.sval.clone()),
        _ => None,
    }
}

/// The parts of a name, whatever the node that holds them.
pub fn strings(node: Option<&Node>) -> Vec<Node> {
    match node.and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::List(list)) => list.items.clone(),
        Some(NodeEnum::TypeName(name)) => name.names.clone(),
        Some(NodeEnum::String(_)) => node.cloned().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A name of one to three parts; the database is left out.
pub fn path(parts: &[Node]) -> Option<RelationName> {
    let parts: Vec<String> = parts.iter().filter_map(string).collect();
    match parts.as_slice() {
        [name] => Some(RelationName::unqualified(name)),
        [schema, name] | [_, schema, name] => Some(RelationName::qualified(schema, name)),
        _ => None,
    }
}

/// The names of columns.
pub fn names(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter_map(string).collect()
}

/// The column that an `UPDATE` sets.
pub fn target(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => optional(&target.name),
        _ => None,
    }
}

/// The relation that a statement changes, unless its `WITH` changes more.
pub fn only_relation(relation: Option<&RangeVar>, with: Option<&WithClause>) -> Option<RelationName> {
    relation.filter(|_| !writes(with)).map(range)
}

/// Whether a `WITH` changes rows.
pub fn writes(with: Option<&WithClause>) -> bool {
    with.into_iter().flat_map(|with| &with.ctes).any(|cte| match &cte.node {
        Some(NodeEnum::CommonTableExpr(cte)) => {
            let query = cte.ctequery.as_ref().and_then(|query| query.node.as_ref());
            !matches!(query, Some(NodeEnum::SelectStmt(select)) if !writes(select.with_clause.as_ref()))
        }
        _ => true,
    })
}

/// Whether an option is there and not switched off.
pub fn has_option(options: &[Node], name: &str) -> bool {
    options.iter().any(|option| match &option.node {
        Some(NodeEnum::DefElem(element)) if element.defname == name => {
            !matches!(element.arg.as_ref().and_then(|arg| arg.node.as_ref()), Some(value) if is_off(value))
        }
        _ => false,
    })
}

fn is_off(value: &NodeEnum) -> bool {
    match value {
        NodeEnum::Boolean(value) => !value.boolval,
        NodeEnum::Integer(value) => value.ival == 0,
        NodeEnum::String(value) => {
            ["off", "false", "0", "no"].contains(&value.sval.to_ascii_lowercase().as_str())
        }
        _ => false,
    }
}

/// Whether a parameter of a function gives something back.
pub fn is_output(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::FunctionParameter(parameter))
        if [FunctionParameterMode::FuncParamOut, FunctionParameterMode::FuncParamInout].contains(&parameter.mode()))
}

/// The plain column of an entry of an index.
pub fn index_column(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::IndexElem(element)) => optional(&element.name),
        _ => None,
    }
}

/// The names that the server makes the name of an index from; none if an expression has one that is not foreseen here.
pub fn index_columns<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<String> {
    let mut chosen: Vec<String> = Vec::new();
    for node in nodes {
        let Some(base) = index_column(node).or_else(|| called(node)) else {
            return Vec::new();
        };
        let mut name = base.clone();
        let mut pass = 1;
        while chosen.contains(&name) {
            let number = pass.to_string();
            name = format!("{}{number}", clip(&base, MAX_IDENTIFIER - number.len()));
            pass += 1;
        }
        chosen.push(name);
    }
    chosen
}

/// The function whose result is an entry of an index.
fn called(node: &Node) -> Option<String> {
    let Some(NodeEnum::IndexElem(element)) = &node.node else {
        return None;
    };
    match element.expr.as_ref()?.node.as_ref()? {
        NodeEnum::FuncCall(call) => call.funcname.last().and_then(string),
        _ => None,
    }
}

/// The columns that the entries and the condition of an index speak of.
pub fn mentioned<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<String> {
    let mut found: Vec<String> = nodes
        .flat_map(|node| {
            index_column(node).map_or_else(|| columns(node).unwrap_or_default(), |name| vec![name])
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The columns that an expression speaks of, each once; `None` if it speaks of whole rows.
pub fn columns(expression: &Node) -> Option<Vec<String>> {
    let mut found = Vec::new();
    collect_columns(&serde_json::to_value(expression).ok()?, &mut found)?;
    Some(found)
}

fn collect_columns(value: &Value, found: &mut Vec<String>) -> Option<()> {
    match value {
        Value::Object(object) => {
            if let Some(fields) = object.get("ColumnRef").and_then(|reference| reference.get("fields")) {
                let last = fields.as_array().and_then(|fields| fields.last());
                let name = last?.pointer("/node/String/sval").and_then(Value::as_str)?;
                if !found.iter().any(|known| known == name) {
                    found.push(name.to_owned());
                }
                return Some(());
            }
            object.values().try_for_each(|inner| collect_columns(inner, found))
        }
        Value::Array(items) => items.iter().try_for_each(|inner| collect_columns(inner, found)),
        _ => Some(()),
    }
}

/// The kind of relation.
pub fn relation_kind(object: ObjectType) -> Option<RelationKind> {
    Some(match object {
        ObjectType::ObjectTable => RelationKind::Table,
        ObjectType::ObjectForeignTable => RelationKind::ForeignTable,
        ObjectType::ObjectView => RelationKind::View,
        ObjectType::ObjectMatview => RelationKind::MaterializedView,
        ObjectType::ObjectIndex => RelationKind::Index,
        ObjectType::ObjectSequence => RelationKind::Sequence,
        ObjectType::ObjectType => RelationKind::Type,
        _ => return None,
    })
}

/// The kind of object in words: `OBJECT_MATVIEW` is "matview".
pub fn object(object: ObjectType) -> String {
    object.as_str_name().trim_start_matches("OBJECT_").replace('_', " ").to_ascii_lowercase()
}

/// The name of a node in the grammar.
pub fn label(node: &NodeEnum) -> String {
    let debug = format!("{:.40?}", Shallow(node));
    debug.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

/// The outermost name of a node, without writing out the tree below it.
struct Shallow<'a>(&'a NodeEnum);

impl std::fmt::Debug for Shallow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        struct First(String);
        impl Write for First {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.push_str(text);
                if self.0.contains(['(', ' ', '{']) { Err(std::fmt::Error) } else { Ok(()) }
            }
        }
        let mut first = First(String::new());
        let _ = write!(first, "{:?}", self.0);
        f.write_str(&first.0)
    }
}
