//! The same change in a form that does no harm, as SQL.
//!
//! Every statement that is written here can be run after the one before it has committed, and all of them together end in
//! the same catalog as the original, but for the order of columns.

pub mod batch;
pub mod column;
pub mod constraint;
pub mod index;
pub mod partition;
pub mod retype;

use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, ColumnDef, Constraint, DropBehavior, ObjectType, RangeVar,
};
use pg_query::{Node, NodeEnum};

use super::check::{Found, Remedy};
use super::subject::Subject;
use crate::sql::grammar;
use crate::sql::name::{RelationName, object_name};

/// Rows of one batch: at a few microseconds for each, a row is locked for some ten milliseconds.
const BATCH: u32 = 5_000;

/// Writes the safe forms of a statement's findings. Those of the subcommands of one `ALTER TABLE` are one text, that takes
/// the place of the whole statement.
pub fn write(subject: &Subject<'_>, found: &mut [Found]) {
    let whole = altered(subject, found);
    for one in found {
        let text = match &one.remedy {
            Remedy::None => continue,
            Remedy::Whole(statements) => script(statements),
            Remedy::Action(..) => whole.clone().unwrap_or_default(),
        };
        one.finding.safe_form = text;
    }
}

/// All subcommands of an `ALTER TABLE`, those that have a remedy in that form.
fn altered(subject: &Subject<'_>, found: &[Found]) -> Option<String> {
    let remedy = |number: usize| {
        found.iter().find_map(|one| match &one.remedy {
            Remedy::Action(action, statements) if *action == number => Some(statements.clone()),
            _ => None,
        })
    };
    let Some(NodeEnum::AlterTableStmt(alter)) = subject.node() else { return None };
    if !found.iter().any(|one| matches!(one.remedy, Remedy::Action(..))) {
        return None;
    }
    let mut statements = Vec::new();
    for (number, command) in super::subject::commands(alter).enumerate() {
        match remedy(number) {
            Some(safe) => statements.extend(safe),
            None => statements.push(command_sql(alter, command)?),
        }
    }
    Some(script(&statements))
}

/// Statements as a script; a line of a comment stands before what it is about.
fn script(statements: &[String]) -> String {
    let mut text = String::new();
    if statements.iter().any(|statement| statement.contains(" VALIDATE CONSTRAINT ")) {
        text.push_str("-- each in a transaction of its own (transaction: PerStatement)\n");
    }
    for statement in statements {
        text.push_str(statement);
        text.push_str(if statement.starts_with("--") && !statement.contains('\n') { "\n" } else { ";\n" });
    }
    text
}

/// One subcommand as a statement of its own.
fn command_sql(alter: &AlterTableStmt, command: &AlterTableCmd) -> Option<String> {
    let node = Node { node: Some(NodeEnum::AlterTableCmd(Box::new(command.clone()))) };
    grammar::deparse(NodeEnum::AlterTableStmt(AlterTableStmt { cmds: vec![node], ..alter.clone() }))
}

/// `ALTER TABLE table ADD constraint`.
fn add_constraint(subject: &Subject<'_>, constraint: Constraint) -> Option<String> {
    let Some(NodeEnum::AlterTableStmt(alter)) = subject.node() else { return None };
    let command = AlterTableCmd {
        subtype: pg_query::protobuf::AlterTableType::AtAddConstraint as i32,
        def: Some(Box::new(Node { node: Some(NodeEnum::Constraint(Box::new(constraint))) })),
        behavior: DropBehavior::DropRestrict as i32,
        ..AlterTableCmd::default()
    };
    command_sql(alter, &command)
}

/// `ALTER TABLE table rest`, with `ONLY` and `IF EXISTS` left out.
fn alter(table: &RelationName, rest: &str) -> String {
    format!("ALTER TABLE {} {rest}", table.sql())
}

/// The type of a column as SQL, with its collation.
pub fn type_sql(definition: &ColumnDef) -> Option<String> {
    let column = ColumnDef {
        colname: "c".to_owned(),
        type_name: definition.type_name.clone(),
        coll_clause: definition.coll_clause.clone(),
        is_local: true,
        ..ColumnDef::default()
    };
    let command = AlterTableCmd {
        subtype: pg_query::protobuf::AlterTableType::AtAddColumn as i32,
        def: Some(Box::new(Node { node: Some(NodeEnum::ColumnDef(Box::new(column))) })),
        behavior: DropBehavior::DropRestrict as i32,
        ..AlterTableCmd::default()
    };
    let relation = RangeVar {
        relname: "t".to_owned(),
        inh: true,
        relpersistence: "p".to_owned(),
        ..RangeVar::default()
    };
    let statement = AlterTableStmt {
        relation: Some(relation),
        objtype: ObjectType::ObjectTable as i32,
        ..AlterTableStmt::default()
    };
    command_sql(&statement, &command)?.strip_prefix("ALTER TABLE t ADD COLUMN c ").map(str::to_owned)
}

/// The name that the server would choose for an object of a table, as far as the catalog tells which are taken.
fn choose(subject: &Subject<'_>, table: &RelationName, second: Option<&str>, label: &str) -> String {
    let taken = |name: &str| {
        subject.relation(table).is_some_and(|relation| {
            relation.constraints.iter().any(|constraint| constraint.name == name)
                || relation.indexes.iter().any(|index| index.name == name)
        }) || subject.relation(&table.sibling(name)).is_some()
    };
    let mut name = object_name(&table.name, second, label);
    for pass in 1..100 {
        if !taken(&name) {
            break;
        }
        name = object_name(&table.name, second, &format!("{label}{pass}"));
    }
    name
}

/// A statement without its `CASCADE`: it fails where something depends, and that can be dropped by name.
pub fn without_cascade(subject: &Subject<'_>) -> Option<Vec<String>> {
    let tokens = crate::sql::token::scan(&subject.statement.sql)?;
    let sql = &subject.statement.sql;
    let last = tokens.last().filter(|token| token.is_word(sql, "cascade"))?;
    let kept = sql.get(..last.start)?.trim_end().to_owned();
    Some(vec!["-- drop or empty by name what depends on it first".to_owned(), kept])
}

/// A rename that leaves a view under the old name, for clients that do not know the new one yet.
pub fn rename_with_view(subject: &Subject<'_>, relation: &RelationName, to: &str) -> Vec<String> {
    let new = relation.sibling(to);
    vec![
        subject.statement.sql.clone(),
        "-- in the same transaction; drop the view once nobody uses the old name".to_owned(),
        format!("CREATE VIEW {} AS SELECT * FROM {}", relation.sql(), new.sql()),
    ]
}

/// The parse tree of one statement that was written here or by the server.
fn parsed(sql: &str) -> Option<NodeEnum> {
    let mut trees = grammar::trees(std::iter::once(sql));
    trees.pop().flatten().map(|tree| tree.node)
}

/// The statement of a tree.
fn written(node: NodeEnum) -> Option<String> {
    grammar::deparse(node)
}
