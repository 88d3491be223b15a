//! The catalog before the plan, as far as it was asked.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::sql::facts::{Before, FactKey, FactValue, Facts};
use crate::sql::kind::{Column, Part, Target};
use crate::sql::name::RelationName;

/// The catalog before the plan. Without facts it only notes what it is asked, and gives the answers that lead on.
pub struct Catalog<'a> {
    facts: Option<&'a Facts>,
    asked: RefCell<BTreeSet<FactKey>>,
    missed: Cell<bool>,
}

impl<'a> Catalog<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        Self { facts: Some(facts), asked: RefCell::default(), missed: Cell::default() }
    }

    pub fn collecting() -> Self {
        Self { facts: None, asked: RefCell::default(), missed: Cell::default() }
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> BTreeSet<FactKey> {
        self.asked.take()
    }

    fn ask(&self, key: FactKey) -> Option<&'a FactValue> {
        let answer = self.facts.and_then(|facts| facts.get(&key));
        if self.only_asks() {
            self.asked.borrow_mut().insert(key);
        }
        answer
    }

    pub fn column(&self, relation: RelationName, column: String) -> Result<ColumnState, String> {
        let what = format!("column {column} of {relation}");
        match self.ask(FactKey::Column { relation, column }) {
            Some(FactValue::Column { exists: true, default, not_null, identity, generated }) => {
                Ok(ColumnState {
                    default: default.clone(),
                    not_null: *not_null,
                    computed: *identity || *generated,
                    added: false,
                })
            }
            Some(FactValue::Column { .. }) => Err(format!("{what} was not there before")),
            _ if self.facts.is_none() => Ok(ColumnState::default()),
            _ => {
                self.missed.set(true);
                Err(format!("the catalog was not asked about {what}"))
            }
        }
    }

    pub fn is_taken(&self, relation: RelationName, name: &str) -> Result<bool, String> {
        match self.ask(FactKey::Name { relation, name: name.to_owned() }) {
            Some(FactValue::Name { taken }) => Ok(*taken),
            _ if self.facts.is_none() => Ok(false),
            _ => {
                Err("the server chooses the name, and which names are taken is not known: write a name"
                    .into())
            }
        }
    }

    /// What something of an object is before the plan. When only asking, it is there, and nothing is told of it.
    pub fn before(&self, part: Part, of: Target, with: Option<String>) -> Result<Before, String> {
        let told = format!("the {} of {}", part.words(), of.sql());
        match self.ask(FactKey::Before { part, of, with }) {
            Some(FactValue::Before(before)) => Ok(before.clone()),
            _ if self.facts.is_none() => Ok(Before { exists: true, ..Before::default() }),
            _ => {
                self.missed.set(true);
                Err(format!("{told} before is not known here: the database has to be asked"))
            }
        }
    }

    /// Begins with a new statement.
    pub fn forget_missed(&self) {
        self.missed.set(false);
    }

    /// Whether something was asked that only a database can answer.
    pub fn has_missed(&self) -> bool {
        self.missed.get()
    }

    /// Whether it only notes what it is asked.
    pub fn only_asks(&self) -> bool {
        self.facts.is_none()
    }
}

/// What matters of a column.
#[derive(Clone, Debug, Default)]
pub struct ColumnState {
    pub default: Option<String>,
    pub not_null: bool,
    /// An identity or generated column.
    pub computed: bool,
    /// The plan added it.
    pub added: bool,
}

impl From<&Column> for ColumnState {
    fn from(column: &Column) -> Self {
        Self {
            default: column.default.clone(),
            not_null: column.is_not_null(),
            computed: column.identity || column.generated.is_some(),
            added: true,
        }
    }
}
