//! Pure: which locks a unit may take on the primary, and what it took beyond that.
//!
//! Only locks that make somebody wait at the table count, from SHARE UPDATE EXCLUSIVE on: those of reading and writing rows
//! depend on the rows (a foreign key is looked up only where a row has it), and a copy need not have the same.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Plan;
use super::preview::{Preview, ServerBasis};
use super::rehearsal::{Rehearsal, StatementFacts};
use crate::sql::{LockMode, RelationName};

/// The weakest mode that counts.
pub const LEAST: LockMode = LockMode::ShareUpdateExclusive;

/// A relation that a unit locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its schema.
    pub schema: String,
    /// Its name before the unit.
    pub name: String,
    /// The strongest mode.
    pub mode: LockMode,
    /// Whether it is locked in a weaker mode first.
    pub raised: bool,
}

/// The locks of one unit, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockPlan {
    /// Each relation once.
    pub relations: Vec<Planned>,
    /// Whether more than these is a violation: they were measured on a copy, not foreseen.
    pub enforced: bool,
}

/// A relation of the plan, as the primary has it before the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index into the plan's relations.
    pub planned: usize,
    /// Its identity.
    pub oid: u32,
    /// Whether `LOCK TABLE` can take it: a table, with the privilege.
    pub lockable: bool,
    /// It, its partitions and heirs, their indexes and TOAST tables.
    pub family: BTreeSet<u32>,
}

/// A lock that the unit holds at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The relation.
    pub oid: u32,
    /// Its name with its schema; absent if the unit dropped it.
    pub name: Option<String>,
    /// The mode.
    pub mode: LockMode,
    /// Whether the unit made the relation.
    pub created: bool,
}

impl LockPlan {
    /// The locks of a unit on its way forward: as measured on the copy, else as foreseen where nothing of it was guessed.
    pub fn of(plan: &Plan, rehearsal: Option<&Rehearsal>, unit: usize) -> Option<Self> {
        let block = &plan.units.get(unit)?.up;
        if !block.transactional {
            return None;
        }
        let measured =
            rehearsal.and_then(|rehearsal| rehearsal.units.iter().find(|facts| facts.unit == unit));
        match measured {
            Some(facts) if facts.statements.len() == block.statements.len() => {
                Some(Self::measured(&facts.statements))
            }
            _ => Self::foreseen(plan.preview.as_deref()?, unit),
        }
    }

    fn measured(statements: &[StatementFacts]) -> Self {
        let locks = statements.iter().flat_map(|statement| &statement.locks);
        let locks = locks.filter_map(|lock| Some((split(&lock.relation)?, LockMode::from_name(&lock.mode)?)));
        Self { enforced: true, ..Self::from_locks(locks) }
    }

    fn foreseen(preview: &Preview, unit: usize) -> Option<Self> {
        let mine = || preview.statements.iter().filter(|statement| statement.unit == unit);
        let sure = preview.server.basis == ServerBasis::Catalog
            && mine().all(|statement| statement.assumptions.is_empty() && !statement.opaque);
        let plan = sure.then(|| Self::guessed(preview, unit))?;
        // One relation has no order.
        (plan.relations.len() > 1).then_some(plan)
    }

    fn guessed(preview: &Preview, unit: usize) -> Self {
        let mine = preview.statements.iter().filter(|statement| statement.unit == unit);
        let locks = mine.flat_map(|statement| &statement.locks);
        Self::from_locks(locks.filter_map(|lock| Some((split(&lock.relation)?, lock.mode))))
    }

    fn from_locks(locks: impl Iterator<Item = (RelationName, LockMode)>) -> Self {
        let mut strongest: BTreeMap<(String, String), (LockMode, bool)> = BTreeMap::new();
        for (relation, mode) in locks.filter(|(_, mode)| *mode >= LEAST) {
            let Some(schema) = relation.schema else { continue };
            let (before, raised) = strongest.entry((schema, relation.name)).or_insert((mode, false));
            *raised |= *before != mode;
            *before = mode.max(*before);
        }
        let relations = strongest
            .into_iter()
            .map(|((schema, name), (mode, raised))| Planned { schema, name, mode, raised })
            .collect();
        Self { relations, enforced: false }
    }

