//! Named points at every effect, where the tests of crashes stop, kill or disturb a process.
//!
//! Invariants: without the feature `crash-points`, which is off, every call here is empty, and nothing of it is in the
//! program; an effect without points does not compile (a ledger transaction is begun for a [`Site`], and the engine names
//! one for each effect it decides on); a point changes nothing unless the environment names it.

#[cfg(feature = "crash-points")]
mod armed;
mod mutant;
mod site;

#[cfg(not(feature = "crash-points"))]
use std::future::{Ready, ready};

#[cfg(feature = "crash-points")]
pub use armed::{at, during};
pub use mutant::{Mutant, planted};
pub use site::{Moment, Site};

/// Passes a point.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn at(_site: Site, _moment: Moment) -> Ready<()> {
    ready(())
}

/// Passes a point in the middle of a request: it is on its way, and its answer was not looked at.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn during<F: Future>(_site: Site, _moment: Moment, request: F) -> F {
    request
}
