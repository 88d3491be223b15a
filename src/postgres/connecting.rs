//! Errors of the connect phase, in which nothing can have happened in the database, and what a person can do about them.

use super::error::bounded;
use super::{Error, ServerError};

impl Error {
    /// Converts an error of the connect phase, in which nothing can have happened in the database.
    pub(super) fn connecting(target: &str, error: sqlx::Error) -> Self {
        let target = target.to_owned();
        match error {
            sqlx::Error::Tls(cause) => handshake_failed(target, bounded(&cause.to_string())),
            sqlx::Error::Io(io) => {
                let cause = bounded(&io.to_string());
                let is_tls = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some();
                if is_tls { handshake_failed(target, cause) } else { Self::Unreachable { target, cause } }
            }
            sqlx::Error::Configuration(cause) => Self::Settings(bounded(&cause.to_string())),
            sqlx::Error::Protocol(cause) if cause.contains("SSLRequest") => {
                Self::Unreachable { target, cause: "what answers there is no PostgreSQL server".to_owned() }
            }
            sqlx::Error::Protocol(cause) if cause.contains("authentication") => {
                Self::Authentication { target, cause: bounded(&cause) }
            }
            other => match Self::from(other) {
                Self::Server(server) => server.while_connecting(target),
                Self::ConnectionLost(cause) => Self::Unreachable { target, cause },
                other => other,
            },
        }
    }
}

impl ServerError {
    fn while_connecting(self: Box<Self>, target: String) -> Error {
        let cause = self.to_string();
        match self.sqlstate.as_str() {
            "53300" => Error::Unreachable {
                target,
                cause: format!(
                    "no connection is free: {cause}; waiting for one: {}",
                    more_connections(&self.message)
                ),
            },
            "3D000" => Error::DatabaseMissing { target, cause },
            code if code.starts_with("28") => Error::Authentication { target, cause },
            _ if self.message.contains("unsupported startup parameter") => {
                Error::PoolerDetected { target, evidence: self.message }
            }
            code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                Error::Unreachable { target, cause }
            }
            _ => Error::Server(self),
        }
    }
}

/// Who can make room where there is no connection left (53300); only the server's words tell which limit it is.
fn more_connections(message: &str) -> &'static str {
    match message {
        _ if message.contains(" for role ") => {
            "two are needed for each database that is worked on: ALTER ROLE ... CONNECTION LIMIT"
        }
        _ if message.contains(" for database ") => {
            "end idle sessions (pg_stat_activity says whose), or ALTER DATABASE ... CONNECTION LIMIT"
        }
        _ => "end idle sessions (pg_stat_activity says whose), or raise max_connections",
    }
}

fn handshake_failed(target: String, cause: String) -> Error {
    let advice = advice(&cause);
    Error::Tls { target, cause: cause + advice }
}

/// Returns advice to be put behind what the TLS library said; empty where there is none.
fn advice(cause: &str) -> &'static str {
    match cause {
        _ if cause.contains("does not support TLS") => {
            "; turn ssl on there, or set tls.mode: Disable where the network is trusted"
        }
        _ if cause.contains("UnknownIssuer") => "; a private authority is named in tls.caFrom",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_limit_it_is_is_told() {
        let check = |message: &str, expected: &str| {
            assert!(more_connections(message).contains(expected), "{message}");
        };
        check("too many connections for role \"whimbrel\"", "ALTER ROLE");
        check("too many connections for database \"shop\"", "ALTER DATABASE");
        check("sorry, too many clients already", "max_connections");
        check(
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "max_connections",
        );
    }

    #[test]
    fn what_happens_first_has_a_remedy() {
        let check = |cause: &str, expected: &str| {
            let advice = advice(cause);
            assert!(
                advice.contains(expected) && (advice.is_empty() == expected.is_empty()),
                "{cause}: {advice}"
            );
        };
        check("server does not support TLS", "tls.mode");
        check("invalid peer certificate: UnknownIssuer", "tls.caFrom");
        check("invalid peer certificate: Expired", "");
    }
}