    /// The relations to be locked before the statements that block somebody run, in the order of the names. None where the
    /// one statement that needs a lock takes it as well.
    pub fn to_take<'a>(&'a self, found: &[Found]) -> Vec<&'a Planned> {
        let mut numbers: Vec<usize> =
            found.iter().filter(|one| one.lockable).map(|one| one.planned).collect();
        numbers.sort_unstable();
        let tables: Vec<&Planned> =
            numbers.into_iter().filter_map(|number| self.relations.get(number)).collect();
        let order_matters = tables.len() > 1 || tables.iter().any(|table| table.raised);
        if order_matters { tables } else { Vec::new() }
    }

    /// The relations whose readers wait for a unit, schema and name, as measured on the copy or as foreseen.
    pub fn closed_to_readers(
        plan: &Plan,
        rehearsal: Option<&Rehearsal>,
        unit: usize,
    ) -> Vec<(String, String)> {
        let sure = Self::of(plan, rehearsal, unit);
        let locks = sure.or_else(|| Some(Self::guessed(plan.preview.as_deref()?, unit))).unwrap_or_default();
        let closed = locks.relations.into_iter().filter(|planned| planned.mode.blocks_reads());
        closed.map(|planned| (planned.schema, planned.name)).collect()
    }

    /// Returns what is held beyond the plan, in words. What the unit made is its own, and a partition may be locked as its
    /// parent or another partition was on the copy. `dropped` names relations that were there before and are gone.
    pub fn beyond(&self, found: &[Found], held: &[Held], dropped: &BTreeMap<u32, String>) -> Vec<String> {
        if !self.enforced {
            return Vec::new();
        }
        let mut beyond = Vec::new();
        for lock in held.iter().filter(|lock| lock.mode >= LEAST && !lock.created) {
            let modes = self.allowed(found, lock.oid);
            if modes.iter().any(|mode| mode.covers(lock.mode)) {
                continue;
            }
            // What is gone and was not there before came and went within the unit.
            let Some(name) = lock.name.as_ref().or_else(|| dropped.get(&lock.oid)) else { continue };
            let rehearsed = modes.iter().max().map_or("not locked", |mode| mode.name());
            beyond.push(format!("{name} {} (on the copy: {rehearsed})", lock.mode));
        }
        beyond.sort();
        beyond.dedup();
        beyond
    }

    /// Relations that are gone and that the plan does not know: whether they were there before is to be asked.
    pub fn unexplained(&self, found: &[Found], held: &[Held]) -> Vec<u32> {
        let gone = held.iter().filter(|lock| self.enforced && lock.name.is_none() && lock.mode >= LEAST);
        let covered = |lock: &&Held| self.allowed(found, lock.oid).iter().any(|mode| mode.covers(lock.mode));
        gone.filter(|lock| !covered(lock)).map(|lock| lock.oid).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn allowed(&self, found: &[Found], oid: u32) -> Vec<LockMode> {
        let families = found.iter().filter(|one| one.family.contains(&oid));
        let relatives: BTreeSet<u32> = families.flat_map(|one| one.family.iter().copied()).collect();
        let relatives = found.iter().filter(|one| one.oid == oid || relatives.contains(&one.oid));
        relatives.filter_map(|one| self.relations.get(one.planned)).map(|planned| planned.mode).collect()
    }
}

/// Reads a name with its schema as PostgreSQL writes it: `public."Odd.Table"`.
fn split(text: &str) -> Option<RelationName> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                parts.last_mut()?.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            letter => parts.last_mut()?.push(letter),
        }
    }
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(schema), Some(name), None) => Some(RelationName { schema: Some(schema), name }),
        _ => None,
    }
}

#[cfg(test)]
#[path = "lock_plan_tests.rs"]
mod tests;
