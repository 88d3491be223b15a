//! What a client reads in an object's status.

use serde_json::Value;

/// The status of a condition; empty where there is none.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    field(object, kind, "status")
}

/// The reason of a condition; empty where there is none.
pub fn reason_of<'a>(object: &'a Value, kind: &str) -> &'a str {
    field(object, kind, "reason")
}

/// The message of `Ready`.
pub fn message(object: &Value) -> &str {
    field(object, "Ready", "message")
}

/// Whether the status is about the newest spec.
pub fn current(object: &Value) -> bool {
    object.pointer("/status/observedGeneration") == object.pointer("/metadata/generation")
}

fn field<'a>(object: &'a Value, kind: &str, field: &str) -> &'a str {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition[field].as_str()).unwrap_or_default()
}
