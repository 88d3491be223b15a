//! Sessions of the PostgreSQL edge on real servers: settings, TLS, failures, poolers.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::PgConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use whimbrel::postgres::connect::{Purpose, connect};
use whimbrel::postgres::{Class, Error, Secret, Target, Tls, TlsMode};

use crate::harness::SOON;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{self, Cluster, OPERATOR, Options, PASSWORD, SUPERUSER};
use crate::harness::tls::{Authority, Identity};
use crate::harness::{await_until, ports, run};
use crate::postgres_edge::{one, open, session, target};

/// The error of what must fail; it never prints the password.
fn refused<T>(result: Result<T, Error>) -> Result<Error> {
    let error = result.err().ok_or_else(|| anyhow::anyhow!("it was not refused"))?;
    ensure!(!format!("{error} {error:?}").contains(PASSWORD), "the password is printed");
    Ok(error)
}

#[test]
fn sessions_start_with_their_settings() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("edge_settings").await?;
        let purpose = Purpose::new("whimbrel/settings")
            .with("lock_timeout", "250ms")
            .stop_when_abandoned(Duration::from_millis(500));
        let mut session = connect(&target(&database, OPERATOR)?, &purpose).await?;
        for (setting, expected) in [
            ("search_path", ""),
            ("application_name", "whimbrel/settings"),
            ("lock_timeout", "250ms"),
            ("client_connection_check_interval", "500ms"),
            ("idle_in_transaction_session_timeout", "5s"),
            ("idle_session_timeout", "15s"),
            ("timezone", "UTC"),
            ("tcp_user_timeout", "15000"),
        ] {
            assert_eq!(one(&mut session, &format!("SHOW {setting}")).await?, expected, "{setting}");
        }
        Ok(())
    })
}

#[test]
fn failures_to_connect_are_told_apart() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("edge_failures").await?;
        let good = target(&database, OPERATOR)?;
        let check = async |change: fn(&mut Target), kind: &str, class: Class| -> Result<()> {
            let mut target = good.clone();
            change(&mut target);
            let error = refused(open(&target).await)?;
            ensure!(format!("{error:?}").starts_with(kind) && error.class() == class, "{error:?}");
            Ok(())
        };
        check(|t| t.password = Secret::new("wrong"), "Authentication", Class::User).await?;
        check(|t| t.username = "nobody".to_owned(), "Authentication", Class::User).await?;
        check(|t| t.database = "nowhere".to_owned(), "DatabaseMissing", Class::User).await?;
        check(|t| t.port = ports::free().unwrap(), "Unreachable", Class::Transient).await?;
        check(|t| t.host = "no-such-host.invalid".to_owned(), "Unreachable", Class::Transient).await?;
        check(|t| t.tls = Tls::default(), "Tls", Class::User).await
    })
}

#[test]
fn a_server_without_tls_never_sees_login_or_password() -> Result<()> {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut heard = vec![0; 8];
            stream.read_exact(&mut heard).await?;
            stream.write_all(b"N").await?;
            stream.read_to_end(&mut heard).await?;
            anyhow::Ok(heard)
        });
        let target =
            Target::new(("localhost", port), "shop", OPERATOR, Secret::new(PASSWORD), Tls::default())?;
        let error = refused(open(&target).await)?;
        assert!(matches!(error, Error::Tls { .. }), "{error:?}");
        assert_eq!(heard.await??, [0, 0, 0, 8, 4, 210, 22, 47], "only the request for TLS");
        Ok(())
    })
}

#[test]
fn a_silent_server_is_given_up() -> Result<()> {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let url = format!("postgres://ann:{PASSWORD}@localhost:{port}/shop?connect_timeout=1");
        let error = refused(open(&Target::from_url(&url, Tls::default())?).await)?;
        assert!(matches!(&error, Error::Unreachable { cause, .. } if cause.contains("1s")), "{error:?}");
        Ok(())
    })
}

/// Connects to a server on this machine; returns the TLS version in use.
async fn attempt(
    cluster: &Cluster,
    host: &str,
    mode: TlsMode,
    ca: Option<&Authority>,
) -> Result<String, Error> {
    let ca_pem = ca.map(|authority| authority.certificate().into_bytes());
    let tls = Tls { mode, ca_pem, ..Tls::default() };
    let address = (host, cluster.port());
    let target = Target::new(address, "postgres", SUPERUSER, Secret::new(PASSWORD), tls)?;
    let version = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let used = one(&mut open(&target).await?, version).await;
    used.map_err(|error| Error::Unexpected(error.to_string()))
}

fn tls_error(result: Result<String, Error>, expected: &str) -> Result<()> {
    let error = refused(result)?;
    let fits = matches!(&error, Error::Tls { cause, .. } if cause.contains(expected));
    ensure!(fits, "{error:?} is no TLS error about {expected}");
    Ok(())
}

