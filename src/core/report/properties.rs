//! Properties of reports on generated views: kstatus, bounds, stability, round trips.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::generated::{migration, see, view};
use super::*;
use crate::core::fixture::{at, plan, run};
use crate::core::state::{Outcome, State};
use crate::core::view::Tokens;

/// The schema of `status` that the API server has.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = crate::api::crds().into_iter().find(|crd| crd.spec.names.kind == "Migration").unwrap();
    let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    serde_json::to_value(&schema.properties.unwrap()["status"]).unwrap()
});

fn of<'a>(status: &'a MigrationStatus, name: &str) -> Option<&'a str> {
    conditions::find(status, name).map(|condition| condition.status.as_str())
}

/// What Flux checks of its own controllers, and what kstatus makes of the rest.
fn check_conformance(status: &MigrationStatus, generation: i64) {
    let (ready, reconciling, stalled) =
        (of(status, "Ready"), of(status, "Reconciling"), of(status, "Stalled"));
    assert_eq!(status.observed_generation, Some(generation));
    assert!(ready.is_some(), "Ready is always there");
    assert!(matches!(reconciling, None | Some("True")), "Reconciling is there only while True");
    assert!(matches!(stalled, None | Some("True")), "Stalled is there only while True");
    assert!(reconciling.is_none() || stalled.is_none(), "never both");
    match ready {
        Some("True") => assert_eq!((reconciling, stalled), (None, None)),
        Some("Unknown") => assert!(reconciling.is_some(), "Unknown only while the operator is at work"),
        _ => assert!(
            reconciling.is_some() || stalled.is_some(),
            "False alone would be waited for without an end"
        ),
    }
    for condition in &status.conditions {
        let name = &condition.type_;
        assert!(condition.observed_generation <= Some(generation), "{name}");
        let kept = condition.observed_generation != Some(generation);
        assert!(
            !kept || (ready != Some("True") && facts::ALL.contains(&name.as_str())),
            "{name} is of an old generation"
        );
        assert!(Reason::ALL.iter().any(|reason| reason.as_str() == condition.reason), "{}", condition.reason);
        assert_eq!(condition.last_transition_time.0.subsec_nanosecond(), 0, "{name}");
        assert_eq!(status.conditions.iter().filter(|other| other.type_ == *name).count(), 1, "{name} twice");
    }
}

/// Checks a value against what the API server would refuse or drop.
fn check_schema(schema: &Value, value: &Value, path: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let schema = &schema["properties"][name];
                assert!(!schema.is_null(), "{path}.{name} is not in the schema");
                check_schema(schema, field, &format!("{path}.{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(name.as_str().unwrap()), "{path}.{name} is missing");
            }
        }
        Value::Array(items) => {
            let most = schema["maxItems"].as_u64().unwrap_or_else(|| panic!("{path} has no bound"));
            assert!(items.len() as u64 <= most, "{path} has {} items", items.len());
            for item in items {
                check_schema(&schema["items"], item, path);
            }
        }
        Value::String(text) => {
            if let Some(allowed) = schema["enum"].as_array() {
                assert!(allowed.contains(value), "{path}: {text}");
            } else if schema["format"] != "date-time" {
                let most = schema["maxLength"].as_u64().unwrap_or_else(|| panic!("{path} has no bound"));
                assert!(
                    text.chars().count() as u64 <= most,
                    "{path} is {} characters long",
                    text.chars().count()
                );
                assert!(
                    schema["pattern"].is_null()
                        || crate::api::DurationText::from(text.as_str()).parse(path).is_ok()
                );
            }
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => assert!(!value.is_null(), "{path}"),
    }
}

