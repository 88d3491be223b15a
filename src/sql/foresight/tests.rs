//! The room as a whole, from text to what is foreseen.

use super::*;
use crate::sql::kind::{ConstraintKind, Generated};
use crate::sql::snapshot::*;

fn column(name: &str, data_type: &str) -> ColumnFacts {
    ColumnFacts { name: name.into(), data_type: data_type.into(), ..ColumnFacts::default() }
}

fn index(name: &str, column: &str, unique: bool) -> IndexFacts {
    IndexFacts {
        name: name.into(),
        columns: vec![Some(column.into())],
        key_columns: 1,
        unique,
        valid: true,
        method: "btree".into(),
        ..IndexFacts::default()
    }
}

fn constraint(name: &str, kind: ConstraintKind, column: &str, definition: &str) -> ConstraintFacts {
    ConstraintFacts {
        name: name.into(),
        kind,
        columns: vec![column.into()],
        definition: definition.into(),
        validated: true,
        enforced: true,
        references: definition.contains("users").then(|| public("users")),
        index: None,
    }
}

fn public(name: &str) -> RelationName {
    RelationName::qualified("public", name)
}

fn table(name: &str, columns: Vec<ColumnFacts>) -> Relation {
    Relation { name: public(name), columns, rows: Some(1000.0), bytes: 81920, ..Relation::default() }
}

fn users() -> Relation {
    let mut users = table(
        "users",
        vec![
            ColumnFacts { not_null: true, ..column("id", "bigint") },
            column("name", "character varying(40)"),
            column("age", "integer"),
            column("score", "numeric(10,2)"),
            column("seen", "timestamp without time zone"),
            ColumnFacts { generated: Some(Generated::Stored), ..column("twice", "integer") },
            column("mail", "public.email"),
        ],
    );
    users.indexes = vec![index("users_pkey", "id", true), index("users_name", "name", false)];
    users.constraints = vec![
        ConstraintFacts {
            index: Some("users_pkey".into()),
            ..constraint("users_pkey", ConstraintKind::PrimaryKey, "id", "PRIMARY KEY (id)")
        },
        constraint("users_age", ConstraintKind::Check, "age", "CHECK ((age IS NOT NULL))"),
    ];
    users
}

/// A table that is referred to, one that refers to it, a partitioned one with two partitions, a view.
fn catalog() -> Snapshot {
    let mut orders = table("orders", vec![column("id", "integer"), column("buyer", "bigint")]);
    let key = "FOREIGN KEY (buyer) REFERENCES public.users(id) ON DELETE CASCADE";
    orders.constraints = vec![constraint("orders_buyer", ConstraintKind::ForeignKey, "buyer", key)];
    let parts = Relation {
        kind: RelationType::PartitionedTable,
        partition_key: Some("RANGE (id)".into()),
        bytes: 0,
        ..table("parts", vec![column("id", "integer")])
    };
    let part = |name: &str, bound: &str| Relation {
        partition_of: Some(public("parts")),
        partition_bound: Some(bound.into()),
        ..table(name, vec![column("id", "integer")])
    };
    let view = Relation {
        kind: RelationType::View,
        definition: Some("SELECT id, name FROM public.users".into()),
        ..table("named", vec![column("id", "bigint"), column("name", "character varying(40)")])
    };
    let domain = TypeFacts {
        name: public("email"),
        kind: TypeKind::Domain,
        base: Some("text".into()),
        checks: vec!["email_check".into()],
        ..TypeFacts::default()
    };
    let wild =
        FunctionFacts { name: public("wild"), volatility: Volatility::Volatile, ..FunctionFacts::default() };
    Snapshot {
        complete: true,
        major: Some(15),
        search_path: vec!["public".into()],
        settings: [("TimeZone".to_owned(), "UTC".to_owned())].into(),
        relations: vec![
            users(),
            orders,
            parts,
            part("parts_1", "FOR VALUES FROM (0) TO (10)"),
            part("parts_rest", "DEFAULT"),
            view,
        ],
        types: vec![domain],
        functions: vec![wild],
        ..Snapshot::assumed(Some(15))
    }
}

