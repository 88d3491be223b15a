//! The verdict on the stall budget.

use super::*;
use crate::core::fixture;
use crate::core::observation::RehearsalVerdict;
use crate::core::plan::Block;
use crate::core::preview::StatementPreview;
use crate::core::rehearsal::StatementFacts;
use crate::sql::{self, Finding};

const MILLI: Duration = Duration::from_millis(1);

fn block(text: &str) -> Block {
    Block::of(sql::parse(text).unwrap().statements)
}

/// The fixture's plan, whose first unit has two statements and may be divided.
fn plan(divisible: bool) -> Plan {
    let mut plan = fixture::plan();
    let unit = &mut plan.units[0];
    unit.up = block("ALTER TABLE users ADD a int; ALTER TABLE users ALTER id TYPE bigint");
    let part = |up: &str| Unit { up: block(up), divided: None, ..unit.clone() };
    let parts = vec![part("ALTER TABLE users ADD a int"), part("ALTER TABLE users ALTER id TYPE bigint")];
    unit.divided = divisible.then_some(parts);
    let statement = |unit| StatementPreview { unit, ..StatementPreview::default() };
    let finding =
        Finding { statement: 1, safe_form: "-- in steps\nSAFE;\nFORM;\n".to_owned(), ..Finding::default() };
    let unit = |statements| UnitPreview { statements, ..UnitPreview::default() };
    plan.preview = Some(Box::new(Preview {
        statements: vec![statement(0), statement(0), statement(1), statement(2)],
        units: vec![unit(vec![0, 1]), unit(vec![2]), unit(vec![3])],
        findings: vec![finding],
        ..Preview::default()
    }));
    plan
}

fn rehearsal(first: &[u32], round_trip: RoundTrip) -> Rehearsal {
    let statement =
        |ms: &u32| StatementFacts { summary: "s".to_owned(), duration: MILLI * *ms, locks: Vec::new() };
    let held = MILLI * first.iter().sum::<u32>();
    Rehearsal {
        replica: "copy:5432".to_owned(),
        started_at: fixture::at(0),
        finished_at: fixture::at(1),
        round_trip,
        fingerprint: String::new(),
        reached: Vec::new(),
        units: vec![UnitFacts {
            unit: 0,
            duration: held,
            held,
            statements: first.iter().map(statement).collect(),
            batches: None,
        }],
        verdict: RehearsalVerdict::Passed,
        prediction: None,
    }
}

#[test]
fn what_fits_is_left_alone() {
    let mut fits = rehearsal(&[100, 150], RoundTrip::Complete);
    assert_eq!(judge(&plan(true), &fits), Verdict::Fits);
    // A copy whose disk is slow.
    fits.units[0].held = MILLI * 900;
    assert_eq!(judge(&plan(true), &fits), Verdict::Fits);
}

#[test]
fn statements_that_fit_alone_are_divided() {
    let Verdict::Divide { plan: divided, note } =
        judge(&plan(true), &rehearsal(&[150, 160], RoundTrip::Complete))
    else {
        panic!("not divided");
    };
    let texts: Vec<&str> = divided.units.iter().map(|unit| unit.up.statements[0].sql.as_str()).collect();
    assert_eq!(divided.units.len(), 4, "{texts:?}");
    assert_eq!(texts[..2], ["ALTER TABLE users ADD a int", "ALTER TABLE users ALTER id TYPE bigint"]);
    let preview = divided.preview.unwrap();
    assert_eq!(preview.statements.iter().map(|one| one.unit).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(preview.units.len(), 4);
    assert!(note.contains("add-tier") && note.contains("310 ms"), "{note}");
}

#[test]
fn what_does_not_fit_is_refused_with_the_ways_out() {
    let check = |plan: &Plan, held: &[u32], round_trip: RoundTrip, expected: &[&str]| {
        let Verdict::Exceeds(cause) = judge(plan, &rehearsal(held, round_trip)) else { panic!("{held:?}") };
        assert_eq!(cause.reason, Reason::StallBudgetExceeded);
        for text in expected {
            assert!(cause.message.contains(text), "{text}: {}", cause.message);
        }
    };
    // Too long by itself: nothing is gained by dividing.
    let long =
        ["ALTER id TYPE bigint", "1.8 s", "250 ms", "maxStall", "SAFE; FORM;", "primary was not touched"];
    check(&plan(true), &[10, 1800], RoundTrip::Complete, &long);
    // May not be divided.
    check(&plan(false), &[200, 210], RoundTrip::Complete, &["410 ms", "a step of its own"]);
    // The copy has it already, as it was divided at first.
    check(&plan(true), &[200, 210], RoundTrip::UpOnly, &["410 ms"]);
    // A larger budget of the step is the explicit way out.
    let mut larger = plan(false);
    larger.units[0].max_stall = MILLI * 5000;
    assert_eq!(judge(&larger, &rehearsal(&[10, 1800], RoundTrip::Complete)), Verdict::Fits);
}
