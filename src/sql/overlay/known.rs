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
#[derive(Debug, Default)]
pub struct Known {
    /// By [`Target::name`], so that a change of name looks at one entry.
    objects: BTreeMap<RelationName, Objects>,
    /// Names that mean something else now than they did before the plan, or nothing.
    gone: BTreeSet<String>,
}

/// What is known of all objects of a name.
#[derive(Debug, Default)]
struct Objects {
    values: BTreeMap<(Target, Part), Option<String>>,
    made: BTreeSet<Target>,
    redefined: BTreeSet<Target>,
    grants: Vec<Grant>,
    /// Names before the plan of constraints, triggers, policies and rules that were renamed.
    before: BTreeMap<Target, String>,
}

impl Objects {
    /// Takes over what is known of other objects.
    fn extend(&mut self, other: Self) {
        self.values.extend(other.values);
        self.made.extend(other.made);
        self.redefined.extend(other.redefined);
        self.grants.extend(other.grants);
        self.before.extend(other.before);
    }

    /// The same under other names.
    fn renewed(self, change: impl Fn(Target) -> Target) -> Self {
        let values = self.values.into_iter().map(|((target, part), value)| ((change(target), part), value));
        let before = self.before.into_iter().map(|(target, name)| (change(target), name));
        let grants = self.grants.into_iter().map(|grant| Grant { on: change(grant.on.clone()), ..grant });
        Self {
            values: values.collect(),
            made: self.made.into_iter().map(&change).collect(),
            redefined: self.redefined.into_iter().map(&change).collect(),
            grants: grants.collect(),
            before: before.collect(),
        }
    }

    /// Divides them in two.
    fn split(self, first: impl Fn(&Target) -> bool) -> (Self, Self) {
        let (values, other_values) = self.values.into_iter().partition(|((target, _), _)| first(target));
        let (made, other_made) = self.made.into_iter().partition(&first);
        let (redefined, other_redefined) = self.redefined.into_iter().partition(&first);
        let (grants, other_grants) = self.grants.into_iter().partition(|grant| first(&grant.on));
        let (before, other_before) = self.before.into_iter().partition(|(target, _)| first(target));
        let others = Self {
            values: other_values,
            made: other_made,
            redefined: other_redefined,
            grants: other_grants,
            before: other_before,
        };
        (Self { values, made, redefined, grants, before }, others)
    }
}

impl Known {
    /// Goes on past a change.
    pub fn note(&mut self, change: &Edit) {
        match change {
            Edit::Set { part, of, value, .. } => {
                self.of(of).values.insert((of.clone(), *part), value.clone());
            }
            Edit::Make { what } => {
                let objects = self.of(what);
                objects.made.insert(what.clone());
                objects.redefined.remove(what);
            }
            Edit::Replace { what, .. } | Edit::Drop { what, .. } => {
                self.of(what).redefined.insert(what.clone());
            }
            Edit::Grant(grant) => self.of(&grant.on).grants.push(grant.clone()),
            Edit::Plain { .. } | Edit::Lost { .. } => {}
        }
    }

    fn of(&mut self, target: &Target) -> &mut Objects {
        self.objects.entry(target.name.clone()).or_default()
    }

    /// Whether the plan made an object.
    pub fn made(&self, target: &Target) -> bool {
        self.objects.get(&target.name).is_some_and(|objects| objects.made.contains(target))
    }

    /// Whether the plan replaced or dropped an object.
    pub fn redefined(&self, target: &Target) -> bool {
        self.objects.get(&target.name).is_some_and(|objects| objects.redefined.contains(target))
    }

    /// What the plan has set something to.
    pub fn value(&self, part: Part, of: &Target) -> Value<'_> {
        let objects = self.objects.get(&of.name);
        match objects.and_then(|objects| objects.values.get(&(of.clone(), part))) {
            None => Value::Untouched,
            Some(None) => Value::Untold,
            Some(Some(value)) => Value::Known(value),
        }
    }

    /// What the plan has granted and revoked so far of an object, to and from a role.
    pub fn grants<'a>(&'a self, on: &'a Target, role: &'a str) -> impl Iterator<Item = &'a Grant> {
        let grants = self.objects.get(&on.name).into_iter().flat_map(|objects| &objects.grants);
        grants.filter(move |grant| grant.on == *on && grant.role == role)
    }

    /// The name before the plan of a part of a table that was renamed.
    pub fn before(&self, target: &Target) -> Option<String> {
        self.objects.get(&target.name)?.before.get(target).cloned()
    }

    /// The first name in a piece of SQL that the plan has changed the meaning of.
    pub fn gone(&self, sql: &str) -> Option<&str> {
        if self.gone.is_empty() {
            return None;
        }
        let words = sql.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).map(str::to_owned);
        // Whatever stands behind a quotation mark may be a name, also where the mark ends one.
        let quoted = sql.match_indices('"').filter_map(|(at, _)| quoted(sql.get(at + 1..)?));
        words.chain(quoted).filter_map(|name| self.gone.get(&name)).min().map(String::as_str)
    }

    /// Goes on past a change of name that is not followed further.
    pub fn forget_name(&mut self, name: &str) {
        self.gone.insert(name.to_owned());
    }

    /// Goes on past a relation's change of name or schema.
    pub fn moves(&mut self, from: &RelationName, to: &RelationName) {
        self.gone.insert(from.name.clone());
        let Some(objects) = self.objects.remove(from) else { return };
        let stays = |target: &Target| target.is_function() || target.object == "SCHEMA";
        let (stay, go) = objects.split(stays);
        self.objects.entry(from.clone()).or_default().extend(stay);
        let go = go.renewed(|target| Target { name: to.clone(), ..target });
        self.objects.entry(to.clone()).or_default().extend(go);
    }

    /// Goes on past a new name of a column, constraint, trigger, policy or rule.
    pub fn part_moves(&mut self, object: &str, relation: &RelationName, from: &str, to: &str) {
        self.gone.insert(from.to_owned());
        let was = Target::within(object, relation.clone(), from);
        let now = Target::within(object, relation.clone(), to);
        let objects = self.objects.entry(relation.clone()).or_default();
        let name = objects.before.remove(&was).unwrap_or_else(|| from.to_owned());
        let renewed = |target: Target| if target == was { now.clone() } else { target };
        *objects = std::mem::take(objects).renewed(renewed);
        objects.before.insert(now, name);
    }
}

/// The name that begins behind a quotation mark.
fn quoted(sql: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = sql;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some(name),
        }
    }
}
