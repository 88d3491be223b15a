//! The rules: each looks at one statement in its surroundings.

mod column;
mod constraint;
mod data;
mod index;
mod name;
mod order;
mod remove;
mod table;

use super::Finding;
use super::subject::Subject;

/// A finding with what makes it harmless.
pub struct Found {
    pub finding: Finding,
    pub remedy: Remedy,
}

/// The form that does no harm.
pub enum Remedy {
    /// There is none that SQL alone can say.
    None,
    /// Statements instead of the whole statement.
    Whole(Vec<String>),
    /// Statements instead of one subcommand of `ALTER TABLE`, counted from 0.
    Action(usize, Vec<String>),
}

impl Finding {
    fn without_remedy(self) -> Found {
        Found { finding: self, remedy: Remedy::None }
    }

    fn instead(self, statements: Option<Vec<String>>) -> Found {
        Found { finding: self, remedy: statements.map_or(Remedy::None, Remedy::Whole) }
    }

    fn instead_of(self, action: usize, statements: Option<Vec<String>>) -> Found {
        let remedy = statements.map_or(Remedy::None, |statements| Remedy::Action(action, statements));
        Found { finding: self, remedy }
    }
}

/// All that the rules find in one statement.
pub fn all(subject: &Subject<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    index::check(subject, &mut found);
    constraint::check(subject, &mut found);
    column::check(subject, &mut found);
    table::check(subject, &mut found);
    remove::check(subject, &mut found);
    data::check(subject, &mut found);
    order::check(subject, &mut found);
    name::check(subject, &mut found);
    table::remaining(subject, &mut found);
    found
}
