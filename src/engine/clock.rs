//! The wall clock. Read here only, so that decisions get their time as an argument.

use jiff::Timestamp;

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
