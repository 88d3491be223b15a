//! Pure: parses, classifies and inverts SQL; the only user of the SQL parser.
//!
//! The way through this room:
//!
//! 1. [`parse`] turns text into a [`Script`] of [`Statement`]s, or says with line and column why not.
//! 2. [`Statement::probe`] tells how to find out whether a statement that ran outside of a transaction took effect.
//! 3. [`facts_wanted`] names what has to be read from the catalog before the statements run; an edge fills [`Facts`].
//! 4. [`derive()`] gives the inverse of one statement; with an [`AsideSuffix`], what was added is put aside instead of
//!    dropped, and [`purge`] destroys it later. [`aside_written`] does the same for a `down` that a person wrote.

mod aside;
mod classify;
mod facts;
mod grammar;
mod inverse;
mod kind;
mod name;
mod overlay;
mod refusal;
mod refuse;
mod script;
mod statement;
mod token;
mod written;

pub use aside::{ASIDE_PREFIX, Aside, AsideKind, AsideSuffix, purge};
pub use facts::{FactKey, FactValue, Facts, facts_wanted};
pub use inverse::{Inverse, derive};
pub use kind::{
    AlterTable, Column, Constraint, ConstraintKind, CreateIndex, CreateTable, Generated, Kind, RelationKind,
    Rename, RenameTarget, TableAction,
};
pub use name::{RelationName, quote_ident, quote_literal};
pub use refusal::{Code, Note, Refusal};
pub use script::{MAX_BYTES, Script, parse};
pub use statement::{Probe, Statement};
pub use written::aside_written;

#[cfg(test)]
mod tests;
