//! Findings: what a person should know before a statement runs, why, and the form that does no harm.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::foresight::Foreseen;
use super::snapshot::Snapshot;
use super::statement::Statement;
pub use crate::api::Severity;

/// Something that a person should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Finding {
    /// Stable: `WB` and three digits for what rests on locks, catalog and measurement; the rule's own name for advice.
    pub code: String,
    /// How much it matters here: lock, size and traffic of the tables are in it.
    pub severity: Severity,
    /// Index of the statement.
    pub statement: usize,
    /// Line of the place, from 1.
    pub line: u32,
    /// Column of the place in characters, from 1.
    pub column: u32,
    /// What, and why it matters, in one sentence.
    pub message: String,
    /// The same change in a form that does no harm, as SQL that can be pasted; empty if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub safe_form: String,
    /// Why it matters less than the rule says, if the catalog or a measurement says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overruled: Option<String>,
    /// The reason of a `-- whimbrel:ignore CODE reason` that covers it; it then counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

/// Finds what is worth knowing about the statements of one script. `text` is the script, for its comments.
pub fn lint(text: &str, statements: &[Statement], foreseen: &[Foreseen], catalog: &Snapshot) -> Vec<Finding> {
    let _ = (text, statements, foreseen, catalog);
    Vec::new()
}
