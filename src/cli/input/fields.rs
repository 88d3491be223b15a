//! Reading a spec as strictly as the API server: what is wrong has its path, and no field is unknown.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt as _;
use serde_ignored::Path;
use serde_json::Value;

use crate::api::{Migration, MigrationSpec};

/// Fields of every object.
const OBJECT: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A field has another type, or is missing: its path, and what was expected.
    Value(String, String),
    /// Paths of fields that are unknown, one at least.
    Unknown(Vec<String>),
}

/// Reads the spec of a Migration.
///
/// # Errors
/// What is wrong with it; all unknown fields at once.
pub(super) fn spec(object: &Value) -> Result<MigrationSpec, Wrong> {
    let fields = object.as_object().into_iter().flat_map(|fields| fields.keys());
    let mut unknown: Vec<String> =
        fields.filter(|field| !OBJECT.contains(&field.as_str())).cloned().collect();
    let mut track = serde_path_to_error::Track::new();
    let value = object.get("spec").unwrap_or(&Value::Null);
    let read =
        serde_ignored::deserialize(serde_path_to_error::Deserializer::new(value, &mut track), |path| {
            unknown.push(spelled(&path));
        });
    match read {
        // A field that is missing is often there under another name.
        _ if !unknown.is_empty() => Err(Wrong::Unknown(unknown)),
        Ok(spec) => Ok(spec),
        Err(error) => {
            let path = track.path().to_string();
            let path = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
            Err(Wrong::Value(path, error.to_string()))
        }
    }
}

/// Spells a path as the API server does.
fn spelled(path: &Path<'_>) -> String {
    match path {
        Path::Root => "spec".to_owned(),
        Path::Seq { parent, index } => format!("{}[{index}]", spelled(parent)),
        Path::Map { parent, key } => format!("{}.{key}", spelled(parent)),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            spelled(parent)
        }
    }
}

/// The field that a path ends with, and the path of what it stands in.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The fields that there are under a path; those of an object under none.
pub(super) fn known(path: &str) -> Vec<String> {
    if path.is_empty() {
        return OBJECT.map(str::to_owned).to_vec();
    }
    let crd = Migration::crd();
    let version = crd.spec.versions.first();
    let root = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let found = root.and_then(|root| path.split('.').try_fold(root, below));
    found
        .and_then(|schema| schema.properties.as_ref())
        .into_iter()
        .flat_map(|all| all.keys())
        .cloned()
        .collect()
}

fn below<'a>(schema: &'a JSONSchemaProps, step: &str) -> Option<&'a JSONSchemaProps> {
    let (name, in_list) = step.split_once('[').map_or((step, false), |(name, _)| (name, true));
    let field = schema.properties.as_ref()?.get(name)?;
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) if in_list => Some(item),
        _ => Some(field),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(spec: &Value) -> Wrong {
        super::spec(&json!({"kind": "Migration", "metadata": {"name": "a"}, "spec": spec})).unwrap_err()
    }

    #[test]
    fn what_is_wrong_has_its_path() {
        let steps = |backfill| json!({"databaseRef": {"name": "a"}, "version": "1", "steps": [{"sql": {"up": "SELECT 1"}}, {"backfill": backfill}]});
        let value = |path: &str, what: &str| Wrong::Value(path.to_owned(), what.to_owned());
        let fill = json!({"table": "a", "set": {"b": "1"}, "capture": "x"});
        let expected = "invalid type: string \"x\", expected a boolean";
        assert_eq!(wrong(&steps(fill)), value("spec.steps[1].backfill.capture", expected));
        let fill = json!({"table": "a", "set": {"b": "1"}, "batchs": 1, "throttle": {"mx": "1"}});
        let unknown = ["spec.steps[1].backfill.batchs", "spec.steps[1].backfill.throttle.mx"];
        assert_eq!(wrong(&steps(fill)), Wrong::Unknown(unknown.map(str::to_owned).to_vec()));
        assert_eq!(wrong(&json!({"version": "1"})), value("spec", "missing field `databaseRef`"));
        assert_eq!(wrong(&json!({"databaseref": {}})), Wrong::Unknown(vec!["spec.databaseref".to_owned()]));
        let beside = json!({"kind": "Migration", "sepc": {}});
        assert_eq!(super::spec(&beside), Err(Wrong::Unknown(vec!["sepc".to_owned()])));
    }

    #[test]
    fn fields_are_those_of_the_definition() {
        assert_eq!(known("spec.steps[3].backfill.throttle"), ["max", "sql", "walRate"]);
        assert_eq!(known(""), OBJECT);
        assert!(known("spec.databaseRef.name").is_empty());
    }
}
