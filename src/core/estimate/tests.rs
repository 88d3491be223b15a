//! Estimates of statements on tables of known and unknown size.

use super::*;
use crate::sql::{
    self, ColumnFacts, Heavy, IndexFacts, Kind, LockMode, QueryPlan, Relation, RelationLock, RelationName,
    RelationType,
};

fn users() -> RelationName {
    RelationName::qualified("public", "users")
}

/// A catalog with one table of that many rows, 100 bytes each, with an index on a number and one on a text.
fn catalog(rows: u32) -> Snapshot {
    let column = |name: &str, data_type: &str| ColumnFacts {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        ..ColumnFacts::default()
    };
    let index = |name: &str, column: &str| IndexFacts {
        name: name.to_owned(),
        columns: vec![Some(column.to_owned())],
        bytes: u64::from(rows) * 25,
        valid: true,
        ..IndexFacts::default()
    };
    let table = Relation {
        name: users(),
        rows: Some(f64::from(rows)),
        bytes: u64::from(rows) * 100,
        total_bytes: u64::from(rows) * 150,
        columns: vec![column("id", "bigint"), column("name", "text")],
        indexes: vec![index("users_pkey", "id"), index("users_name", "name")],
        ..Relation::default()
    };
    let index = Relation {
        name: RelationName::qualified("public", "users_pkey"),
        kind: RelationType::Index,
        rows: Some(f64::from(rows)),
        bytes: u64::from(rows) * 25,
        owned_by: Some((users(), None)),
        ..Relation::default()
    };
    Snapshot {
        complete: true,
        search_path: vec!["public".to_owned()],
        relations: vec![table, index],
        ..Snapshot::default()
    }
}

fn seen(rewrites: bool, scans: bool, mode: LockMode) -> Foreseen {
    Foreseen {
        locks: vec![RelationLock { relation: users(), mode }],
        rewrites: if rewrites { vec![users()] } else { Vec::new() },
        scans: if scans { vec![users()] } else { Vec::new() },
        heavy: if rewrites || scans { Heavy::Everything } else { Heavy::None },
        ..Foreseen::default()
    }
}

fn try_one(text: &str, foreseen: Foreseen, catalog: &Snapshot) -> Result<Estimate, Missing> {
    let statements = sql::parse(text).unwrap().statements;
    estimate(&statements, &[foreseen], catalog).pop().unwrap()
}

fn one(text: &str, foreseen: Foreseen, catalog: &Snapshot) -> Option<Estimate> {
    try_one(text, foreseen, catalog).ok()
}

const AX: LockMode = LockMode::AccessExclusive;

#[test]
fn unit_costs_are_those_that_were_measured() {
    let million = catalog(1_000_000);
    let check = |text: &str, foreseen: Foreseen, ms: f64| {
        let total = one(text, foreseen, &million).unwrap().total_ms;
        assert!((total.expected / ms - 1.0).abs() < 0.2, "{text}: {total:?}, not {ms}");
        assert!(total.low < ms && ms < total.high, "{text}: {total:?}");
    };
    check("ALTER TABLE users ADD note text", seen(false, false, AX), 2.0);
    check("ALTER TABLE users ALTER name SET NOT NULL", seen(false, true, AX), 37.0);
    let key = "ALTER TABLE users ADD FOREIGN KEY (id) REFERENCES t (id)";
    check(key, seen(false, true, LockMode::ShareRowExclusive), 62.0);
    check("CREATE INDEX i ON users (id)", seen(false, true, LockMode::Share), 182.0);
    check("CREATE INDEX i ON users (name)", seen(false, true, LockMode::Share), 552.0);
    check("ALTER TABLE users ALTER id TYPE bigint", seen(true, false, AX), 1232.0);
    let volatile = "ALTER TABLE users ADD at timestamptz DEFAULT clock_timestamp()";
    check(volatile, seen(true, false, AX), 2132.0);
    check("UPDATE users SET name = ''", seen(false, false, LockMode::RowExclusive), 4702.0);
}

