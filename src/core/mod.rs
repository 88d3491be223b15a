//! Pure: plans, states, decisions, analysis and reports. No I/O, no clock, no randomness.

pub mod analysis;
