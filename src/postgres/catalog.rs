//! Answers from the catalog: the facts that the derivation of inverses asks for.

use std::collections::BTreeSet;

use sqlx::{Connection, PgConnection};

use super::backfill::table;
use super::before;
use super::error::Error;
use super::facts::{ColumnKey, columns};
use crate::sql::{FactKey, FactValue, Facts, RelationName, quote_ident};

/// Composes a search path for `set_config` and `SET`.
pub fn path(schemas: &[String]) -> String {
    if schemas.is_empty() {
        return "public".to_owned();
    }
    schemas.iter().map(|schema| quote_ident(schema)).collect::<Vec<_>>().join(", ")
}

/// Composes a name as `to_regclass` reads it.
pub fn spelled(name: &RelationName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&name.name)),
        None => quote_ident(&name.name),
    }
}

/// Answers questions to the catalog in one read-only transaction; names are looked up under `search_path`.
pub async fn answer(
    conn: &mut PgConnection,
    search_path: &[String],
    wanted: &BTreeSet<FactKey>,
) -> Result<Facts, Error> {
    let mut facts = Facts::default();
    if wanted.is_empty() {
        return Ok(facts);
    }
    let keys: Vec<(FactKey, ColumnKey)> = wanted
        .iter()
        .filter_map(|key| match key {
            FactKey::Column { relation, column } => {
                let schema = relation.schema.clone();
                Some((
                    key.clone(),
                    ColumnKey { schema, relation: relation.name.clone(), column: column.clone() },
                ))
            }
            FactKey::Name { .. } | FactKey::Before { .. } | FactKey::Rows { .. } => None,
        })
        .collect();
    let asked: Vec<ColumnKey> = keys.iter().map(|(_, column)| column.clone()).collect();
    let found = columns(conn, search_path, &asked).await?;
    for (key, column) in keys {
        let fact = found.get(&column);
        facts.insert(
            key,
            FactValue::Column {
                exists: fact.is_some(),
                default: fact.and_then(|fact| fact.default.clone()),
                not_null: fact.is_some_and(|fact| fact.not_null),
                identity: fact.is_some_and(|fact| fact.identity.is_some()),
                generated: fact.is_some_and(|fact| fact.generated.is_some()),
            },
        );
    }
    let mut tx = conn.begin().await?;
    sqlx::query("SELECT set_config('search_path', $1, true)")
        .bind(path(search_path))
        .execute(&mut *tx)
        .await?;
    for key in wanted {
        match key {
            FactKey::Column { .. } | FactKey::Before { .. } => {}
            FactKey::Rows { relation, functions } => {
                let rows = table::facts(&mut tx, relation, functions).await?;
                facts.insert(key.clone(), FactValue::Rows(rows));
            }
            FactKey::Name { relation, name } => {
                facts.insert(key.clone(), FactValue::Name { taken: taken(&mut tx, relation, name).await? });
            }
        }
    }
    before::answer(&mut tx, search_path, wanted.iter(), &mut facts).await?;
    tx.rollback().await?;
    Ok(facts)
}

async fn taken(conn: &mut PgConnection, relation: &RelationName, name: &str) -> Result<bool, Error> {
    let taken = sqlx::query_scalar(
        "WITH s AS (SELECT coalesce((SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = to_regclass($1)), \
                                    to_regnamespace(coalesce(quote_ident($2), quote_ident(current_schema())))::oid) AS oid) \
         SELECT EXISTS (SELECT FROM pg_catalog.pg_class c, s WHERE c.relnamespace = s.oid AND c.relname = $3) \
             OR EXISTS (SELECT FROM pg_catalog.pg_constraint c, s WHERE c.connamespace = s.oid AND c.conname = $3)",
    )
    .bind(spelled(relation))
    .bind(&relation.schema)
    .bind(name)
    .fetch_one(conn)
    .await?;
    Ok(taken)
}
