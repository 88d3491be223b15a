//! The query whose rows a statement stores: what the planner of a database is asked about it, and when it is not.
//!
//! To plan a query is not to run it, but a planner calls functions that are declared immutable or stable if their arguments
//! are constants, and a foreign table may have it ask another server. A query that can come to that is not asked about.

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{InsertStmt, SelectStmt, WithClause};

use super::foresight::{Reads, built_in_volatile, of_statement};
use super::grammar::{self, on_deep_stack};
use super::kind::Kind;
use super::name::RelationName;
use super::snapshot::{RelationType, Snapshot};
use super::statement::Statement;

/// Relations that are looked at before a query is given up.
const MAX_RELATIONS: usize = 1000;
/// Words without one of which there is no query.
const QUERY_WORDS: [&str; 2] = ["select", "table"];
/// What is in the names of the server's functions that run a query while they are evaluated.
const RUNS_QUERIES: [&str; 2] = ["_to_xml", "dblink"];

/// A query whose rows a statement stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredQuery {
    /// The query alone, as SQL.
    pub sql: String,
    /// Relations that it names.
    pub relations: Vec<RelationName>,
    /// Why a planner is not to be asked about it, in words that can stand after "because".
    pub unasked: Option<String>,
}

/// The query whose rows a statement stores, as `CREATE TABLE AS`, `SELECT INTO`, `CREATE MATERIALIZED VIEW` and `INSERT` do;
/// `None` if it stores none, or rows that it writes down.
pub fn stored_query(statement: &Statement, catalog: &Snapshot) -> Option<StoredQuery> {
    let may = match &statement.kind {
        Kind::CreateTable(table) => table.from_query,
        Kind::CreateView { materialized, .. } => *materialized,
        Kind::Insert { .. } => QUERY_WORDS.iter().any(|word| statement.says(word)),
        _ => false,
    };
    if !may {
        return None;
    }
    let look = || {
        let tree = grammar::trees(std::iter::once(statement.sql.as_str())).pop().flatten()?;
        let query = inner(tree.node)?;
        let reads = of_statement(&query);
        Some(StoredQuery {
            unasked: unasked(&reads, catalog),
            relations: reads.relations.into_iter().map(|access| access.name).collect(),
            sql: grammar::deparse(query)?,
        })
    };
    on_deep_stack(look).flatten()
}

/// The query within a statement.
fn inner(node: NodeEnum) -> Option<NodeEnum> {
    match node {
        NodeEnum::CreateTableAsStmt(stmt) => {
            let stored = !stmt.into.as_ref().is_some_and(|into| into.skip_data);
            let query = stmt.query.and_then(|query| query.node)?;
            (stored && matches!(query, NodeEnum::SelectStmt(_))).then_some(query)
        }
        NodeEnum::SelectStmt(select) => {
            select.into_clause.as_ref()?;
            Some(NodeEnum::SelectStmt(Box::new(SelectStmt { into_clause: None, ..*select })))
        }
        NodeEnum::InsertStmt(stmt) => inserted(*stmt),
        _ => None,
    }
}

/// The query of an `INSERT`, with all that stands in a `WITH`.
fn inserted(stmt: InsertStmt) -> Option<NodeEnum> {
    let Some(NodeEnum::SelectStmt(mut select)) = stmt.select_stmt.and_then(|query| query.node) else {
        return None;
    };
    if !select.values_lists.is_empty() {
        return None;
    }
    if let Some(outer) = stmt.with_clause {
        let own = select.with_clause.take().unwrap_or_default();
        let ctes = outer.ctes.into_iter().chain(own.ctes).collect();
        select.with_clause =
            Some(WithClause { ctes, recursive: outer.recursive || own.recursive, ..WithClause::default() });
    }
    Some(NodeEnum::SelectStmt(select))
}

