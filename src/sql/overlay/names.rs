//! The names that the server chooses where a statement gives none.

use std::collections::BTreeSet;

use super::State;
use crate::sql::kind::{Constraint, ConstraintKind, CreateIndex};
use crate::sql::name::{MAX_IDENTIFIER, RelationName, object_name};

/// Names for what one statement makes, in the state before it: one that was given is taken for those that follow.
pub(in crate::sql) struct Names<'s, 'a> {
    state: &'s State<'a>,
    given: BTreeSet<RelationName>,
}

impl<'s, 'a> Names<'s, 'a> {
    /// The names of the first thing that a statement makes.
    pub fn of(state: &'s State<'a>) -> Self {
        Self { state, given: BTreeSet::new() }
    }

    /// The name of a constraint, given or chosen.
    pub fn constraint(&mut self, relation: &RelationName, constraint: &Constraint) -> Result<String, String> {
        if let Some(name) = constraint.name.as_ref().or(constraint.using_index.as_ref()) {
            self.given.insert(relation.sibling(name.clone()));
            return Ok(name.clone());
        }
        let joined = joined(&constraint.columns);
        let only = constraint.columns.first().filter(|_| constraint.columns.len() == 1).map(String::as_str);
        let (second, label) = match constraint.kind {
            ConstraintKind::Exclude if constraint.columns.is_empty() => {
                return Err("the server chooses the name from an expression: write a name".into());
            }
            ConstraintKind::Check => (only, "check"),
            ConstraintKind::Unique => (Some(joined.as_str()), "key"),
            ConstraintKind::PrimaryKey => (None, "pkey"),
            ConstraintKind::ForeignKey => (Some(joined.as_str()), "fkey"),
            ConstraintKind::Exclude => (Some(joined.as_str()), "excl"),
            ConstraintKind::NotNull => (only, "not_null"),
        };
        self.choose(relation, second, label)
    }

    /// The name of an index, given or chosen.
    pub fn index(&mut self, index: &CreateIndex) -> Result<String, String> {
        match &index.name {
            Some(name) => Ok(name.clone()),
            None if index.columns.is_empty() => {
                Err("the server chooses the name from an expression: write a name".into())
            }
            None => self.choose(&index.relation, Some(&joined(&index.columns)), "idx"),
        }
    }

    /// The name of the sequence of a `serial` or identity column.
    pub fn sequence(&mut self, relation: &RelationName, column: &str) -> Result<String, String> {
        self.choose(relation, Some(column), "seq")
    }

    fn choose(
        &mut self,
        relation: &RelationName,
        second: Option<&str>,
        label: &str,
    ) -> Result<String, String> {
        let State { catalog, taken, .. } = self.state;
        let mut pass = 0;
        loop {
            let numbered = if pass == 0 { label.to_owned() } else { format!("{label}{pass}") };
            let name = object_name(&relation.name, second, &numbered);
            let whole = relation.sibling(&name);
            if !taken.contains(&whole) && !self.given.contains(&whole) {
                if catalog.is_taken(self.state.before(relation), &name)? {
                    return Err(format!("the server chooses the name, since {name} is taken: write a name"));
                }
                self.given.insert(whole);
                return Ok(name);
            }
            pass += 1;
        }
    }
}

/// Names of columns in one, as long as the server goes on adding.
pub(in crate::sql) fn joined(columns: &[String]) -> String {
    let mut joined = String::new();
    for column in columns {
        if !joined.is_empty() {
            joined.push('_');
        }
        joined.push_str(column);
        if joined.len() > MAX_IDENTIFIER {
            break;
        }
    }
    joined
}
