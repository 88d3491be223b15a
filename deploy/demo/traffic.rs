//! What the shop's customers felt, from the report of `shop load`.

use serde::Deserialize;

use crate::harness::process::Process;

/// One second of load.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Second {
    /// Requests that ended in it.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// The longest that one took, milliseconds.
    pub slowest_ms: u64,
}

/// The seconds so far; the last line may be half written.
pub fn seconds(load: &Process) -> Vec<Second> {
    load.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Several seconds as one.
pub fn total(seconds: &[Second]) -> Second {
    seconds.iter().fold(Second::default(), |sum, second| Second {
        requests: sum.requests + second.requests,
        failed: sum.failed + second.failed,
        slowest_ms: sum.slowest_ms.max(second.slowest_ms),
    })
}
