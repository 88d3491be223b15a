//! Tests of who uses what: which statements of an application break.

use crate::sql::{
    ColumnFacts, Dependency, IndexFacts, LiveQuery, ObjectRef, Relation, RelationName, RelationType,
    Snapshot, parse,
};

use super::*;

fn public(name: &str) -> RelationName {
    RelationName::qualified("public", name)
}

/// A table; a column is `name type`, with `!` where it is NOT NULL and `=` where it has a default.
fn table(name: &str, columns: &[&str]) -> Relation {
    let column = |text: &&str| {
        let (name, data_type) = text.split_once(' ').unwrap();
        ColumnFacts {
            name: name.to_owned(),
            data_type: data_type.trim_end_matches(['!', '=']).to_owned(),
            not_null: data_type.contains('!'),
            default: data_type.contains('=').then(|| "now()".to_owned()),
            ..ColumnFacts::default()
        }
    };
    let key = IndexFacts {
        name: format!("{name}_pkey"),
        columns: vec![Some("id".to_owned())],
        key_columns: 1,
        unique: true,
        primary: true,
        valid: true,
        ..IndexFacts::default()
    };
    Relation {
        name: public(name),
        columns: columns.iter().map(column).collect(),
        indexes: vec![key],
        ..Relation::default()
    }
}

fn view(name: &str, columns: &[&str], definition: &str) -> Relation {
    let definition = Some(definition.to_owned());
    Relation { kind: RelationType::View, definition, indexes: Vec::new(), ..table(name, columns) }
}

fn depends(view: &str, relation: &str, column: &str) -> Dependency {
    let of = |kind: &str, name: &str, column: Option<&str>| ObjectRef {
        kind: kind.to_owned(),
        identity: name.to_owned(),
        relation: Some(public(name)),
        column: column.map(ToOwned::to_owned),
    };
    Dependency {
        dependent: of("view", view, None),
        on: of("table column", relation, Some(column)),
        kind: "n".to_owned(),
    }
}

fn shop(query: &str) -> Snapshot {
    Snapshot {
        complete: true,
        schemas: vec!["public".to_owned()],
        relations: vec![
            table("users", &["id bigint!=", "name text!", "mail text", "born date", "active boolean!="]),
            table(
                "orders",
                &[
                    "id bigint!=",
                    "user_id bigint!",
                    "total numeric(10,2)",
                    "state text!=",
                    "at timestamp with time zone!=",
                ],
            ),
            table(
                "archive",
                &[
                    "id bigint!",
                    "user_id bigint!",
                    "total numeric(10,2)",
                    "state text!",
                    "at timestamp with time zone!",
                ],
            ),
            view(
                "people",
                &["id bigint", "label text"],
                " SELECT u.id, upper(u.name) AS label FROM public.users u WHERE u.active;",
            ),
        ],
        dependencies: vec![
            depends("people", "users", "id"),
            depends("people", "users", "name"),
            depends("people", "users", "active"),
        ],
        queries: Some(vec![LiveQuery { text: query.to_owned(), ..LiveQuery::default() }]),
        ..Snapshot::assumed(Some(15))
    }
}

fn impact(query: &str, plan: &str) -> Option<QueryImpact> {
    let script = parse(plan).unwrap();
    impacts(&script.statements, &shop(query)).into_iter().next()
}

/// The plan breaks the query, with these words.
fn breaks(query: &str, plan: &str, why: &str) {
    let found = impact(query, plan).unwrap_or_else(|| panic!("{plan}: not concerned: {query}"));
    let told = found.breaks.clone().unwrap_or_default();
    assert!(told.contains(why) && !told.is_empty(), "{plan}\n{query}\n{found:?}");
    assert!(!found.uses.is_empty(), "{plan}\n{query}\n{found:?}");
}

/// The query goes on working; it uses this, or nothing that the plan touches.
fn works(query: &str, plan: &str, uses: &[&str]) {
    let found = impact(query, plan);
    let told: Vec<String> = found
        .iter()
        .flat_map(|impact| &impact.uses)
        .map(|(relation, column)| match column {
            Some(column) => format!("{}.{column}", relation.name),
            None => relation.name.clone(),
        })
        .collect();
    assert_eq!(
        (found.and_then(|found| found.breaks), told),
        (None, uses.iter().map(ToString::to_string).collect()),
        "{plan}\n{query}"
    );
}

const DROP: &str = "ALTER TABLE users DROP COLUMN name CASCADE";

