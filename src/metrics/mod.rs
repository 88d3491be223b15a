//! Edge: metric providers.
