//! A new type by way of a new column.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, AlterTableStmt, ColumnDef, IndexStmt};

use super::{BATCH, alter, constraint, parsed, type_sql, written};
use crate::sql::classify::table::expression;

use crate::sql::lint::subject::{Subject, commands};
use crate::sql::name::{RelationName, clip, quote_ident};
use crate::sql::snapshot::{ColumnFacts, IndexFacts, Relation, RelationType};
use crate::sql::token;

/// Room for what is put behind a name.
const ROOM: usize = 50;

/// A new column, a trigger that keeps it up to date, values in batches, and the swap.
pub fn instead(
    subject: &Subject<'_>,
    table: &RelationName,
    command: &AlterTableCmd,
    definition: &ColumnDef,
) -> Option<Vec<String>> {
    let known = subject.relation(table);
    if known.is_some_and(|table| table.kind != RelationType::Table) {
        return None;
    }
    let facts = known.and_then(|table| table.columns.iter().find(|column| column.name == command.name));
    if facts.is_some_and(|facts| facts.identity || facts.generated.is_some()) {
        return None;
    }
    let old = quote_ident(&command.name);
    let new_name = format!("{}_new", clip(&command.name, ROOM));
    let new = quote_ident(&new_name);
    let of = table.sql();
    let value = |prefix: &str| match &definition.raw_default {
        Some(using) => with_prefix(&expression(using)?, &command.name, prefix),
        None => Some(format!("{prefix}{old}")),
    };
    let copy = table.sibling(format!("{}_copy", clip(&format!("{}_{}", table.name, command.name), ROOM)));
    let trigger = quote_ident(&copy.name);
    let mut steps = vec![
        alter(table, &format!("ADD COLUMN {new} {}", type_sql(definition)?)),
        format!(
            "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.{new} := {}; RETURN NEW; END $$",
            copy.sql(),
            value("NEW.")?
        ),
        format!(
            "CREATE TRIGGER {trigger} BEFORE INSERT OR UPDATE ON {of} FOR EACH ROW EXECUTE FUNCTION {}()",
            copy.sql()
        ),
        "-- repeat until no row is left, each time in a transaction of its own".to_owned(),
        format!(
            "UPDATE {of} SET {new} = {} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {of} WHERE {new} IS NULL AND {old} IS NOT \
             NULL LIMIT {BATCH}))",
            value("")?
        ),
    ];
    let (indexes, others) = indexes_on(known, &command.name);
    for index in &indexes {
        steps.push(rebuilt(index, &command.name, &new_name)?);
    }
    if facts.is_some_and(|facts| facts.not_null) {
        steps.extend(constraint::not_null(subject, table, &new_name));
    }
    if known.is_none() {
        steps.push(format!("-- make anew on {new} what {old} has: NOT NULL, indexes, constraints"));
    }
    for other in others {
        steps.push(format!("-- make {other} anew on {new}"));
    }
    steps.push(format!("-- from here on in one transaction: {new} takes the place of {old}"));
    steps.extend(swap(table, facts, &old, &new, &copy));
    steps.extend(indexes.iter().map(|index| {
        let made = table.sibling(temporary(&index.name)).sql();
        format!("ALTER INDEX {made} RENAME TO {}", quote_ident(&index.name))
    }));
    Some(steps)
}

fn swap(
    table: &RelationName,
    facts: Option<&ColumnFacts>,
    old: &str,
    new: &str,
    copy: &RelationName,
) -> Vec<String> {
    let mut steps = vec![
        format!("DROP TRIGGER {} ON {}", quote_ident(&copy.name), table.sql()),
        format!("DROP FUNCTION {}()", copy.sql()),
    ];
    if let Some(default) = facts.and_then(|facts| facts.default.as_ref()) {
        if default.starts_with("nextval(") {
            let sequence = default.split('\'').nth(1).unwrap_or_default();
            steps.push(format!("ALTER SEQUENCE {sequence} OWNED BY {}.{new}", table.sql()));
        }
        steps.push(alter(table, &format!("ALTER COLUMN {new} SET DEFAULT {default}")));
    }
    steps.push(alter(table, &format!("DROP COLUMN {old}")));
    steps.push(alter(table, &format!("RENAME COLUMN {new} TO {old}")));
    steps
}

