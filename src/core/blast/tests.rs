//! Tests of the blast radius.

use super::*;
use crate::sql::{
    ColumnFacts, ConstraintFacts, ConstraintKind, Dependency, FunctionFacts, IndexFacts, Relation,
    RelationType, parse,
};

fn public(name: &str) -> RelationName {
    RelationName::qualified("public", name)
}

fn table(name: &str, columns: &[&str]) -> Relation {
    let column = |name: &&str| ColumnFacts { name: (*name).to_owned(), ..ColumnFacts::default() };
    let columns = columns.iter().map(column).collect();
    Relation { name: public(name), columns, rows: Some(100.0), total_bytes: 8192, ..Relation::default() }
}

fn of_kind(kind: RelationType, name: &str) -> Relation {
    Relation { kind, ..table(name, &["id"]) }
}

fn key(name: &str, column: &str, to: &str) -> ConstraintFacts {
    ConstraintFacts {
        name: name.to_owned(),
        kind: ConstraintKind::ForeignKey,
        columns: vec![column.to_owned()],
        definition: String::new(),
        validated: true,
        enforced: true,
        references: Some(public(to)),
        index: None,
    }
}

/// `kind name -> relation.column`, where a name with a dot is that of a column.
fn edge(text: &str) -> Dependency {
    let (dependent, on) = text.split_once(" -> ").unwrap();
    let (kind, name) = dependent.split_once(": ").unwrap();
    let object = |kind: &str, name: &str| {
        let bare = name.rsplit(" on ").next().unwrap();
        let (relation, column) =
            bare.split_once('.').map_or((bare, None), |(relation, column)| (relation, Some(column)));
        let is_function = kind == "function";
        ObjectRef {
            kind: kind.to_owned(),
            identity: if is_function { format!("public.{name}()") } else { name.to_owned() },
            relation: (!is_function).then(|| public(relation)),
            column: column.map(ToOwned::to_owned),
        }
    };
    let on_kind = if on.starts_with("f()") { "function" } else { "table column" };
    Dependency {
        dependent: object(kind, name),
        on: object(on_kind, on.trim_end_matches("()")),
        kind: "n".to_owned(),
    }
}

fn shop() -> Snapshot {
    let index = |name: &str, column: &str, used: &[&str]| IndexFacts {
        name: name.to_owned(),
        columns: vec![Some(column.to_owned()), None],
        used_columns: used.iter().map(ToString::to_string).collect(),
        bytes: 42,
        ..IndexFacts::default()
    };
    let users = Relation {
        indexes: vec![index("users_name", "name", &["mail"]), index("users_born", "born", &[])],
        policies: vec!["own".to_owned()],
        publications: vec!["pub".to_owned()],
        constraints: vec![key("users_self", "boss", "users")],
        ..table("users", &["id", "name", "mail", "born", "boss", "full"])
    };
    let orders = Relation {
        constraints: vec![key("orders_user", "user_id", "users")],
        ..table("orders", &["id", "user_id"])
    };
    let part = Relation { partition_of: Some(public("users")), ..table("users_1", &["id", "name"]) };
    let function = |name: &str, source: &str| FunctionFacts {
        name: public(name),
        language: "plpgsql".to_owned(),
        source: Some(source.to_owned()),
        ..FunctionFacts::default()
    };
    let edges = [
        "view: people -> users.name",
        "view: fans -> people.label",
        "view: people -> fans.id",
        "materialized view: totals -> fans.id",
        "trigger: touch on users -> users.name",
        "generated column: users.full -> users.name",
        "index: users_name -> users.name",
        "policy: own on users -> users.id",
        "sequence: users_id_seq -> users.id",
        "table constraint: orders_user on public.orders -> users.id",
        "statistics object: stats -> users.name",
    ];
    Snapshot {
        complete: true,
        schemas: vec!["public".to_owned()],
        relations: vec![
            users,
            orders,
            part,
            of_kind(RelationType::View, "people"),
            of_kind(RelationType::View, "fans"),
            of_kind(RelationType::MaterializedView, "totals"),
        ],
        functions: vec![
            function("greet", "BEGIN PERFORM name FROM users; END"),
            function("call", "BEGIN PERFORM greet() FROM totals; END"),
            function("other", "BEGIN PERFORM 1; END"),
        ],
        dependencies: edges.iter().map(|text| edge(text)).collect(),
        ..Snapshot::assumed(Some(15))
    }
}

