//! Observe, decide, act: one runner per database, shared by the operator and the command line.

mod act;
mod backfill;
pub mod begin;
pub mod clock;
mod drift;
pub mod failure;
mod oversee;
mod postponed;
pub mod project;
pub mod pulse;
mod recorded;
mod rest;
pub mod runner;
pub mod seats;
mod standbys;
pub mod subject;
pub mod survey;
mod turn;
pub mod views;
pub mod watch;
