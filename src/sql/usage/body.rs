//! What functions use according to their source, which the server does not follow.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use serde_json::Value;

use super::resolve::{Item, Resolver, Scope};
use super::schema::{Schema, Use};
use crate::sql::grammar::{self, on_deep_stack};
use crate::sql::name::RelationName;
use crate::sql::snapshot::{FunctionFacts, Relation, Snapshot};

/// What a function may return: the parser looks whether `RETURN` fits. A trigger's rows are given as arguments, because the
/// library spoils its own output for a function that returns `trigger`.
const RETURNS: &[&str] = &["RETURNS void", "RETURNS record", "RETURNS SETOF record", ""];

/// What a function uses, as far as its source tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyUses {
    /// Index into [`Snapshot::functions`].
    pub function: usize,
    /// Relations and columns.
    pub uses: BTreeSet<(RelationName, Option<String>)>,
    /// Functions of the user that it calls.
    pub calls: BTreeSet<RelationName>,
}

/// Reads the source of functions in SQL and PL/pgSQL that hold one of the words, which are in lower case. What is put
/// together as text (`EXECUTE`) is searched for the words.
pub fn body_uses(catalog: &Snapshot, words: &BTreeSet<String>) -> Vec<BodyUses> {
    let mentioned = |function: &FunctionFacts| {
        let source = function.source.as_deref().unwrap_or_default().to_lowercase();
        words.iter().any(|word| source.contains(word.as_str()))
    };
    let found: Vec<usize> = catalog
        .functions
        .iter()
        .enumerate()
        .filter(|(_, of)| mentioned(of))
        .map(|(index, _)| index)
        .collect();
    if found.is_empty() {
        return Vec::new();
    }
    let work = || {
        let schema = Schema::new(catalog);
        found.iter().filter_map(|index| read(&schema, *index, catalog.functions.get(*index)?)).collect()
    };
    on_deep_stack(work).unwrap_or_default()
}

fn read(schema: &Schema<'_>, index: usize, function: &FunctionFacts) -> Option<BodyUses> {
    let source = function.source.as_deref()?;
    let mut resolver = Resolver::new(schema, &schema.catalog.search_path);
    match function.language.as_str() {
        "sql" => {
            for statement in grammar::read(source).statements {
                resolver.statement(&statement.node, None);
            }
        }
        "plpgsql" => plpgsql(&mut resolver, function, source),
        _ => return None,
    }
    Some(BodyUses { function: index, uses: resolver.out.uses, calls: resolver.out.functions })
}

fn plpgsql(resolver: &mut Resolver<'_, '_>, function: &FunctionFacts, source: &str) {
    let tables = triggered(resolver.schema.catalog, function);
    let rows: Vec<Item> =
        tables.iter().flat_map(|table| ["new", "old"].map(|alias| row(resolver, table, alias))).collect();
    let quote = "$whimbrel_body$";
    let arguments = if rows.is_empty() { function.arguments.as_str() } else { "new record, old record" };
    let parsed = RETURNS.iter().find_map(|returns| {
        grammar::plpgsql(&format!(
            "CREATE FUNCTION f({arguments}) {returns} LANGUAGE plpgsql AS {quote}{source}{quote}"
        ))
    });
    let Some(parsed) = parsed else {
        words_in(resolver, source);
        return;
    };
    let scope = Scope { items: &rows, merged: &[], outer: None };
    let mut queries = Vec::new();
    expressions(&parsed, &mut queries);
    for query in queries {
        resolve(resolver, query, &scope);
    }
}

/// The tables whose triggers call the function.
fn triggered<'a>(catalog: &'a Snapshot, function: &FunctionFacts) -> Vec<&'a Relation> {
    let name = function.name.sql();
    let calls = |relation: &&Relation| {
        relation.triggers.iter().any(|trigger| trigger.function.trim_end_matches("()") == name)
    };
    catalog.relations.iter().filter(calls).collect()
}

fn row(resolver: &Resolver<'_, '_>, table: &Relation, alias: &str) -> Item {
    let columns = resolver.schema.get(&table.name).map(|table| table.columns.clone()).unwrap_or_default();
    Item { alias: alias.to_owned(), columns, open: true, hidden: true, relation: Some(table.name.clone()) }
}

/// The queries and expressions of a function.
fn expressions<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(object) => {
            if let Some(query) = object.get("PLpgSQL_expr").and_then(|of| of.get("query")?.as_str()) {
                found.push(query);
            }
            object.values().for_each(|inner| expressions(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| expressions(inner, found)),
        _ => {}
    }
}

fn resolve(resolver: &mut Resolver<'_, '_>, query: &str, scope: &Scope<'_>) {
    let bare = query.trim();
    // A whole row that is handed on tells of no column.
    if ["new", "old"].iter().any(|row| bare.eq_ignore_ascii_case(row)) {
        return;
    }
    if let Some((target, value)) = bare.split_once(":=") {
        resolve(resolver, target, scope);
        resolve(resolver, value, scope);
        return;
    }
    let parsed = [bare.to_owned(), format!("SELECT {bare}")]
        .iter()
        .find_map(|text| grammar::trees(std::iter::once(text.as_str())).pop().flatten());
    match parsed {
        Some(tree) => {
            resolver.statement(&tree.node, Some(scope));
            texts(resolver, &tree.node);
        }
        None => words_in(resolver, bare),
    }
}

/// Text that may be SQL itself.
fn texts(resolver: &mut Resolver<'_, '_>, node: &NodeEnum) {
    let Ok(value) = serde_json::to_value(node) else { return };
    let mut found = Vec::new();
    strings(&value, &mut found);
    for text in found.iter().filter(|text| text.contains(' ')) {
        match grammar::trees(std::iter::once(*text)).pop().flatten() {
            Some(tree) => {
                resolver.statement(&tree.node, None);
            }
            None => words_in(resolver, text),
        }
    }
}

fn strings<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(object) => {
            if let Some(text) = object.get("Sval").and_then(|of| of.get("sval")?.as_str()) {
                found.push(text);
            }
            object.values().for_each(|inner| strings(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| strings(inner, found)),
        _ => {}
    }
}

/// Relations and their columns whose names stand in a text.
fn words_in(resolver: &mut Resolver<'_, '_>, text: &str) {
    let lower = text.to_lowercase();
    let words: BTreeSet<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let catalog = resolver.schema.catalog;
    for relation in &catalog.relations {
        if relation.columns.is_empty() || !words.contains(relation.name.name.to_lowercase().as_str()) {
            continue;
        }
        let columns =
            relation.columns.iter().filter(|column| words.contains(column.name.to_lowercase().as_str()));
        let mut uses: Vec<Use> =
            columns.map(|column| (relation.name.clone(), Some(column.name.clone()))).collect();
        uses.push((relation.name.clone(), None));
        resolver.used(&uses);
    }
}
