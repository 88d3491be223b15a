//! The rules of the schema and of CEL once more, for objects that no API server has seen.
