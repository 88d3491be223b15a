//! What a way back leaves: values of enums, which no server drops. Everything else has to come back.

use std::ops::RangeBounds;

use sqlx::PgConnection;

use crate::core::plan::{Plan, Unit};
use crate::postgres::error::Error;
use crate::postgres::fingerprint::Fingerprint;
use crate::postgres::ledger::{Run, units};
use crate::sql::{Kind, quote_ident, quote_literal};

/// A value that `ALTER TYPE ... ADD VALUE` of a plan adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Residue {
    /// The type as a fingerprint identifies it: one for each schema where a name without one may be.
    identities: Vec<String>,
    /// The value as the server writes it.
    literal: String,
}

impl Residue {
    /// Whether the value is there.
    pub fn is_in(&self, catalog: &Fingerprint) -> bool {
        self.find(catalog).is_some_and(|(_, definition)| values(definition).contains(&self.literal.as_str()))
    }

    fn find<'f>(&self, catalog: &'f Fingerprint) -> Option<(&str, &'f str)> {
        self.identities.iter().find_map(|one| Some((one.as_str(), catalog.items.get(one)?.as_str())))
    }
}

/// The values that some units of a plan add.
pub(super) fn of(plan: &Plan, range: impl RangeBounds<usize>) -> Vec<Residue> {
    let units = plan.units.iter().enumerate().filter(|(index, _)| range.contains(index));
    units.flat_map(|(_, unit)| of_unit(unit, &plan.search_path)).collect()
}

fn of_unit(unit: &Unit, path: &[String]) -> Vec<Residue> {
    let added = unit.up.statements.iter().filter_map(|statement| match &statement.kind {
        Kind::AddEnumValue { relation, value, .. } => Some((relation, value)),
        _ => None,
    });
    added
        .map(|(name, value)| {
            let schemas = name.schema.as_ref().map_or(path, std::slice::from_ref);
            let identity =
                |schema: &String| format!("type {}.{}", quote_ident(schema), quote_ident(&name.name));
            Residue { identities: schemas.iter().map(identity).collect(), literal: quote_literal(value) }
        })
        .collect()
}

/// The values that way backs have left on a copy.
pub(super) async fn left(copy: &mut PgConnection) -> Result<Vec<Residue>, Error> {
    let ours = sqlx::raw_sql("SELECT FROM pg_class WHERE oid = to_regclass('whimbrel.units')");
    if ours.fetch_optional(&mut *copy).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (id, statuses) in units::all(copy).await? {
        if statuses.values().all(|status| status.in_force()) {
            continue;
        }
        if let Some(run) = Run::by_id(copy, id).await? {
            found.extend(of(&run.plan, ..));
        }
    }
    Ok(found)
}

/// A structure as it is without these values.
pub(super) fn without(catalog: &Fingerprint, residues: &[Residue]) -> Fingerprint {
    let mut items = catalog.items.clone();
    for residue in residues {
        let Some((identity, _)) = residue.find(catalog) else { continue };
        let Some(definition) = items.get(identity) else { continue };
        let kept: Vec<&str> =
            values(definition).into_iter().filter(|value| *value != residue.literal).collect();
        // A type without any value has no definition.
        if kept.is_empty() {
            items.remove(identity);
        } else {
            let definition = format!("enum ({})", kept.join(", "));
            items.insert(identity.to_owned(), definition);
        }
    }
    Fingerprint::from_items(items)
}

/// The literals of `enum ('a', 'it''s', E'\\b')`.
fn values(definition: &str) -> Vec<&str> {
    let inner = definition.strip_prefix("enum (").and_then(|rest| rest.strip_suffix(')')).unwrap_or_default();
    let (mut found, mut start, mut within) = (Vec::new(), 0, false);
    for (at, letter) in inner.char_indices() {
        match letter {
            // A doubled quotation mark ends the literal and begins it again.
            '\'' => within = !within,
            ',' if !within => {
                found.extend(inner.get(start..at).map(str::trim));
                start = at + 1;
            }
            _ => {}
        }
    }
    found.extend(inner.get(start..).map(str::trim).filter(|value| !value.is_empty()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residue(value: &str) -> Residue {
        let identities = vec!["type shop.mood".to_owned(), "type public.mood".to_owned()];
        Residue { identities, literal: quote_literal(value) }
    }

    fn catalog(definition: &str) -> Fingerprint {
        let item = |(identity, definition): (&str, &str)| (identity.to_owned(), definition.to_owned());
        let all = [("type public.mood", definition), ("type public.other", "enum ('meh')")];
        Fingerprint::from_items(all.into_iter().filter(|(_, text)| !text.is_empty()).map(item).collect())
    }

    #[test]
    fn only_the_value_of_its_type_is_left_out() {
        let check = |value: &str, before: &str, now: &str, equal: bool| {
            let residues = [residue(value)];
            let (before, now) = (catalog(before), catalog(now));
            assert_eq!(
                without(&before, &residues).hash == without(&now, &residues).hash,
                equal,
                "{value} {before:?} {now:?}"
            );
        };
        check("meh", "enum ('ok')", "enum ('ok', 'meh')", true);
        check("meh", "enum ('ok', 'bad')", "enum ('ok', 'meh', 'bad')", true);
        check("it's, 'so'", "enum ('ok')", "enum ('it''s, ''so''', 'ok')", true);
        check("back\\slash", "enum ('ok')", "enum ('ok', E'back\\\\slash')", true);
        check("meh", "", "enum ('meh')", true);
        check("meh", "enum ('ok')", "enum ('meh')", false);
        check("meh", "enum ('ok')", "enum ('ok', 'meh', 'bad')", false);
        check("meh", "enum ('ok', 'bad')", "enum ('bad', 'ok', 'meh')", false);
        check("meh", "", "enum ('ok')", false);
        check("me", "enum ('ok')", "enum ('ok', 'meh')", false);
    }

    #[test]
    fn what_is_there_is_seen() {
        assert!(residue("ok").is_in(&catalog("enum ('ok')")));
        assert!(!residue("meh").is_in(&catalog("enum ('ok')")), "that is another type's");
    }
}
