//! Backfills: the expressions of a step that changes rows in batches, and the one statement that says what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use pg_query::{Node, NodeEnum};
use serde_json::Value;

use super::classify::tree;
use super::foresight::{built_in_volatile, functions_of};
use super::grammar;
use super::name::{MAX_IDENTIFIER, RelationName, quote_ident, quote_literal};
use super::refusal::{Code, Lines, Objection, Refusal};
use super::script::{self, Script};

/// What stands before an expression while it is read alone.
const BEFORE: &str = "SELECT (\n";

/// What is known of a backfill from its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackfillText {
    /// The table.
    pub table: RelationName,
    /// The columns of the table that `where` names, if they are unqualified or qualified by the table.
    pub filtered_by: BTreeSet<String>,
    /// The columns that the expressions name.
    pub read: BTreeSet<String>,
    /// Functions that are called, other than those of the server that are not volatile.
    pub functions: Vec<RelationName>,
    /// Functions of the server that give another value at each call.
    pub volatile: Vec<String>,
    /// Whether an expression has a query of its own.
    pub queries: bool,
}

/// A piece of a backfill that is refused: the name of its field, and why.
pub type Refused = (String, Refusal);

/// One direction of a backfill, as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The table.
    pub table: &'a str,
    /// Expressions by column.
    pub set: &'a BTreeMap<String, String>,
    /// Which rows.
    pub filter: Option<&'a str>,
}

impl Written<'_> {
    /// Returns what it does as one statement: what people are shown, and what locks and reversibility are read from.
    pub fn statement(&self) -> String {
        let mut text = format!("UPDATE {} SET", self.table);
        for (index, (column, expression)) in self.set.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma} {} = {}", quote_ident(column), enclosed(expression));
        }
        if let Some(filter) = self.filter {
            let _ = write!(text, " WHERE {}", enclosed(filter));
        }
        text
    }

    /// Reads every piece, and makes the statement.
    ///
    /// # Errors
    /// Every piece that is not one expression, with its place in its field.
    pub fn read(&self) -> Result<(BackfillText, Script), Vec<Refused>> {
        let read = grammar::on_deep_stack(|| self.pieces());
        let unavailable = || {
            let message = "the parser could not be run on this text";
            Err(vec![("table".to_owned(), objection(self.table, 0, Code::ParserUnavailable, message))])
        };
        let known = read.unwrap_or_else(unavailable)?;
        match script::parse(&self.statement()) {
            Ok(mut script) => {
                for statement in &mut script.statements {
                    statement.transactional = false;
                    statement.blocking = false;
                }
                Ok((known, script))
            }
            Err(refusals) => {
                Err(refusals.into_iter().take(1).map(|refusal| ("set".to_owned(), refusal)).collect())
            }
        }
    }

    fn pieces(&self) -> Result<BackfillText, Vec<Refused>> {
        let mut refused = Vec::new();
        let mut known = BackfillText::default();
        if let Some(name) = table(self.table) {
            known.table = name;
        } else {
            let message = "this is not the name of a table";
            refused.push(("table".to_owned(), objection(self.table, 0, Code::SyntaxError, message)));
        }
        for (column, expression) in self.set {
            match expression_of(expression) {
                Ok(node) => known.note(&node, false),
                Err(refusal) => refused.push((format!("set.{column}"), refusal)),
            }
        }
        match self.filter.map(expression_of) {
            Some(Ok(node)) => known.note(&node, true),
            Some(Err(refusal)) => refused.push(("where".to_owned(), refusal)),
            None => {}
        }
        if refused.is_empty() { Ok(known) } else { Err(refused) }
    }
}

impl BackfillText {
    fn note(&mut self, node: &Node, filter: bool) {
        let value = serde_json::to_value(node).unwrap_or_default();
        let into = if filter { &mut self.filtered_by } else { &mut self.read };
        columns(&value, &self.table.name, into);
        self.queries |= mentions(&value, "SubLink");
        for function in functions_of(node) {
            match built_in_volatile(&function) {
                Some(true) => self.volatile.push(function.name),
                Some(false) => {}
                None => self.functions.push(function),
            }
        }
    }
}

