//! Integration tests on real components, in one binary so that they share servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../harness/mod.rs"]
mod harness;

mod election;
mod rbac;
mod smoke;
