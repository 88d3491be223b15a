//! The lock plan: what is taken, and what is beyond it.

use std::time::Duration;

use super::*;
use crate::core::rehearsal::Lock;

fn statement(locks: &[(&str, LockMode)]) -> StatementFacts {
    let lock = |(relation, mode): &(&str, LockMode)| Lock {
        relation: (*relation).to_owned(),
        mode: mode.name().to_owned(),
    };
    StatementFacts {
        summary: "s".to_owned(),
        duration: Duration::ZERO,
        locks: locks.iter().map(lock).collect(),
    }
}

fn found(planned: usize, oid: u32, lockable: bool, family: &[u32]) -> Found {
    Found { planned, oid, lockable, family: family.iter().copied().chain([oid]).collect() }
}

fn held(oid: u32, name: &str, mode: LockMode) -> Held {
    Held { oid, name: Some(name.to_owned()).filter(|name| !name.is_empty()), mode, created: false }
}

use LockMode::{
    AccessExclusive as Ax, AccessShare as As, RowExclusive as Rx, Share as S, ShareRowExclusive as Srx,
    ShareUpdateExclusive as Sux,
};

#[test]
fn names_are_read_as_postgresql_writes_them() {
    let check = |text: &str, expected: Option<(&str, &str)>| {
        let read = split(text).map(|name| (name.schema.unwrap(), name.name));
        let expected = expected.map(|(schema, name)| (schema.to_owned(), name.to_owned()));
        assert_eq!(read, expected, "{text}");
    };
    check("public.users", Some(("public", "users")));
    check("\"a.b\".\"c\"\"d\"", Some(("a.b", "c\"d")));
    check("users", None);
    check("12345", None);
}

#[test]
fn the_strongest_mode_is_taken_at_once_in_the_order_of_the_names() {
    let plan = LockPlan::measured(&[
        statement(&[("public.users", Srx), ("public.b", As), ("public.c", Rx)]),
        statement(&[("public.users", Ax), ("public.orders", S), ("public.users_pkey", Ax)]),
    ]);
    let told: Vec<_> = plan.relations.iter().map(|one| (one.name.as_str(), one.mode, one.raised)).collect();
    assert_eq!(told, [("orders", S, false), ("users", Ax, true), ("users_pkey", Ax, false)]);
    let names =
        |found: &[Found]| -> Vec<String> { plan.to_take(found).iter().map(|one| one.name.clone()).collect() };
    assert_eq!(
        names(&[found(0, 1, true, &[]), found(1, 2, true, &[]), found(2, 3, false, &[])]),
        ["orders", "users"]
    );
    assert_eq!(
        names(&[found(1, 2, true, &[]), found(0, 1, true, &[])]),
        ["orders", "users"],
        "whatever the catalog says first"
    );
    // One table in two modes is taken at once; one in one mode is left to its statement.
    assert_eq!(names(&[found(0, 1, false, &[]), found(1, 2, true, &[])]), ["users"]);
    assert!(names(&[found(0, 1, true, &[]), found(1, 2, false, &[])]).is_empty());
}

#[test]
fn what_is_beyond_the_plan_is_named() {
    let plan = LockPlan::measured(&[statement(&[
        ("public.users", Sux),
        ("public.parts", Sux),
        ("public.parts_1", Ax),
    ])]);
    // parts 10 (with the partitions 11 and 12), parts_1 11, users 20 (with the index 21).
    let here = [found(0, 10, true, &[11, 12]), found(1, 11, true, &[]), found(2, 20, true, &[21])];
    let gone = BTreeMap::from([(40, "public.gone".to_owned())]);
    let check = |locks: &[Held], expected: &[&str]| {
        assert_eq!(plan.beyond(&here, locks, &gone), expected, "{locks:?}");
    };
    check(&[held(20, "public.users", Sux), held(20, "public.users", Rx), held(30, "public.x", Rx)], &[]);
    check(
        &[held(20, "public.users", Ax)],
        &["public.users ACCESS EXCLUSIVE (on the copy: SHARE UPDATE EXCLUSIVE)"],
    );
    check(&[held(30, "public.other", Srx)], &["public.other SHARE ROW EXCLUSIVE (on the copy: not locked)"]);
    check(&[Held { created: true, ..held(30, "public.new", Ax) }], &[]);
    // A partition that the copy does not have is locked as another one was there; an index as its table.
    check(&[held(12, "public.parts_2", Ax), held(21, "public.users_pkey", Sux)], &[]);
    check(
        &[held(21, "public.users_pkey", Ax)],
        &["public.users_pkey ACCESS EXCLUSIVE (on the copy: SHARE UPDATE EXCLUSIVE)"],
    );
    // What was dropped counts if it was there before; a file that came and went within a rewrite does not.
    check(&[held(40, "", Ax)], &["public.gone ACCESS EXCLUSIVE (on the copy: not locked)"]);
    check(&[held(41, "", Ax)], &[]);
    assert_eq!(
        plan.unexplained(&here, &[held(40, "", Ax), held(12, "", Ax), held(30, "public.x", Ax)]),
        [40]
    );
}

#[test]
fn a_guess_refuses_nothing() {
    let mut plan = LockPlan::measured(&[statement(&[])]);
    let locks = [held(30, "public.other", Ax)];
    assert_eq!(plan.beyond(&[], &locks, &BTreeMap::new()).len(), 1);
    plan.enforced = false;
    assert!(plan.beyond(&[], &locks, &BTreeMap::new()).is_empty());
}
