//! Wire types of `whimbrel.dev/v1alpha1`, one file per kind: serde, schema, CEL; no logic, no client.
