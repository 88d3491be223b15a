//! Prediction against measurement.

use std::collections::{BTreeMap, BTreeSet};

use whimbrel::sql::{Foreseen, Heavy, LockMode, RelationName};

use super::Outcome;
use super::measure::Effect;

/// What was foreseen, in the terms of a measurement.
pub fn as_effect(foreseen: &Foreseen) -> Effect {
    let mut locks = BTreeMap::new();
    for lock in &foreseen.locks {
        let held = locks.entry(lock.relation.sql()).or_insert(lock.mode);
        *held = lock.mode.max(*held);
    }
    let names = |relations: &[RelationName]| relations.iter().map(RelationName::sql).collect::<BTreeSet<_>>();
    Effect {
        locks,
        rewrites: names(&foreseen.rewrites),
        scans: names(&foreseen.scans),
        heavy: foreseen.heavy,
        new: BTreeSet::new(),
    }
}

/// All differences of a form, one a line.
pub fn differences(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let names = outcome.statements.iter().map(whimbrel::sql::Statement::summary);
    let said = outcome.foreseen.iter().zip(&outcome.assumed);
    for ((name, effect), (foreseen, assumed)) in names.zip(&outcome.effects).zip(said) {
        let mut found = exact(effect, foreseen, outcome.form.at_most);
        found.extend(too_good(effect, assumed));
        let of = if outcome.statements.len() > 1 { format!(": {name}") } else { String::new() };
        lines.extend(found.iter().map(|difference| format!("{}{of}: {difference}", outcome.form.name())));
    }
    lines
}

/// With the catalog, everything has to be as it is; or at least not more than is foreseen.
fn exact(effect: &Effect, foreseen: &Foreseen, at_most: bool) -> Vec<String> {
    // What code does that is not read is not foreseen; that it is not known is.
    if foreseen.opaque {
        return Vec::new();
    }
    let mut said = as_effect(foreseen);
    said.locks.retain(|name, _| !effect.new.contains(name));
    said.rewrites.retain(|name| !effect.new.contains(name));
    said.scans.retain(|name| !effect.new.contains(name));
    let fits = |really: &BTreeSet<String>, said: &BTreeSet<String>| {
        really == said || at_most && really.is_subset(said)
    };
    let mut found = Vec::new();
    let relations: BTreeSet<&String> = effect.locks.keys().chain(said.locks.keys()).collect();
    for relation in relations {
        let (really, said) = (effect.locks.get(relation), said.locks.get(relation));
        if really != said && !(at_most && really < said) {
            found.push(format!("locks {relation} {}, foreseen {}", word(really), word(said)));
        }
    }
    if !fits(&effect.rewrites, &said.rewrites) {
        found.push(format!("rewrites {}, foreseen {}", list(&effect.rewrites), list(&said.rewrites)));
    }
    if !fits(&effect.scans, &said.scans) {
        found.push(format!("scans {}, foreseen {}", list(&effect.scans), list(&said.scans)));
    }
    if effect.heavy != said.heavy && !(at_most && effect.heavy < said.heavy) {
        found.push(format!("is heavy for {:?}, foreseen {:?}", effect.heavy, said.heavy));
    }
    found
}

/// Without the catalog, nothing may be said to be better than it is.
fn too_good(effect: &Effect, assumed: &Foreseen) -> Vec<String> {
    if assumed.opaque {
        return Vec::new();
    }
    let mut found = Vec::new();
    if effect.heavy > assumed.heavy {
        found.push(format!("offline: is heavy for {:?}, foreseen {:?}", effect.heavy, assumed.heavy));
    }
    for lock in &assumed.locks {
        let really = really(effect, &lock.relation);
        if really.is_some_and(|mode| *mode > lock.mode) {
            found.push(format!("offline: locks {} {}, foreseen {}", lock.relation, word(really), lock.mode));
        }
    }
    found
}

/// The lock on a relation that is named with or without its schema.
fn really<'a>(effect: &'a Effect, relation: &RelationName) -> Option<&'a LockMode> {
    let qualified = match relation.schema {
        Some(_) => relation.sql(),
        None => RelationName::qualified("public", relation.name.clone()).sql(),
    };
    effect.locks.get(&qualified)
}

/// Long work under a lock, and nothing was said of it, with or without the catalog.
pub fn falsely_safe(outcome: &Outcome) -> bool {
    let calm = |foreseen: &Foreseen| foreseen.heavy == Heavy::None && !foreseen.opaque;
    let said = outcome.foreseen.iter().zip(&outcome.assumed);
    outcome
        .effects
        .iter()
        .zip(said)
        .any(|(effect, (with, without))| effect.heavy == Heavy::Everything && (calm(with) || calm(without)))
}

fn word(mode: Option<&LockMode>) -> &'static str {
    mode.map_or("not at all", |mode| mode.name())
}

fn list(names: &BTreeSet<String>) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.iter().cloned().collect::<Vec<_>>().join(", ") }
}