#[test]
fn names_are_resolved_as_the_server_does() {
    breaks("SELECT name FROM users", DROP, "column name does not exist");
    breaks("SELECT u.name FROM public.users AS u", DROP, "column name of public.users does not exist");
    breaks("SELECT public.users.name FROM public.users", DROP, "does not exist");
    breaks(
        "SELECT 1 FROM orders o WHERE EXISTS (SELECT FROM users u WHERE u.id = o.user_id AND u.name = $1)",
        DROP,
        "name",
    );
    breaks("SELECT o.id FROM orders o JOIN users u ON u.id = o.user_id ORDER BY u.name", DROP, "name");
    breaks("SELECT label FROM people", DROP, "relation people does not exist");
    breaks("UPDATE users SET name = $1 WHERE id = $2", DROP, "column name of public.users does not exist");
    breaks("INSERT INTO users (name, mail) VALUES ($1, $2)", DROP, "column name of public.users");
    breaks("SELECT id FROM users GROUP BY id, name", DROP, "name");
    breaks("WITH u AS (SELECT id, name AS n FROM users) SELECT n FROM u", DROP, "column name does not exist");
    breaks("SELECT x.n FROM (SELECT name n FROM users) x", DROP, "column name does not exist");
    breaks(
        "DELETE FROM orders USING users WHERE users.id = orders.user_id AND users.name LIKE $1",
        DROP,
        "name",
    );
    breaks("SELECT count(*) FILTER (WHERE name IS NULL) OVER (PARTITION BY active) FROM users", DROP, "name");
    breaks(
        "INSERT INTO users AS u (name) VALUES ($1) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        DROP,
        "name",
    );
}

#[test]
fn what_goes_on_working_is_not_alarmed_about() {
    works("SELECT * FROM users", DROP, &["users.name"]);
    works("SELECT u.* FROM users u JOIN orders o ON o.user_id = u.id", DROP, &["users.name"]);
    works("SELECT id, mail FROM users WHERE active", DROP, &[]);
    works("SELECT name FROM (SELECT state AS name FROM orders) AS users", DROP, &[]);
    works("SELECT o.name FROM (SELECT id AS name FROM users) o", DROP, &[]);
    works("WITH users AS (SELECT 'x' AS name) SELECT name FROM users", DROP, &[]);
    works("SELECT name FROM elsewhere.users", DROP, &[]);
    works("SELECT row_to_json(u) FROM users u", DROP, &["users.name"]);
    works("SELECT id FROM people", "ALTER TABLE users RENAME COLUMN name TO title", &[]);
    works("SELECT label FROM people", "ALTER TABLE users RENAME COLUMN name TO title", &["users.name"]);
    works("SELECT * FROM orders", "ALTER TABLE orders ADD COLUMN note text", &["orders"]);
    works(
        "INSERT INTO users (name) VALUES ($1)",
        "ALTER TABLE users ADD COLUMN note text NOT NULL DEFAULT ''",
        &["users"],
    );
    works(
        "SELECT name FROM users",
        "ALTER TABLE users RENAME TO people2; CREATE VIEW users AS SELECT * FROM people2",
        &["users"],
    );
}

#[test]
fn every_kind_of_change_is_followed() {
    let insert = "INSERT INTO users (name) VALUES ($1)";
    breaks(
        insert,
        "ALTER TABLE users ADD COLUMN tier text NOT NULL",
        "tier of public.users is NOT NULL without a default",
    );
    breaks(insert, "ALTER TABLE users ALTER mail SET NOT NULL", "mail of public.users is NOT NULL");
    breaks(insert, "ALTER TABLE users ALTER active DROP DEFAULT", "active of public.users is NOT NULL");
    breaks(
        "SELECT name FROM users",
        "ALTER TABLE users RENAME COLUMN name TO title",
        "column name does not exist",
    );
    breaks("SELECT name FROM users", "ALTER TABLE users RENAME TO people2", "relation users does not exist");
    breaks(
        "SELECT name FROM users",
        "CREATE SCHEMA app; ALTER TABLE users SET SCHEMA app",
        "relation users does not exist",
    );
    breaks("SELECT name FROM users", "DROP TABLE users CASCADE", "relation users does not exist");
    breaks("SELECT id FROM people", "DROP VIEW people", "relation people does not exist");
    breaks("SELECT id FROM people", "ALTER VIEW people RENAME COLUMN id TO key", "column id does not exist");
}

