//! Partitions that are proven to fit before they are attached.

use pg_query::protobuf::{PartitionBoundSpec, PartitionRangeDatumKind};
use pg_query::{Node, NodeEnum};

use super::{alter, choose};
use crate::sql::classify::table::expression;
use crate::sql::lint::subject::{Subject, same};
use crate::sql::name::{RelationName, quote_ident};
use crate::sql::snapshot::Relation;

/// A `CHECK` that says what the bound says, made valid first; the default partition gets one that says the contrary.
pub fn attach(
    subject: &Subject<'_>,
    parent: &RelationName,
    child: &RelationName,
    bound: Option<&PartitionBoundSpec>,
) -> Option<Vec<String>> {
    let condition = condition(subject.relation(parent)?, bound?)?;
    let name = |table: &RelationName| quote_ident(&choose(subject, table, None, "bound_check"));
    let of_child = name(child);
    let mut statements = prove(child, &of_child, &condition);
    let default = subject.catalog.relations.iter().find(|relation| {
        relation.partition_of.as_ref().is_some_and(|of| same(of, parent))
            && relation.partition_bound.as_deref() == Some("DEFAULT")
    });
    let of_default = default.map(|default| (&default.name, name(&default.name)));
    if let Some((default, constraint)) = &of_default {
        statements.extend(prove(default, constraint, &format!("NOT ({condition})")));
    }
    statements.push(subject.statement.sql.clone());
    statements.push(alter(child, &format!("DROP CONSTRAINT {of_child}")));
    statements.extend(
        of_default.map(|(default, constraint)| alter(default, &format!("DROP CONSTRAINT {constraint}"))),
    );
    Some(statements)
}

fn prove(table: &RelationName, name: &str, condition: &str) -> Vec<String> {
    vec![
        alter(table, &format!("ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")),
        alter(table, &format!("VALIDATE CONSTRAINT {name}")),
    ]
}

/// The strategy and the column of a partition key that is one column.
fn key(parent: &Relation) -> Option<(&str, String)> {
    let (strategy, columns) = parent.partition_key.as_deref()?.split_once('(')?;
    let column = columns.strip_suffix(')')?.trim();
    let known =
        parent.columns.iter().find(|known| known.name == column || quote_ident(&known.name) == column)?;
    Some((strategy.trim(), known.name.clone()))
}

/// The column of a partition key that is one column.
pub fn key_column(parent: &Relation) -> Option<String> {
    key(parent).map(|(_, column)| column)
}

/// The bound as a condition on the key, if the key is one column.
fn condition(parent: &Relation, bound: &PartitionBoundSpec) -> Option<String> {
    let (strategy, column) = key(parent)?;
    let column = quote_ident(&column);
    match strategy {
        "LIST" => {
            let values: Option<Vec<String>> = bound.listdatums.iter().map(expression).collect();
            let values = values?;
            if bound.listdatums.is_empty() || values.iter().any(|value| value.eq_ignore_ascii_case("null")) {
                return None;
            }
            Some(format!("{column} IS NOT NULL AND {column} IN ({})", values.join(", ")))
        }
        "RANGE" => {
            let mut parts = vec![format!("{column} IS NOT NULL")];
            parts.extend(limit(&bound.lowerdatums, &column, ">=")?);
            parts.extend(limit(&bound.upperdatums, &column, "<")?);
            Some(parts.join(" AND "))
        }
        _ => None,
    }
}

/// One end of a range as a condition; empty towards `MINVALUE` and `MAXVALUE`, which is no limit.
fn limit(datums: &[Node], column: &str, operator: &str) -> Option<Vec<String>> {
    let [only] = datums else { return None };
    let bound = |value: &Node| Some(vec![format!("{column} {operator} {}", expression(value)?)]);
    match &only.node {
        Some(NodeEnum::ColumnRef(reference)) => {
            let word = reference.fields.last().and_then(crate::sql::classify::tree::string)?;
            ["minvalue", "maxvalue"].contains(&word.as_str()).then(Vec::new)
        }
        Some(NodeEnum::PartitionRangeDatum(datum)) => match datum.kind() {
            PartitionRangeDatumKind::PartitionRangeDatumValue => bound(datum.value.as_deref()?),
            _ => Some(Vec::new()),
        },
        _ => bound(only),
    }
}

/// A table of its own that is attached: the partitioned table is then locked in a mode that lets its users go on.
pub fn create_and_attach(subject: &Subject<'_>) -> Option<Vec<String>> {
    let Some(NodeEnum::CreateStmt(create)) = subject.node() else { return None };
    let parent = create.inh_relations.first().and_then(crate::sql::classify::tree::relation)?;
    let child = create.relation.as_ref().map(crate::sql::classify::tree::range)?;
    let plain = create.table_elts.is_empty()
        && create.constraints.is_empty()
        && create.options.is_empty()
        && create.partspec.is_none()
        && create.tablespacename.is_empty()
        && create.access_method.is_empty()
        && !create.if_not_exists;
    if !plain {
        return None;
    }
    let sql = &subject.statement.sql;
    let tokens = crate::sql::token::scan(sql)?;
    let of = tokens.windows(2).position(|pair| match pair {
        [first, second] => first.is_word(sql, "partition") && second.is_word(sql, "of"),
        _ => false,
    })?;
    let bound =
        tokens.iter().skip(of).find(|token| token.is_word(sql, "for") || token.is_word(sql, "default"))?;
    let bound = sql.get(bound.start..)?;
    Some(vec![
        format!(
            "CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)",
            child.sql(),
            parent.sql()
        ),
        alter(&parent, &format!("ATTACH PARTITION {} {bound}", child.sql())),
    ])
}
