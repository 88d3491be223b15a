//! Observe, decide, act: one runner per database, shared by the operator and the command line.

pub mod clock;
