//! Pure: the blast radius: all that depends on what a plan touches, with its size.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sql::{Foreseen, ObjectRef, Snapshot, Statement};

/// All that depends on what a plan touches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlastRadius {
    /// What is touched, and below it what depends on it.
    pub roots: Vec<Reached>,
}

/// An object within the blast radius.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Reached {
    /// The object.
    pub object: ObjectRef,
    /// Why it is here: `touched`, `foreign key`, `view`, `index on`, `partition`, ...
    pub by: String,
    /// Rows, where it has some and they are known.
    pub rows: Option<f64>,
    /// Bytes with indexes and TOAST.
    pub bytes: Option<u64>,
    /// Found in the source of a function, which the server does not follow: it may be wrong.
    pub likely: bool,
    /// What depends on it in turn.
    pub dependents: Vec<Reached>,
}

/// Follows the dependencies of everything that the statements touch.
pub fn radius(statements: &[Statement], foreseen: &[Foreseen], catalog: &Snapshot) -> BlastRadius {
    let _ = (statements, foreseen, catalog);
    BlastRadius::default()
}
