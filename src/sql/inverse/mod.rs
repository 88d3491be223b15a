//! The way back from one statement.

mod alter;
mod create;
mod edit;
mod privilege;
mod widen;

use serde::{Deserialize, Serialize};

use alter::undo_alter;
use create::{undo_create, undo_create_index, undo_create_table};
use edit::undo_edits;

use super::aside::{Aside, AsideSuffix};
use super::facts::Facts;
use super::kind::{Edit, Kind, RelationKind, Rename, RenameTarget, Target};
use super::name::{RelationName, quote_ident, quote_literal};
use super::overlay::{Catalog, State};
use super::statement::Statement;

/// How one statement is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "inverse", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Inverse {
    /// These statements, in order, bring the catalog back. None at all: there is nothing to undo.
    Exact {
        /// The SQL, one statement each; `DROP INDEX CONCURRENTLY` cannot run in a transaction.
        statements: Vec<String>,
        /// What they put aside, in order.
        aside: Vec<Aside>,
        /// No data that was written since is lost.
        lossless: bool,
        /// What has to be so for them to succeed, in words that can stand after "if".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        condition: Option<String>,
    },
    /// None can be derived: `down` has to be written, or `irreversible` said.
    None {
        /// Why, in words that can stand after "because".
        reason: String,
        /// Nothing but an answer of the database is missing.
        #[serde(default)]
        unknown: bool,
    },
}

/// The inverse of `statements[index]`, in the state that it and the statements before it leave.
///
/// `facts` are those of [`super::facts_wanted`], read before the first of `statements` ran. With `preserve`, what was
/// added is put aside under a name with that suffix instead of being dropped.
pub fn derive(
    statements: &[Statement],
    index: usize,
    facts: &Facts,
    preserve: Option<&AsideSuffix>,
) -> Inverse {
    let catalog = Catalog::new(facts);
    let (Some(statement), Some(before)) = (statements.get(index), statements.get(..index)) else {
        return Inverse::None { reason: "there is no such statement".to_owned(), unknown: false };
    };
    inverse(statement, &mut State::after(before, &catalog), &catalog, preserve)
}

/// The inverse of each statement, as [`derive()`] gives them, in one walk through all of them.
pub fn derive_all(statements: &[Statement], facts: &Facts, preserve: Option<&AsideSuffix>) -> Vec<Inverse> {
    let catalog = Catalog::new(facts);
    let mut state = State::new(&catalog);
    statements.iter().map(|statement| inverse(statement, &mut state, &catalog, preserve)).collect()
}

fn inverse(
    statement: &Statement,
    state: &mut State<'_>,
    catalog: &Catalog<'_>,
    preserve: Option<&AsideSuffix>,
) -> Inverse {
    catalog.forget_missed();
    match undo(statement, state, preserve) {
        Ok(Undo { statements, aside, lossless, condition }) => {
            Inverse::Exact { statements, aside, lossless, condition }
        }
        Err(reason) => Inverse::None { reason, unknown: catalog.has_missed() },
    }
}

/// An inverse that exists; otherwise there is a reason.
#[derive(Clone, Debug)]
pub(super) struct Undo {
    pub statements: Vec<String>,
    pub aside: Vec<Aside>,
    pub lossless: bool,
    /// What has to be so for it to succeed, in words that can stand after "if".
    pub condition: Option<String>,
}

impl Default for Undo {
    fn default() -> Self {
        Self { statements: Vec::new(), aside: Vec::new(), lossless: true, condition: None }
    }
}

impl Undo {
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn by(sql: String) -> Self {
        Self { statements: vec![sql], ..Self::nothing() }
    }

    fn destroying(sql: String) -> Self {
        Self { lossless: false, ..Self::by(sql) }
    }

    pub fn then(mut self, other: Self) -> Self {
        self.statements.extend(other.statements);
        self.aside.extend(other.aside);
        self.lossless &= other.lossless;
        self.condition = match (self.condition, other.condition) {
            (Some(one), Some(other)) if one != other => Some(format!("{one}, and {other}")),
            (one, other) => one.or(other),
        };
        self
    }
}

type Derived = Result<Undo, String>;

/// The inverse of a statement in the state before it; the state is the one after it then.
pub(super) fn undo(statement: &Statement, state: &mut State<'_>, preserve: Option<&AsideSuffix>) -> Derived {
    if let Kind::AlterTable(alter) = &statement.kind {
        let derived = undo_alter(alter, state, preserve);
        state.note_all(&statement.edits);
        return derived;
    }
    let derived = undo_whole(statement, state, preserve);
    state.pass(statement);
    derived
}

fn undo_whole(statement: &Statement, state: &State<'_>, preserve: Option<&AsideSuffix>) -> Derived {
    match &statement.kind {
        Kind::CreateTable(table) => undo_create_table(table, state, preserve),
        Kind::CreateIndex(index) => undo_create_index(index, state),
        Kind::Rename(rename) => undo_rename(rename),
        Kind::DropIndex { indexes, if_exists, .. } => {
            undo_edits(&dropped_indexes(indexes, *if_exists), state)
        }
        _ if statement.edits.iter().any(|edit| !matches!(edit, Edit::Make { .. })) => {
            undo_edits(&statement.edits, state)
        }
        kind => undo_create(kind, preserve)
            .or_else(|| undo_rows(kind, state))
            .unwrap_or_else(|| undo_rest(kind, state)),
    }
}

