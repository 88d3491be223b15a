//! Who uses a column: the application's statements, resolved through aliases, `*`, views and the search path.
//!
//! A small analyzer, as the server has one: a query is resolved in the catalog before the plan and in the one that the plan
//! leaves. What it names before is what it uses; what the server would complain of only afterwards is why it breaks. What
//! cannot be told (parameters, functions of the user, a catalog that is not complete) never counts as broken.

mod body;
mod change;
mod expression;
mod family;
mod from;
mod moved;
mod resolve;
mod rows;
mod schema;
mod touch;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::body::{BodyUses, body_uses};
use self::resolve::Resolution;
use self::schema::Schema;
pub use self::touch::{Change, Touch, Touched};
use super::grammar::{self, Tree, on_deep_stack};
use super::name::RelationName;
use super::snapshot::{LiveQuery, Snapshot};
use super::statement::Statement;

/// What a change means for one statement of the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct QueryImpact {
    /// Index into [`Snapshot::queries`].
    pub query: usize,
    /// What of the changed relations it names: the relation and the column, or the relation as a whole.
    pub uses: Vec<(RelationName, Option<String>)>,
    /// Why it fails once the change is there; `None` if it goes on working.
    pub breaks: Option<String>,
    /// Index of the first statement of the plan that breaks it.
    pub statement: Option<usize>,
}

/// Finds the application's statements that name what the plan touches.
pub fn impacts(statements: &[Statement], catalog: &Snapshot) -> Vec<QueryImpact> {
    let Some(queries) = catalog.queries.as_ref().filter(|queries| !queries.is_empty()) else {
        return Vec::new();
    };
    on_deep_stack(|| examine(statements, queries, catalog)).unwrap_or_default()
}

/// What each statement touches, by the names before the plan.
pub fn touched(statements: &[Statement], catalog: &Snapshot) -> Vec<Vec<Touch>> {
    let work = || {
        let mut schema = Schema::new(catalog);
        let trees = grammar::trees(statements.iter().map(|statement| statement.sql.as_str()));
        trees.iter().map(|tree| applied(&mut schema, tree.as_ref())).collect()
    };
    on_deep_stack(work).unwrap_or_default()
}

fn applied(schema: &mut Schema<'_>, tree: Option<&Tree>) -> Vec<Touch> {
    tree.map(|tree| change::apply(schema, &tree.node)).unwrap_or_default()
}

/// A statement of the application under examination.
struct Case<'a> {
    index: usize,
    tree: Tree,
    path: &'a [String],
    before: Resolution,
    broken: Option<(usize, String)>,
}

fn examine(statements: &[Statement], queries: &[LiveQuery], catalog: &Snapshot) -> Vec<QueryImpact> {
    let trees = grammar::trees(statements.iter().map(|statement| statement.sql.as_str()));
    let mut rehearsal = Schema::new(catalog);
    let touched: Vec<Vec<Touch>> = trees.iter().map(|tree| applied(&mut rehearsal, tree.as_ref())).collect();
    let words = words(&touched, catalog);
    let mut schema = Schema::new(catalog);
    let mut cases: Vec<Case<'_>> = queries
        .iter()
        .enumerate()
        .filter(|(_, query)| mentions(&query.text, &words))
        .filter_map(|(index, query)| {
            let tree = grammar::trees(std::iter::once(query.text.as_str())).pop().flatten()?;
            let path = query.user.as_ref().and_then(|user| catalog.role_search_paths.get(user));
            let path = path.unwrap_or(&catalog.search_path).as_slice();
            let before = resolve::query(&schema, &tree.node, path);
            Some(Case { index, tree, path, before, broken: None })
        })
        .collect();
    for (number, tree) in trees.iter().enumerate() {
        if applied(&mut schema, tree.as_ref()).is_empty() {
            continue;
        }
        for case in &mut cases {
            let after = resolve::query(&schema, &case.tree.node, case.path);
            case.broken = match (complaint(&case.before, &after), case.broken.take()) {
                (Some(why), Some((since, _))) => Some((since, why)),
                (Some(why), None) => Some((number, why)),
                (None, _) => None,
            };
        }
    }
    let all: BTreeSet<&Touched> = touched.iter().flatten().map(|touch| &touch.what).collect();
    cases.into_iter().filter_map(|case| told(case, &all)).collect()
}

fn told(case: Case<'_>, touched: &BTreeSet<&Touched>) -> Option<QueryImpact> {
    let whole = |relation: &RelationName| touched.contains(&Touched::Relation(relation.clone(), None));
    let mut uses: Vec<(RelationName, Option<String>)> = case
        .before
        .uses
        .iter()
        .filter(|(relation, column)| match column {
            Some(_) => touched.contains(&Touched::Relation(relation.clone(), column.clone())),
            None => whole(relation),
        })
        .cloned()
        .collect();
    if uses.is_empty() {
        let by_name =
            case.before.functions.iter().filter(|name| touched.contains(&Touched::Function((*name).clone())));
        let types = case.before.types.iter().filter(|name| touched.contains(&Touched::Type((*name).clone())));
        uses.extend(by_name.chain(types).map(|name| (name.clone(), None)));
    }
    if uses.is_empty() && case.broken.is_some() {
        let named = |relation: &RelationName| {
            touched.iter().any(|one| matches!(one, Touched::Relation(name, _) if name == relation))
        };
        uses.extend(
            case.before.uses.iter().filter(|(relation, column)| column.is_none() && named(relation)).cloned(),
        );
    }
    if uses.is_empty() && case.broken.is_none() {
        return None;
    }
    let (statement, breaks) =
        case.broken.map_or((None, None), |(statement, why)| (Some(statement), Some(why)));
    Some(QueryImpact { query: case.index, uses, breaks, statement })
}

/// What the server complains of only after the change.
fn complaint(before: &Resolution, after: &Resolution) -> Option<String> {
    if let Some(problem) = after.problems.iter().find(|problem| !before.problems.contains(problem)) {
        return Some(problem.clone());
    }
    if let Some(function) = before.functions.difference(&after.functions).next() {
        return Some(format!("function {function} does not exist"));
    }
    before.types.difference(&after.types).next().map(|name| format!("type {name} does not exist"))
}

/// Words of which one stands in every statement that is concerned: names of what is touched, and of views on it.
fn words(touched: &[Vec<Touch>], catalog: &Snapshot) -> BTreeSet<String> {
    let mut relations: BTreeSet<&RelationName> = BTreeSet::new();
    let mut words = BTreeSet::new();
    for touch in touched.iter().flatten() {
        match &touch.what {
            Touched::Relation(name, _) => {
                relations.insert(name);
            }
            Touched::Function(name) | Touched::Type(name) => {
                words.insert(name.name.to_lowercase());
            }
        }
    }
    let mut next: Vec<&RelationName> = relations.iter().copied().collect();
    while let Some(relation) = next.pop() {
        let of = catalog.dependencies.iter().filter(|edge| edge.on.relation.as_ref() == Some(relation));
        let children = catalog.relations.iter().filter(|child| {
            child.partition_of.as_ref() == Some(relation) || child.inherits.contains(relation)
        });
        let views = of.filter_map(|edge| edge.dependent.relation.as_ref());
        for name in views.chain(children.map(|child| &child.name)) {
            if relations.insert(name) {
                next.push(name);
            }
        }
    }
    words.extend(relations.into_iter().map(|name| name.name.to_lowercase()));
    words
}

fn mentions(text: &str, words: &BTreeSet<String>) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests;
