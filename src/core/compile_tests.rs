//! Tests of the way from a spec to a plan.

use serde_json::{Value, json};

use super::compile::{Draft, Problem, Surroundings};
use super::plan::{Block, DatabaseIdentity, Guard, Plan, Reversibility};
use crate::api::{MigrationSpec, Reason};
use crate::sql::{AsideSuffix, Before, FactKey, FactValue, Facts, Part, RowColumn, RowsFact};

fn spec(rest: &Value) -> MigrationSpec {
    let mut spec = json!({"databaseRef": {"name": "shop"}, "version": "1"});
    for (key, value) in rest.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

/// Answers every question as a catalog would in which nothing is in the way.
fn facts(draft: &Draft<'_>) -> Facts {
    let answer = |key: FactKey| {
        let value = match &key {
            FactKey::Column { .. } => FactValue::Column {
                exists: true,
                default: Some("7".to_owned()),
                not_null: false,
                identity: false,
                generated: false,
            },
            FactKey::Name { .. } => FactValue::Name { taken: false },
            FactKey::Rows { .. } => FactValue::Rows(RowsFact {
                kind: Some("r".to_owned()),
                columns: ["id", "n", "tier"]
                    .map(|name| RowColumn { name: name.to_owned(), ..RowColumn::default() })
                    .to_vec(),
                key: vec!["id".to_owned()],
                ..RowsFact::default()
            }),
            FactKey::Before { part: Part::Definition, .. } => FactValue::Before(Before {
                exists: true,
                values: vec![
                    "ALTER TABLE public.t ADD CONSTRAINT c CHECK (n > 0) NOT VALID".into(),
                    "ALTER TABLE public.t VALIDATE CONSTRAINT c".into(),
                ],
                ..Before::default()
            }),
            FactKey::Before { .. } => FactValue::Before(Before { exists: true, ..Before::default() }),
        };
        (key, value)
    };
    draft.facts_wanted().into_iter().map(answer).collect()
}

fn compile(rest: &Value) -> Result<Plan, Vec<Problem>> {
    let spec = spec(rest);
    let draft = Draft::read(&spec)?;
    let facts = facts(&draft);
    draft.compile(Surroundings {
        database: &DatabaseIdentity { system_identifier: "1".to_owned(), name: "shop".to_owned() },
        owner_role: None,
        guard: Guard::default(),
        rehearse: true,
        analysis: None,
        suffix: AsideSuffix::new("0a1b2c3d").unwrap(),
        facts: &facts,
    })
}

fn texts(block: &Block) -> Vec<&str> {
    block.statements.iter().map(|statement| statement.sql.as_str()).collect()
}

/// A unit's statements, and the blocks of its way back.
type Shape<'a> = (Vec<&'a str>, Option<Vec<Vec<&'a str>>>);

fn shape(plan: &Plan) -> Vec<Shape<'_>> {
    plan.units
        .iter()
        .map(|unit| {
            (texts(&unit.up), unit.way_back.as_ref().map(|blocks| blocks.iter().map(texts).collect()))
        })
        .collect()
}

fn problems(rest: &Value) -> Vec<(Reason, String)> {
    compile(rest).unwrap_err().into_iter().map(|problem| (problem.reason, problem.place)).collect()
}

#[test]
fn what_can_share_a_transaction_does() {
    let plan = compile(&json!({
        "up": "CREATE TABLE t (id int); CREATE INDEX CONCURRENTLY t_id ON t (id); ALTER TABLE t ADD CHECK (id > 0)",
        "rollback": {"preserveData": false},
    }));
    let plan = plan.unwrap();
    let units: Vec<usize> = plan.units.iter().map(|unit| unit.up.statements.len()).collect();
    assert_eq!(units, [1, 1, 1]);
    assert_eq!(plan.units.iter().map(|unit| unit.up.transactional).collect::<Vec<_>>(), [true, false, true]);
    let one = compile(&json!({"up": "CREATE TABLE a (id int); CREATE TABLE b (id int)"})).unwrap();
    assert_eq!(one.units.len(), 1);
    let apart = json!({"steps": [{"sql": {"up": "CREATE TABLE a (); CREATE TABLE b ()", "transaction": "PerStatement"}}]});
    assert_eq!(compile(&apart).unwrap().units.len(), 2);
}

