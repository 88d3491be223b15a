//! Integration tests on real components, in one binary so that they share servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../harness/mod.rs"]
mod harness;

mod architecture;
mod backfill;
mod bad_input;
mod cli_lint;
mod cli_plan;
mod crds;
mod doubt;
mod election;
mod guard;
mod licences;
mod postgres_connect;
mod postgres_edge;
mod postgres_fingerprint;
mod prometheus;
mod rbac;
mod safe_forms;
mod scenarios;
mod smoke;
mod snapshot;
mod snapshot_queries;
mod sql_before;
mod sql_inverse;
mod truth;