fn lines(reached: &[Reached], depth: usize, found: &mut Vec<String>) {
    for one in reached {
        let likely = if one.likely { "?" } else { "" };
        found.push(format!("{}{} {}{likely}", "  ".repeat(depth), one.by, one.object.identity));
        lines(&one.dependents, depth + 1, found);
    }
}

fn drawn(plan: &str) -> Vec<String> {
    let radius = radius(&parse(plan).unwrap().statements, &[], &shop());
    let mut found = Vec::new();
    lines(&radius.roots, 0, &mut found);
    found
}

#[test]
fn a_column_reaches_what_uses_it_and_nothing_else() {
    let expected = [
        "touched public.users.name",
        "  index public.users_name",
        "  publication public.users in publication pub",
        "  partition public.users_1",
        "  view people",
        "    view fans",
        "      materialized view totals",
        "        function public.call()?",
        "  trigger touch on users",
        "  generated column users.full",
        "  statistics stats",
        "  function public.greet()?",
    ];
    let found = drawn("ALTER TABLE users DROP COLUMN name");
    for line in expected {
        assert!(found.iter().any(|one| one == line), "{line}: {found:#?}");
    }
    for absent in ["users_born", "orders_user", "own", "other", "users_id_seq"] {
        assert!(!found.iter().any(|line| line.contains(absent)), "{absent}: {found:#?}");
    }
}

#[test]
fn a_table_reaches_everything_once_in_spite_of_cycles() {
    let found = drawn("DROP TABLE users CASCADE");
    for line in [
        "  foreign key from orders_user on public.orders",
        "  policy own on public.users",
        "  index public.users_born",
        "  sequence users_id_seq",
        "  partition public.users_1",
    ] {
        assert!(found.iter().any(|one| one == line), "{line}: {found:#?}");
    }
    assert_eq!(found.iter().filter(|line| line.trim().starts_with("view people")).count(), 1, "{found:#?}");
}

#[test]
fn foreign_keys_are_followed_both_ways() {
    let found = drawn("ALTER TABLE orders DROP COLUMN user_id");
    assert_eq!(
        found,
        ["touched public.orders.user_id", "  foreign key to public.users orders_user on public.orders"]
    );
    let found = drawn("ALTER TABLE users ALTER COLUMN id TYPE bigint");
    assert!(found.contains(&"  foreign key from orders_user on public.orders".to_owned()), "{found:#?}");
}

#[test]
fn sizes_are_told_and_what_is_only_locked_is_not_forgotten() {
    let plan = parse("CREATE INDEX ON orders (id)").unwrap().statements;
    let lock = crate::sql::RelationLock { relation: public("users"), mode: crate::sql::LockMode::Share };
    let index =
        crate::sql::RelationLock { relation: public("orders_pkey"), mode: crate::sql::LockMode::Share };
    let seen = Foreseen { locks: vec![index, lock], ..Foreseen::default() };
    let mut catalog = shop();
    catalog.relations.push(of_kind(RelationType::Index, "orders_pkey"));
    let radius = radius(&plan, &[seen], &catalog);
    let told: Vec<_> = radius.roots.iter().map(|root| (root.by.as_str(), root.rows, root.bytes)).collect();
    assert_eq!(told[0], ("touched", Some(100.0), Some(8192)));
    assert_eq!(radius.roots[0].dependents[0].by, "foreign key to public.users");
    assert_eq!(told.get(1), Some(&("locked", Some(100.0), Some(8192))));
    assert_eq!(drawn("CREATE TABLE fresh (id int)"), [""; 0]);
}
