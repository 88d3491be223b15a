//! What a query speaks of: relations, with how each is used, and functions.

use pg_query::{Node, NodeEnum};
use serde_json::{Map, Value};

use super::lock::LockMode;
use crate::sql::classify::tree;
use crate::sql::name::RelationName;

/// A relation that a query uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub name: RelationName,
    /// What is below it is used too.
    pub inherit: bool,
    pub mode: LockMode,
    /// It may be read from beginning to end.
    pub whole: bool,
    /// Columns by which rows are looked up, where it is the only relation.
    pub found_by: Vec<(String, Lookup)>,
}

/// How rows are found by a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// They are equal to something.
    Equal,
    /// It is the least or the greatest.
    Extreme,
}

/// What a query uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    pub relations: Vec<Access>,
    pub functions: Vec<RelationName>,
    /// Sequences that are named in a call of `nextval` and the like.
    pub sequences: Vec<RelationName>,
    /// Columns whose sequence is asked for by `pg_get_serial_sequence`.
    pub serials: Vec<(RelationName, String)>,
}

/// Functions of sequences whose argument names one.
const SEQUENCE_CALLS: &[&str] = &["nextval", "setval", "currval"];

/// Names of `WITH` that are in scope.
type Scope<'s> = &'s [String];

/// Everything that an expression uses.
pub fn of_expression(node: &Node) -> Reads {
    let mut reads = Reads::default();
    if let Ok(value) = serde_json::to_value(node) {
        walk(&value, &[], &mut reads);
    }
    reads
}

/// Everything that a statement uses, the rows that it changes itself left out.
pub fn of_statement(node: &NodeEnum) -> Reads {
    let mut reads = Reads::default();
    if let Ok(Value::Object(outer)) = serde_json::to_value(node) {
        for body in outer.values() {
            walk(body, &[], &mut reads);
        }
    }
    reads
}

fn walk(value: &Value, scope: Scope<'_>, reads: &mut Reads) {
    match value {
        Value::Object(object) => walk_object(object, scope, reads),
        Value::Array(items) => items.iter().for_each(|item| walk(item, scope, reads)),
        _ => {}
    }
}

fn walk_object(object: &Map<String, Value>, scope: Scope<'_>, reads: &mut Reads) {
    if let Some(range) = object.get("RangeVar") {
        access(range, scope, LockMode::AccessShare, reads);
        return;
    }
    if let Some(call) = object.get("FuncCall") {
        called(call, reads);
    }
    let inner = with_names(object, scope, reads);
    let scope = inner.as_deref().unwrap_or(scope);
    for (name, field) in object {
        let skip = name == "with_clause" || name == "locking_clause";
        if !skip {
            walk(field, scope, reads);
        }
    }
    if object.contains_key("limit_option") {
        narrow(object, reads);
    }
    if let Some(Value::Array(clauses)) = object.get("locking_clause")
        && !clauses.is_empty()
    {
        lock_rows(object, clauses, reads);
    }
}

/// What lets a query of one relation read less than all of it.
fn narrow(query: &Map<String, Value>, reads: &mut Reads) {
    let list =
        |field: &str| query.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let [from] = list("from_clause") else { return };
    let Some(range) = from.pointer("/node/RangeVar") else { return };
    let name = range_name(range);
    let given = |field: &str| query.get(field).is_some_and(|value| !value.is_null());
    let plain = ["sort_clause", "group_clause", "distinct_clause", "window_clause"]
        .iter()
        .all(|field| list(field).is_empty());
    let mut functions = Reads::default();
    list("target_list").iter().for_each(|target| walk(target, &[], &mut functions));
    let stops = given("limit_count") && plain && functions.functions.is_empty() && !given("where_clause");
    let mut found_by = query.get("where_clause").map(equal_columns).unwrap_or_default();
    if let [target] = list("target_list")
        && plain
        && !given("where_clause")
        && let Some(column) = extreme(target)
    {
        found_by.push((column, Lookup::Extreme));
    }
    for access in reads.relations.iter_mut().filter(|access| access.name == name) {
        access.whole &= !stops;
        access.found_by.clone_from(&found_by);
    }
}

