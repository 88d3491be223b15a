//! Where to connect: pure; built from a URL against an allow-list, or from parts.
//!
//! **Invariants**: no text produced here repeats the URL or the password, nothing is read from the environment, and no
//! setting can name a file of the machine that we run on.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::error::Error;

/// Time to reach a server, TLS and login included, unless the URL says otherwise.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text; the one place where it becomes visible.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How the server is authenticated, in rising order of strength.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS with whoever answers.
    Require,
    /// The certificate comes from a trusted authority.
    VerifyCA,
    /// And it is for this host name.
    #[default]
    VerifyFull,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "Disable",
            Self::Require => "Require",
            Self::VerifyCA => "VerifyCA",
            Self::VerifyFull => "VerifyFull",
        })
    }
}

/// TLS settings. The system's trusted roots always count, and a private authority is added to them: with
/// [`TlsMode::VerifyCA`], which checks no name, a certificate of any public authority is accepted where the system has
/// such roots. [`TlsMode::VerifyFull`] has no such gap.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// How the server is authenticated.
    pub mode: TlsMode,
    /// Certificates of a private authority.
    pub ca_pem: Option<Vec<u8>>,
    /// Our own certificate (and chain); only together with the key.
    pub client_cert_pem: Option<Vec<u8>>,
    /// The key of our own certificate.
    pub client_key_pem: Option<Vec<u8>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("mode", &self.mode)
            .field("private_ca", &self.ca_pem.is_some())
            .field("client_certificate", &self.client_cert_pem.is_some())
            .finish_non_exhaustive()
    }
}

/// One database on one server, and how to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// Login role.
    pub username: String,
    /// Password; empty where a client certificate is enough.
    pub password: Secret,
    /// TLS settings.
    pub tls: Tls,
    /// Time to reach the server, TLS and login included.
    pub connect_timeout: Duration,
}

impl Target {
    /// Builds a target from parts.
    ///
    /// # Errors
    /// [`Error::Settings`] for an empty or unusable part.
    pub fn new(
        (host, port): (&str, u16),
        database: &str,
        username: &str,
        password: Secret,
        tls: Tls,
    ) -> Result<Self, Error> {
        check_part("host", host)?;
        check_part("database", database)?;
        check_part("user name", username)?;
        if password.expose().contains('\0') {
            return settings("the password contains a NUL character");
        }
        if host.starts_with('/') {
            return settings("a Unix socket is not a host; give a host name");
        }
        if host.contains([',', ' ']) {
            return settings("give one host; the primary is followed through a Service or a DNS name");
        }
        check_certificates(&tls)?;
        Ok(Self {
            host: host.to_owned(),
            port,
            database: database.to_owned(),
            username: username.to_owned(),
            password,
            tls,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        })
    }

    /// Builds a target from `postgres://user:password@host:port/database?sslmode=...`.
    ///
    /// Allowed parameters: `sslmode` (never weaker than `tls.mode`), `connect_timeout` (1 to 60 seconds),
    /// `application_name` (ignored: sessions are named by us).
    ///
    /// # Errors
    /// [`Error::Settings`] saying what is wrong, without repeating any part that could be a piece of the password.
    pub fn from_url(url: &str, tls: Tls) -> Result<Self, Error> {
        const ENCODE: &str = "special characters of the password must be percent-encoded";
        let url = match Url::parse(url.trim()) {
            Ok(url) => url,
            // The reason is a fixed text, never a piece of the URL.
            Err(reason) => return settings(format!("the URL cannot be parsed ({reason}); {ENCODE}")),
        };
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return settings("the URL must begin with postgres:// or postgresql://");
        }
        // First of all: where the password broke the URL, its rest would be taken for path, parameter or fragment.
        if url.username().is_empty() {
            return settings(format!("the URL names no user; {ENCODE}"));
        }
        if url.fragment().is_some() {
            return settings(format!("the URL has a fragment (#); {ENCODE}"));
        }
        let host = decoded("host", url.host_str().unwrap_or_default())?;
        let database = decoded("database", url.path().strip_prefix('/').unwrap_or_default())?;
        if url.path().matches('/').count() > 1 {
            return settings(format!("the URL must name one database after the host; {ENCODE}"));
        }
        let username = decoded("user name", url.username())?;
        let password = Secret::new(decoded("password", url.password().unwrap_or_default())?);
        let (tls, connect_timeout) = parameters(&url, tls)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        let target = Self::new((host, url.port().unwrap_or(5432)), &database, &username, password, tls)?;
        Ok(Self { connect_timeout, ..target })
    }

    /// Returns `host:port`, for messages.
    pub fn address(&self) -> String {
        let is_ipv6 = self.host.contains(':');
        if is_ipv6 {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn settings<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Settings(message.into()))
}

