//! Pure: parses, classifies and inverts SQL; the only user of the SQL parser.
//!
//! The way through this room:
//!
//! 1. [`parse`] turns text into a [`Script`] of [`Statement`]s, or says with line and column why not.
//! 2. [`Statement::probe`] tells how to find out whether a statement that ran outside of a transaction took effect.
//! 3. [`facts_wanted`] names what has to be read from the catalog before the statements run; an edge fills [`Facts`].
//! 4. [`derive_all`] gives the inverse of each statement, [`derive()`] that of one; with an [`AsideSuffix`], what was added is put aside instead of
//!    dropped, and [`purge`] destroys it later. [`aside_written`] does the same for a `down` that a person wrote.
//! 5. [`foresee`] says what statements will do to the server that a [`Snapshot`] describes; [`lint()`] makes findings of it,
//!    and [`impacts`] finds the application's statements that it concerns.

mod aside;
mod backfill;
mod classify;
mod definition;
mod facts;
mod foresight;
mod grammar;
mod inverse;
mod kind;
mod lint;
mod name;
mod overlay;
mod refusal;
mod refuse;
mod script;
mod snapshot;
mod statement;
mod stored;
mod token;
mod usage;
mod written;

pub use aside::{ASIDE_PREFIX, Aside, AsideKind, AsideSuffix, purge};
pub use backfill::{
    BackfillText, IN_BATCH, Refused as BackfillRefused, SyncTrigger, Written, steady_functions,
};
pub use definition::index_on_temporary;
pub use facts::{Before, FactKey, FactValue, Facts, RowColumn, RowsFact, facts_wanted, facts_wanted_where};
pub use foresight::{Foreseen, Heavy, LockMode, RelationLock, foresee, stand_alone};
pub use inverse::{Inverse, derive, derive_all};
pub use kind::{
    AlterTable, Column, Constraint, ConstraintKind, CreateIndex, CreateTable, Edit, Generated, Grant, Kind,
    Part, RelationKind, Rename, RenameTarget, TableAction, Target,
};
pub use lint::{Class, Finding, Grouping, RULES, Rule, Severity, is_advice, lint, lint_script, rule};
pub use name::{RelationName, quote_ident, quote_literal};
pub use refusal::{Code, Note, Refusal};
pub use script::{MAX_BYTES, MAX_FILE_BYTES, Reading, Script, parse, read};
pub use snapshot::{
    Activity, CatalogError, ColumnFacts, ConstraintFacts, Dependency, FORMAT, FunctionFacts, IndexFacts,
    LIVE_QUERIES, LiveQuery, ObjectRef, Persistence, QueryPlan, Relation, RelationType, ReplicaIdentity,
    Snapshot, TriggerFacts, TypeFacts, TypeKind, Unknown, Volatility,
};
pub use statement::{Probe, Statement};
pub use stored::{StoredQuery, stored_query};
pub use usage::{BodyUses, Change, QueryImpact, Touch, Touched, body_uses, impacts, touched};
pub use written::aside_written;

#[cfg(test)]
mod tests;
