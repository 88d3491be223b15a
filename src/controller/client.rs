//! The connection to the API server: where it is, and how long a call may take.

use std::future::Future;
use std::time::Duration;

use kube::{Client, Config};

/// Longest time for one ordinary call.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Longest silence on a connection. Watches are long polls that end after less than five minutes.
const SILENCE_LIMIT: Duration = Duration::from_mins(5);

/// A call to the API server that did not succeed. The messages are complete; there is no chain of sources to print.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor an in-cluster service account was found.
    #[error("cannot find the API server: {0}; set KUBECONFIG, or run in a Pod with a service account")]
    Config(Box<kube::config::InferConfigError>),
    /// The configuration was found, but no client can be made of it.
    #[error("cannot use the configuration of the API server: {0}")]
    Client(Box<kube::Error>),
    /// The call was answered with an error, or not at all.
    #[error("cannot {what}: {}", said(cause))]
    Call {
        /// What was attempted, on what.
        what: String,
        /// What the client says.
        cause: Box<kube::Error>,
    },
    /// The call was abandoned.
    #[error("cannot {what}: no answer from the API server within {limit:?}")]
    Deadline {
        /// What was attempted, on what.
        what: String,
        /// The limit that passed.
        limit: Duration,
    },
}

impl Error {
    /// Whether the object was changed or created by somebody else in between.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.is_conflict() || status.is_already_exists())
    }

    /// Whether the API server said that there is no such object, or no such kind.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }

    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Call { cause, .. } => match cause.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Connects as a kubeconfig (`KUBECONFIG`, `~/.kube/config`) says, else as the Pod's service account.
///
/// The client's silent retries are off: they last for minutes, and a leader must know within seconds.
///
/// # Errors
/// When there is no configuration or it cannot be used. The API server is not contacted yet.
pub async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(|error| Error::Config(Box::new(error)))?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(Duration::from_secs(15));
    config.read_timeout = Some(SILENCE_LIMIT);
    config.reset_reader_on_write = true;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))
}

/// Waits for a call no longer than `limit`. `what` completes the sentence "cannot ...".
///
/// # Errors
/// When the call failed or took too long; a write may have happened then.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(cause)) => Err(Error::Call { what: what.to_owned(), cause: Box::new(cause) }),
        Err(_) => Err(Error::Deadline { what: what.to_owned(), limit }),
    }
}

/// What the API server said, else what kept it from saying anything, down to the last cause.
fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({})", status.message, status.code);
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[tokio::test]
    async fn an_error_says_what_was_attempted_and_what_was_answered() {
        let status = Status { code: 403, ..Status::failure("leases is forbidden", "Forbidden") };
        let refused = async { Err::<(), _>(kube::Error::Api(status.boxed())) };
        let error = within(CALL_LIMIT, "read the Lease a/b", refused).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read the Lease a/b: leases is forbidden (403)");

        let silent = std::future::pending::<kube::Result<()>>();
        let error = within(Duration::from_millis(5), "read the Lease a/b", silent).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read the Lease a/b: no answer from the API server within 5ms");
    }
}