#[test]
fn tls_modes_check_what_they_promise() -> Result<()> {
    run(async {
        let ours = std::sync::Arc::new(Authority::new("edge-ca")?);
        let theirs = Authority::new("other-ca")?;
        let options = Options { authority: Some(ours.clone()), ..Options::default() };
        let cluster = &Cluster::start(options).await?;
        let local = "localhost";
        for host in [local, "127.0.0.1"] {
            assert_eq!(attempt(cluster, host, TlsMode::VerifyFull, Some(&ours)).await?, "TLSv1.3");
        }
        tls_error(attempt(cluster, local, TlsMode::VerifyFull, Some(&theirs)).await, "UnknownIssuer")?;
        tls_error(attempt(cluster, local, TlsMode::VerifyFull, None).await, "tls.caFrom")?;
        tls_error(attempt(postgres::shared().await?, local, TlsMode::Require, None).await, "tls.mode")?;
        tls_error(attempt(cluster, local, TlsMode::VerifyCA, Some(&theirs)).await, "UnknownIssuer")?;
        assert_eq!(attempt(cluster, local, TlsMode::Require, None).await?, "TLSv1.3");
        let plain = refused(attempt(cluster, local, TlsMode::Disable, None).await)?;
        assert!(matches!(plain, Error::Authentication { .. }), "{plain:?}");

        // The same server with a certificate for another name.
        let renamed = ours.issue(&["db.example"])?;
        let data = std::path::PathBuf::from(cluster.admin().value("SHOW data_directory").await?);
        std::fs::write(data.join("server.crt"), renamed.certificate)?;
        std::fs::write(data.join("server.key"), renamed.key)?;
        cluster.admin().execute("SELECT pg_reload_conf()").await?;
        await_until("the new certificate", SOON, async || {
            tls_error(attempt(cluster, local, TlsMode::VerifyFull, Some(&ours)).await, "db.example")
        })
        .await?;
        assert_eq!(attempt(cluster, local, TlsMode::VerifyCA, Some(&ours)).await?, "TLSv1.3");
        Ok(())
    })
}

#[test]
fn a_client_certificate_logs_in_without_a_password() -> Result<()> {
    run(async {
        let authority = std::sync::Arc::new(Authority::new("edge-ca")?);
        let options = Options { authority: Some(authority.clone()), ..Options::default() };
        let cluster = Cluster::start(options).await?;
        let data = std::path::PathBuf::from(cluster.admin().value("SHOW data_directory").await?);
        std::fs::write(data.join("clients.crt"), authority.certificate())?;
        let rules = std::fs::read_to_string(data.join("pg_hba.conf"))?;
        std::fs::write(data.join("pg_hba.conf"), format!("hostssl all {OPERATOR} all cert\n{rules}"))?;
        cluster.admin().execute("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'").await?;
        cluster.admin().execute("SELECT pg_reload_conf()").await?;
        let attempt = async |certificate: Option<Identity>| -> Result<PgConnection, Error> {
            let (cert, key) = certificate.map(|identity| (identity.certificate, identity.key)).unzip();
            let tls = Tls {
                ca_pem: Some(authority.certificate().into_bytes()),
                client_cert_pem: cert.map(String::into_bytes),
                client_key_pem: key.map(String::into_bytes),
                ..Tls::default()
            };
            open(&Target::new(("localhost", cluster.port()), "postgres", OPERATOR, Secret::default(), tls)?)
                .await
        };
        await_until("the login by certificate", SOON, async || {
            let mut session = attempt(Some(authority.issue(&[OPERATOR])?)).await?;
            ensure!(one(&mut session, "SELECT session_user").await? == OPERATOR);
            Ok(())
        })
        .await?;
        let without = refused(attempt(None).await)?;
        assert!(matches!(without, Error::Authentication { .. }), "{without:?}");
        let other = refused(attempt(Some(authority.issue(&["somebody"])?)).await)?;
        assert!(matches!(other, Error::Authentication { .. }), "{other:?}");
        Ok(())
    })
}

#[test]
fn transaction_pooling_is_refused_and_session_pooling_is_fine() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("edge_pooler").await?;
        let pooler = PgBouncer::start(&database, "transaction", &[OPERATOR]).await?;
        let error = refused(open(&target(&database.through(pooler.port()), OPERATOR)?).await)?;
        assert!(matches!(&error, Error::PoolerDetected { .. }), "{error:?}");

        let pooler = PgBouncer::start(&database, "session", &[OPERATOR]).await?;
        let mut session = session(&database.through(pooler.port()), OPERATOR).await?;
        for (setting, expected) in
            [("lock_timeout", "2s"), ("search_path", ""), ("application_name", "whimbrel/test")]
        {
            assert_eq!(one(&mut session, &format!("SHOW {setting}")).await?, expected, "{setting}");
        }
        Ok(())
    })
}
