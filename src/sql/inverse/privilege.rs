//! The way back from `GRANT` and `REVOKE`: just the privileges that they changed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Derived, Undo};
use crate::sql::facts::Before;
use crate::sql::kind::{Grant, Part, Target};
use crate::sql::name::quote_ident;
use crate::sql::overlay::State;

/// A privilege, with the column if it is one on a column.
type Privilege = (String, Option<String>);

/// The privileges that a role has, and whether it may pass each one on.
type Held = BTreeMap<Privilege, bool>;

/// What `GRANT ALL (column)` means.
const OF_COLUMN: &[&str] = &["SELECT", "INSERT", "UPDATE", "REFERENCES"];

pub fn undo_grant(grant: &Grant, state: &State<'_>) -> Derived {
    if state.made_target(&grant.on) {
        return Ok(Undo::nothing());
    }
    if ["CURRENT_ROLE", "CURRENT_USER", "SESSION_USER"].contains(&grant.role.as_str()) {
        return Err(format!("who {} is depends on who runs it: write the name of the role", grant.role));
    }
    let before = state.before_of(Part::Held, &grant.on, Some(grant.role.clone()))?;
    if state.only_asks() {
        return Ok(Undo::nothing());
    }
    if !before.exists {
        let view = Target::new("VIEW", grant.on.name.clone());
        let replaced = state.known.redefined(&grant.on) || state.known.redefined(&view);
        let gone = || format!("{} was not there before", grant.on.sql());
        return if replaced { Ok(Undo::nothing()) } else { Err(gone()) };
    }
    let all = split(before.shape.as_deref().unwrap_or_default());
    let mut held = held(&before);
    for earlier in state.known.grants(&grant.on, &grant.role) {
        apply(earlier, &all, &mut held);
    }
    let mut after = held.clone();
    apply(grant, &all, &mut after);
    if grant.cascade && held.iter().any(|(key, may_pass)| *may_pass && after.get(key) != Some(&true)) {
        return Err(format!("CASCADE takes away what {} had passed on, too", grant.role));
    }
    Ok(Undo { statements: difference(grant, &held, &after), ..Undo::nothing() })
}

fn split(list: &str) -> Vec<String> {
    list.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// Reads what the catalog said: `SELECT`, `UPDATE*`, `SELECT(column)`.
fn held(before: &Before) -> Held {
    let entry = |text: &String| {
        let (name, may_pass) = text.strip_suffix('*').map_or((text.as_str(), false), |name| (name, true));
        let key = match name.split_once('(') {
            Some((name, column)) => {
                let column = column.strip_suffix(')').unwrap_or(column);
                (name.to_owned(), Some(column.to_owned()))
            }
            None => (name.to_owned(), None),
        };
        (key, may_pass)
    };
    before.values.iter().map(entry).collect()
}

/// The privileges that a statement names, `ALL` spelled out.
fn named(grant: &Grant, all: &[String]) -> Vec<Privilege> {
    if grant.privileges.is_empty() {
        return all.iter().map(|name| (name.clone(), None)).collect();
    }
    let spell = |(name, column): &Privilege| match (name.as_str(), column) {
        ("ALL", Some(column)) => {
            OF_COLUMN.iter().map(|name| ((*name).to_owned(), Some(column.clone()))).collect()
        }
        ("ALL", None) => all.iter().map(|name| (name.clone(), None)).collect(),
        // TEMP is short for TEMPORARY.
        ("TEMP", _) => vec![("TEMPORARY".to_owned(), column.clone())],
        _ => vec![(name.clone(), column.clone())],
    };
    grant.privileges.iter().flat_map(spell).collect()
}

/// Goes on past a statement.
fn apply(grant: &Grant, all: &[String], held: &mut Held) {
    for privilege in named(grant, all) {
        // What is taken of a table is taken of its columns too.
        let concerned: BTreeSet<Privilege> = match (&privilege, grant.gives) {
            ((name, None), false) => {
                held.keys().filter(|(held, _)| held == name).cloned().chain([privilege.clone()]).collect()
            }
            _ => BTreeSet::from([privilege.clone()]),
        };
        for key in concerned {
            match (grant.gives, grant.option) {
                (true, option) => *held.entry(key).or_default() |= option,
                (false, false) => drop(held.remove(&key)),
                (false, true) => {
                    held.entry(key).and_modify(|may_pass| *may_pass = false);
                }
            }
        }
    }
}

/// The statements from what is held after to what was held before.
fn difference(grant: &Grant, before: &Held, after: &Held) -> Vec<String> {
    let mut taken = Vec::new();
    let mut not_passed = Vec::new();
    let mut given = Vec::new();
    let mut passed = Vec::new();
    let keys: BTreeSet<&Privilege> = before.keys().chain(after.keys()).collect();
    // What is taken of a table is taken of its columns too.
    let goes_along = |(name, column): &Privilege| {
        let whole = (name.clone(), None);
        column.is_some() && after.contains_key(&whole) && !before.contains_key(&whole)
    };
    for key in keys {
        let left = after.get(key).filter(|_| !goes_along(key));
        match (before.get(key), left) {
            (None, Some(_)) => taken.push(key),
            (Some(false), Some(true)) => not_passed.push(key),
            (Some(false), None) => given.push(key),
            (Some(true), None | Some(false)) => passed.push(key),
            _ => {}
        }
    }
    let (on, role) = (grant.on.sql(), &grant.role);
    let mut statements = Vec::new();
    for (privileges, sql) in [(taken, "REVOKE "), (not_passed, "REVOKE GRANT OPTION FOR ")] {
        if !privileges.is_empty() {
            statements.push(format!("{sql}{} ON {on} FROM {role}", listed(&privileges)));
        }
    }
    for (privileges, option) in [(given, ""), (passed, " WITH GRANT OPTION")] {
        if !privileges.is_empty() {
            statements.push(format!("GRANT {} ON {on} TO {role}{option}", listed(&privileges)));
        }
    }
    statements
}

fn listed(privileges: &[&Privilege]) -> String {
    let one = |(name, column): &&Privilege| match column {
        Some(column) => format!("{name} ({})", quote_ident(column)),
        None => name.clone(),
    };
    privileges.iter().map(one).collect::<Vec<_>>().join(", ")
}
