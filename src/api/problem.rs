//! What is wrong with one field of an object.

/// A value that is not acceptable, named by its path so that a person finds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldProblem {
    /// Path of the field, as in `spec.analysis.metrics[1].range`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl FieldProblem {
    /// Makes a problem of a field path and a message.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}
