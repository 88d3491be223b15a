//! Facts about columns that the derivation of inverses asks for.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::error::Error;

/// A column as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnKey {
    /// Schema, where the statement names one; else the search path decides.
    pub schema: Option<String>,
    /// Table name, as stored (not quoted, not folded).
    pub relation: String,
    /// Column name, as stored.
    pub column: String,
}

/// What the catalog says about a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFact {
    /// The schema in which the table was found.
    pub schema: String,
    /// The type with its modifier, for example `numeric(10,2)`.
    pub data_type: String,
    /// Whether it is NOT NULL.
    pub not_null: bool,
    /// The default expression, with qualified names; none for a generated column.
    pub default: Option<String>,
    /// The expression of a generated column.
    pub generated: Option<String>,
    /// `ALWAYS` or `BY DEFAULT` for an identity column.
    pub identity: Option<&'static str>,
}

/// Looks columns up, resolving unqualified tables in the given search path. A column that does not exist is missing from
/// the answer. Needs no privilege on the tables.
///
/// # Errors
/// What the server said; [`Error::Unexpected`] on a session whose own search path is not empty, because expressions are
/// printed relative to it.
pub async fn columns(
    session: &mut PgConnection,
    search_path: &[String],
    keys: &[ColumnKey],
) -> Result<BTreeMap<ColumnKey, ColumnFact>, Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let schemas: Vec<Option<&str>> = keys.iter().map(|key| key.schema.as_deref()).collect();
    let relations: Vec<&str> = keys.iter().map(|key| key.relation.as_str()).collect();
    let names: Vec<&str> = keys.iter().map(|key| key.column.as_str()).collect();
    let rows = sqlx::query(COLUMNS)
        .bind(schemas)
        .bind(relations)
        .bind(names)
        .bind(search_path)
        .fetch_all(session)
        .await?;
    let mut facts = BTreeMap::new();
    for row in rows {
        if !matches!(row.try_get("path")?, "" | "\"\"") {
            return Err(Error::Unexpected(
                "the session that reads columns must have an empty search path".to_owned(),
            ));
        }
        let ordinal: i64 = row.try_get("ordinal")?;
        let key = usize::try_from(ordinal - 1).ok().and_then(|index| keys.get(index));
        let expression: Option<String> = row.try_get("expression")?;
        let is_generated: bool = row.try_get("is_generated")?;
        let (generated, default) = if is_generated { (expression, None) } else { (None, expression) };
        let fact = ColumnFact {
            schema: row.try_get("schema")?,
            data_type: row.try_get("data_type")?,
            not_null: row.try_get("not_null")?,
            default,
            generated,
            identity: match row.try_get("identity")? {
                "a" => Some("ALWAYS"),
                "d" => Some("BY DEFAULT"),
                _ => None,
            },
        };
        if let Some(key) = key {
            facts.insert(key.clone(), fact);
        }
    }
    Ok(facts)
}

/// Names are resolved by joins, not by `to_regclass`, which raises an error where USAGE on the schema is missing.
const COLUMNS: &str = "
SELECT current_setting('search_path') AS path,
       k.ordinal,
       t.schema,
       format_type(a.atttypid, a.atttypmod) AS data_type,
       a.attnotnull AS not_null,
       pg_get_expr(d.adbin, d.adrelid) AS expression,
       a.attgenerated <> '' AS is_generated,
       a.attidentity::text AS identity
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k (schema, relation, name, ordinal)
CROSS JOIN LATERAL (
    SELECT c.oid, n.nspname::text AS schema
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN unnest($4::text[]) WITH ORDINALITY AS s (name, rank) ON k.schema IS NULL AND s.name = n.nspname
    WHERE c.relname = k.relation
      AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
      AND (n.nspname = k.schema OR s.rank IS NOT NULL)
    ORDER BY s.rank
    LIMIT 1
) t
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = k.name AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum";