/// The statements that make and remove a trigger for rows that are written meanwhile, each pair in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncTrigger {
    /// The function, and the trigger.
    pub install: [String; 2],
    /// The trigger, and the function.
    pub remove: [String; 2],
}

/// What a batch sets for its own transaction, so that the trigger leaves its rows alone.
pub const IN_BATCH: &str = "whimbrel.backfill";

/// How the name of such a trigger and its function begins.
pub const SYNC_PREFIX: &str = "whimbrel_sync_";

impl Written<'_> {
    /// Returns a trigger that does to a row that is written what the backfill does to those that are there. The expressions
    /// see the new row under the name of the table. `unique` tells it from others of the table.
    pub fn trigger(&self, table: &RelationName, unique: &str) -> SyncTrigger {
        let name: String = format!("{SYNC_PREFIX}{unique}").chars().take(MAX_IDENTIFIER).collect();
        let function = table.sibling(name.clone());
        let row = format!("(SELECT NEW.*) AS {}", quote_ident(&table.name));
        let list = |each: &dyn Fn(&String, &String) -> String| {
            self.set.iter().map(|(column, value)| each(column, value)).collect::<Vec<_>>().join(", ")
        };
        let values = list(&|_, value| enclosed(value));
        let columns = list(&|column, _| format!("NEW.{}", quote_ident(column)));
        let fill = format!("SELECT {values} INTO {columns} FROM {row};");
        let fill = match self.filter {
            Some(filter) => format!("IF (SELECT {} FROM {row}) THEN {fill} END IF;", enclosed(filter)),
            None => fill,
        };
        let body = format!(
            "BEGIN IF current_setting('{IN_BATCH}', true) IS DISTINCT FROM 'on' THEN {fill} END IF; RETURN NEW; END"
        );
        let (name, of) = (quote_ident(&name), self.table.trim());
        SyncTrigger {
            install: [
                format!(
                    "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {}",
                    quote_literal(&body)
                ),
                format!(
                    "CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON {of} FOR EACH ROW EXECUTE FUNCTION {function}()"
                ),
            ],
            remove: [format!("DROP TRIGGER {name} ON {of}"), format!("DROP FUNCTION {function}()")],
        }
    }
}

/// A line comment at the end of an expression must not swallow the parenthesis.
fn enclosed(text: &str) -> String {
    let close = if text.contains("--") { "\n)" } else { ")" };
    format!("({}{close}", text.trim())
}

fn objection(text: &str, offset: usize, code: Code, message: &str) -> Refusal {
    Objection::new(offset, code, message, "").placed(&Lines::new(text))
}

/// Reads a name as it stands in SQL.
fn table(text: &str) -> Option<RelationName> {
    let statements = grammar::statements(&format!("TABLE {text}"));
    let [NodeEnum::SelectStmt(select)] = statements.as_slice() else {
        return None;
    };
    match select.from_clause.as_slice() {
        [node] => tree::relation(node).filter(|name| {
            // Nothing but a name: no alias, no condition.
            let plain = format!("TABLE {name}");
            grammar::statements(&plain).len() == 1 && !text.contains([';', '(', ','])
        }),
        _ => None,
    }
}

