//! The walk from what is touched to all that depends on it.

use std::collections::HashSet;

use super::graph::{self, Graph, bare};
use super::{Reached, column_of};
use crate::sql::{
    ConstraintFacts, ConstraintKind, Dependency, ObjectRef, Relation, RelationName, Touched, quote_ident,
};

/// Objects of one radius: far more than anybody looks at.
const MAX_OBJECTS: usize = 5000;
/// Steps from what is touched.
const MAX_DEPTH: usize = 32;

/// What the next step goes on from.
enum Next {
    Relation(RelationName, Option<String>),
    /// A function or type, without arguments.
    Named(String),
    Nothing,
}

pub(super) struct Walk<'g, 'a> {
    graph: &'g Graph<'a>,
    /// What the tree of this root has already: each object stands in it once, which ends cycles.
    seen: HashSet<(String, String)>,
    left: usize,
}

impl<'g, 'a> Walk<'g, 'a> {
    pub fn new(graph: &'g Graph<'a>) -> Self {
        Self { graph, seen: HashSet::new(), left: MAX_OBJECTS }
    }

    /// What is touched, and the tree below it; `None` for what is not in the catalog.
    pub fn root(&mut self, touched: &Touched) -> Option<Reached> {
        self.seen.clear();
        let by = "touched";
        match touched {
            Touched::Relation(name, column) => {
                let relation = self.graph.catalog.relation(name)?;
                let object = match column {
                    Some(column) => column_of(graph::kind(relation.kind), name, column),
                    None => graph::whole(relation),
                };
                let (rows, bytes) = graph::size(relation);
                let reached = Reached { object, by: by.to_owned(), rows, bytes, ..Reached::default() };
                self.reach(reached, Next::Relation(name.clone(), column.clone()), 0)
            }
            Touched::Function(name) | Touched::Type(name) => {
                let kind = if matches!(touched, Touched::Type(_)) { "type" } else { "function" };
                let object =
                    ObjectRef { kind: kind.to_owned(), identity: name.sql(), ..ObjectRef::default() };
                let reached = Reached { object, by: by.to_owned(), ..Reached::default() };
                self.reach(reached, Next::Named(name.sql()), 0)
            }
        }
    }

    /// Takes an object in, unless it is there already, and goes on from it.
    fn reach(&mut self, mut reached: Reached, next: Next, depth: usize) -> Option<Reached> {
        let key = (reached.object.kind.clone(), reached.object.identity.clone());
        if self.seen.contains(&key) {
            return None;
        }
        if self.left == 0 || depth > MAX_DEPTH {
            return None;
        }
        self.seen.insert(key);
        self.left -= 1;
        let found = match next {
            Next::Relation(name, column) => self.of_relation(&name, column.as_deref()),
            Next::Named(name) => self.of_named(&name),
            Next::Nothing => Vec::new(),
        };
        // All of one level come before what is below them: the shortest way is the one that is shown.
        let fresh: Vec<(Reached, Next)> = found
            .into_iter()
            .filter(|(one, _)| !self.seen.contains(&(one.object.kind.clone(), one.object.identity.clone())))
            .collect();
        for (one, next) in fresh {
            let likely = reached.likely || one.likely;
            reached.dependents.extend(self.reach(Reached { likely, ..one }, next, depth + 1));
        }
        Some(reached)
    }

    fn of_relation(&self, name: &RelationName, column: Option<&str>) -> Vec<(Reached, Next)> {
        let mut found = Vec::new();
        if let Some(relation) = self.graph.catalog.relation(name) {
            self.parts(relation, column, &mut found);
        }
        for child in self.graph.children.get(name).into_iter().flatten() {
            let by = if child.partition_of.is_some() { "partition" } else { "child" };
            let next = Next::Relation(child.name.clone(), column.map(ToOwned::to_owned));
            found.push((sized(child, graph::whole(child), by), next));
        }
        for (other, key) in self.graph.referring.get(name).into_iter().flatten() {
            if column.is_none_or(|column| self.refers_to(other, key, name, column)) {
                let object = part("table constraint", &key.name, other);
                found.push((sized(other, object, "foreign key from"), Next::Nothing));
            }
        }
        for edge in self.graph.on_relation.get(name).into_iter().flatten() {
            if column.is_none() || edge.on.column.as_deref() == column {
                found.extend(self.follow(edge, name));
            }
        }
        self.in_bodies(|body| body.uses.contains(&(name.clone(), column.map(ToOwned::to_owned))), &mut found);
        found
    }

