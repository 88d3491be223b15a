//! Putting aside what was added, so that data written since is not destroyed.
//!
//! What is put aside gets a name that nobody else uses, and lets go of everything that would hinder writers, the columns
//! of other tables, or another run of the same migration: keys are renamed with it, defaults, checks and foreign keys go.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::inverse::Undo;
use super::kind::{Column, Constraint, ConstraintKind, CreateTable};
use super::name::{MAX_IDENTIFIER, RelationName, clip, quote_ident};
use super::overlay::{Names, State};

/// What the names of all put-aside objects begin with.
pub const ASIDE_PREFIX: &str = "_whimbrel_";

/// Longest suffix, in bytes.
const MAX_SUFFIX: usize = 24;

/// What tells the names of one run's put-aside objects from those of any other run: a short piece of its identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideSuffix(String);

impl AsideSuffix {
    /// Takes 1 to 24 of `a-z`, `0-9` and `_`; anything else gives `None`.
    pub fn new(suffix: impl Into<String>) -> Option<Self> {
        let suffix = suffix.into();
        let fits = (1..=MAX_SUFFIX).contains(&suffix.len())
            && suffix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        fits.then_some(Self(suffix))
    }

    /// One to show before there is a run, whose identifier it would come from.
    pub fn sample() -> Self {
        Self("run".into())
    }

    /// Any one, where the name does not matter.
    pub(super) fn placeholder() -> Self {
        Self("x".into())
    }

    /// The name that something gets when it is put aside. Long names are cut, and stay apart by a hash.
    pub fn aside_name(&self, name: &str) -> String {
        let room = MAX_IDENTIFIER - ASIDE_PREFIX.len() - 1 - self.0.len();
        if name.len() <= room {
            return format!("{ASIDE_PREFIX}{name}_{}", self.0);
        }
        let digest = Sha256::digest(name.as_bytes());
        let hash = digest.iter().take(4).fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte));
        let hash = format!("{hash:08x}");
        format!("{ASIDE_PREFIX}{}_{hash}_{}", clip(name, room - hash.len() - 1), self.0)
    }
}

/// What was put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AsideKind {
    /// A column of a table.
    Column,
    /// A table.
    Table,
    /// A type or domain, which put-aside columns may be of.
    Type,
    /// A schema, which put-aside tables may be in.
    Schema,
}

/// Something that a rollback put aside instead of dropping it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aside {
    /// What it is.
    pub kind: AsideKind,
    /// The table of the column; for the other kinds the object itself, under its name before.
    pub relation: RelationName,
    /// Name before.
    pub name: String,
    /// Name now; a schema that it had is the same.
    pub aside_name: String,
}

/// The SQL that destroys what was put aside, in order; `asides` in the order in which they were put aside.
pub fn purge(asides: &[Aside]) -> Vec<String> {
    let mut statements = Vec::new();
    for (index, aside) in asides.iter().enumerate() {
        let later = asides.get(index + 1..).unwrap_or_default();
        let now = |relation: RelationName| moved(relation, later).sql();
        let aside_name = quote_ident(&aside.aside_name);
        statements.push(match aside.kind {
            AsideKind::Column => {
                format!("ALTER TABLE {} DROP COLUMN {aside_name}", now(aside.relation.clone()))
            }
            AsideKind::Table => format!("DROP TABLE {}", now(aside.relation.sibling(&aside.aside_name))),
            AsideKind::Type => format!("DROP TYPE {}", now(aside.relation.sibling(&aside.aside_name))),
            AsideKind::Schema => format!("DROP SCHEMA {aside_name}"),
        });
    }
    statements
}

/// The name of a relation after others were put aside: its table, or the schema it is in.
fn moved(relation: RelationName, later: &[Aside]) -> RelationName {
    later.iter().fold(relation, |relation, aside| match aside.kind {
        AsideKind::Table if aside.relation == relation => relation.sibling(&aside.aside_name),
        AsideKind::Schema if relation.schema.as_ref() == Some(&aside.name) => {
            RelationName::qualified(&aside.aside_name, relation.name)
        }
        _ => relation,
    })
}

/// Puts a type, domain or schema aside.
pub(super) fn named(kind: AsideKind, sql: &str, relation: &RelationName, suffix: &AsideSuffix) -> Undo {
    let aside_name = suffix.aside_name(&relation.name);
    let rename = format!("ALTER {sql} {relation} RENAME TO {}", quote_ident(&aside_name));
    let (relation, name) = (relation.clone(), relation.name.clone());
    Undo {
        statements: vec![rename],
        aside: vec![Aside { kind, relation, name, aside_name }],
        ..Undo::nothing()
    }
}

