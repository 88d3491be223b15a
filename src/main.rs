//! The `whimbrel` binary: arguments, telemetry, exit code.
fn main() {}