    /// What belongs to a table itself.
    fn parts(&self, relation: &Relation, column: Option<&str>, found: &mut Vec<(Reached, Next)>) {
        let has = |columns: &[String]| column.is_none_or(|column| columns.iter().any(|of| of == column));
        for index in &relation.indexes {
            let listed: Vec<String> =
                index.columns.iter().flatten().chain(&index.used_columns).cloned().collect();
            if has(&listed) {
                let name = relation.name.sibling(index.name.clone());
                let object = ObjectRef {
                    kind: "index".to_owned(),
                    identity: name.sql(),
                    relation: Some(name),
                    column: None,
                };
                let bytes = Some(index.bytes).filter(|bytes| *bytes > 0);
                found.push((
                    Reached { object, by: "index".to_owned(), bytes, ..Reached::default() },
                    Next::Nothing,
                ));
            }
        }
        for constraint in relation.constraints.iter().filter(|of| has(&of.columns)) {
            let object = part("table constraint", &constraint.name, relation);
            let referred =
                constraint.references.as_ref().filter(|_| constraint.kind == ConstraintKind::ForeignKey);
            let one = match referred {
                Some(name) => {
                    let by = format!("foreign key to {}", name.sql());
                    match self.graph.catalog.relation(name) {
                        Some(other) => sized(other, object, &by),
                        None => plain(object, &by),
                    }
                }
                None => plain(object, words(constraint)),
            };
            found.push((one, Next::Nothing));
        }
        if column.is_none() {
            let triggers = relation.triggers.iter().map(|of| ("trigger", &of.name));
            let policies = relation.policies.iter().map(|name| ("policy", name));
            for (kind, name) in triggers.chain(policies) {
                found.push((plain(part(kind, name, relation), kind), Next::Nothing));
            }
        }
        for publication in &relation.publications {
            let object = ObjectRef {
                kind: "publication relation".to_owned(),
                identity: format!("{} in publication {}", relation.name.sql(), quote_ident(publication)),
                relation: Some(relation.name.clone()),
                column: None,
            };
            found.push((plain(object, "publication"), Next::Nothing));
        }
    }

    /// Whether a foreign key refers to a column; taken for true where the catalog does not say.
    fn refers_to(&self, other: &Relation, key: &ConstraintFacts, name: &RelationName, column: &str) -> bool {
        let identity = format!("{} on {}", quote_ident(&key.name), other.name.sql());
        let edges = self.graph.on_relation.get(name).into_iter().flatten();
        let columns: Vec<&str> = edges
            .filter(|edge| edge.dependent.identity == identity)
            .filter_map(|edge| edge.on.column.as_deref())
            .collect();
        columns.is_empty() || columns.contains(&column)
    }

    /// One edge of `pg_depend`.
    fn follow(&self, edge: &Dependency, on: &RelationName) -> Option<(Reached, Next)> {
        let dependent = &edge.dependent;
        let relation = dependent.relation.as_ref().and_then(|name| self.graph.catalog.relation(name));
        let own = dependent.relation.as_ref() == Some(on);
        let (by, next) = match dependent.kind.as_str() {
            "view" | "materialized view" | "table" | "foreign table" => {
                (dependent.kind.as_str(), Next::Relation(dependent.relation.clone()?, None))
            }
            "generated column" => {
                ("generated column", Next::Relation(dependent.relation.clone()?, dependent.column.clone()))
            }
            "function" | "procedure" | "aggregate" => {
                ("function", Next::Named(bare(&dependent.identity).to_owned()))
            }
            "default value" => ("default", Next::Nothing),
            "statistics object" => ("statistics", Next::Nothing),
            "publication relation" => ("publication", Next::Nothing),
            "table constraint" if !own => ("foreign key from", Next::Nothing),
            "table constraint" => ("constraint", Next::Nothing),
            // A partition key belongs to its table.
            "table column" if own => return None,
            "table column" => {
                ("column", Next::Relation(dependent.relation.clone()?, dependent.column.clone()))
            }
            other => (other, Next::Nothing),
        };
        let one = match relation {
            Some(relation)
                if matches!(
                    by,
                    "view" | "materialized view" | "table" | "foreign table" | "foreign key from"
                ) =>
            {
                sized(relation, dependent.clone(), by)
            }
            _ => plain(dependent.clone(), by),
        };
        Some((one, next))
    }

    fn of_named(&self, name: &str) -> Vec<(Reached, Next)> {
        let mut found = Vec::new();
        for edge in self.graph.on_name.get(name).into_iter().flatten() {
            found.extend(self.follow(edge, &RelationName::default()));
        }
        self.in_bodies(|body| body.calls.iter().any(|call| call.sql() == name), &mut found);
        found
    }

    /// Functions whose source is about it.
    fn in_bodies(&self, is: impl Fn(&crate::sql::BodyUses) -> bool, found: &mut Vec<(Reached, Next)>) {
        for body in self.graph.bodies.iter().filter(|body| is(body)) {
            let Some(function) = self.graph.catalog.functions.get(body.function) else { continue };
            let name = function.name.sql();
            let object = ObjectRef {
                kind: if function.procedure { "procedure" } else { "function" }.to_owned(),
                identity: format!("{name}({})", function.arguments),
                ..ObjectRef::default()
            };
            found.push((Reached { likely: true, ..plain(object, "function") }, Next::Named(name)));
        }
    }
}

fn part(kind: &str, name: &str, relation: &Relation) -> ObjectRef {
    ObjectRef {
        kind: kind.to_owned(),
        identity: format!("{} on {}", quote_ident(name), relation.name.sql()),
        relation: Some(relation.name.clone()),
        column: None,
    }
}

fn plain(object: ObjectRef, by: &str) -> Reached {
    Reached { object, by: by.to_owned(), ..Reached::default() }
}

fn sized(relation: &Relation, object: ObjectRef, by: &str) -> Reached {
    let (rows, bytes) = graph::size(relation);
    Reached { rows, bytes, ..plain(object, by) }
}

fn words(constraint: &ConstraintFacts) -> &'static str {
    match constraint.kind {
        ConstraintKind::PrimaryKey => "primary key",
        ConstraintKind::Unique => "unique constraint",
        ConstraintKind::Check => "check constraint",
        ConstraintKind::ForeignKey => "foreign key",
        ConstraintKind::Exclude => "exclusion constraint",
        ConstraintKind::NotNull => "not-null constraint",
    }
}