fn dropped_indexes(indexes: &[RelationName], if_exists: bool) -> Vec<Edit> {
    let dropped = |index: &RelationName| {
        let what = Target::new("INDEX", index.clone());
        Edit::Drop { what, if_exists, cascade: false }
    };
    indexes.iter().map(dropped).collect()
}

fn may_exist(if_not_exists: bool) -> Result<(), String> {
    if if_not_exists { Err("IF NOT EXISTS may have found it there already".into()) } else { Ok(()) }
}

fn may_lack(if_exists: bool) -> Result<(), String> {
    if if_exists { Err("IF EXISTS may have found nothing".into()) } else { Ok(()) }
}

fn may_replace(replace: bool) -> Result<(), String> {
    if replace {
        Err("OR REPLACE may have replaced another definition, which is not kept".into())
    } else {
        Ok(())
    }
}

fn undo_rename(rename: &Rename) -> Derived {
    may_lack(rename.if_exists)?;
    let to = quote_ident(&rename.to);
    let one_only = |only: bool| if only { "ONLY " } else { "" };
    Ok(Undo::by(match &rename.target {
        RenameTarget::Relation { object, relation } => {
            let now = relation.sibling(&rename.to);
            format!("ALTER {} {now} RENAME TO {}", object.sql(), quote_ident(&relation.name))
        }
        RenameTarget::Column { object, relation, column, only } => {
            let part = if *object == RelationKind::Type { "ATTRIBUTE" } else { "COLUMN" };
            let (object, only, column) = (object.sql(), one_only(*only), quote_ident(column));
            format!("ALTER {object} {only}{relation} RENAME {part} {to} TO {column}")
        }
        RenameTarget::Constraint { relation, constraint, only } => {
            let (only, constraint) = (one_only(*only), quote_ident(constraint));
            format!("ALTER TABLE {only}{relation} RENAME CONSTRAINT {to} TO {constraint}")
        }
        RenameTarget::OfTable { object, relation, name } => {
            format!("ALTER {object} {to} ON {relation} RENAME TO {}", quote_ident(name))
        }
        RenameTarget::Schema { schema } => format!("ALTER SCHEMA {to} RENAME TO {}", quote_ident(schema)),
        RenameTarget::Named { object, relation } => {
            let now = relation.sibling(&rename.to);
            format!("ALTER {object} {now} RENAME TO {}", quote_ident(&relation.name))
        }
        RenameTarget::EnumValue { relation, value } => {
            let (now, before) = (quote_literal(&rename.to), quote_literal(value));
            format!("ALTER TYPE {relation} RENAME VALUE {now} TO {before}")
        }
        RenameTarget::Other { object } => return Err(format!("renaming a {object} has no derived inverse")),
    }))
}

/// Inverses of what changes rows, or nothing at all: rows of what the plan itself added go with it.
fn undo_rows(kind: &Kind, state: &State<'_>) -> Option<Derived> {
    let (verb, gone) = match kind {
        Kind::Insert { relation } => {
            ("inserted", relation.as_ref().is_some_and(|relation| state.made(relation)))
        }
        Kind::Update { relation, columns } => (
            "updated",
            relation.as_ref().is_some_and(|relation| {
                state.made(relation) || columns.iter().all(|column| state.added(relation, column))
            }),
        ),
        Kind::Delete { relation } => {
            ("deleted", relation.as_ref().is_some_and(|relation| state.made(relation)))
        }
        Kind::Merge { relation } => {
            ("merged", relation.as_ref().is_some_and(|relation| state.made(relation)))
        }
        Kind::Truncate { relations, cascade } => {
            ("emptied", !cascade && relations.iter().all(|name| state.made(name)))
        }
        Kind::Select { calls: true } => {
            return Some(Err("a function that is called may have changed something".into()));
        }
        Kind::Select { .. }
        | Kind::Lock
        | Kind::SetLocal { .. }
        | Kind::Analyze
        | Kind::Vacuum
        | Kind::Reindex { .. }
        | Kind::RefreshMaterializedView { .. } => return Some(Ok(Undo::nothing())),
        _ => return None,
    };
    Some(if gone {
        Ok(Undo::nothing())
    } else {
        Err(format!("rows are {verb}, and what was there before is not kept"))
    })
}

fn undo_rest(kind: &Kind, state: &State<'_>) -> Derived {
    match kind {
        Kind::Grant { .. } => Err("the privileges before are not kept".into()),
        Kind::AddEnumValue { relation, .. } if state.made_type(relation) => Ok(Undo::nothing()),
        Kind::AddEnumValue { .. } => {
            Err("an enum value cannot be dropped (a down that leaves it, as SELECT 1, will do)".into())
        }
        Kind::DropTable { .. } => Err("the data of the table is gone with it".into()),
        Kind::Drop { object } => Err(format!("the definition of the {object} that was dropped is not kept")),
        Kind::Other(name) => Err(format!("{} has no derived inverse", name.trim_end_matches("Stmt"))),
        kind => Err(format!("{} has no derived inverse", kind.name())),
    }
}