#[test]
fn only_what_somebody_waits_for_is_held() {
    let million = catalog(1_000_000);
    let hold = |text: &str, foreseen: Foreseen| one(text, foreseen, &million).unwrap().hold_ms.expected;
    let concurrently = "CREATE INDEX CONCURRENTLY i ON users (id)";
    assert!(hold(concurrently, seen(false, true, LockMode::ShareUpdateExclusive)).abs() < f64::EPSILON);
    assert!(hold("CREATE INDEX i ON users (id)", seen(false, true, LockMode::Share)) > 100.0);
}

#[test]
fn what_is_not_known_is_not_estimated() {
    let text = "ALTER TABLE users ALTER name SET NOT NULL";
    let assumed = Snapshot::assumed(Some(16));
    let why = try_one(text, seen(false, true, AX), &assumed).unwrap_err();
    assert_eq!(why.to_string(), "the size of public.users is not known");
    let quick = one("ALTER TABLE users ADD note text", seen(false, false, AX), &assumed).unwrap();
    assert_eq!(quick.wait_ms, None, "the ages of transactions are not known");
    assert!(quick.hold_ms.high < 10.0);
    let opaque = Foreseen { opaque: true, ..Foreseen::default() };
    assert_eq!(one("DO $$ BEGIN END $$", opaque, &catalog(10)), None);
}

#[test]
fn rows_of_a_query_are_what_the_planner_says() {
    let text = "CREATE TABLE report AS SELECT * FROM users";
    let statement = &sql::parse(text).unwrap().statements[0];
    let insert = "INSERT INTO users SELECT * FROM old";
    let plan = |statement: &str, rows| QueryPlan {
        statement: statement.to_owned(),
        relations: vec![RelationName::unqualified("users")],
        rows,
        width: 74.0,
        cost: rows / 40.0,
    };
    let why =
        |text: &str, catalog: &Snapshot| try_one(text, Foreseen::default(), catalog).unwrap_err().to_string();
    let mut known = catalog(10);
    let only = "how many rows its query has, only the planner of a database tells";
    assert_eq!((why(text, &known), why(insert, &known)), (only.to_owned(), only.to_owned()));
    known.unknown.push(sql::Unknown {
        what: statement.rows_wanted(),
        why: "permission denied".to_owned(),
        ..sql::Unknown::default()
    });
    assert_eq!(why(text, &known), format!("{only}: permission denied"));
    let empty = one("CREATE TABLE report AS SELECT * FROM users WITH NO DATA", Foreseen::default(), &known);
    assert!(empty.unwrap().total_ms.high < 10.0, "{empty:?}");
    assert!(one("INSERT INTO users VALUES (1, 'select')", Foreseen::default(), &known).is_some());
    // 0.9 s were measured, 3 s with two indexes.
    known.query_plans = vec![plan(text, 1e6), plan(insert, 1e6)];
    let total = |text: &str, catalog: &Snapshot| {
        let estimate = one(text, seen(false, true, LockMode::AccessShare), catalog).unwrap();
        (estimate.total_ms.expected, estimate.wal_bytes.expected)
    };
    let (made, written) = total(text, &known);
    assert!((600.0..1200.0).contains(&made) && (9e7..1.3e8).contains(&written), "{made} {written}");
    let (inserted, _) = total(insert, &known);
    assert!((2500.0..5000.0).contains(&inserted), "{inserted}");
    resize(&mut known, &users(), 100.0).unwrap();
    assert!(total(text, &known).0 > 9.0 * made, "ten times the rows of what it reads");
}

#[test]
fn tables_of_the_plan_itself_are_empty() {
    let statements =
        sql::parse("CREATE TABLE users (id int); CREATE INDEX i ON users (id)").unwrap().statements;
    let foreseen = [Foreseen::default(), seen(false, true, LockMode::Share)];
    let each = estimate(&statements, &foreseen, &catalog(5_000_000));
    assert!(each[1].as_ref().unwrap().total_ms.high < 50.0, "{each:?}");
}

