//! Compares the rights that the operator is given with those that it uses, from the audit log of the API server.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;

/// One right: a verb on a resource of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group; empty for the core group.
    pub group: String,
    /// Resource, with its subresource: `migrations/status`.
    pub resource: String,
    /// Verb: `get`, `patch`, ...
    pub verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.verb, self.resource, self.group)
    }
}

/// What the roles bound to a service account grant, in a manifest of several documents.
pub fn granted(manifest: &str, account: &str) -> BTreeSet<Right> {
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(manifest)
        .map(|document| Value::deserialize(document).expect("the manifest is YAML"))
        .collect();
    let bound: BTreeSet<(&str, &str)> = documents
        .iter()
        .filter(|document| kind(document).ends_with("RoleBinding") && names(document, account))
        .map(|binding| (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")))
        .collect();
    documents
        .iter()
        .filter(|role| bound.contains(&(kind(role), text(role, "/metadata/name"))))
        .flat_map(|role| role["rules"].as_array().into_iter().flatten())
        .flat_map(expanded)
        .collect()
}

/// What a user asked for: with success, and in vain.
pub fn used(events: &[Value], user: &str) -> (BTreeSet<Right>, BTreeSet<Right>) {
    let (refused, allowed) = events
        .iter()
        .filter(|event| {
            text(event, "/user/username") == user && event.pointer("/objectRef/resource").is_some()
        })
        .partition::<Vec<_>, _>(|event| event.pointer("/responseStatus/code") == Some(&Value::from(403)));
    let rights = |events: Vec<&Value>| events.into_iter().map(asked).collect();
    (rights(allowed), rights(refused))
}

/// Checks that nothing was granted and never used, nor asked for and refused.
///
/// # Errors
/// What was.
pub fn least(manifest: &str, account: &str, namespace: &str, events: &[Value]) -> Result<()> {
    let granted = granted(manifest, account);
    ensure!(!granted.is_empty(), "the manifest grants {account} nothing");
    let (used, refused) = used(events, &format!("system:serviceaccount:{namespace}:{account}"));
    let unused: Vec<String> = granted.difference(&used).map(ToString::to_string).collect();
    ensure!(unused.is_empty(), "granted and never used: {}", unused.join(", "));
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    ensure!(refused.is_empty(), "asked for and refused: {}", refused.join(", "));
    Ok(())
}

fn kind(document: &Value) -> &str {
    text(document, "/kind")
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn names(binding: &Value, account: &str) -> bool {
    binding["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|subject| text(subject, "/kind") == "ServiceAccount" && text(subject, "/name") == account)
}

fn expanded(rule: &Value) -> Vec<Right> {
    let all = |field: &str| {
        let values = rule[field].as_array().cloned().unwrap_or_default();
        values.into_iter().map(|value| value.as_str().unwrap_or_default().to_owned())
    };
    let mut rights = Vec::new();
    for group in all("apiGroups") {
        for resource in all("resources") {
            for verb in all("verbs") {
                let (group, resource) = (group.clone(), resource.clone());
                rights.push(Right { group, resource, verb });
            }
        }
    }
    rights
}

fn asked(event: &Value) -> Right {
    let resource = text(event, "/objectRef/resource");
    let subresource = text(event, "/objectRef/subresource");
    Right {
        group: text(event, "/objectRef/apiGroup").to_owned(),
        resource: if subresource.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}/{subresource}")
        },
        verb: text(event, "/verb").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "
kind: ClusterRole
metadata: {name: op}
rules:
- {apiGroups: [whimbrel.dev], resources: [migrations], verbs: [get, watch]}
- {apiGroups: [whimbrel.dev], resources: [migrations/status], verbs: [patch]}
---
kind: ClusterRole
metadata: {name: op-view}
rules:
- {apiGroups: [whimbrel.dev], resources: [databases], verbs: [list]}
---
kind: ClusterRoleBinding
roleRef: {kind: ClusterRole, name: op}
subjects: [{kind: ServiceAccount, name: op, namespace: ns}]
";

    fn event(user: &str, verb: &str, subresource: &str, code: u16) -> Value {
        json!({
            "user": {"username": user}, "verb": verb, "responseStatus": {"code": code},
            "objectRef": {"apiGroup": "whimbrel.dev", "resource": "migrations", "subresource": subresource},
        })
    }

    fn check(events: &[Value]) -> Result<(), String> {
        least(MANIFEST, "op", "ns", events).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_roles_that_are_bound_count() {
        let rights: Vec<String> = granted(MANIFEST, "op").iter().map(ToString::to_string).collect();
        let expected = [
            "get migrations.whimbrel.dev",
            "watch migrations.whimbrel.dev",
            "patch migrations/status.whimbrel.dev",
        ];
        assert_eq!(rights, expected);
        assert_eq!(granted(MANIFEST, "other"), BTreeSet::new());
    }

    #[test]
    fn unused_and_refused_rights_are_named() {
        let me = "system:serviceaccount:ns:op";
        let all = [event(me, "get", "", 200), event(me, "watch", "", 200), event(me, "patch", "status", 200)];
        assert_eq!(check(&all), Ok(()));

        let unused = check(&all[..2]).unwrap_err();
        assert!(unused.contains("patch migrations/status.whimbrel.dev"), "{unused}");

        let mut others = all.to_vec();
        others[0] = event("admin", "get", "", 200);
        let unused = check(&others).unwrap_err();
        assert!(unused.contains("get migrations.whimbrel.dev"), "{unused}");

        let mut refused = all.to_vec();
        refused.push(event(me, "delete", "", 403));
        let refused = check(&refused).unwrap_err();
        assert!(refused.contains("delete migrations.whimbrel.dev"), "{refused}");
    }
}
