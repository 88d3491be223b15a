//! What a plan touches.

use crate::sql::name::RelationName;

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Its rows are changed.
    Rows,
    /// It is locked or rebuilt, and stays what it is.
    Locked,
    /// It is new.
    Created,
    /// Its definition is changed.
    Altered,
    /// Its type is changed.
    Retyped,
    /// It is called something else.
    Renamed,
    /// It goes away.
    Dropped,
}

/// Something that a plan touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// A relation, or a column of it.
    Relation(RelationName, Option<String>),
    /// Functions of one name.
    Function(RelationName),
    /// A type.
    Type(RelationName),
}

/// Something that a statement touches, by its name before the plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// What.
    pub what: Touched,
    /// What happens to it.
    pub change: Change,
}

impl Touch {
    pub(super) fn relation(name: RelationName, column: Option<String>, change: Change) -> Self {
        Self { what: Touched::Relation(name, column), change }
    }

    pub(super) fn function(name: RelationName, change: Change) -> Self {
        Self { what: Touched::Function(name), change }
    }

    pub(super) fn of_type(name: RelationName, change: Change) -> Self {
        Self { what: Touched::Type(name), change }
    }
}