/// The column of `min(column)` or `max(column)`.
fn extreme(target: &Value) -> Option<String> {
    let call = target.pointer("/node/ResTarget/val/node/FuncCall")?;
    let name = call.pointer("/funcname/0/node/String/sval").and_then(Value::as_str)?;
    if !["min", "max"].contains(&name) {
        return None;
    }
    column_name(call.pointer("/args/0")?)
}

fn column_name(value: &Value) -> Option<String> {
    let fields = value.pointer("/node/ColumnRef/fields")?.as_array()?;
    fields.last()?.pointer("/node/String/sval").and_then(Value::as_str).map(str::to_owned)
}

/// The columns that a condition compares by `=` with what is no column, all conditions holding together.
pub fn looked_up(condition: &Node) -> Vec<(String, Lookup)> {
    serde_json::to_value(condition).map(|value| equal_columns(&value)).unwrap_or_default()
}

fn equal_columns(condition: &Value) -> Vec<(String, Lookup)> {
    if let Some(all) = condition.pointer("/node/BoolExpr") {
        let and = pg_query::protobuf::BoolExprType::AndExpr as i64;
        let args = all
            .get("args")
            .and_then(Value::as_array)
            .filter(|_| all.get("boolop").and_then(Value::as_i64) == Some(and));
        return args.into_iter().flatten().flat_map(equal_columns).collect();
    }
    let Some(compare) = condition.pointer("/node/AExpr") else { return Vec::new() };
    if compare.pointer("/name/0/node/String/sval").and_then(Value::as_str) != Some("=") {
        return Vec::new();
    }
    let sides = ["lexpr", "rexpr"].map(|side| compare.get(side).and_then(column_name));
    match sides {
        [Some(column), None] | [None, Some(column)] => vec![(column, Lookup::Equal)],
        _ => Vec::new(),
    }
}

/// The names of the `WITH` of a query, for what is in its scope; the queries of the `WITH` itself are looked at here, as
/// each sees those before it only, unless it is recursive.
fn with_names(object: &Map<String, Value>, scope: Scope<'_>, reads: &mut Reads) -> Option<Vec<String>> {
    let with = object.get("with_clause")?.as_object()?;
    let recursive = with.get("recursive").and_then(Value::as_bool).unwrap_or_default();
    let ctes = with.get("ctes")?.as_array()?;
    let name =
        |cte: &Value| cte.pointer("/node/CommonTableExpr/ctename").and_then(Value::as_str).map(str::to_owned);
    let mut names = scope.to_vec();
    if recursive {
        names.extend(ctes.iter().filter_map(name));
    }
    for cte in ctes {
        walk(cte, &names, reads);
        names.extend(name(cte));
    }
    Some(names)
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn range_name(range: &Value) -> RelationName {
    RelationName { schema: tree::optional(&text(range, "schemaname")), name: text(range, "relname") }
}

fn access(range: &Value, scope: Scope<'_>, mode: LockMode, reads: &mut Reads) {
    let name = range_name(range);
    if name.schema.is_none() && scope.contains(&name.name) {
        return;
    }
    let inherit = range.get("inh").and_then(Value::as_bool).unwrap_or(true);
    match reads.relations.iter_mut().find(|known| known.name == name && known.inherit == inherit) {
        Some(known) => known.mode = known.mode.max(mode),
        None => reads.relations.push(Access { name, inherit, mode, whole: true, found_by: Vec::new() }),
    }
}

fn called(call: &Value, reads: &mut Reads) {
    let parts: Vec<&str> = call
        .get("funcname")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|part| part.pointer("/node/String/sval").and_then(Value::as_str))
        .collect();
    let name = match parts.as_slice() {
        [name] => RelationName::unqualified(*name),
        [.., schema, name] => RelationName::qualified(*schema, *name),
        [] => return,
    };
    if SEQUENCE_CALLS.contains(&name.name.as_str())
        && let Some(sequence) = call.pointer("/args/0").and_then(literal).and_then(|text| parse_name(&text))
    {
        reads.sequences.push(sequence);
    }
    if name.name == "pg_get_serial_sequence"
        && let Some(table) = call.pointer("/args/0").and_then(literal).and_then(|text| parse_name(&text))
        && let Some(column) = call.pointer("/args/1").and_then(literal)
    {
        reads.serials.push((table, column));
    }
    if !reads.functions.contains(&name) {
        reads.functions.push(name);
    }
}