fn is_over(view: &View) -> bool {
    match &view.standing {
        Standing::Covered(_) => true,
        Standing::Run(run) => run.state.is_done(),
        Standing::Waiting(_) | Standing::Retrying(_) | Standing::Refused(_) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn conditions_conform(mut migration in migration(), view in view()) {
        see(&mut migration, &view, at(50));
        check_conformance(migration.status.as_ref().unwrap(), view.generation);
    }

    #[test]
    fn the_api_server_takes_every_status(mut migration in migration(), view in view()) {
        let events = see(&mut migration, &view, at(50));
        let json = serde_json::to_value(migration.status.as_ref().unwrap()).unwrap();
        check_schema(&SCHEMA, &json, "status");
        prop_assert!(json.to_string().len() < 512 * 1024);
        for event in events {
            prop_assert!(!event.note.is_empty() || event.reason != Reason::Succeeded);
            prop_assert!(event.note.len() <= 1024 && event.action.len() <= 128);
        }
    }

    #[test]
    fn a_status_survives_the_api_server(mut migration in migration(), view in view()) {
        see(&mut migration, &view, at(50));
        let status = migration.status.unwrap();
        let json = serde_json::to_string(&status).unwrap();
        prop_assert_eq!(serde_json::from_str::<MigrationStatus>(&json).unwrap(), status);
    }

    #[test]
    fn nothing_new_gives_the_same_status_and_no_event(mut migration in migration(), view in view()) {
        see(&mut migration, &view, at(50));
        let status = migration.status.clone();
        let events = see(&mut migration, &view, at(50));
        prop_assert_eq!(&migration.status, &status);
        prop_assert_eq!(events, vec![]);
        // Time alone changes nothing but what is left of the watch.
        see(&mut migration, &view, at(5000));
        let same = |mut status: MigrationStatus| {
            status.progress = None;
            status
        };
        prop_assert_eq!(migration.status.map(same), status.map(same));
    }

    #[test]
    fn transitions_are_those_of_the_status(mut migration in migration(), view in view()) {
        let before = migration.status.clone().unwrap_or_default();
        see(&mut migration, &view, at(50));
        for condition in &migration.status.as_ref().unwrap().conditions {
            let old = conditions::find(&before, &condition.type_);
            let expected = old.filter(|old| old.status == condition.status);
            let expected = expected.map_or(at(50), |old| old.last_transition_time.0);
            prop_assert_eq!(condition.last_transition_time.0, expected, "{}", &condition.type_);
        }
    }

    #[test]
    fn only_what_is_over_is_settled(mut migration in migration(), view in view()) {
        see(&mut migration, &view, at(50));
        prop_assert_eq!(settled(&migration), is_over(&view));
        let over = is_over(&view) || matches!(view.standing, Standing::Refused(_));
        prop_assert_eq!(is_final(migration.status.as_ref().unwrap()), over);
        for change in CHANGES {
            let mut changed = migration.clone();
            change(&mut changed);
            prop_assert!(!settled(&changed));
        }
    }

    #[test]
    fn a_new_generation_is_accepted_at_once(mut migration in migration(), view in view()) {
        see(&mut migration, &view, at(50));
        let before = migration.status.clone().unwrap();
        migration.metadata.generation = Some(7);
        let status = accepted(&migration, at(60));
        check_conformance(&status, 7);
        check_schema(&SCHEMA, &serde_json::to_value(&status).unwrap(), "status");
        prop_assert_eq!((of(&status, "Ready"), of(&status, "Reconciling")), (Some("Unknown"), Some("True")));
        prop_assert_eq!(status.applied, before.applied);
        prop_assert_eq!(&status.run_id, &before.run_id);
        prop_assert_eq!(&status.history, &before.history);
        prop_assert_eq!(&status.last_handled_retry_at, &before.last_handled_retry_at);
        migration.status = Some(status);
        prop_assert!(!settled(&migration));
    }
}

/// Each of these asks for something new.
const CHANGES: [fn(&mut Migration); 4] = [
    |migration| {
        migration.metadata.generation = migration.metadata.generation.map(|generation| generation + 1);
    },
    |migration| migration.metadata.deletion_timestamp = Some(at(60).into()),
    |migration| {
        let token = (RETRY_REQUESTED_AT.to_owned(), "2026-11-20T23:59:59Z".to_owned());
        migration.metadata.annotations.get_or_insert_default().extend([token]);
    },
    |migration| migration.status = None,
];

#[test]
fn an_endless_error_is_cut_before_what_to_do() {
    let cause = Cause::new(Reason::ApplyFailed, "é\n".repeat(5 << 19));
    let state = State::Done { at: at(9), outcome: Outcome::Failed(cause) };
    let standing = Standing::Run(Box::new(run(plan(), state, 0)));
    let view = View { generation: 1, standing, answered: Tokens::default(), past: Vec::new() };
    let Report { status, events } = report(&Migration::default(), &view, false, at(10));
    check_schema(&SCHEMA, &serde_json::to_value(&status).unwrap(), "status");
    let ready = conditions::find(&status, "Ready").unwrap();
    assert!(ready.message.ends_with("annotate whimbrel.dev/retry-requested-at"), "{}", ready.message);
    assert!(events.iter().all(|event| event.note.len() <= 1024));
}