#[test]
fn the_wait_is_that_for_the_transactions_which_are_open() {
    let mut busy = catalog(1000);
    let text = "ALTER TABLE users ADD note text";
    let wait = |catalog: &Snapshot, text: &str| one(text, seen(false, false, AX), catalog).unwrap().wait_ms;
    assert_eq!(wait(&busy, text), Some(Band::default()));
    busy.transaction_ages = vec![90.0, 0.2, 0.1];
    let band = wait(&busy, text).unwrap();
    assert!(band.low.abs() < f64::EPSILON && (band.high - 90_000.0).abs() < 1.0, "{band:?}");
    assert!((band.expected - 200.0).abs() < 1.0, "{band:?}");
    let all = wait(&busy, "CREATE INDEX CONCURRENTLY i ON users (id)").unwrap();
    assert!((all.expected - 90_000.0).abs() < 1.0, "a concurrent build waits for all: {all:?}");
}

#[test]
fn a_condition_may_leave_a_single_row() {
    let low = |text: &str| {
        one(text, seen(false, false, LockMode::RowExclusive), &catalog(1_000_000)).unwrap().total_ms.low
    };
    assert!(low("UPDATE users SET name = '' WHERE id = 3") < 1.0);
    assert!(low("UPDATE users SET name = ''") > 1000.0);
}

/// The estimate for `rows`, after a rehearsal of `ms` on a copy of a tenth of them, or of another part.
fn after(text: &str, foreseen: &Foreseen, (there, here): (u32, u32), ms: Option<f64>) -> Estimate {
    let statements = sql::parse(text).unwrap().statements;
    let foreseen = std::slice::from_ref(foreseen);
    let before = estimate(&statements, foreseen, &catalog(here));
    let before: Vec<_> = before.into_iter().map(Result::ok).collect();
    let copy = Rehearsal { catalog: &catalog(there), foreseen, durations_ms: &[ms] };
    rehearsed(&before, &statements, copy).pop().unwrap().unwrap()
}

#[test]
fn a_rehearsal_is_scaled_by_the_work() {
    let check = |text: &str, foreseen: Foreseen, factor: std::ops::Range<f64>| {
        let estimate = after(text, &foreseen, (300_000, 3_000_000), Some(400.0));
        assert_eq!(estimate.basis, Basis::Rehearsed);
        let grown = estimate.total_ms.expected / 400.0;
        assert!(factor.contains(&grown), "{text}: {grown}");
        assert!(estimate.total_ms.high / estimate.total_ms.expected < 1.4);
        assert_eq!(estimate.hold_ms, estimate.total_ms, "{text}");
    };
    check("ALTER TABLE users ALTER id TYPE bigint", seen(true, false, AX), 9.5..11.0);
    check("CREATE INDEX i ON users (id)", seen(false, true, LockMode::Share), 10.5..12.0);
    check("ALTER TABLE users ADD note text", seen(false, false, AX), 0.99..1.01);
}

#[test]
fn a_rehearsal_counts_only_where_it_says_something() {
    let scan = || seen(false, true, AX);
    let check = |text: &str, foreseen: &Foreseen, rows: (u32, u32), ms: Option<f64>, basis: Basis| {
        let estimate = after(text, foreseen, rows, ms);
        assert_eq!(estimate.basis, basis, "{text} {rows:?} {ms:?}");
        estimate
    };
    let not_null = "ALTER TABLE users ALTER name SET NOT NULL";
    check(not_null, &scan(), (1_000_000, 1_000_000), None, Basis::Catalog);
    // A thousand rows are read in no time, whatever a million takes.
    check(not_null, &scan(), (1000, 1_000_000), Some(0.4), Basis::Catalog);
    check(not_null, &scan(), (1000, 1000), Some(0.4), Basis::Rehearsed);
    check(
        "ALTER TABLE users ADD note text",
        &seen(false, false, AX),
        (0, 9_000_000),
        Some(0.4),
        Basis::Rehearsed,
    );
    let near = check(not_null, &scan(), (500_000, 5_000_000), Some(20.0), Basis::Rehearsed);
    let far = check(not_null, &scan(), (100_000, 5_000_000), Some(5.0), Basis::Rehearsed);
    let width = |estimate: Estimate| estimate.total_ms.high / estimate.total_ms.low;
    assert!(width(far) > 1.2 * width(near), "{near:?} {far:?}");
    let weak = seen(false, true, LockMode::ShareUpdateExclusive);
    let build = "CREATE INDEX CONCURRENTLY i ON users (id)";
    let build = check(build, &weak, (1_000_000, 1_000_000), Some(900.0), Basis::Rehearsed);
    assert_eq!((build.hold_ms, build.total_ms.expected.round()), (Band::default(), 900.0));
}