/// Why a planner is not asked about a query that uses all that; views are followed.
fn unasked(reads: &Reads, catalog: &Snapshot) -> Option<String> {
    let mut names: Vec<RelationName> = Vec::new();
    let add = |reads: &Reads, names: &mut Vec<RelationName>| {
        names.extend(reads.relations.iter().map(|access| access.name.clone()));
        let runs = |function: &RelationName| RUNS_QUERIES.iter().any(|word| function.name.contains(word));
        let mut functions = reads.functions.iter();
        let other = functions.find(|function| built_in_volatile(function).is_none() || runs(function))?;
        Some(format!("the planner may call the function {other}"))
    };
    if let Some(why) = add(reads, &mut names) {
        return Some(why);
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = names.pop() {
        // What is not in the catalog is not in the database either, or made by the plan: the server says so.
        let Some(relation) = catalog.relation(&name) else { continue };
        if !seen.insert(&relation.name) {
            continue;
        }
        if seen.len() > MAX_RELATIONS {
            return Some("it reads more relations than are looked at".to_owned());
        }
        if !relation.policies.is_empty() {
            return Some(format!("the planner may call functions in the policies of {}", relation.name));
        }
        match relation.kind {
            RelationType::ForeignTable => {
                return Some(format!(
                    "{} is a foreign table, and the planner may ask its server",
                    relation.name
                ));
            }
            RelationType::View => {
                let definition = relation.definition.as_deref();
                let tree = definition.and_then(|sql| grammar::trees(std::iter::once(sql)).pop().flatten());
                let Some(tree) = tree else {
                    return Some(format!("what the view {} reads is not known", relation.name));
                };
                if let Some(why) = add(&of_statement(&tree.node), &mut names) {
                    return Some(format!("{why} in the view {}", relation.name));
                }
            }
            _ => names.extend(children(&relation.name, catalog)),
        }
    }
    None
}

/// Partitions of a table, and what inherits from it.
fn children<'a>(name: &'a RelationName, catalog: &'a Snapshot) -> impl Iterator<Item = RelationName> + 'a {
    let below = catalog.relations.iter().filter(move |relation| {
        relation.partition_of.as_ref() == Some(name) || relation.inherits.contains(name)
    });
    below.map(|relation| relation.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Relation, parse};

    fn catalog() -> Snapshot {
        let relation = |name: &str, kind: RelationType, definition: &str| Relation {
            name: RelationName::qualified("public", name),
            kind,
            definition: Some(definition.to_owned()).filter(|text| !text.is_empty()),
            ..Relation::default()
        };
        let mut policed = relation("policed", RelationType::Table, "");
        policed.policies = vec!["own".to_owned()];
        let mut far = relation("far", RelationType::ForeignTable, "");
        far.partition_of = Some(RelationName::qualified("public", "parts"));
        Snapshot {
            complete: true,
            relations: vec![
                relation("users", RelationType::Table, ""),
                relation("named", RelationType::View, " SELECT lower(name) FROM public.users;"),
                relation("slow", RelationType::View, " SELECT public.slug(name) FROM public.named;"),
                relation("nested", RelationType::View, " SELECT * FROM public.slow;"),
                relation("hidden", RelationType::View, ""),
                relation("parts", RelationType::PartitionedTable, ""),
                policed,
                far,
            ],
            ..Snapshot::assumed(Some(16))
        }
    }

    fn of(text: &str) -> Option<StoredQuery> {
        stored_query(&parse(text).unwrap().statements[0], &catalog())
    }

    #[test]
    fn the_query_stands_alone() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(of(text).map(|query| query.sql).as_deref(), expected, "{text}");
        };
        let users = Some("SELECT * FROM users");
        check("CREATE TABLE a AS SELECT * FROM users", users);
        check("CREATE UNLOGGED TABLE a (x) WITH (fillfactor = 70) AS SELECT * FROM users WITH DATA", users);
        check("CREATE TABLE a AS SELECT * FROM users WITH NO DATA", None);
        check("CREATE TABLE a AS VALUES (1), (2)", Some("VALUES (1), (2)"));
        check("SELECT * INTO a FROM users", users);
        check("SELECT * FROM users", None);
        check("CREATE MATERIALIZED VIEW a AS SELECT * FROM users", users);
        check("CREATE MATERIALIZED VIEW a AS SELECT * FROM users WITH NO DATA", None);
        check("CREATE VIEW a AS SELECT * FROM users", None);
        check("CREATE TABLE a (id int)", None);
        check("INSERT INTO a SELECT * FROM users ON CONFLICT DO NOTHING RETURNING id", users);
        check("INSERT INTO a (id) VALUES (1)", None);
        check("INSERT INTO a DEFAULT VALUES", None);
        check("UPDATE users SET name = ''", None);
        let with = "WITH gone AS (DELETE FROM users RETURNING *)";
        let select = Some("WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone");
        check(&format!("{with} INSERT INTO a SELECT * FROM gone"), select);
        check("INSERT INTO a WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone", select);
        assert_eq!(of("SELECT * INTO a FROM users u, b").unwrap().relations.len(), 2);
    }

    #[test]
    fn a_planner_is_not_asked_where_that_might_run_something() {
        let check = |from: &str, expected: Option<&str>| {
            let query = of(&format!("CREATE TABLE a AS SELECT {from}")).unwrap();
            match expected {
                None => assert_eq!(query.unasked, None, "{from}"),
                Some(part) => {
                    assert!(query.unasked.as_deref().unwrap_or("").contains(part), "{from}: {query:?}");
                }
            }
        };
        check("lower(name), now(), random(), nextval('s') FROM users", None);
        check("count(*) FROM named JOIN parts_of_the_plan USING (id)", None);
        check("slug('x') FROM users", Some("the function slug"));
        check("* FROM users WHERE id = (SELECT my.cheapest())", Some("the function my.cheapest"));
        check("* FROM slow", Some("public.slug in the view public.slow"));
        check("* FROM nested", Some("in the view public.slow"));
        check("* FROM hidden", Some("what the view public.hidden reads"));
        check("* FROM policed", Some("policies of public.policed"));
        check("* FROM far", Some("foreign table"));
        check("* FROM parts", Some("public.far is a foreign table"));
        check("table_to_xml('users', true, false, '')", Some("table_to_xml"));
    }
}
