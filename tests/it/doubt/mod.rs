//! Crashes, takeovers and doubt, by the engine alone against real servers: faster than with an API server, and every
//! moment can be chosen.

mod builds;
mod drift;
mod engine;
mod identity;
mod inputs;
mod takeover;
mod unfinished;
