//! Whimbrel: progressive delivery for database schemas.
//!
//! The rooms, in the direction of their dependencies (a room uses only those before it):
//!
//! - [`crash`]: empty unless tests of crashes compile it in; named points at every effect.
//! - [`api`]: wire types of the custom resources; no logic, no client.
//! - [`sql`]: pure; parses, classifies and inverts SQL.
//! - [`core`]: pure; plans, states, decisions, analysis, reports.
//! - [`postgres`], [`metrics`]: edges; each the only user of its outside system.
//! - [`engine`]: observe, decide, act; one runner per database, on the edges above.
//! - [`controller`]: edge; the only user of the Kubernetes runtime.
//! - [`cli`]: the command line.
//!
//! `ARCHITECTURE.md` tells why.

pub mod api;
pub mod cli;
pub mod controller;
pub mod core;
pub mod crash;
pub mod engine;
pub mod metrics;
pub mod postgres;
pub mod server;
pub mod sql;
pub mod telemetry;
