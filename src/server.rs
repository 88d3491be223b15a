//! Health, readiness and metrics on one address.