/// The last statement's forecast in one line.
fn said(sql: &str, catalog: &Snapshot) -> String {
    let reading = crate::sql::read(sql, 100_000);
    let foreseen = foresee(&reading.script.statements, catalog);
    assert_eq!(foreseen.len(), reading.script.statements.len(), "{sql}");
    let last = foreseen.last().unwrap_or_else(|| panic!("{sql}: {:?}", reading.refusals));
    let short = |mode: LockMode| mode.name().split(' ').map(|word| &word[..1]).collect::<String>();
    let bare = |name: &RelationName| name.sql().replace("public.", "");
    let mut parts: Vec<String> = Vec::new();
    let locks: Vec<String> =
        last.locks.iter().map(|lock| format!("{} {}", bare(&lock.relation), short(lock.mode))).collect();
    let names = |list: &[RelationName]| list.iter().map(&bare).collect::<Vec<_>>().join(" ");
    parts.extend((!locks.is_empty()).then(|| locks.join(", ")));
    parts.extend((!last.rewrites.is_empty()).then(|| format!("rewrites {}", names(&last.rewrites))));
    parts.extend((!last.scans.is_empty()).then(|| format!("scans {}", names(&last.scans))));
    parts.extend((last.heavy != Heavy::None).then(|| format!("{:?}", last.heavy)));
    parts.extend(last.destructive.then(|| "destructive".to_owned()));
    parts.extend(last.opaque.then(|| "opaque".to_owned()));
    parts.join("; ")
}

fn check(sql: &str, catalog: &Snapshot, expected: &str) {
    assert_eq!(said(sql, catalog), expected, "{sql}");
}

const REWRITE: &str =
    "users AE, users_name AE, users_pkey AE; rewrites users users_name users_pkey; scans users; Everything";

#[test]
fn columns() {
    let catalog = catalog();
    let check = |sql: &str, expected: &str| check(sql, &catalog, expected);
    check("ALTER TABLE users ADD COLUMN n int", "users AE");
    check("ALTER TABLE users ADD COLUMN n int NOT NULL DEFAULT 1", "users AE");
    check("ALTER TABLE users ADD COLUMN n timestamptz DEFAULT now()", "users AE");
    check("ALTER TABLE users ADD COLUMN n uuid DEFAULT gen_random_uuid()", REWRITE);
    check("ALTER TABLE users ADD COLUMN n int DEFAULT wild()", REWRITE);
    check("ALTER TABLE users ADD COLUMN n bigserial", REWRITE);
    check("ALTER TABLE users ADD COLUMN n int GENERATED ALWAYS AS (age) STORED", REWRITE);
    check("ALTER TABLE users ADD COLUMN n email", REWRITE);
    check("ALTER TABLE users ADD COLUMN n int CHECK (n > 0)", "users AE; scans users; Everything");
    check("ALTER TABLE orders ADD COLUMN n bigint REFERENCES users", "orders AE, users SRE");
    check("ALTER TABLE users ALTER COLUMN name SET NOT NULL", "users AE; scans users; Everything");
    check("ALTER TABLE users ALTER COLUMN age SET NOT NULL", "users AE");
    check("ALTER TABLE users ALTER COLUMN id SET NOT NULL", "users AE");
    check("ALTER TABLE parts ADD COLUMN n int", "parts AE, parts_1 AE, parts_rest AE");
    check("ALTER TABLE users ALTER COLUMN age SET STATISTICS 5", "users SUE");
    check("ALTER TABLE users DROP COLUMN id CASCADE", "orders AE, users AE, users_pkey AE; destructive");
}

#[test]
fn types() {
    let catalog = catalog();
    let check = |column: &str, to: &str, expected: &str| {
        check(&format!("ALTER TABLE users ALTER COLUMN {column} TYPE {to}"), &catalog, expected);
    };
    check("name", "varchar(60)", "users AE, users_name AE");
    check("name", "text", "users AE, users_name AE");
    check("name", "varchar(20)", REWRITE);
    check("score", "numeric(12,2)", "users AE");
    check("score", "numeric(12,3)", REWRITE);
    check("seen", "timestamptz", "users AE");
    check("mail", "text", "users AE");
    check("name", "email", REWRITE);
    check("age", "bigint", REWRITE);
    check(
        "id",
        "numeric",
        "orders AE, users AE, users_name AE, users_pkey AE; rewrites users users_name users_pkey; \
         scans orders users; Everything",
    );
}

