//! What objects are like before a plan, in the words that make them so again: one query for the names, and one for each
//! group of questions. Nothing is locked but what describing a view locks.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};

use super::catalog::{path, spelled};
use super::error::Error;
use crate::sql::{Before, FactKey, FactValue, Facts, Part, Target};

/// One question.
#[derive(Clone, Copy, Debug)]
struct Question<'a> {
    key: &'a FactKey,
    part: Part,
    of: &'a Target,
    with: Option<&'a str>,
}

/// Answers the questions of this kind among `keys`, in the caller's transaction; names are looked up under `search_path`,
/// which is empty for the rest of the transaction, so that all names in the answers are qualified.
pub async fn answer<'a>(
    conn: &mut PgConnection,
    search_path: &[String],
    keys: impl Iterator<Item = &'a FactKey>,
    facts: &mut Facts,
) -> Result<(), Error> {
    let questions: Vec<Question<'a>> = keys
        .filter_map(|key| match key {
            FactKey::Before { part, of, with } => {
                Some(Question { key, part: *part, of, with: with.as_deref() })
            }
            _ => None,
        })
        .collect();
    if questions.is_empty() {
        return Ok(());
    }
    let oids = resolve(conn, search_path, &questions).await?;
    let mut groups: BTreeMap<&'static str, Vec<(i64, Question<'a>)>> = BTreeMap::new();
    for (question, oid) in questions.iter().zip(oids) {
        facts.insert(question.key.clone(), FactValue::Before(Before::default()));
        if let Some(oid) = oid {
            groups.entry(query(question.part, &question.of.object)).or_default().push((oid, *question));
        }
    }
    for (query, group) in groups {
        describe(conn, query, &group, facts).await?;
    }
    Ok(())
}

/// Looks the names up, and empties the search path of the transaction.
async fn resolve(
    conn: &mut PgConnection,
    search_path: &[String],
    questions: &[Question<'_>],
) -> Result<Vec<Option<i64>>, Error> {
    let set = "SELECT set_config('search_path', $1, true)";
    sqlx::query(set).bind(path(search_path)).execute(&mut *conn).await?;
    let targets = || questions.iter().map(|question| question.of);
    let rows = sqlx::query(include_str!("before/resolve.sql"))
        .bind(targets().map(|target| target.object.as_str()).collect::<Vec<_>>())
        .bind(targets().map(|target| spelled(&target.name)).collect::<Vec<_>>())
        .bind(targets().map(|target| target.name.schema.as_deref()).collect::<Vec<_>>())
        .bind(targets().map(|target| target.name.name.as_str()).collect::<Vec<_>>())
        .bind(targets().map(|target| target.detail.as_deref()).collect::<Vec<_>>())
        .fetch_all(&mut *conn)
        .await?;
    sqlx::query(set).bind("").execute(&mut *conn).await?;
    let mut oids = vec![None; questions.len()];
    for row in rows {
        if let Some(slot) = place(row.try_get("ordinal")?).and_then(|index| oids.get_mut(index)) {
            *slot = Some(row.try_get("oid")?);
        }
    }
    Ok(oids)
}

fn place(ordinal: i64) -> Option<usize> {
    usize::try_from(ordinal - 1).ok()
}

async fn describe(
    conn: &mut PgConnection,
    query: &'static str,
    group: &[(i64, Question<'_>)],
    facts: &mut Facts,
) -> Result<(), Error> {
    let rows = sqlx::query(query)
        .bind(group.iter().map(|(oid, _)| *oid).collect::<Vec<_>>())
        .bind(group.iter().map(|(_, question)| question.of.object.as_str()).collect::<Vec<_>>())
        .bind(group.iter().map(|(_, question)| question.of.detail.as_deref()).collect::<Vec<_>>())
        .bind(group.iter().map(|(_, question)| question.with).collect::<Vec<_>>())
        .bind(group.iter().map(|(_, question)| question.part.name()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    for row in rows {
        let before = Before {
            exists: true,
            values: row.try_get::<Vec<Option<String>>, _>("values")?.into_iter().flatten().collect(),
            shape: row.try_get("shape")?,
            lost: row.try_get("lost")?,
            dependent: row.try_get("dependent")?,
        };
        if let Some((_, question)) = place(row.try_get("ordinal")?).and_then(|index| group.get(index)) {
            facts.insert(question.key.clone(), FactValue::Before(before));
        }
    }
    Ok(())
}

/// The query that answers a question.
fn query(part: Part, object: &str) -> &'static str {
    match part {
        Part::Owner | Part::Schema => include_str!("before/owner.sql"),
        Part::Comment => include_str!("before/comment.sql"),
        Part::Statistics if object == "STATISTICS" => include_str!("before/statistics.sql"),
        Part::Option
        | Part::RowSecurity
        | Part::ForcedRowSecurity
        | Part::ReplicaIdentity
        | Part::Cluster
        | Part::Persistence
        | Part::Tablespace
        | Part::AccessMethod => include_str!("before/relation.sql"),
        Part::Statistics
        | Part::Storage
        | Part::Compression
        | Part::ColumnOption
        | Part::Type
        | Part::Identity
        | Part::AddIdentity
        | Part::NotNullName => include_str!("before/column.sql"),
        Part::TriggerState | Part::RuleState => include_str!("before/trigger.sql"),
        Part::SequenceOptions => include_str!("before/sequence.sql"),
        Part::DomainDefault | Part::DomainNotNull => include_str!("before/type.sql"),
        Part::PartitionBound | Part::Attach => include_str!("before/partition.sql"),
        Part::Privileges => include_str!("before/privileges.sql"),
        Part::Held => include_str!("before/held.sql"),
        Part::Definition => definition(object),
    }
}

fn definition(object: &str) -> &'static str {
    match object {
        "INDEX" => include_str!("before/index.sql"),
        "CONSTRAINT" | "DOMAIN CONSTRAINT" => include_str!("before/constraint.sql"),
        "VIEW" | "MATERIALIZED VIEW" => include_str!("before/view.sql"),
        "TRIGGER" | "RULE" => include_str!("before/trigger.sql"),
        "POLICY" => include_str!("before/policy.sql"),
        "STATISTICS" => include_str!("before/statistics.sql"),
        "TYPE" | "DOMAIN" => include_str!("before/type.sql"),
        "SCHEMA" | "EXTENSION" => include_str!("before/container.sql"),
        _ => include_str!("before/function.sql"),
    }
}
