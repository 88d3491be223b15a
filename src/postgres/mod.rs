//! Edge: the only user of sqlx.