#[test]
fn the_time_zone_of_the_session_counts() {
    let mut catalog = catalog();
    let change = "ALTER TABLE users ALTER COLUMN seen TYPE timestamptz";
    check(change, &catalog, "users AE");
    catalog.settings.insert("TimeZone".into(), "Europe/Vienna".into());
    check(change, &catalog, REWRITE);
    check(&format!("SET LOCAL timezone = 'UTC'; {change}"), &catalog, "users AE");
}

#[test]
fn constraints_and_indexes() {
    let catalog = catalog();
    let check = |sql: &str, expected: &str| check(sql, &catalog, expected);
    check("ALTER TABLE users ADD CHECK (age > 0)", "users AE; scans users; Everything");
    check("ALTER TABLE users ADD CHECK (age > 0) NOT VALID", "users AE");
    check(
        "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES users",
        "orders SRE, users SRE; scans orders users; Writes",
    );
    check("ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES users NOT VALID", "orders SRE, users SRE");
    check("ALTER TABLE orders DROP CONSTRAINT orders_buyer", "orders AE, users AE");
    check("ALTER TABLE users ADD UNIQUE (age)", "users AE; scans users; Everything");
    check("CREATE INDEX ON users (age)", "users S; scans users; Writes");
    check("CREATE INDEX CONCURRENTLY i ON users (age)", "users SUE; scans users");
    check("CREATE INDEX ON parts (id)", "parts S, parts_1 S, parts_rest S; scans parts_1 parts_rest; Writes");
    check("DROP INDEX users_name", "users AE, users_name AE");
    check("DROP INDEX CONCURRENTLY users_name", "users SUE, users_name AE");
    check("ALTER INDEX users_name RENAME TO n", "users_name SUE");
    check("REINDEX INDEX users_name", "users S, users_name AE; rewrites users_name; scans users; Everything");
}

#[test]
fn the_catalog_goes_on_from_statement_to_statement() {
    let catalog = catalog();
    let check = |sql: &str, expected: &str| check(sql, &catalog, expected);
    let add = "ALTER TABLE users ADD CONSTRAINT c CHECK (name IS NOT NULL) NOT VALID;";
    check(&format!("{add} ALTER TABLE users ALTER name SET NOT NULL"), "users AE; scans users; Everything");
    check(&format!("{add} ALTER TABLE users VALIDATE CONSTRAINT c"), "users SUE; scans users");
    let valid = format!("{add} ALTER TABLE users VALIDATE CONSTRAINT c;");
    check(&format!("{valid} ALTER TABLE users ALTER name SET NOT NULL"), "users AE");
    check(
        &format!("{valid} ALTER TABLE users DROP CONSTRAINT c; ALTER TABLE users ALTER name SET NOT NULL"),
        "users AE; scans users; Everything",
    );
    check("CREATE TABLE n (id int); ALTER TABLE n ADD CHECK (id > 0)", "");
    check("CREATE TABLE n (id int); CREATE INDEX ON n (id)", "");
    check("CREATE TABLE n (id int); DROP TABLE n", "");
    check("CREATE TABLE n (u bigint REFERENCES users)", "users SRE");
    check("CREATE UNIQUE INDEX i ON users (age); ALTER TABLE users ADD UNIQUE USING INDEX i", "users AE");
    check("ALTER TABLE users RENAME TO people; ALTER TABLE people DROP COLUMN age", "people AE; destructive");
    check("ALTER TABLE users RENAME TO people; SELECT * FROM named", "named AS, people AS; scans people");
    check(
        "ALTER TABLE users RENAME age TO years; ALTER TABLE users ALTER years TYPE int",
        "users AE; scans users; Everything",
    );
    check(
        "DROP VIEW named; DROP TABLE orders; DROP TABLE users",
        "users AE, users_name AE, users_pkey AE; destructive",
    );
}

#[test]
fn partitions() {
    let catalog = catalog();
    let check = |sql: &str, expected: &str| check(sql, &catalog, expected);
    check(
        "CREATE TABLE n PARTITION OF parts FOR VALUES FROM (50) TO (60)",
        "parts AE, parts_rest AE; scans parts_rest; Everything",
    );
    let add = "ALTER TABLE parts_rest ADD CHECK (id < 50 OR id >= 60);";
    check(
        &format!("{add} CREATE TABLE n PARTITION OF parts FOR VALUES FROM (50) TO (60)"),
        "parts AE, parts_rest AE",
    );
    check(
        "ALTER TABLE parts ATTACH PARTITION orders FOR VALUES FROM (50) TO (60)",
        "orders AE, parts SUE, parts_rest AE; scans orders parts_rest; Everything",
    );
    check("ALTER TABLE parts DETACH PARTITION parts_1", "parts AE, parts_1 AE, parts_rest AE");
    check("INSERT INTO parts VALUES (5)", "parts RE, parts_1 RE");
    check("INSERT INTO parts VALUES (50)", "parts RE, parts_rest RE");
    check("DROP TABLE parts_1", "parts AE, parts_1 AE, parts_rest AE; destructive");
}

