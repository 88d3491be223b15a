//! What a plan has set, made, replaced and renamed so far, as its changes tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::sql::kind::{Edit, Grant, Part, Target};
use crate::sql::name::RelationName;

/// What a plan has set something to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// It has not set it.
    Untouched,
    /// To this.
    Known(&'a str),
    /// To something that its text does not tell.
    Untold,
}

/// See the module. Objects are under their names of now.
#[derive(Clone, Debug, Default)]
pub struct Known {
    values: BTreeMap<(Part, Target), Option<String>>,
    made: BTreeSet<Target>,
    redefined: BTreeSet<Target>,
    grants: Vec<Grant>,
    /// Names before the plan of constraints, triggers, policies and rules that were renamed.
    before: BTreeMap<Target, String>,
    /// Names that mean something else now than they did before the plan, or nothing.
    gone: BTreeSet<String>,
}

impl Known {
    /// Goes on past a change.
    pub fn note(&mut self, change: &Edit) {
        match change {
            Edit::Set { part, of, value, .. } => {
                self.values.insert((*part, of.clone()), value.clone());
            }
            Edit::Make { what } => {
                self.made.insert(what.clone());
                self.redefined.remove(what);
            }
            Edit::Replace { what, .. } | Edit::Drop { what, .. } => {
                self.redefined.insert(what.clone());
            }
            Edit::Grant(grant) => self.grants.push(grant.clone()),
            Edit::Plain { .. } | Edit::Lost { .. } => {}
        }
    }

    /// Whether the plan made an object.
    pub fn made(&self, target: &Target) -> bool {
        self.made.contains(target)
    }

    /// Whether the plan replaced or dropped an object.
    pub fn redefined(&self, target: &Target) -> bool {
        self.redefined.contains(target)
    }

    /// What the plan has set something to.
    pub fn value(&self, part: Part, of: &Target) -> Value<'_> {
        match self.values.get(&(part, of.clone())) {
            None => Value::Untouched,
            Some(None) => Value::Untold,
            Some(Some(value)) => Value::Known(value),
        }
    }

    /// What the plan has granted and revoked so far of an object, to and from a role.
    pub fn grants<'a>(&'a self, on: &'a Target, role: &'a str) -> impl Iterator<Item = &'a Grant> {
        self.grants.iter().filter(move |grant| grant.on == *on && grant.role == role)
    }

    /// The name before the plan of a part of a table that was renamed.
    pub fn before(&self, target: &Target) -> Option<String> {
        self.before.get(target).cloned()
    }

    /// The first name in a piece of SQL that the plan has changed the meaning of.
    pub fn gone<'a>(&'a self, sql: &str) -> Option<&'a str> {
        if self.gone.is_empty() {
            return None;
        }
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let word = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
        let found = |name: &&String| {
            sql.split(word).any(|piece| piece == name.as_str()) || sql.contains(&quoted(name))
        };
        self.gone.iter().find(found).map(String::as_str)
    }

    /// Goes on past a change of name that is not followed further.
    pub fn forget_name(&mut self, name: &str) {
        self.gone.insert(name.to_owned());
    }

    /// Goes on past a relation's change of name or schema.
    pub fn moves(&mut self, from: &RelationName, to: &RelationName) {
        self.gone.insert(from.name.clone());
        self.renew(|target| {
            if target.name == *from && !target.is_function() && target.object != "SCHEMA" {
                target.name = to.clone();
            }
        });
    }

    /// Goes on past a new name of a column, constraint, trigger, policy or rule.
    pub fn part_moves(&mut self, object: &str, relation: &RelationName, from: &str, to: &str) {
        self.gone.insert(from.to_owned());
        let was = Target::within(object, relation.clone(), from);
        let name = self.before.remove(&was).unwrap_or_else(|| from.to_owned());
        self.renew(|target| {
            if *target == was {
                target.detail = Some(to.to_owned());
            }
        });
        self.before.insert(Target::within(object, relation.clone(), to), name);
    }

    fn renew(&mut self, change: impl Fn(&mut Target)) {
        let renewed = |mut target: Target| {
            change(&mut target);
            target
        };
        self.values = std::mem::take(&mut self.values)
            .into_iter()
            .map(|((part, target), value)| ((part, renewed(target)), value))
            .collect();
        self.made = std::mem::take(&mut self.made).into_iter().map(renewed).collect();
        self.redefined = std::mem::take(&mut self.redefined).into_iter().map(renewed).collect();
        self.before = std::mem::take(&mut self.before)
            .into_iter()
            .map(|(target, name)| (renewed(target), name))
            .collect();
        for grant in &mut self.grants {
            change(&mut grant.on);
        }
    }
}
