//! Opens sessions: one connection per purpose, never a pool, with every setting pinned at the start.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use super::error::Error;
use super::pooler;
use super::target::{Target, TlsMode};

/// How many of our own statements a session keeps prepared; more are there than are used over and over.
const STATEMENTS: usize = 32;

/// What a session is for: its name in `pg_stat_activity`, and its settings.
///
/// The defaults suit our own short reads and ledger writes: names are resolved in no schema, time is UTC, and a session
/// whose owner froze or vanished ends by itself within 15 seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    application_name: String,
    settings: BTreeMap<&'static str, String>,
}

impl Purpose {
    /// Names a session; the server keeps the first 63 bytes.
    pub fn new(application_name: impl Into<String>) -> Self {
        let defaults = [
            ("search_path", ""),
            ("lock_timeout", "2s"),
            ("statement_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "5s"),
            ("idle_session_timeout", "15s"),
            ("timezone", "UTC"),
            // The server looks after the connection; sqlx offers no keepalives on our side, so every call has a deadline.
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "15s"),
            // sqlx logs notices, and a NOTICE of user code may hold anything.
            ("client_min_messages", "error"),
        ];
        let settings = defaults.map(|(name, value)| (name, value.to_owned())).into();
        Self { application_name: application_name.into(), settings }
    }

    /// Sets a server setting for the whole session, in the words of `postgresql.conf`.
    #[must_use]
    pub fn with(mut self, setting: &'static str, value: impl Display) -> Self {
        self.settings.insert(setting, value.to_string());
        self
    }

    /// Lets the server stop a running statement when our end of the connection is gone, looking this often. For units in
    /// a transaction; not for concurrent index builds, which are better finished and adopted.
    #[must_use]
    pub fn stop_when_abandoned(self, every: Duration) -> Self {
        self.with("client_connection_check_interval", every.as_millis())
    }
}

/// Opens a session.
///
/// A session pooler that refuses start-up settings is accepted: the settings are then set by SQL, after a proof that it
/// does pool by session.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Tls`], [`Error::Authentication`], [`Error::DatabaseMissing`],
/// [`Error::PoolerDetected`], [`Error::Settings`] for what the environment or the TLS material makes impossible.
pub async fn connect(target: &Target, purpose: &Purpose) -> Result<PgConnection, Error> {
    if let Some(variable) = disturbing(target, |name| env::var_os(name).is_some()) {
        return Err(Error::Settings(format!(
            "the environment variable {variable} would change every session; unset it"
        )));
    }
    let opened = within("connect", target.connect_timeout, async {
        match open(target, options(target, purpose)).await {
            Err(Error::PoolerDetected { .. }) => through_pooler(target, purpose).await,
            opened => opened,
        }
    });
    match opened.await {
        Err(Error::Deadline { after, .. }) => Err(Error::Unreachable {
            target: target.address(),
            cause: format!("no session within {after:?}"),
        }),
        opened => opened,
    }
}

/// Bounds a call.
///
/// # Errors
/// [`Error::Deadline`]; the session is then to be closed, because its statement may still run.
pub async fn within<T>(
    what: &'static str,
    after: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(after, call).await {
        Ok(result) => result,
        Err(_) => Err(Error::Deadline { what, after }),
    }
}

/// Ends a session in the order that the server expects; what goes wrong with that concerns nobody any more.
pub async fn close(session: PgConnection) {
    let _ = tokio::time::timeout(Duration::from_secs(1), session.close()).await;
}

async fn open(target: &Target, options: PgConnectOptions) -> Result<PgConnection, Error> {
    PgConnection::connect_with(&options).await.map_err(|error| Error::connecting(&target.address(), error))
}