#[test]
fn rows() {
    let catalog = catalog();
    let check = |sql: &str, expected: &str| check(sql, &catalog, expected);
    check("SELECT * FROM named", "named AS, users AS; scans users");
    check("SELECT * FROM users WHERE id = 1 FOR UPDATE", "users RS");
    check("SELECT 1 FROM pg_class", "");
    check("WITH users AS (SELECT 1) SELECT * FROM users", "");
    check("WITH users AS (SELECT * FROM users) SELECT * FROM users", "users AS; scans users");
    check("INSERT INTO orders VALUES (1, 2)", "orders RE, users RS");
    check("INSERT INTO orders (id) VALUES (1)", "orders RE");
    check("UPDATE orders SET id = 2", "orders RE; scans orders");
    check("DELETE FROM users WHERE id = 1", "orders RE, users RE; destructive");
    check(
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        "orders RE; scans orders; destructive",
    );
    check("TRUNCATE orders", "orders AE; rewrites orders; destructive");
    check("LOCK TABLE parts IN SHARE MODE", "parts S, parts_1 S, parts_rest S");
    check("SELECT wild()", "opaque");
    check("DO $$ BEGIN END $$", "opaque");
}

#[test]
fn nothing_is_safe_that_is_not_known() {
    let none = Snapshot::assumed(None);
    let assumes = |sql: &str, facts: &[&str]| {
        let foreseen = foresee(&crate::sql::read(sql, 100_000).script.statements, &none);
        let last = foreseen.last().unwrap();
        for fact in facts {
            assert!(last.assumptions.iter().any(|one| one == fact), "{sql}: {:?}", last.assumptions);
        }
        (last.heavy, last.locks.first().map(|lock| lock.relation.sql()))
    };
    let heavy = (Heavy::Everything, Some("users".to_owned()));
    assert_eq!(assumes("ALTER TABLE users ALTER age TYPE bigint", &["type of users.age"]), heavy);
    let check = "whether a valid CHECK (age IS NOT NULL) is on users";
    assert_eq!(assumes("ALTER TABLE users ALTER age SET NOT NULL", &[check]), heavy);
    assert_eq!(assumes("ALTER TABLE users ADD n int DEFAULT mine()", &["volatility of mine()"]), heavy);
    let domain = "whether mood is a domain with constraints";
    assert_eq!(assumes("ALTER TABLE users ADD n mood DEFAULT 'ok'", &[domain]), heavy);
    assert_eq!(assumes("DROP TABLE users", &["tables that users refers to"]).0, Heavy::None);
    assert_eq!(assumes("ALTER TABLE app.t ADD n int", &[]), (Heavy::None, Some("app.t".to_owned())));
}

#[test]
fn relations_alone_suffice_for_what_only_locks() {
    let outline = Snapshot { complete: false, types: Vec::new(), functions: Vec::new(), ..catalog() };
    let check = |sql: &str, suffices: bool| {
        let statements = crate::sql::parse(sql).unwrap().statements;
        let found = foresee(&statements, &outline);
        let suffice = found.iter().all(Foreseen::is_surely_light);
        assert_eq!(suffice, suffices, "{sql}: {found:?}");
    };
    check("ALTER TABLE users ADD COLUMN extra text", true);
    check("ALTER TABLE users ADD COLUMN extra int NOT NULL DEFAULT 1", true);
    check("ALTER TABLE users ALTER name SET DEFAULT 'x'", true);
    check("ALTER TABLE users ADD COLUMN extra mood", false);
    check("ALTER TABLE users ADD COLUMN extra int DEFAULT mine()", false);
    check("ALTER TABLE nowhere ADD COLUMN extra int NOT NULL", false);
}

