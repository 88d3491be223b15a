//! Previews of small plans.

use std::time::Duration;

use super::assemble::assemble;
use super::*;
use crate::core::compile::{Draft, Surroundings};
use crate::core::estimate::{Basis, Estimate};
use crate::core::plan::{DatabaseIdentity, Guard, Plan};
use crate::core::rehearsal::{StatementFacts, UnitFacts};
use crate::sql::{
    AsideSuffix, ColumnFacts, Facts, Foreseen, Relation, RelationLock, RelationName, Severity, Snapshot,
    Statement,
};

fn orders() -> RelationName {
    RelationName::qualified("public", "orders")
}

fn catalog() -> Snapshot {
    let column = ColumnFacts { name: "id".into(), data_type: "bigint".into(), ..ColumnFacts::default() };
    let table = Relation {
        name: orders(),
        rows: Some(2_100_000.0),
        bytes: 110_000_000,
        columns: vec![column],
        ..Relation::default()
    };
    Snapshot {
        complete: true,
        major: Some(15),
        database: Some("shop".into()),
        search_path: vec!["public".into()],
        relations: vec![table],
        ..Snapshot::default()
    }
}

fn plan(up: &str, catalog: &Snapshot) -> (Plan, Facts) {
    let spec = crate::api::MigrationSpec {
        version: "1".into(),
        up: Some(up.to_owned()),
        ..crate::api::MigrationSpec::default()
    };
    let draft = Draft::read(&spec).unwrap();
    assert_eq!(draft.texts(), [up]);
    let facts = facts(&draft.facts_wanted(), &draft.statements(), catalog);
    let around = Surroundings {
        database: &DatabaseIdentity { system_identifier: String::new(), name: "shop".into() },
        owner_role: None,
        guard: Guard { max_stall: Duration::from_millis(250), ..Guard::default() },
        rehearse: false,
        analysis: None,
        suffix: AsideSuffix::new("0a1b2c3d").unwrap(),
        facts: &facts,
    };
    (draft.sketch(around).unwrap(), facts)
}

fn locked(mode: LockMode) -> Foreseen {
    Foreseen {
        locks: vec![RelationLock { relation: RelationName::unqualified("orders"), mode }],
        ..Foreseen::default()
    }
}

fn preview_of(up: &str, foreseen: &[Foreseen], findings: Vec<Finding>, catalog: &Snapshot) -> Preview {
    let (plan, facts) = plan(up, catalog);
    let statements: Vec<Statement> = plan.units.iter().flat_map(|unit| unit.up.statements.clone()).collect();
    assert_eq!(statements.len(), foreseen.len());
    let sources = [Source { file: Some("1.sql".into()), field: None, text: up.to_owned(), refusals: vec![] }];
    let inputs = Inputs { plan: &plan, sources: &sources, facts: &facts, catalog };
    assemble(inputs, &statements, foreseen, findings)
}

#[test]
fn the_summary_says_it_all() {
    let up = "ALTER TABLE orders ALTER id SET NOT NULL; CREATE INDEX CONCURRENTLY i ON orders (id); DROP TABLE old";
    let scan =
        Foreseen { scans: vec![orders()], heavy: Heavy::Everything, ..locked(LockMode::AccessExclusive) };
    let drop = Foreseen { destructive: true, ..Foreseen::default() };
    let foreseen = [scan, locked(LockMode::ShareUpdateExclusive), drop];
    let preview = preview_of(up, &foreseen, Vec::new(), &catalog());
    assert_eq!(
        preview.summary,
        "Risk High · ForwardOnly · 3 units · longest hold ~58 ms on orders (2.1 M rows)"
    );
    let why = "step-1 at 1:87: no inverse can be derived, because the data of the table is gone with it";
    assert_eq!(preview.reversibility_reason, why);
    assert!(preview.statements[0].reversible && !preview.statements[2].reversible);
    let undone: Vec<bool> = preview.units.iter().map(|unit| unit.reversible).collect();
    assert_eq!(undone, [true, true, false]);
    assert_eq!(preview.units[1].way_back, Some(vec![vec!["DROP INDEX CONCURRENTLY IF EXISTS i".to_owned()]]));
    assert_eq!(preview.risk_reasons[0], "1.sql:1:87: data is deleted, and nothing brings it back");
}