fn check_part(what: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return settings(format!("the {what} is missing"));
    }
    // A NUL would end the field in the startup message, and the rest would become a parameter.
    if text.chars().any(char::is_control) {
        return settings(format!("the {what} contains a control character"));
    }
    Ok(())
}

/// Material without any certificate would silently be no material at all.
fn check_certificates(tls: &Tls) -> Result<(), Error> {
    let has_certificate = |pem: &Option<Vec<u8>>| {
        pem.as_ref()
            .is_none_or(|pem| CertificateDer::pem_slice_iter(pem).next().is_some_and(|first| first.is_ok()))
    };
    if !has_certificate(&tls.ca_pem) {
        return settings("the CA bundle contains no PEM certificate");
    }
    if !has_certificate(&tls.client_cert_pem) {
        return settings("the client certificate is no PEM certificate");
    }
    if tls.client_cert_pem.is_some() != tls.client_key_pem.is_some() {
        return settings("a client certificate and its key must be given together");
    }
    let is_key = |pem: &Vec<u8>| PrivateKeyDer::from_pem_slice(pem).is_ok();
    if !tls.client_key_pem.as_ref().is_none_or(is_key) {
        return settings("the key of the client certificate is no PEM private key");
    }
    Ok(())
}

fn decoded(what: &str, text: &str) -> Result<String, Error> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => settings(format!("the {what} is not UTF-8 after percent-decoding")),
    }
}

/// Applies the parameters of the URL to what the API object said.
fn parameters(url: &Url, mut tls: Tls) -> Result<(Tls, Duration), Error> {
    let mut timeout = DEFAULT_CONNECT_TIMEOUT;
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" => tls.mode = stricter(tls.mode, &value)?,
            "connect_timeout" => match value.parse::<u64>() {
                Ok(seconds @ 1..=60) => timeout = Duration::from_secs(seconds),
                _ => return settings("connect_timeout in the URL must be 1 to 60 (seconds)"),
            },
            "application_name" => {}
            // Only names that PostgreSQL defines are repeated; anything else could be a piece of a password.
            known if KNOWN.split(' ').any(|name| name == known) => {
                return settings(format!(
                    "the parameter {known} is not allowed in the URL (allowed: sslmode, connect_timeout, application_name)"
                ));
            }
            _ => {
                return settings(
                    "the URL has an unknown parameter (allowed: sslmode, connect_timeout, application_name)",
                );
            }
        }
    }
    Ok((tls, timeout))
}

fn stricter(wanted: TlsMode, sslmode: &str) -> Result<TlsMode, Error> {
    let in_url = match sslmode {
        "disable" | "allow" | "prefer" => TlsMode::Disable,
        "require" => TlsMode::Require,
        "verify-ca" => TlsMode::VerifyCA,
        "verify-full" => TlsMode::VerifyFull,
        _ => {
            return settings(
                "sslmode in the URL is none of disable, allow, prefer, require, verify-ca, verify-full",
            );
        }
    };
    if in_url < wanted {
        return settings(format!(
            "sslmode={sslmode} in the URL is weaker than the TLS mode {wanted}; \
             take it out of the URL, or set the weaker mode on the database on purpose"
        ));
    }
    Ok(in_url)
}