/// Reads a text that has to be one expression and nothing else.
fn expression_of(text: &str) -> Result<Node, Refusal> {
    if text.contains('\0') {
        return Err(objection(text, 0, Code::SyntaxError, "a NUL character cannot be part of SQL"));
    }
    let whole = format!("{BEFORE}{text}\n)");
    let reading = grammar::read(&whole);
    if let Some(wrong) = reading.objections.first() {
        let offset = wrong.offset.saturating_sub(BEFORE.len());
        if offset > text.len() {
            return Err(objection(text, text.len(), Code::SyntaxError, "syntax error at the end of the expression"));
        }
        return Err(objection(text, offset, Code::SyntaxError, &wrong.message));
    }
    let [parsed] = reading.statements.as_slice() else {
        return Err(objection(text, 0, Code::SyntaxError, "this must be one expression"));
    };
    let one = match &parsed.node {
        NodeEnum::SelectStmt(select)
            if select.from_clause.is_empty()
                && select.where_clause.is_none()
                && select.larg.is_none()
                && select.group_clause.is_empty()
                && select.sort_clause.is_empty()
                && select.into_clause.is_none()
                && select.limit_count.is_none() =>
        {
            match select.target_list.as_slice() {
                [node] => match &node.node {
                    Some(NodeEnum::ResTarget(target)) if target.name.is_empty() => target.val.clone(),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    };
    let is_row = matches!(one.as_ref().and_then(|node| node.node.as_ref()), Some(NodeEnum::RowExpr(_)));
    match one {
        Some(node) if !is_row => Ok(*node),
        _ => Err(objection(text, 0, Code::SyntaxError, "this must be one expression")),
    }
}

/// The columns that an expression names. What a query within it names may be a column of another table, and counts as well.
fn columns(value: &Value, table: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if let Some(fields) = object.get("ColumnRef").and_then(|column| column.get("fields")) {
                let names: Vec<&str> = fields
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|field| field.pointer("/node/String/sval").and_then(Value::as_str))
                    .collect();
                match names.as_slice() {
                    [name] => _ = into.insert((*name).to_owned()),
                    [.., of, name] if *of == table => _ = into.insert((*name).to_owned()),
                    _ => {}
                }
            }
            object.values().for_each(|inner| columns(inner, table, into));
        }
        Value::Array(items) => items.iter().for_each(|item| columns(item, table, into)),
        _ => {}
    }
}

fn mentions(value: &Value, node: &str) -> bool {
    match value {
        Value::Object(object) => {
            object.contains_key(node) || object.values().any(|inner| mentions(inner, node))
        }
        Value::Array(items) => items.iter().any(|item| mentions(item, node)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(column, text)| ((*column).to_owned(), (*text).to_owned())).collect()
    }

    fn read(table: &str, pairs: &[(&str, &str)], filter: Option<&str>) -> Result<BackfillText, Vec<String>> {
        let set = set(pairs);
        let told = |refused: Vec<Refused>| {
            refused.into_iter().map(|(field, why)| format!("{field}:{why}")).collect()
        };
        Written { table, set: &set, filter }.read().map(|(text, _)| text).map_err(told)
    }

    #[test]
    fn it_reads_as_one_statement() {
        let set = set(&[("Tier", "'pro' -- for now"), ("n", "n + 1")]);
        let written = Written { table: "public.users", set: &set, filter: Some("n IS NULL") };
        let text = "UPDATE public.users SET \"Tier\" = ('pro' -- for now\n), n = (n + 1) WHERE (n IS NULL)";
        assert_eq!(written.statement(), text);
        let (_, script) = written.read().unwrap();
        let [one] = script.statements.as_slice() else { panic!("{script:?}") };
        assert!(matches!(one.kind, crate::sql::Kind::Update { .. }) && !one.transactional);
    }

    #[test]
    fn names_of_columns_and_functions_are_found() {
        let text = read(
            "public.users",
            &[("a", "lower(users.b) || c"), ("d", "random()")],
            Some("a IS NULL AND x.y = 1"),
        );
        let text = text.unwrap();
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
        assert_eq!((names(&text.read), names(&text.filtered_by)), ("b,c".to_owned(), "a".to_owned()));
        assert_eq!((text.volatile, text.queries), (vec!["random".to_owned()], false));
        assert_eq!(text.table, RelationName::qualified("public", "users"));
    }

    #[test]
    fn what_is_not_one_expression_is_refused_at_its_place() {
        let check = |table: &str, expression: &str, filter: Option<&str>, expected: &str| {
            let told = read(table, &[("a", expression)], filter).unwrap_err();
            assert!(told.iter().any(|one| one.starts_with(expected)), "{told:?}");
        };
        check("users", "1), b = (2", None, "set.a:1:1: this must be one expression");
        check("users", "1) FROM x WHERE (true", None, "set.a:1:1: this must be one expression");
        check("users", "1\n+ + )", None, "set.a:2:5: ");
        check("users", "1; DROP TABLE x", None, "set.a:1:2: ");
        check("users", "1 +", None, "set.a:1:4: syntax error at the end");
        check("users", "1", Some("a ==="), "where:1:");
        check("users SET a = 1; --", "1", None, "table:1:1: this is not the name of a table");
        check("users, x", "1", None, "table:1:1: this is not the name of a table");
    }
}
