//! Edge: the only user of sqlx.

mod alone;
pub mod backfill;
mod before;
pub mod block;
pub mod build;
pub mod catalog;
pub mod connect;
mod connecting;
pub mod copy;
pub mod error;
mod explain;
pub mod facts;
pub mod fingerprint;
pub mod grants;
pub mod guard;
pub mod heartbeat;
pub mod identity;
pub mod ledger;
pub mod locks;
pub mod pooler;
pub mod probe;
pub mod rehearsal;
pub mod session;
pub mod snapshot;
pub mod standby;
mod statement;
mod takeover;
pub mod target;

pub use error::{Class, Error, ServerError};
pub use session::Session;
pub use takeover::Builds;
pub use target::{Secret, Target, Tls, TlsMode};

/// A connection, for rooms that carry one and never use it themselves.
pub type Connection = sqlx::PgConnection;
