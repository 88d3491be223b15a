//! The way back from one statement.

use serde::{Deserialize, Serialize};

use super::aside::{Aside, AsideSuffix};
use super::facts::Facts;
use super::statement::Statement;

/// How one statement is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "inverse", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Inverse {
    /// These statements, in order, bring the catalog back. None at all: there is nothing to undo.
    Exact {
        /// The SQL, one statement each.
        statements: Vec<String>,
        /// What they put aside, in order.
        aside: Vec<Aside>,
        /// No data that was written since is lost.
        lossless: bool,
    },
    /// None can be derived: `down` has to be written, or `irreversible` said.
    None {
        /// Why, in words that can stand after "because".
        reason: String,
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
    let _ = (statements, index, facts, preserve);
    Inverse::None {
        reason: "not derived".into(),
    }
}