#[test]
fn a_lock_is_held_to_the_end_of_its_transaction() {
    let of = |ms: f64, blocks: bool| {
        let total_ms = Band::within(ms, 1.0);
        let hold_ms = if blocks { total_ms } else { Band::default() };
        (Some(Estimate { hold_ms, total_ms, ..Estimate::default() }), blocks)
    };
    let parts = [of(5.0, false), of(2.0, true), of(1000.0, false)];
    let hold = |transactional| of_unit(&parts, transactional).unwrap().hold_ms.expected;
    assert!((hold(true) - 1002.0).abs() < 0.01, "{}", hold(true));
    assert!((hold(false) - 2.0).abs() < 0.01);
    assert_eq!(of_unit(&[of(5.0, false), (None, false)], true), None);
}

#[test]
fn nobody_waits_for_what_the_plan_makes() {
    let statements =
        sql::parse("CREATE TABLE orders (id int); ALTER TABLE orders ADD x int").unwrap().statements;
    let lock = |name: &str| RelationLock { relation: RelationName::unqualified(name), mode: AX };
    let foreseen =
        Foreseen { locks: vec![lock("users_pkey"), lock("orders"), lock("users")], ..Foreseen::default() };
    let foreseen = [Foreseen::default(), foreseen];
    let names = felt(&statements, &foreseen, &catalog(10));
    assert_eq!(names, [vec![], vec![&RelationName::unqualified("users")]]);
}

#[test]
fn a_table_can_be_made_larger() {
    let mut grown = catalog(1000);
    resize(&mut grown, &RelationName::unqualified("users"), 5_000_000.0).unwrap();
    let table = grown.relation(&users()).unwrap();
    assert_eq!((table.rows, table.bytes), (Some(5_000_000.0), 500_000_000));
    assert_eq!((table.indexes[0].bytes, grown.relations[1].bytes), (125_000_000, 125_000_000));
    let missing = resize(&mut grown, &RelationName::unqualified("orders"), 1.0).unwrap_err();
    assert!(missing.contains("orders"), "{missing}");

    let mut assumed = Snapshot::assumed(None);
    resize(&mut assumed, &RelationName::unqualified("users"), 5_000_000.0).unwrap();
    let scan = one("ALTER TABLE users ALTER name SET NOT NULL", seen(false, true, AX), &assumed).unwrap();
    assert!(scan.total_ms.expected > 100.0, "{scan:?}");

    let mut empty = catalog(0);
    resize(&mut empty, &users(), 1_000_000.0).unwrap();
    assert!(empty.relation(&users()).unwrap().bytes > 30_000_000);
}

#[test]
fn every_kind_of_work_costs_something() {
    let million = catalog(1_000_000);
    let check = |text: &str, foreseen: Foreseen, least: f64| {
        let statements = sql::parse(text).unwrap().statements;
        assert!(!matches!(statements[0].kind, Kind::Other(_)), "{text}");
        let total = one(text, foreseen, &million).unwrap().total_ms.expected;
        assert!(total > least, "{text}: {total}");
    };
    check("DELETE FROM users", seen(false, false, LockMode::RowExclusive), 1000.0);
    check("VACUUM users", seen(false, false, LockMode::ShareUpdateExclusive), 50.0);
    check("ANALYZE public.users", seen(false, false, LockMode::ShareUpdateExclusive), 50.0);
    check("REINDEX TABLE users", seen(false, true, LockMode::Share), 500.0);
    check("ALTER TABLE users ADD UNIQUE (name)", seen(false, true, AX), 500.0);
}