/// Connection parameters of libpq (PostgreSQL manual, "Parameter Key Words"), and of common drivers.
const KNOWN: &str = "\
    Parameter Key Words channel_binding client_encoding dbname fallback_application_name gssdelegation \
    gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval \
    krbsrvname load_balance_hosts max_protocol_version min_protocol_version options passfile password \
    port replication require_auth requirepeer requiressl scram_client_key scram_server_key service \
    servicefile socket ssl-ca ssl-cert ssl-key ssl-mode ssl-root-cert ssl_max_protocol_version \
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile \
    sslnegotiation sslpassword sslrootcert target_session_attrs user";

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(mode: TlsMode) -> Tls {
        Tls { mode, ..Tls::default() }
    }

    const GOOD: [(&str, &str); 5] = [
        ("postgres://ann:pw@db/shop", "db 5432 ann pw shop Require"),
        ("postgresql://ann@db:6543/shop?application_name=x", "db 6543 ann  shop Require"),
        ("postgres://a%40b:p%2Fw%25@db/s%2Dp\n", "db 5432 a@b p/w% s-p Require"),
        ("postgres://ann:p+w@[::1]:7/shop?sslmode=verify-full", "::1 7 ann p+w shop VerifyFull"),
        ("postgres://ann:pw@db/shop?sslmode=verify-ca&connect_timeout=3", "db 5432 ann pw shop VerifyCA"),
    ];

    /// What is refused, with a piece of the message. Each password contains `hunter`, which must never be repeated.
    const BAD: [(&str, &str); 28] = [
        ("mysql://ann:hunter2@db/shop", "postgres://"),
        ("hunter2", "cannot be parsed"),
        ("postgres://db/shop", "names no user"),
        ("postgres://ann:hunter2@/shop", "empty host"),
        ("postgres://ann:hunter2@db", "database is missing"),
        ("postgres://ann:hunter2@db/", "database is missing"),
        ("postgres://ann:hunter2@db/a/b", "one database"),
        ("postgres://ann:hunter2@a,b/shop", "one host"),
        ("postgres://ann:hunter2@a:1,b:2/shop", "cannot be parsed"),
        ("postgres://ann:hunter2@%2Fvar%2Frun/shop", "Unix socket"),
        ("postgres://ann:hunter2@db/shop?options=-csearch_path%3Dx", "options is not allowed"),
        ("postgres://ann:hunter2@db/shop?sslrootcert=/etc/passwd", "sslrootcert is not allowed"),
        ("postgres://ann:hunter2@db/shop?host=/tmp", "host is not allowed"),
        ("postgres://ann:hunter2@db/shop?service=x", "service is not allowed"),
        ("postgres://ann:hunter2@db/shop?passfile=x", "passfile is not allowed"),
        ("postgres://ann:hunter2@db/shop?hunter3=x", "unknown parameter"),
        ("postgres://ann:hunter2@db/shop?sslmode=disable", "weaker than the TLS mode Require"),
        ("postgres://ann:hunter2@db/shop?sslmode=prefer", "weaker than the TLS mode Require"),
        ("postgres://ann:hunter2@db/shop?sslmode=hunter", "sslmode in the URL is none of"),
        ("postgres://ann:hunter2@db/shop?connect_timeout=0", "connect_timeout"),
        ("postgres://ann:hunter2@db/sh%00op", "control character"),
        ("postgres://ann%ff:hunter2@db/shop", "not UTF-8"),
        ("postgres://ann:hunter%00@db/shop", "NUL"),
        // A password that was not encoded ends up in other parts of the URL.
        ("postgres://ann:hun/ter@db/shop", "percent-encoded"),
        ("postgres://ann:12/hunter@db/shop", "percent-encoded"),
        ("postgres://ann:12?hunter=2@db/shop", "percent-encoded"),
        ("postgres://ann:12#hunter@db/shop", "percent-encoded"),
        ("postgres://ann:hunter#2@db/shop", "percent-encoded"),
    ];

    #[test]
    fn a_url_becomes_a_target() {
        for (url, expected) in GOOD {
            let target =
                Target::from_url(url, tls(TlsMode::Require)).unwrap_or_else(|e| panic!("{url}: {e}"));
            let Target { host, port, username, password, database, tls, .. } = target;
            let found = format!("{host} {port} {username} {} {database} {}", password.expose(), tls.mode);
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn what_a_url_may_not_say_is_refused_by_name() {
        for (url, expected) in BAD {
            let refused = Target::from_url(url, tls(TlsMode::Require));
            let message = refused.map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(expected), "{url}: {message}");
            assert!(!message.contains("hunter") && !message.contains('@'), "{url}: {message}");
        }
    }

    const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const KEY: &[u8] = b"-----BEGIN PRIVATE KEY-----\naHVudGVy\n-----END PRIVATE KEY-----\n";

    #[test]
    fn nothing_prints_a_secret() {
        let tls = Tls {
            client_cert_pem: Some(CERTIFICATE.to_vec()),
            client_key_pem: Some(KEY.to_vec()),
            ..Tls::default()
        };
        let target = Target::from_url("postgres://ann:hunter2@db/shop", tls).unwrap();
        let printed = format!("{target:?} {}", target.address());
        assert!(!printed.contains("hunter") && printed.contains("redacted"), "{printed}");
        assert!(!printed.contains(&format!("{KEY:?}")) && !printed.contains("aHVudGVy"), "{printed}");
    }

    #[test]
    fn unusable_certificates_are_refused() {
        let check = |ca: Option<&[u8]>, certificate: Option<&[u8]>, key: Option<&[u8]>, expected: &str| {
            let [ca_pem, client_cert_pem, client_key_pem] =
                [ca, certificate, key].map(|pem| pem.map(<[u8]>::to_vec));
            let tls = Tls { ca_pem, client_cert_pem, client_key_pem, ..Tls::default() };
            let refused = Target::new(("db", 5432), "shop", "ann", Secret::default(), tls);
            assert!(matches!(&refused, Err(Error::Settings(text)) if text.contains(expected)), "{refused:?}");
        };
        check(Some(b"not PEM"), None, None, "CA bundle");
        check(Some(KEY), None, None, "CA bundle");
        check(None, Some(b""), Some(KEY), "client certificate is no");
        check(None, Some(CERTIFICATE), None, "together");
        check(None, Some(CERTIFICATE), Some(CERTIFICATE), "no PEM private key");
    }
}
