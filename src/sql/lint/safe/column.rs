//! A new column, step by step.

use pg_query::protobuf::{AlterTableCmd, AlterTableType, ColumnDef, ConstrType, Constraint, DropBehavior};
use pg_query::{Node, NodeEnum};

use super::{BATCH, alter, choose, command_sql, constraint, type_sql};
use crate::sql::classify::table as classified;
use crate::sql::kind::{Column, Generated};
use crate::sql::lint::subject::Subject;
use crate::sql::name::{RelationName, quote_ident, quote_literal};

/// The column without what costs, then its default, its values, its constraints.
pub fn add(subject: &Subject<'_>, table: &RelationName, definition: &ColumnDef) -> Option<Vec<String>> {
    let column = classified::column(definition);
    if column.generated == Some(Generated::Stored) {
        // A column becomes a generated one by being written anew only.
        return None;
    }
    let mut steps = Steps { subject, table, column: &column, definition, statements: Vec::new() };
    if column.serial {
        steps.serial();
    } else if column.identity {
        steps.identity()?;
    } else {
        steps.plain()?;
    }
    steps.constraints()?;
    Some(steps.statements)
}

struct Steps<'a> {
    subject: &'a Subject<'a>,
    table: &'a RelationName,
    column: &'a Column,
    definition: &'a ColumnDef,
    statements: Vec<String>,
}

/// The part of a column's definition that is a constraint.
fn part(node: &Node) -> Option<&Constraint> {
    match &node.node {
        Some(NodeEnum::Constraint(part)) => Some(part),
        _ => None,
    }
}

impl Steps<'_> {
    fn alter(&mut self, rest: &str) {
        self.statements.push(alter(self.table, rest));
    }

    fn name(&self) -> String {
        quote_ident(&self.column.name)
    }

    /// `ADD COLUMN` with some of the parts of the definition.
    fn bare(&mut self, keep: impl Fn(&Constraint) -> bool) -> Option<()> {
        let Some(NodeEnum::AlterTableStmt(statement)) = self.subject.node() else { return None };
        let constraints = self.definition.constraints.iter();
        let kept = constraints.filter(|node| part(node).is_some_and(&keep)).cloned().collect();
        let column = ColumnDef { constraints: kept, ..self.definition.clone() };
        let command = AlterTableCmd {
            subtype: AlterTableType::AtAddColumn as i32,
            def: Some(Box::new(Node { node: Some(NodeEnum::ColumnDef(Box::new(column))) })),
            behavior: DropBehavior::DropRestrict as i32,
            ..AlterTableCmd::default()
        };
        self.statements.push(command_sql(statement, &command)?);
        Some(())
    }

    fn plain(&mut self) -> Option<()> {
        let written = self.subject.rewrites(self.table);
        let Some(default) = self.column.default.clone() else {
            let fails = self.column.is_not_null();
            self.bare(|part| !constrains(part))?;
            if fails {
                self.statements.push(format!("-- give each row a value of {}, in batches", self.name()));
                self.required();
            }
            return Some(());
        };
        if !written {
            // A default that is the same for all rows costs nothing, and NOT NULL with it neither.
            return self.bare(|part| !constrains(part) || part.contype() == ConstrType::ConstrNotnull);
        }
        self.bare(|part| !constrains(part) && part.contype() != ConstrType::ConstrDefault)?;
        let name = self.name();
        self.alter(&format!("ALTER COLUMN {name} SET DEFAULT {default}"));
        self.fill(&default);
        if self.column.is_not_null() {
            self.required();
        }
        Some(())
    }

    fn fill(&mut self, value: &str) {
        let (table, name) = (self.table.sql(), self.name());
        self.statements
            .push("-- repeat until no row is left, each time in a transaction of its own".to_owned());
        self.statements.push(format!(
            "UPDATE {table} SET {name} = {value} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {name} IS NULL LIMIT \
             {BATCH}))"
        ));
    }

    fn required(&mut self) {
        self.statements.extend(constraint::not_null(self.subject, self.table, &self.column.name));
    }

    /// The name of the sequence that the server would make.
    fn sequence(&self) -> RelationName {
        self.table.sibling(choose(self.subject, self.table, Some(&self.column.name), "seq"))
    }

    fn serial(&mut self) {
        let written = type_sql(self.definition).unwrap_or_default();
        let kind = match written.as_str() {
            "smallserial" | "serial2" => "smallint",
            "bigserial" | "serial8" => "bigint",
            _ => "integer",
        };
        let (sequence, name) = (self.sequence(), self.name());
        self.statements.push(format!("CREATE SEQUENCE {} AS {kind}", sequence.sql()));
        self.alter(&format!("ADD COLUMN {name} {kind}"));
        self.statements.push(format!(
            "ALTER SEQUENCE {} OWNED BY {}.{name}",
            sequence.sql(),
            self.table.sql()
        ));
        let next = format!("nextval({}::regclass)", quote_literal(&sequence.sql()));
        self.alter(&format!("ALTER COLUMN {name} SET DEFAULT {next}"));
        self.fill(&next);
        self.required();
    }

    /// Numbers come from a sequence of their own until each row has one; then the identity takes over.
    fn identity(&mut self) -> Option<()> {
        let part = self.definition.constraints.iter().filter_map(part);
        let identity = part.clone().find(|part| part.contype() == ConstrType::ConstrIdentity)?;
        if !identity.options.is_empty() {
            return None;
        }
        let when = if identity.generated_when == "a" { "ALWAYS" } else { "BY DEFAULT" };
        let name = self.name();
        let kind = type_sql(self.definition)?;
        let numbers = self.table.sibling(format!("{}_{}_numbers", self.table.name, self.column.name));
        self.statements.push(format!("CREATE SEQUENCE {}", numbers.sql()));
        self.alter(&format!("ADD COLUMN {name} {kind}"));
        let next = format!("nextval({}::regclass)", quote_literal(&numbers.sql()));
        self.alter(&format!("ALTER COLUMN {name} SET DEFAULT {next}"));
        self.fill(&next);
        self.required();
        self.alter(&format!(
            "ALTER COLUMN {name} DROP DEFAULT, ALTER COLUMN {name} ADD GENERATED {when} AS IDENTITY"
        ));
        let (table, column) = (quote_literal(&self.table.sql()), quote_literal(&self.column.name));
        self.statements.push("-- in the same transaction".to_owned());
        self.statements.push(format!("SELECT setval(pg_get_serial_sequence({table}, {column}), {next})"));
        self.statements.push(format!("DROP SEQUENCE {}", numbers.sql()));
        Some(())
    }

    /// The constraints that were written with the column, by themselves.
    fn constraints(&mut self) -> Option<()> {
        for node in &self.definition.constraints {
            let Some(definition) =
                part(node).filter(|part| constrains(part) && part.contype() != ConstrType::ConstrNotnull)
            else {
                continue;
            };
            let known = classified::constraint(node, Some(&self.column.name))?;
            self.statements.extend(constraint::add_known(self.subject, self.table, definition, &known)?);
        }
        Some(())
    }
}

/// Whether a part of a definition is a constraint on the values.
fn constrains(part: &Constraint) -> bool {
    matches!(
        part.contype(),
        ConstrType::ConstrCheck
            | ConstrType::ConstrUnique
            | ConstrType::ConstrPrimary
            | ConstrType::ConstrForeign
            | ConstrType::ConstrNotnull
    )
}
