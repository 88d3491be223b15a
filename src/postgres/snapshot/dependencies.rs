//! What depends on what: the rows of `pg_depend`, resolved to names.

use super::assemble::{Assembly, Item, parsed};
use crate::postgres::error::Error;
use crate::sql::{Dependency, ObjectRef, Relation, RelationType, quote_ident};

/// The object identifier of `pg_class`, fixed for all servers.
const PG_CLASS: i64 = 1259;

/// Class, object and column number, as `pg_depend` names an object.
pub(super) type Key = (i64, i64, i32);

/// An object that is no relation and no column: the identifier and the column number of its relation, what it is, its name.
type Described = (i64, Option<i64>, Option<i32>, String, Option<String>);

impl Assembly {
    pub(super) fn add_object(&mut self, item: &Item) -> Result<(), Error> {
        let (class, relation, column, kind, name): Described = parsed(item)?;
        let index = relation.and_then(|id| self.relations.get(&id).copied());
        let owner = index.and_then(|index| self.snapshot.relations.get(index));
        let attribute = relation.zip(column).and_then(|key| self.attributes.get(&key)).map(String::as_str);
        let object = match (relation, owner) {
            // It belongs to what is not in the snapshot.
            (Some(_), None) => return Ok(()),
            (None, _) => ObjectRef { kind, identity: name.unwrap_or_default(), relation: None, column: None },
            (Some(_), Some(owner)) => belonging(owner, attribute, kind, name.unwrap_or_default()),
        };
        self.objects.insert((class, item.id, 0), object);
        Ok(())
    }

    pub(super) fn add_edges(&mut self, item: &Item) -> Result<(), Error> {
        for line in item.body.lines() {
            let edge = edge(line)
                .ok_or_else(|| Error::Unexpected(format!("a row of pg_depend cannot be read: {line}")))?;
            self.edges.push(edge);
        }
        Ok(())
    }

    pub(super) fn finish_dependencies(&mut self) {
        let resolved = self.edges.iter().filter_map(|(dependent, on, kind)| {
            let dependent = self.generated(*dependent, *on).or_else(|| self.resolve(*dependent))?;
            let on = self.resolve(*on)?;
            // A rule on its own view, for example.
            let itself = dependent.identity == on.identity && dependent.kind == on.kind;
            (!itself).then(|| Dependency { dependent, on, kind: kind.to_string() })
        });
        let mut dependencies: Vec<Dependency> = resolved.collect();
        dependencies.sort_by(|a, b| (&a.on, &a.dependent, &a.kind).cmp(&(&b.on, &b.dependent, &b.kind)));
        dependencies.dedup();
        self.snapshot.dependencies = dependencies;
    }

    fn resolve(&self, (class, id, sub): Key) -> Option<ObjectRef> {
        if class != PG_CLASS {
            return self.objects.get(&(class, id, sub)).cloned();
        }
        let relation = self.snapshot.relations.get(*self.relations.get(&id)?)?;
        if sub == 0 {
            return Some(whole(relation));
        }
        let column = self.attributes.get(&(id, sub))?;
        Some(of_column(relation, column, format!("{} column", kind(relation.kind))))
    }

    /// Before PostgreSQL 15, a generated column itself depends on the others; later its expression does.
    fn generated(&self, (class, id, sub): Key, on: Key) -> Option<ObjectRef> {
        if class != PG_CLASS || sub == 0 || on.1 != id || on.2 == 0 {
            return None;
        }
        let relation = self.snapshot.relations.get(*self.relations.get(&id)?)?;
        Some(of_column(relation, self.attributes.get(&(id, sub))?, "generated column".to_owned()))
    }
}

fn edge(line: &str) -> Option<(Key, Key, char)> {
    let (numbers, kind) = line.rsplit_once(' ')?;
    let mut numbers = numbers.split(' ').map(str::parse::<i64>);
    let mut key = || -> Option<Key> {
        let (class, id, sub) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some((class, id, i32::try_from(sub).ok()?))
    };
    Some((key()?, key()?, kind.chars().next()?))
}

/// The words of `pg_identify_object`.
fn kind(of: RelationType) -> &'static str {
    match of {
        RelationType::Table | RelationType::PartitionedTable => "table",
        RelationType::Index | RelationType::PartitionedIndex => "index",
        RelationType::View => "view",
        RelationType::MaterializedView => "materialized view",
        RelationType::Sequence => "sequence",
        RelationType::ForeignTable => "foreign table",
        RelationType::CompositeType => "composite type",
    }
}

fn whole(relation: &Relation) -> ObjectRef {
    ObjectRef {
        kind: kind(relation.kind).to_owned(),
        identity: relation.name.sql(),
        relation: Some(relation.name.clone()),
        column: None,
    }
}

fn of_column(relation: &Relation, column: &str, kind: String) -> ObjectRef {
    let identity = format!("{}.{}", relation.name.sql(), quote_ident(column));
    ObjectRef { kind, identity, relation: Some(relation.name.clone()), column: Some(column.to_owned()) }
}

/// What belongs to a relation: the rule that makes a view, and a row type, are the relation itself.
fn belonging(owner: &Relation, column: Option<&str>, kind: String, name: String) -> ObjectRef {
    let relation = owner.name.sql();
    let identity = match (kind.as_str(), column) {
        ("" | "type", _) => return whole(owner),
        ("generated column", Some(column)) => return of_column(owner, column, kind),
        ("default value", Some(column)) => {
            let of = of_column(owner, column, kind);
            return ObjectRef { identity: format!("for {}", of.identity), ..of };
        }
        ("publication relation", _) => format!("{relation} in publication {name}"),
        ("statistics object", _) => name,
        _ => format!("{name} on {relation}"),
    };
    ObjectRef { kind, identity, relation: Some(owner.name.clone()), column: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        assert_eq!(edge("2618 16463 0 1259 16437 3 n"), Some(((2618, 16463, 0), (1259, 16437, 3), 'n')));
        assert_eq!(edge("2618 16463 0 1259 n"), None);
        assert_eq!(edge(""), None);
    }
}
