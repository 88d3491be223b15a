//! The way back from `CREATE`.

use super::{Derived, Undo, may_exist, may_replace};
use crate::sql::aside::{self, AsideKind, AsideSuffix};
use crate::sql::kind::{CreateIndex, CreateTable, Kind};
use crate::sql::name::{RelationName, quote_ident};
use crate::sql::overlay::{Names, State};

pub fn undo_create_table(table: &CreateTable, state: &State<'_>, preserve: Option<&AsideSuffix>) -> Derived {
    may_exist(table.if_not_exists)?;
    let relation = &table.relation;
    match preserve {
        _ if table.temporary => Ok(Undo::nothing()),
        _ if table.foreign => Ok(Undo::by(format!("DROP FOREIGN TABLE {relation}"))),
        Some(suffix) => aside::table(state, table, suffix),
        None => Ok(Undo::destroying(format!("DROP TABLE {relation}"))),
    }
}

pub fn undo_create_index(index: &CreateIndex, state: &State<'_>) -> Derived {
    may_exist(index.if_not_exists)?;
    let name = index.relation.sibling(Names::of(state).index(index)?);
    let concurrently = if index.concurrently { "CONCURRENTLY " } else { "" };
    // A named one may be gone already: a constraint that took it over takes it along when it is dropped.
    let if_exists = if index.name.is_some() { "IF EXISTS " } else { "" };
    Ok(Undo::by(format!("DROP INDEX {concurrently}{if_exists}{name}")))
}

/// Inverses of what is made and holds no rows.
pub fn undo_create(kind: &Kind, preserve: Option<&AsideSuffix>) -> Option<Derived> {
    let dropped = |sql: String| Ok(Undo::by(format!("DROP {sql}")));
    Some(match kind {
        Kind::CreateView { relation, materialized, replace, if_not_exists } => {
            let object = if *materialized { "MATERIALIZED VIEW" } else { "VIEW" };
            may_replace(*replace)
                .and_then(|()| may_exist(*if_not_exists))
                .and_then(|()| dropped(format!("{object} {relation}")))
        }
        Kind::CreateSequence { relation, if_not_exists } => {
            may_exist(*if_not_exists).and_then(|()| dropped(format!("SEQUENCE {relation}")))
        }
        Kind::CreateSchema { with_objects: true, .. } => {
            Err("further objects are made by the same statement: write statements of their own".into())
        }
        Kind::CreateSchema { schema, if_not_exists, .. } => {
            may_exist(*if_not_exists).and_then(|()| match preserve {
                Some(suffix) => {
                    Ok(aside::named(AsideKind::Schema, "SCHEMA", &RelationName::unqualified(schema), suffix))
                }
                None => dropped(format!("SCHEMA {}", quote_ident(schema))),
            })
        }
        _ => return undo_create_other(kind, preserve),
    })
}

fn undo_create_other(kind: &Kind, preserve: Option<&AsideSuffix>) -> Option<Derived> {
    let dropped = |sql: String| Ok(Undo::by(format!("DROP {sql}")));
    Some(match kind {
        Kind::CreateType { relation } => match preserve {
            Some(suffix) => Ok(aside::named(AsideKind::Type, "TYPE", relation, suffix)),
            None => dropped(format!("TYPE {relation}")),
        },
        Kind::CreateDomain { relation } => match preserve {
            Some(suffix) => Ok(aside::named(AsideKind::Type, "DOMAIN", relation, suffix)),
            None => dropped(format!("DOMAIN {relation}")),
        },
        Kind::CreateFunction { signature, procedure, replace } => may_replace(*replace).and_then(|()| {
            let object = if *procedure { "PROCEDURE" } else { "FUNCTION" };
            let signature = signature.as_ref().ok_or("the types of its arguments cannot be written")?;
            dropped(format!("{object} {signature}"))
        }),
        Kind::CreateTrigger { trigger, relation, replace } => may_replace(*replace)
            .and_then(|()| dropped(format!("TRIGGER {} ON {relation}", quote_ident(trigger)))),
        Kind::CreatePolicy { policy, relation } => {
            dropped(format!("POLICY {} ON {relation}", quote_ident(policy)))
        }
        Kind::CreateStatistics { relation, if_not_exists } => may_exist(*if_not_exists).and_then(|()| {
            let relation = relation.as_ref().ok_or("the server chooses the name: write a name")?;
            dropped(format!("STATISTICS {relation}"))
        }),
        _ => return None,
    })
}