#[test]
fn values_of_enums_are_followed() {
    let last = |sql: &str, complete: bool| {
        let catalog = Snapshot { complete, ..catalog() };
        let statements = crate::sql::parse(sql).unwrap().statements;
        foresee(&statements, &catalog).pop().unwrap().consequences
    };
    let check = |sql: &str, expected: &[&str]| {
        assert_eq!(last(&format!("CREATE TYPE e AS ENUM ('a', 'it''s'); {sql}"), true), expected, "{sql}");
    };
    check("ALTER TYPE e ADD VALUE 'b'", &[]);
    check("ALTER TYPE e ADD VALUE 'b' BEFORE 'it''s'", &[]);
    check("ALTER TYPE e ADD VALUE 'a'", &["fails: e has a value 'a' already"]);
    check("ALTER TYPE e ADD VALUE IF NOT EXISTS 'a' AFTER 'z'", &[]);
    check("ALTER TYPE e ADD VALUE 'b' AFTER 'z'", &["fails: e has no value 'z'"]);
    check("ALTER TYPE e ADD VALUE 'b'; ALTER TYPE e ADD VALUE 'b'", &["fails: e has a value 'b' already"]);
    check("ALTER TYPE e RENAME VALUE 'a' TO 'c'; ALTER TYPE e ADD VALUE 'a'", &[]);
    check("ALTER TYPE e RENAME VALUE 'z' TO 'c'", &["fails: e has no value 'z'"]);
    check("ALTER TYPE email ADD VALUE 'b'", &["fails: email is no enum"]);
    check("ALTER TYPE nowhere ADD VALUE 'b'", &["fails: there is no type nowhere"]);
    assert_eq!(last("ALTER TYPE nowhere ADD VALUE 'b'", false), [""; 0]);
}

#[test]
fn majors_differ() {
    let of = |major: Option<u32>| Snapshot { major, ..catalog() };
    for (major, expected) in [(Some(17), ""), (Some(18), "users AS"), (None, "users AS")] {
        check("GRANT SELECT ON users TO public", &of(major), expected);
    }
}

#[test]
fn modes_are_spelled_as_in_the_documentation() {
    for mode in LockMode::ALL {
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        let name = format!("{}Lock", mode.name().split(' ').map(capital).collect::<String>());
        assert_eq!(LockMode::from_pg_locks(&name), Some(mode));
    }
}

fn capital(word: &str) -> String {
    format!("{}{}", &word[..1], word[1..].to_lowercase())
}

#[test]
fn what_makes_only_what_is_new_stands_alone_by_its_names() {
    let check = |sql: &str, expected: bool| {
        let statements = crate::sql::parse(sql).unwrap().statements;
        assert_eq!(stand_alone(&statements).is_some(), expected, "{sql}");
    };
    check("CREATE TABLE a (id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())", true);
    check("CREATE TABLE a (id bigint); CREATE INDEX ON a (id); ALTER TABLE a ADD COLUMN b text", true);
    check("CREATE TABLE a (id bigserial); CREATE TABLE b (a bigint REFERENCES a)", true);
    check("CREATE SCHEMA s; CREATE SEQUENCE s.q", true);
    check("CREATE TABLE a (id bigint DEFAULT mine(), of mood)", true);
    check("CREATE TABLE \"a b\" (id bigint)", false);
    check(&format!("CREATE TABLE {} (id bigint)", "a".repeat(64)), false);
    let named = crate::sql::parse("CREATE TABLE App.A1 (id bigint)").unwrap().statements;
    let words = stand_alone(&named).unwrap();
    assert!(["app", "a1", "id"].iter().all(|name| words.contains(&(*name).to_owned())), "{words:?}");
    for concerned in [
        "CREATE TABLE a (id bigint REFERENCES users)",
        "CREATE TABLE a (LIKE users)",
        "CREATE TABLE a () INHERITS (users)",
        "CREATE TABLE a PARTITION OF users DEFAULT",
        "CREATE TABLE a AS SELECT * FROM users",
        "CREATE TABLE a (id bigint); INSERT INTO a SELECT id FROM users",
        "CREATE VIEW v AS SELECT * FROM users",
        "CREATE INDEX ON users (id)",
        "ALTER TABLE users ADD COLUMN b text",
        "DROP TABLE IF EXISTS users",
        "COMMENT ON TABLE users IS 'all'",
        "GRANT SELECT ON users TO public",
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM users'",
        "DO $$ BEGIN PERFORM 1; END $$",
    ] {
        check(concerned, false);
    }
}