/// Puts a column aside that `ADD COLUMN` added; `state` is that before.
pub(super) fn column(
    state: &State<'_>,
    relation: &RelationName,
    table: &str,
    column: &Column,
    suffix: &AsideSuffix,
) -> Result<Undo, String> {
    let mut names = Names::of(state);
    let name = quote_ident(&column.name);
    let mut statements = Vec::new();
    if column.serial {
        let sequence = names.sequence(relation, &column.name)?;
        statements.push(rename_sequence(relation, &sequence, suffix));
    }
    let mut drops = Vec::new();
    for constraint in &column.constraints {
        let constraint_name = names.constraint(relation, constraint)?;
        drops.push(format!("{table} DROP CONSTRAINT {}", quote_ident(&constraint_name)));
    }
    statements.splice(0..0, drops.into_iter().rev());
    if column.identity {
        statements.push(format!("{table} ALTER COLUMN {name} DROP IDENTITY"));
    } else if column.default.is_some() || column.serial {
        statements.push(format!("{table} ALTER COLUMN {name} DROP DEFAULT"));
    }
    if column.is_not_null() {
        statements.push(format!("{table} ALTER COLUMN {name} DROP NOT NULL"));
    }
    let aside_name = suffix.aside_name(&column.name);
    statements.push(format!("{table} RENAME COLUMN {name} TO {}", quote_ident(&aside_name)));
    let aside =
        Aside { kind: AsideKind::Column, relation: relation.clone(), name: column.name.clone(), aside_name };
    Ok(Undo { statements, aside: vec![aside], ..Undo::nothing() })
}

/// Puts a table aside that `CREATE TABLE` made; `state` is that before.
pub(super) fn table(state: &State<'_>, table: &CreateTable, suffix: &AsideSuffix) -> Result<Undo, String> {
    let mut names = Names::of(state);
    if table.like {
        return Err("LIKE and OF make constraints and indexes whose names are not in the statement".into());
    }
    if table.partition_of.is_some() {
        return Err("the indexes of a partition are named by the server".into());
    }
    let relation = &table.relation;
    let alter = format!("ALTER TABLE {relation}");
    let mut let_go: Vec<String> =
        table.inherits.iter().map(|parent| format!("{alter} NO INHERIT {parent}")).collect();
    let mut renames = Vec::new();
    for column in &table.columns {
        if column.serial || column.identity {
            let sequence = names.sequence(relation, &column.name)?;
            renames.push(rename_sequence(relation, &sequence, suffix));
        }
        if (column.serial || column.default.is_some()) && !column.identity {
            let_go.push(format!("{alter} ALTER COLUMN {} DROP DEFAULT", quote_ident(&column.name)));
        }
        for constraint in &column.constraints {
            release(&mut names, relation, constraint, suffix, &mut let_go, &mut renames)?;
        }
    }
    for constraint in &table.constraints {
        release(&mut names, relation, constraint, suffix, &mut let_go, &mut renames)?;
    }
    let aside_name = suffix.aside_name(&relation.name);
    let statements = let_go
        .into_iter()
        .chain(renames)
        .chain([format!("{alter} RENAME TO {}", quote_ident(&aside_name))])
        .collect();
    let aside =
        Aside { kind: AsideKind::Table, relation: relation.clone(), name: relation.name.clone(), aside_name };
    Ok(Undo { statements, aside: vec![aside], ..Undo::nothing() })
}

/// Renames a key of a table that is put aside, drops any other constraint.
fn release(
    names: &mut Names<'_, '_>,
    relation: &RelationName,
    constraint: &Constraint,
    suffix: &AsideSuffix,
    let_go: &mut Vec<String>,
    renames: &mut Vec<String>,
) -> Result<(), String> {
    let name = names.constraint(relation, constraint)?;
    let (alter, quoted) = (format!("ALTER TABLE {relation}"), quote_ident(&name));
    match constraint.kind {
        ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::Exclude => {
            let aside_name = quote_ident(&suffix.aside_name(&name));
            renames.push(format!("{alter} RENAME CONSTRAINT {quoted} TO {aside_name}"));
        }
        ConstraintKind::Check | ConstraintKind::ForeignKey | ConstraintKind::NotNull => {
            let_go.push(format!("{alter} DROP CONSTRAINT {quoted}"));
        }
    }
    Ok(())
}

fn rename_sequence(relation: &RelationName, sequence: &str, suffix: &AsideSuffix) -> String {
    let aside_name = quote_ident(&suffix.aside_name(sequence));
    format!("ALTER SEQUENCE {} RENAME TO {aside_name}", relation.sibling(sequence))
}