/// Connects without start-up settings, which `PgBouncer` refuses, and sets them once it is proven that the backend behind
/// this session is ours alone.
async fn through_pooler(target: &Target, purpose: &Purpose) -> Result<PgConnection, Error> {
    let bare = base_options(target, purpose);
    let mut session = open(target, bare.clone()).await?;
    let mut second = open(target, bare).await?;
    pooler::ensure_direct(&target.address(), &mut session, &mut second).await?;
    // A proof that succeeded does not depend on how its second session ends.
    let _ = second.close().await;
    let (names, values): (Vec<&str>, Vec<&str>) =
        purpose.settings.iter().map(|(name, value)| (*name, value.as_str())).unzip();
    sqlx::query(
        "SELECT set_config(s.name, s.value, false) FROM unnest($1::text[], $2::text[]) AS s (name, value)",
    )
    .bind(names)
    .bind(values)
    .execute(&mut session)
    .await?;
    Ok(session)
}

fn options(target: &Target, purpose: &Purpose) -> PgConnectOptions {
    base_options(target, purpose).options(&purpose.settings)
}

/// Sets every field: `new_without_pgpass` fills the ones that are left out from `PG*` variables.
fn base_options(target: &Target, purpose: &Purpose) -> PgConnectOptions {
    let tls = &target.tls;
    let mode = match tls.mode {
        TlsMode::Disable => PgSslMode::Disable,
        TlsMode::Require => PgSslMode::Require,
        TlsMode::VerifyCA => PgSslMode::VerifyCa,
        TlsMode::VerifyFull => PgSslMode::VerifyFull,
    };
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&target.host)
        .port(target.port)
        .database(&target.database)
        .username(&target.username)
        .password(target.password.expose())
        .application_name(&purpose.application_name)
        .ssl_mode(mode)
        .ssl_root_cert_from_pem(tls.ca_pem.clone().unwrap_or_default())
        // Without a cache sqlx names a statement per query and never closes it; what has no parameters goes as simple query.
        .statement_cache_capacity(STATEMENTS)
        .extra_float_digits(None)
        .disable_statement_logging();
    if let (Some(cert), Some(key)) = (&tls.client_cert_pem, &tls.client_key_pem) {
        options = options.ssl_client_cert_from_pem(cert).ssl_client_key_from_pem(key);
    }
    options
}

/// Names an environment variable that sqlx would read and that [`base_options`] cannot override.
fn disturbing(target: &Target, is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    let certificate = ["PGSSLCERT", "PGSSLKEY"];
    let own_certificate = target.tls.client_cert_pem.is_some();
    ["PGOPTIONS"]
        .into_iter()
        .chain(certificate.into_iter().filter(|_| !own_certificate))
        .find(|name| is_set(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::target::{Secret, Tls};

    fn target(tls: Tls) -> Target {
        let plain = Target::new(("db", 5432), "shop", "ann", Secret::new("hunter2"), Tls::default()).unwrap();
        Target { tls, ..plain }
    }

    #[test]
    fn settings_go_into_the_startup_message() {
        let purpose = Purpose::new("whimbrel/test")
            .with("search_path", "public, \"my app\"")
            .stop_when_abandoned(Duration::from_millis(500));
        let options = options(&target(Tls::default()), &purpose);
        let text = options.get_options().unwrap();
        for expected in
            ["lock_timeout=2s", r#"search_path=public,\ "my\ app""#, "client_connection_check_interval=500"]
        {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert_eq!(options.get_application_name(), Some("whimbrel/test"));
    }

    #[test]
    fn variables_that_cannot_be_overridden_are_refused() {
        let client =
            Tls { client_cert_pem: Some(Vec::new()), client_key_pem: Some(Vec::new()), ..Tls::default() };
        let check = |tls: &Tls, set: &str, refused: Option<&str>| {
            assert_eq!(disturbing(&target(tls.clone()), |name| name == set), refused, "{set}");
        };
        check(&Tls::default(), "PGOPTIONS", Some("PGOPTIONS"));
        check(&Tls::default(), "PGSSLKEY", Some("PGSSLKEY"));
        check(&Tls::default(), "PGPASSWORD", None);
        check(&client, "PGSSLKEY", None);
        check(&client, "PGOPTIONS", Some("PGOPTIONS"));
    }
}
