//! Pure: plans, states, decisions, analysis and reports. No I/O, no clock, no randomness.

pub mod analysis;
pub mod backfill;
pub mod blast;
pub mod compile;
pub mod decide;
pub mod estimate;
pub mod lock_plan;
pub mod observation;
pub mod order;
pub mod plan;
pub mod preview;
pub mod rehearsal;
pub mod report;
pub mod stall;
pub mod state;
pub mod view;
pub mod waiting;

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod compile_tests;
