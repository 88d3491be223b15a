//! Bad input, on real components: each bad object gets a clear condition that names the field, or line and column;
//! nothing runs on the primary; the operator lives on, and goes on with what is good; what can heal heals.

mod metrics;
mod objects;
mod plans;
mod references;
mod rehearsals;
mod servers;
mod stage;
mod versions;