fn temporary(index: &str) -> String {
    format!("{}_new", clip(index, ROOM))
}

/// The plain indexes on a column, and the names of what cannot be made anew here.
fn indexes_on<'a>(table: Option<&'a Relation>, column: &str) -> (Vec<&'a IndexFacts>, Vec<String>) {
    let Some(table) = table else { return (Vec::new(), Vec::new()) };
    let constrained: Vec<&str> =
        table.constraints.iter().filter_map(|constraint| constraint.index.as_deref()).collect();
    let touches = |index: &&IndexFacts| {
        index.columns.iter().flatten().any(|one| one == column)
            || index.used_columns.iter().any(|one| one == column)
    };
    let plain = |index: &&IndexFacts| {
        !constrained.contains(&index.name.as_str())
            && index.valid
            && !index.primary
            && index.used_columns.is_empty()
            && index.columns.iter().all(Option::is_some)
    };
    let (made, other): (Vec<_>, Vec<_>) = table.indexes.iter().filter(touches).partition(plain);
    let mut others: Vec<String> = table
        .constraints
        .iter()
        .filter(|constraint| constraint.columns.iter().any(|one| one == column))
        .map(|constraint| format!("constraint {} ({})", quote_ident(&constraint.name), constraint.definition))
        .collect();
    let named = |index: &&IndexFacts| !constrained.contains(&index.name.as_str());
    others.extend(
        other.iter().copied().filter(named).map(|index| format!("index {}", quote_ident(&index.name))),
    );
    (made, others)
}

/// An index of the catalog, on another column and under another name.
fn rebuilt(index: &IndexFacts, from: &str, to: &str) -> Option<String> {
    let NodeEnum::IndexStmt(mut statement) = parsed(&index.definition)? else { return None };
    for node in statement.index_params.iter_mut().chain(&mut statement.index_including_params) {
        if let Some(NodeEnum::IndexElem(element)) = &mut node.node
            && element.name == from
        {
            to.clone_into(&mut element.name);
        }
    }
    let statement = IndexStmt { concurrent: true, idxname: temporary(&index.name), ..*statement };
    written(NodeEnum::IndexStmt(Box::new(statement)))
}

/// An expression whose mentions of a column get a prefix.
fn with_prefix(sql: &str, column: &str, prefix: &str) -> Option<String> {
    let tokens = token::scan(sql)?;
    let mut text = String::new();
    let mut copied = 0;
    for (index, token) in tokens.iter().enumerate() {
        let after = tokens.get(index + 1).is_some_and(|next| next.is_word(sql, "("));
        let behind = index > 0
            && tokens
                .get(index - 1)
                .is_some_and(|before| before.is_word(sql, ".") || before.is_word(sql, "::"));
        if token.name(sql).as_deref() != Some(column) || after || behind {
            continue;
        }
        text.push_str(sql.get(copied..token.start)?);
        text.push_str(prefix);
        copied = token.start;
    }
    text.push_str(sql.get(copied..)?);
    Some(text)
}

/// The same change, with the zone that the old values are in.
pub fn with_zone(subject: &Subject<'_>, _with_zone: bool) -> Option<Vec<String>> {
    let Some(NodeEnum::AlterTableStmt(alter)) = subject.node() else { return None };
    let single: Vec<&AlterTableCmd> = commands(alter).collect();
    let [command] = single.as_slice() else { return None };
    let name = quote_ident(&command.name);
    let statement = AlterTableStmt { ..alter.clone() };
    let sql = written(NodeEnum::AlterTableStmt(statement))?;
    Some(vec![
        "-- with the zone that the old values are in".to_owned(),
        format!("{sql} USING {name} AT TIME ZONE 'UTC'"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_of_a_column_get_a_prefix() {
        let check = |sql: &str, expected: &str| assert_eq!(with_prefix(sql, "a", "NEW.").unwrap(), expected);
        check("a", "NEW.a");
        check("a::text || f(a, b)", "NEW.a::text || f(NEW.a, b)");
        check("a(a)", "a(NEW.a)");
        check("'a' || t.a", "'a' || t.a");
    }
}
