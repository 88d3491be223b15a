//! Edge: the only user of sqlx.

pub mod connect;
pub mod copy;
pub mod error;
pub mod facts;
pub mod fingerprint;
pub mod grants;
pub mod identity;
pub mod pooler;
pub mod target;

pub use error::{Class, Error, ServerError};
pub use target::{Secret, Target, Tls, TlsMode};