#[test]
fn a_statement_has_the_fields_that_programs_read() {
    let up = "ALTER TABLE orders ADD note text";
    let preview = preview_of(up, &[locked(LockMode::AccessExclusive)], Vec::new(), &catalog());
    let json = serde_json::to_value(&preview).unwrap();
    let statement = &json["statements"][0];
    assert_eq!(statement["sql"], up);
    assert_eq!(statement["kind"], "alterTable");
    assert_eq!((&statement["line"], &statement["column"]), (&1.into(), &1.into()));
    assert_eq!(statement["transactional"], true);
    let lock = serde_json::json!([
        {"relation": "public.orders", "mode": "ACCESS EXCLUSIVE", "blocks": ["reads", "writes", "ddl"]}
    ]);
    assert_eq!(statement["locks"], lock);
    assert_eq!((&statement["rewrite"], &statement["scan"]), (&false.into(), &false.into()));
    assert_eq!(statement["reversible"], true);
    assert_eq!(statement["inverse"], "ALTER TABLE orders DROP COLUMN note");
    assert_eq!(statement["findings"], serde_json::json!([]));
    assert_eq!(statement["grade"], "ReversibleWithArchive");
    assert_eq!(json["formatVersion"], 1);
    let back: Preview = serde_json::from_value(json).unwrap();
    assert_eq!(back, preview);
}

#[test]
fn risk_comes_from_what_was_found() {
    let finding = |severity, ignored: Option<&str>| Finding {
        code: "WB101".into(),
        severity,
        ignored: ignored.map(str::to_owned),
        ..Finding::default()
    };
    let check = |up: &str, foreseen: Foreseen, findings: Vec<Finding>, catalog: &Snapshot, risk: Risk| {
        let preview = preview_of(up, &[foreseen], findings, catalog);
        assert_eq!(preview.risk, risk, "{up}: {:?}", preview.risk_reasons);
    };
    let (add, known) = ("ALTER TABLE orders ADD note text", catalog());
    let quick = || locked(LockMode::AccessExclusive);
    check(add, quick(), vec![], &known, Risk::Low);
    check(add, quick(), vec![finding(Severity::Low, None)], &known, Risk::Low);
    check(add, quick(), vec![finding(Severity::Medium, None)], &known, Risk::Medium);
    check(add, quick(), vec![finding(Severity::High, None)], &known, Risk::High);
    check(add, quick(), vec![finding(Severity::High, Some("we know"))], &known, Risk::Low);
    // The same with a step whose own budget is larger than the database's.
    let larger = |max_stall| {
        let mut preview = preview_of(add, &[quick()], vec![], &known);
        preview.units[0].max_stall_ms = max_stall;
        super::risk::judge(&preview, Duration::from_millis(250)).0
    };
    assert_eq!((larger(250), larger(5000)), (Risk::Low, Risk::High));
    let heavy = || Foreseen { scans: vec![orders()], heavy: Heavy::Everything, ..quick() };
    let not_null = "ALTER TABLE orders ALTER id SET NOT NULL";
    check(not_null, heavy(), vec![], &known, Risk::Low);
    check(not_null, heavy(), vec![], &Snapshot::assumed(Some(16)), Risk::High);
    let rewrite = Foreseen { rewrites: vec![orders()], ..heavy() };
    check("ALTER TABLE orders ALTER id TYPE numeric", rewrite, vec![], &known, Risk::High);
    check("DELETE FROM orders", locked(LockMode::RowExclusive), vec![], &known, Risk::Medium);
    let opaque = || Foreseen { opaque: true, ..Foreseen::default() };
    check("DO $$ BEGIN END $$", opaque(), vec![], &known, Risk::Medium);
}