#[test]
fn a_step_that_may_be_divided_carries_its_parts() {
    let parts = |rest: &Value| -> Vec<Option<usize>> {
        let plan = compile(rest).unwrap();
        plan.units.iter().map(|unit| unit.divided.as_ref().map(Vec::len)).collect()
    };
    let two = "ALTER TABLE t RENAME COLUMN a TO b; ALTER TABLE t ALTER COLUMN n SET DEFAULT 8";
    assert_eq!(parts(&json!({"up": two})), [Some(2)]);
    let plan = compile(&json!({"up": two})).unwrap();
    let divided = plan.units[0].divided.as_ref().unwrap();
    let back: Vec<_> = divided.iter().map(|part| texts(&part.way_back.as_ref().unwrap()[0])).collect();
    assert_eq!(
        back,
        [["ALTER TABLE t RENAME COLUMN b TO a"], ["ALTER TABLE t ALTER COLUMN n SET DEFAULT 7"]]
    );
    let around = format!("{two}; CREATE INDEX CONCURRENTLY t_b ON t (b); ALTER TABLE t ADD CHECK (b > 0)");
    assert_eq!(parts(&json!({"up": around})), [Some(2), None, None]);
    // As one transaction, because it was asked for, or because a down undoes it as a whole.
    assert_eq!(parts(&json!({"up": format!("BEGIN; {two}; COMMIT")})), [None]);
    assert_eq!(parts(&json!({"steps": [{"sql": {"up": two, "transaction": "Single"}}]})), [None]);
    assert_eq!(parts(&json!({"up": two, "down": "SELECT 1"})), [None]);
}

#[test]
fn a_unit_comes_back_in_reverse_order() {
    let plan = compile(&json!({
        "up": "ALTER TABLE t RENAME COLUMN a TO b; ALTER TABLE t ALTER COLUMN n SET DEFAULT 8",
    }));
    let back = vec![vec!["ALTER TABLE t ALTER COLUMN n SET DEFAULT 7", "ALTER TABLE t RENAME COLUMN b TO a"]];
    assert_eq!(shape(&plan.unwrap())[0].1, Some(back));
}

#[test]
fn rows_are_looked_at_without_the_locks_of_what_comes_before() {
    let plan =
        compile(&json!({"up": "ALTER TABLE t RENAME a TO b; ALTER TABLE t DROP CONSTRAINT c"})).unwrap();
    let back = vec![
        vec!["ALTER TABLE public.t ADD CONSTRAINT c CHECK (n > 0) NOT VALID"],
        vec!["ALTER TABLE public.t VALIDATE CONSTRAINT c"],
        vec!["ALTER TABLE t RENAME COLUMN b TO a"],
    ];
    assert_eq!(shape(&plan)[0].1, Some(back));
    assert_eq!(plan.reversibility, Reversibility::Reversible);
}

#[test]
fn nothing_is_asked_where_a_person_said_how_it_is_undone() {
    let asks = |rest: &Value| {
        let spec = spec(rest);
        let wanted = Draft::read(&spec).unwrap().facts_wanted();
        wanted.iter().any(|key| matches!(key, FactKey::Before { .. }))
    };
    assert!(asks(&json!({"up": "DROP VIEW v"})));
    assert!(!asks(&json!({"up": "DROP VIEW v", "down": "CREATE VIEW v AS SELECT 1"})));
    assert!(!asks(&json!({"steps": [{"sql": {"up": "DROP VIEW v", "irreversible": {"reason": "unused"}}}]})));
    assert!(!asks(&json!({"up": "CREATE TABLE t (); CREATE INDEX CONCURRENTLY i ON t (a)"})));
}

#[test]
fn what_was_added_is_put_aside_and_graded_so() {
    let plan = compile(&json!({"up": "ALTER TABLE t ADD COLUMN c int"})).unwrap();
    assert_eq!(plan.reversibility, Reversibility::ReversibleWithArchive);
    let back = plan.units[0].way_back.as_ref().unwrap();
    assert_eq!(texts(&back[0]), ["ALTER TABLE t RENAME COLUMN c TO _whimbrel_c_0a1b2c3d"]);
    assert_eq!(back[0].aside.len(), 1);
    let dropped =
        compile(&json!({"up": "ALTER TABLE t ADD COLUMN c int", "rollback": {"preserveData": false}}));
    assert_eq!(shape(&dropped.unwrap())[0].1, Some(vec![vec!["ALTER TABLE t DROP COLUMN c"]]));
}