/// The text of a string literal, also below a cast.
fn literal(value: &Value) -> Option<String> {
    if let Some(inner) = value.pointer("/node/TypeCast/arg") {
        return literal(inner);
    }
    let constant = value.pointer("/node/AConst/val")?;
    constant.pointer("/Sval/sval").and_then(Value::as_str).map(str::to_owned)
}

/// A name as text, quotes included.
pub fn parse_name(text: &str) -> Option<RelationName> {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (part, after) = quoted.split_once('"')?;
                (part.to_owned(), after)
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                let (part, after) = rest.split_at(end);
                (part.to_ascii_lowercase(), after)
            }
        };
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => break,
            None => return None,
        }
    }
    match parts.as_slice() {
        [name] => Some(RelationName::unqualified(name)),
        [.., schema, name] => Some(RelationName::qualified(schema, name)),
        [] => None,
    }
}

/// Statements in the `WITH` of a statement; only there they may change rows.
pub fn nested(node: &NodeEnum) -> Vec<&NodeEnum> {
    let with = match node {
        NodeEnum::SelectStmt(stmt) => stmt.with_clause.as_ref(),
        NodeEnum::InsertStmt(stmt) => stmt.with_clause.as_ref(),
        NodeEnum::UpdateStmt(stmt) => stmt.with_clause.as_ref(),
        NodeEnum::DeleteStmt(stmt) => stmt.with_clause.as_ref(),
        NodeEnum::MergeStmt(stmt) => stmt.with_clause.as_ref(),
        _ => None,
    };
    let ctes = with.into_iter().flat_map(|with| &with.ctes);
    ctes.filter_map(|cte| match &cte.node {
        Some(NodeEnum::CommonTableExpr(cte)) => cte.ctequery.as_ref()?.node.as_ref(),
        _ => None,
    })
    .collect()
}

/// `FOR UPDATE` and the like: the relations of this query that it names, all of them if it names none.
fn lock_rows(object: &Map<String, Value>, clauses: &[Value], reads: &mut Reads) {
    let mut named: Vec<String> = Vec::new();
    let mut all = false;
    for clause in clauses {
        let of = clause.pointer("/node/LockingClause/locked_rels").and_then(Value::as_array);
        match of.filter(|of| !of.is_empty()) {
            Some(of) => named.extend(
                of.iter()
                    .filter_map(|range| range.pointer("/node/RangeVar"))
                    .map(|range| text(range, "relname")),
            ),
            None => all = true,
        }
    }
    let mut here = Vec::new();
    if let Some(from) = object.get("from_clause") {
        ranges(from, &mut here);
    }
    for (name, alias) in here {
        if all || named.contains(&alias) {
            let found = reads.relations.iter_mut();
            found.filter(|access| access.name == name).for_each(|access| access.mode = LockMode::RowShare);
        }
    }
}

/// The relations of a `FROM`, with the name that each goes by.
fn ranges(value: &Value, found: &mut Vec<(RelationName, String)>) {
    match value {
        Value::Object(object) => match object.get("RangeVar") {
            Some(range) => {
                let alias = range.pointer("/alias/aliasname").and_then(Value::as_str);
                let name = range_name(range);
                let alias = alias.map_or_else(|| name.name.clone(), str::to_owned);
                found.push((name, alias));
            }
            None => object.values().for_each(|inner| ranges(inner, found)),
        },
        Value::Array(items) => items.iter().for_each(|item| ranges(item, found)),
        _ => {}
    }
}