#[test]
fn what_is_not_known_is_said() {
    let heavy = Foreseen {
        scans: vec![RelationName::unqualified("orders")],
        heavy: Heavy::Everything,
        ..locked(LockMode::AccessExclusive)
    };
    let up = "ALTER TABLE orders ADD CHECK (id > 0)";
    let preview = preview_of(up, &[heavy], Vec::new(), &Snapshot::assumed(Some(16)));
    assert!(
        preview.summary.ends_with("longest hold not known on orders (size not known)"),
        "{}",
        preview.summary
    );
    assert_eq!(preview.server.basis, ServerBasis::Assumed);
    assert_eq!((preview.estimate, preview.queries), (None, None));
}

#[test]
fn a_rehearsal_changes_what_is_expected() {
    let up = "ALTER TABLE orders ALTER id SET NOT NULL; ALTER TABLE orders ALTER id TYPE numeric";
    let (mut plan, facts) = plan(up, &catalog());
    let sources = [Source { text: up.to_owned(), ..Source::default() }];
    let inputs = Inputs { plan: &plan, sources: &sources, facts: &facts, catalog: &catalog() };
    plan.preview = Some(Box::new(preview(inputs)));
    let of = |ms| StatementFacts {
        summary: String::new(),
        duration: Duration::from_millis(ms),
        locks: Vec::new(),
    };
    let unit = |statements| UnitFacts {
        unit: 0,
        duration: Duration::ZERO,
        held: Duration::ZERO,
        statements,
        batches: None,
    };
    let basis = |estimate: &Option<Estimate>| estimate.map(|one| (one.basis, one.total_ms.expected.round()));
    let check = |units: &[UnitFacts], expected: [Option<(Basis, f64)>; 2], whole: Basis| {
        let predicted = predict(&plan, units, &catalog()).unwrap();
        let each: Vec<_> = predicted.statements.iter().map(basis).collect();
        assert_eq!(each, expected, "{units:?}");
        assert_eq!(predicted.units[0].unwrap().basis, whole);
        assert_eq!(predicted.estimate.unwrap().basis, whole);
        predicted
    };
    let foreseen = plan.preview.as_ref().unwrap();
    assert!(foreseen.summary.contains("longest hold ~860 ms"), "{}", foreseen.summary);
    let measured = [Some((Basis::Rehearsed, 20.0)), Some((Basis::Rehearsed, 300.0))];
    let predicted = check(&[unit(vec![of(20), of(300)])], measured, Basis::Rehearsed);
    assert!(predicted.summary.contains("longest hold ~320 ms on orders"), "{}", predicted.summary);
    // It stopped at the second statement.
    let rest = foreseen.statements[1].estimate.map(|one| one.total_ms.expected.round());
    let half = [Some((Basis::Rehearsed, 20.0)), rest.map(|ms| (Basis::Catalog, ms))];
    check(&[unit(vec![of(20)])], half, Basis::Catalog);
    plan.preview = None;
    assert_eq!(predict(&plan, &[], &catalog()), None);
}

#[test]
fn numbers_are_short() {
    let check = |text: String, expected: &str| assert_eq!(text, expected);
    check(amount(17.0), "17");
    check(amount(2_100_000.0), "2.1 M");
    check(amount(999_999.0), "1 M");
    check(amount(300_000.0), "300 k");
    check(size(8192.0), "8 KiB");
    check(size(1.5e9), "1.4 GiB");
    check(duration(0.0), "0 ms");
    check(duration(0.2), "1 ms");
    check(duration(39.8), "40 ms");
    check(duration(999.9), "1 s");
    check(duration(1340.0), "1.3 s");
    check(duration(59_900.0), "1 min");
    check(duration(720_000.0), "12 min");
    check(duration(7_200_000.0), "2 h");
    check(duration(1e9), "12 d");
}