#[test]
fn a_written_down_belongs_to_the_units_it_undoes() {
    let two = "ALTER TABLE t ADD COLUMN c int; CREATE INDEX CONCURRENTLY t_c ON t (c)";
    let paired = json!({
        "up": two, "down": "DROP INDEX CONCURRENTLY t_c; ALTER TABLE t DROP COLUMN c", "rollback": {"preserveData": false},
    });
    let plan = compile(&paired).unwrap();
    assert_eq!(shape(&plan)[0].1, Some(vec![vec!["ALTER TABLE t DROP COLUMN c"]]));
    assert_eq!(shape(&plan)[1].1, Some(vec![vec!["DROP INDEX CONCURRENTLY t_c"]]));
    // One statement that undoes both: the second unit has a way back of its own.
    let short =
        json!({"up": two, "down": "ALTER TABLE t DROP COLUMN c", "rollback": {"preserveData": false}});
    let plan = compile(&short).unwrap();
    assert_eq!(shape(&plan)[0].1, Some(vec![vec!["ALTER TABLE t DROP COLUMN c"]]));
    assert_eq!(plan.units[1].way_back.as_ref().unwrap().len(), 1);
}

#[test]
fn a_step_without_a_way_back_says_so_or_is_refused() {
    let refused = problems(&json!({"up": "CREATE TABLE a ();\n  UPDATE t SET n = 1"}));
    assert_eq!(refused, [(Reason::IrreversibleStep, "spec.up:2:3".to_owned())]);
    let said =
        json!({"steps": [{"sql": {"up": "UPDATE t SET n = 1", "irreversible": {"reason": "it is cheap"}}}]});
    let plan = compile(&said).unwrap();
    assert_eq!((plan.reversibility, &plan.units[0].way_back), (Reversibility::ForwardOnly, &None));
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let many = json!({"steps": [
        {"name": "one", "sql": {"up": "SELEC 1"}},
        {"name": "two", "sql": {"up": "SET ROLE admin", "down": "COMMIT"}},
    ]});
    let places: Vec<String> = problems(&many).into_iter().map(|(_, place)| place).collect();
    assert_eq!(
        places,
        ["spec.steps[0].sql.up:1:1", "spec.steps[1].sql.up:1:1", "spec.steps[1].sql.down:1:1"]
    );
}

#[test]
fn the_hash_is_of_what_was_asked_for_and_of_nothing_else() {
    let hash = |rest: &Value| compile(rest).unwrap().hash;
    let plain = hash(&json!({"up": "CREATE TABLE a ()"}));
    assert_eq!(
        plain,
        hash(&json!({"up": "CREATE TABLE a ()", "rollback": {"onBreach": "Pause"}, "suspend": true}))
    );
    assert_ne!(plain, hash(&json!({"up": "CREATE TABLE a ( )"})));
    assert_ne!(plain, hash(&json!({"up": "CREATE TABLE a ()", "searchPath": ["other"]})));
    assert_ne!(plain, hash(&json!({"up": "CREATE TABLE a ()", "down": "DROP TABLE a"})));
}

#[test]
fn a_backfill_of_an_added_column_goes_with_it() {
    let plan = |table: &str, added: &str| {
        compile(&json!({"steps": [
            {"sql": {"up": format!("ALTER TABLE {added} ADD COLUMN fresh text")}},
            {"backfill": {"table": table, "set": {"fresh": "'a'"}, "where": "fresh IS NULL", "sync": "Trigger"}},
        ]}))
    };
    for (table, added) in [("t", "t"), ("public.t", "t"), ("t", "public.t")] {
        let plan = plan(table, added).unwrap();
        assert_eq!(plan.units.len(), 4, "{plan:?}");
        assert_eq!(plan.reversibility, Reversibility::ReversibleWithArchive);
        let [_, install, fill, remove] = plan.units.as_slice() else { panic!("{plan:?}") };
        assert_eq!(
            texts(&install.up)[0].split('(').next(),
            Some(if table == "t" {
                "CREATE FUNCTION whimbrel_sync_2_1"
            } else {
                "CREATE FUNCTION public.whimbrel_sync_2_1"
            })
        );
        let back = |unit: &super::plan::Unit| {
            unit.way_back
                .iter()
                .flatten()
                .flat_map(texts)
                .map(|text| text.split(' ').take(2).collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(back(install), ["DROP TRIGGER", "DROP FUNCTION"]);
        assert_eq!(back(remove), ["CREATE FUNCTION", "CREATE TRIGGER"]);
        assert_eq!(fill.way_back, Some(Vec::new()));
        let filled = fill.up.backfill.as_ref().unwrap();
        assert!(filled.until_done && filled.repeatable && !fill.up.transactional);
    }
    let problems = plan("other.t", "t").unwrap_err();
    assert_eq!(problems.last().unwrap().reason, Reason::IrreversibleStep);
}
