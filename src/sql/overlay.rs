//! The state of the catalog between the statements of a plan.
