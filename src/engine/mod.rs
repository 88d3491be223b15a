//! Observe, decide, act: one runner per database, shared by the operator and the command line.

pub mod clock;
pub mod failure;
pub mod subject;
pub mod views;
pub mod begin;
mod act;
pub mod project;
pub mod runner;
pub mod watch;