#[test]
fn what_a_change_does_elsewhere_in_a_statement_is_followed() {
    breaks(
        "SELECT id FROM users JOIN orders o ON o.user_id = users.id WHERE born > $1",
        "SELECT 1; ALTER TABLE orders ADD born date",
        "ambiguous",
    );
    breaks("INSERT INTO archive SELECT * FROM orders", "ALTER TABLE orders ADD note text", "6 values");
    breaks(
        "SELECT * FROM orders UNION ALL SELECT * FROM archive",
        "ALTER TABLE orders ADD note text",
        "same number of columns",
    );
    breaks(
        "SELECT id FROM users WHERE lower(name) = $1",
        "ALTER TABLE users ALTER name TYPE int USING 1",
        "function lower of a number",
    );
    breaks(
        "SELECT u.id FROM users u JOIN orders o ON o.user_id = u.id",
        "ALTER TABLE users ALTER id TYPE uuid USING NULL",
        "operator = ",
    );
    breaks(
        "SELECT sum(total) FROM orders",
        "ALTER TABLE orders ALTER total TYPE text",
        "function sum of text",
    );
    breaks(
        "SELECT id FROM users WHERE active",
        "ALTER TABLE users ALTER active TYPE int USING 1",
        "instead of a boolean",
    );
    breaks(
        "INSERT INTO users (id, name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
        "ALTER TABLE users DROP CONSTRAINT users_pkey",
        "ON CONFLICT",
    );
    breaks(
        "SELECT u.id, u.name, count(*) FROM users u GROUP BY u.id",
        "ALTER TABLE users DROP CONSTRAINT users_pkey",
        "GROUP BY",
    );
}

#[test]
fn the_first_statement_that_breaks_it_is_told() {
    let plan = "ALTER TABLE users ADD a int; ALTER TABLE users DROP COLUMN name CASCADE; ALTER TABLE users DROP mail";
    let found = impact("SELECT name, mail FROM users", plan).unwrap();
    assert_eq!(found.statement, Some(1));
    // What the plan mends itself is not broken.
    works(
        "SELECT name FROM users",
        "ALTER TABLE users RENAME name TO n; ALTER TABLE users RENAME n TO name",
        &["users.name"],
    );
}

#[test]
fn the_source_of_functions_is_read() {
    let check = |language: &str, source: &str, expected: &[&str]| {
        let function = crate::sql::FunctionFacts {
            name: public("f"),
            language: language.to_owned(),
            source: Some(source.to_owned()),
            ..crate::sql::FunctionFacts::default()
        };
        let mut catalog = Snapshot { functions: vec![function], ..shop("") };
        let trigger = crate::sql::TriggerFacts {
            function: "public.f".to_owned(),
            ..crate::sql::TriggerFacts::default()
        };
        if source.contains("NEW") {
            catalog.relations[0].triggers.push(trigger);
        }
        let words = BTreeSet::from(["users".to_owned(), "new".to_owned()]);
        let found = body_uses(&catalog, &words);
        let columns: Vec<String> = found
            .iter()
            .flat_map(|of| &of.uses)
            .filter_map(|(of, column)| Some(format!("{}.{}", of.name, column.as_ref()?)))
            .collect();
        assert_eq!(columns, expected, "{source}");
    };
    check("sql", "SELECT name FROM users WHERE id = $1; DELETE FROM orders", &["users.id", "users.name"]);
    check("plpgsql", "DECLARE n text; BEGIN SELECT u.name INTO n FROM users u; RETURN; END", &["users.name"]);
    check("plpgsql", "BEGIN FOR r IN SELECT mail FROM users LOOP PERFORM 1; END LOOP; END", &["users.mail"]);
    check(
        "plpgsql",
        "DECLARE r record; BEGIN FOR r IN SELECT mail FROM users LOOP PERFORM 1; END LOOP; END",
        &["users.mail"],
    );
    check(
        "plpgsql",
        "BEGIN IF NEW.name IS NULL THEN NEW.mail := 'x'; END IF; RETURN NEW; END",
        &["users.mail", "users.name"],
    );
    check("plpgsql", "BEGIN EXECUTE 'UPDATE users SET born = now()'; END", &["users.born"]);
    check("plpgsql", "BEGIN EXECUTE format('UPDATE users SET born = %L', x); END", &["users.born"]);
    check("plpgsql", "BEGIN this is broken users name", &["users.name"]);
    check("plpgsql", "BEGIN RETURN QUERY SELECT born FROM users; END", &["users.born"]);
    check("plpgsql", "BEGIN RETURN (SELECT born FROM users); END", &["users.born"]);
    check("plpgsql", "BEGIN PERFORM 1; END", &[]);
}
