//! Locks: what a migration takes, how long it may hold it, and who is told.

mod lock_plan;
mod seats;
pub mod stage;
mod stall;
mod standbys;
