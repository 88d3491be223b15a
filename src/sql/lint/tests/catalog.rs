//! A catalog to look at: a large table, a small one, an empty one, and what hangs on them.

use crate::sql::kind::ConstraintKind;
use crate::sql::{
    ColumnFacts, ConstraintFacts, IndexFacts, Relation, RelationName, RelationType, Snapshot, TypeFacts,
    TypeKind,
};

fn name(name: &str) -> RelationName {
    RelationName::qualified("public", name)
}

fn column(name: &str, data_type: &str, not_null: bool) -> ColumnFacts {
    ColumnFacts { name: name.to_owned(), data_type: data_type.to_owned(), not_null, ..ColumnFacts::default() }
}

fn index(name: &str, table: &str, columns: &[&str], unique: bool) -> IndexFacts {
    IndexFacts {
        name: name.to_owned(),
        columns: columns.iter().map(|column| Some((*column).to_owned())).collect(),
        key_columns: u32::try_from(columns.len()).unwrap(),
        unique,
        valid: true,
        method: "btree".to_owned(),
        bytes: 8192,
        definition: format!(
            "CREATE {}INDEX {name} ON public.{table} USING btree ({})",
            if unique { "UNIQUE " } else { "" },
            columns.join(", ")
        ),
        ..IndexFacts::default()
    }
}

fn constraint(name: &str, kind: ConstraintKind, columns: &[&str], definition: &str) -> ConstraintFacts {
    ConstraintFacts {
        name: name.to_owned(),
        kind,
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        definition: definition.to_owned(),
        validated: true,
        enforced: true,
        references: None,
        index: None,
    }
}

/// A table with a key `id`; a row has about a hundred bytes.
fn table(table: &str, rows: f64, columns: Vec<ColumnFacts>) -> Relation {
    let key = format!("{table}_pkey");
    let mut all = vec![column("id", "bigint", true)];
    all.extend(columns);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let bytes = (rows * 100.0) as u64;
    Relation {
        name: name(table),
        rows: Some(rows),
        bytes,
        total_bytes: bytes,
        columns: all,
        constraints: vec![ConstraintFacts {
            index: Some(key.clone()),
            ..constraint(&key, ConstraintKind::PrimaryKey, &["id"], "PRIMARY KEY (id)")
        }],
        indexes: vec![IndexFacts { primary: true, ..index(&key, table, &["id"], true) }],
        ..Relation::default()
    }
}

fn partition(child: &str, rows: f64, bound: &str) -> Relation {
    let bound = Some(bound.to_owned());
    let of = Some(name("events"));
    Relation {
        partition_of: of,
        partition_bound: bound,
        ..table(child, rows, vec![column("at", "timestamp with time zone", true)])
    }
}

/// A large table.
fn users() -> Relation {
    let users = vec![
        column("email", "character varying(20)", false),
        column("name", "text", false),
        column("born", "timestamp without time zone", false),
        column("checked", "integer", false),
        column("amount", "integer", false),
        column("country", "integer", false),
    ];
    let mut users = table("users", 5_000_000.0, users);
    users.indexes.push(index("users_name", "users", &["name"], false));
    users.constraints.push(constraint(
        "checked_there",
        ConstraintKind::Check,
        &["checked"],
        "CHECK ((checked IS NOT NULL))",
    ));
    users
}

fn mood() -> TypeFacts {
    let labels = vec!["ok".to_owned()];
    TypeFacts { name: name("mood"), kind: TypeKind::Enum, labels, ..TypeFacts::default() }
}

/// The catalog of a server of a major version.
pub fn catalog(major: u32) -> Snapshot {
    let mut orders =
        table("orders", 1_000.0, vec![column("owner", "bigint", false), column("other", "bigint", false)]);
    orders.indexes.push(index("orders_owner", "orders", &["owner"], false));
    orders.constraints.push(ConstraintFacts {
        references: Some(name("users")),
        ..constraint(
            "orders_owner_fkey",
            ConstraintKind::ForeignKey,
            &["owner"],
            "FOREIGN KEY (owner) REFERENCES users(id)",
        )
    });
    let published = Relation {
        publications: vec!["feed".to_owned()],
        ..table("feed", 1_000_000.0, vec![column("what", "text", false)])
    };
    let events = Relation {
        kind: RelationType::PartitionedTable,
        rows: None,
        partition_key: Some("RANGE (at)".to_owned()),
        indexes: Vec::new(),
        constraints: Vec::new(),
        ..table("events", 0.0, vec![column("at", "timestamp with time zone", true)])
    };
    let view = Relation {
        kind: RelationType::MaterializedView,
        rows: Some(1_000_000.0),
        indexes: vec![index("totals_id", "totals", &["id"], true)],
        ..table("totals", 1_000_000.0, Vec::new())
    };
    let domain = |name: &str, checks: &[&str]| TypeFacts {
        name: RelationName::qualified("public", name),
        kind: TypeKind::Domain,
        base: Some("integer".to_owned()),
        checks: checks.iter().map(|check| (*check).to_owned()).collect(),
        default: Some("1".to_owned()),
        ..TypeFacts::default()
    };
    Snapshot {
        complete: true,
        schemas: vec!["public".to_owned()],
        settings: [("TimeZone".to_owned(), "Europe/Berlin".to_owned())].into(),
        types: vec![domain("positive", &["positive_check"]), mood()],
        relations: vec![
            users(),
            orders,
            table("countries", 0.0, vec![column("code", "text", false)]),
            published,
            events,
            partition("events_1", 2_000_000.0, "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')"),
            partition("events_rest", 3_000_000.0, "DEFAULT"),
            table("events_2", 4_000_000.0, vec![column("at", "timestamp with time zone", true)]),
            view,
        ],
        ..Snapshot::assumed(Some(major))
    }
}
