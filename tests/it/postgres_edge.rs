//! The PostgreSQL edge on real servers: sessions, TLS, identity, poolers, copies, errors, facts, grants.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use whimbrel::postgres::connect::{Purpose, connect};
use whimbrel::postgres::copy::{Overlap, overlap};
use whimbrel::postgres::facts::{ColumnKey, columns};
use whimbrel::postgres::grants::{grants_sql, missing};
use whimbrel::postgres::identity::{Comparison, ServerIdentity};
use whimbrel::postgres::{Class, Error, Secret, Target, Tls, TlsMode};

use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{self, Cluster, Database, OPERATOR, OWNER, Options, PASSWORD, SUPERUSER, execute, text};
use crate::harness::tls::Authority;
use crate::harness::{await_until, ports, run};

const SOON: Duration = Duration::from_secs(20);

fn target(database: &Database, role: &str) -> Result<Target, Error> {
    Target::from_url(&database.url(role), Tls { mode: TlsMode::Disable, ..Tls::default() })
}

async fn open(target: &Target) -> Result<PgConnection, Error> {
    connect(target, &Purpose::new("whimbrel/test")).await
}

/// A session of a role, as the operator opens it.
pub async fn session(database: &Database, role: &str) -> Result<PgConnection> {
    Ok(open(&target(database, role)?).await?)
}

/// The last value of the first row, as text.
pub async fn one(session: &mut PgConnection, sql: &str) -> Result<String> {
    let rows = text(session, sql).await?;
    let value = rows.into_iter().next().and_then(|mut row| row.pop()).flatten();
    value.with_context(|| format!("no value: {sql}"))
}

/// The error of what must fail; it never prints the password.
fn refused<T>(result: Result<T, Error>) -> Result<Error> {
    let error = result.err().context("it was not refused")?;
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
        let check = async |target: Target, is_expected: fn(&Error) -> bool, class: Class| -> Result<()> {
            let error = refused(open(&target).await)?;
            assert!(is_expected(&error), "{error:?}");
            assert_eq!(error.class(), class, "{error:?}");
            Ok(())
        };
        let wrong = Target { password: Secret::new("wrong"), ..good.clone() };
        check(wrong, |error| matches!(error, Error::Authentication { .. }), Class::User).await?;
        let unknown = Target { username: "nobody".to_owned(), ..good.clone() };
        check(unknown, |error| matches!(error, Error::Authentication { .. }), Class::User).await?;
        let missing = Target { database: "nowhere".to_owned(), ..good.clone() };
        check(missing, |error| matches!(error, Error::DatabaseMissing { .. }), Class::User).await?;
        let closed = Target { port: ports::free()?, ..good.clone() };
        check(closed, |error| matches!(error, Error::Unreachable { .. }), Class::Transient).await?;
        let nameless = Target { host: "no-such-host.invalid".to_owned(), ..good.clone() };
        check(nameless, |error| matches!(error, Error::Unreachable { .. }), Class::Transient).await?;
        let plain = Target { tls: Tls::default(), ..good };
        check(plain, |error| matches!(error, Error::Tls { .. }), Class::User).await
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
        let target = Target::new(("localhost", port), "shop", OPERATOR, Secret::new(PASSWORD), Tls::default())?;
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

#[test]
fn tls_modes_check_what_they_promise() -> Result<()> {
    run(async {
        let authority = std::sync::Arc::new(Authority::new("edge-ca")?);
        let other = Authority::new("other-ca")?;
        let options = Options { authority: Some(authority.clone()), ..Options::default() };
        let cluster = Cluster::start(options).await?;
        let port = cluster.port();
        let attempt = async |host: &str, mode: TlsMode, ca: Option<String>| -> Result<String, Error> {
            let tls = Tls { mode, ca_pem: ca.map(String::into_bytes), ..Tls::default() };
            let target = Target::new((host, port), "postgres", SUPERUSER, Secret::new(PASSWORD), tls)?;
            let used = one(&mut open(&target).await?, "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
            used.map_err(|error| Error::Unexpected(error.to_string()))
        };
        let tls_error = |result: Result<String, Error>, expected: &str| -> Result<()> {
            let error = refused(result)?;
            let fits = matches!(&error, Error::Tls { cause, .. } if cause.contains(expected));
            ensure!(fits, "{error:?} is no TLS error about {expected}");
            Ok(())
        };
        let (ours, theirs) = (Some(authority.certificate()), Some(other.certificate()));
        for host in ["localhost", "127.0.0.1"] {
            assert_eq!(attempt(host, TlsMode::VerifyFull, ours.clone()).await?, "TLSv1.3");
        }
        tls_error(attempt("localhost", TlsMode::VerifyFull, theirs.clone()).await, "UnknownIssuer")?;
        tls_error(attempt("localhost", TlsMode::VerifyFull, None).await, "UnknownIssuer")?;
        tls_error(attempt("localhost", TlsMode::VerifyCA, theirs).await, "UnknownIssuer")?;
        assert_eq!(attempt("localhost", TlsMode::Require, None).await?, "TLSv1.3");
        let plain = refused(attempt("localhost", TlsMode::Disable, None).await)?;
        assert!(matches!(plain, Error::Authentication { .. }), "{plain:?}");

        // The same server with a certificate for another name.
        let renamed = authority.issue(&["db.example"])?;
        let data = std::path::PathBuf::from(cluster.admin().value("SHOW data_directory").await?);
        std::fs::write(data.join("server.crt"), renamed.certificate)?;
        std::fs::write(data.join("server.key"), renamed.key)?;
        cluster.admin().execute("SELECT pg_reload_conf()").await?;
        await_until("the new certificate", SOON, async || {
            tls_error(attempt("localhost", TlsMode::VerifyFull, ours.clone()).await, "db.example")
        })
        .await?;
        assert_eq!(attempt("localhost", TlsMode::VerifyCA, ours).await?, "TLSv1.3");
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
        let attempt = async |certificate: Option<crate::harness::tls::Identity>| -> Result<PgConnection, Error> {
            let (cert, key) = certificate.map(|identity| (identity.certificate, identity.key)).unzip();
            let tls = Tls {
                ca_pem: Some(authority.certificate().into_bytes()),
                client_cert_pem: cert.map(String::into_bytes),
                client_key_pem: key.map(String::into_bytes),
                ..Tls::default()
            };
            open(&Target::new(("localhost", cluster.port()), "postgres", OPERATOR, Secret::default(), tls)?).await
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
fn a_promotion_is_a_failover_and_another_cluster_is_wrong() -> Result<()> {
    run(async {
        let primary = Cluster::start(Options { own_identity: true, ..Options::default() }).await?;
        let standby = primary.standby().await?;
        let read = async |cluster: &Cluster| -> Result<ServerIdentity> {
            Ok(ServerIdentity::read(&mut session(&cluster.admin(), OPERATOR).await?).await?)
        };
        let pinned = read(&primary).await?;
        assert_eq!((pinned.timeline, pinned.in_recovery, pinned.superuser), (Some(1), false, false));
        assert_eq!((pinned.database.as_str(), pinned.session_user.as_str()), ("postgres", OPERATOR));
        let follower = read(&standby).await?;
        assert_eq!((follower.timeline, follower.in_recovery), (None, true));
        assert_eq!(follower.against(&pinned), Comparison::Same);
        standby.promote().await?;
        let promoted = read(&standby).await?;
        assert_eq!(promoted.against(&pinned), Comparison::Failover { from: 1, to: 2 });
        assert!(matches!(pinned.against(&promoted), Comparison::WrongServer(_)), "an old primary");
        let foreign = read(postgres::shared().await?).await?;
        assert!(matches!(foreign.against(&pinned), Comparison::WrongServer(_)), "{foreign:?}");
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

#[test]
fn a_copy_is_not_the_primary() -> Result<()> {
    run(async {
        let primary = Cluster::start(Options::default()).await?;
        let (shop, other) = (primary.database("shop").await?, primary.database("other").await?);
        let copy = primary.writable_copy().await?;
        let check = async |database: &Database, expected: Overlap| -> Result<()> {
            let mut first = session(&shop, OPERATOR).await?;
            let mut second = session(database, OPERATOR).await?;
            assert_eq!(overlap(&mut first, &mut second).await?, expected, "{database:?}");
            let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
            assert_eq!(one(&mut first, left).await?, "0");
            Ok(())
        };
        check(&copy.named("shop"), Overlap::None).await?;
        check(&shop, Overlap::Database).await?;
        check(&other, Overlap::Server).await
    })
}

#[test]
fn server_errors_show_no_rows() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("edge_errors").await?;
        let rows = "CREATE TABLE t (id text); INSERT INTO t VALUES ('ann@example.com'), ('ann@example.com')";
        database.execute(rows).await?;
        let mut session = session(&database, SUPERUSER).await?;
        let mut check = async |sql: &'static str, sqlstate: &str, expected: &str| -> Result<()> {
            let error = sqlx::raw_sql(sql).execute(&mut session).await.err().context("no error")?;
            let error = Error::from(error);
            let printed = format!("{error} {error:?}");
            assert_eq!((error.sqlstate(), error.class()), (Some(sqlstate), Class::User), "{printed}");
            assert!(printed.contains(expected) && !printed.contains("ann@"), "{printed}");
            Ok(())
        };
        check("ALTER TABLE public.t ADD UNIQUE (id)", "23505", "constraint: Some(\"t_id_key\")").await?;
        check("ALTER TABLE public.t ALTER id TYPE int USING id::int", "22P02", "value not shown").await?;
        check("ALTER TABLE public.t ADD CHECK (id = '')", "23514", "violated by some row").await?;
        check("ALTER TABLE public.t DROP nothing", "42703", "\"nothing\"").await?;
        check("SELECT FROM\n nowhere", "42P01", "position: Some(14)").await
    })
}

#[test]
fn columns_are_found_as_the_search_path_says() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("edge_facts").await?;
        let schema = "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE b.t (id int NOT NULL DEFAULT 7, n numeric(9,2));
             CREATE TABLE a.t (id int); CREATE FUNCTION b.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE TABLE b.u (k int GENERATED BY DEFAULT AS IDENTITY, g int GENERATED ALWAYS AS (1 + 1) STORED,
                 d int DEFAULT b.f())";
        database.execute(schema).await?;
        let mut session = session(&database, OPERATOR).await?;
        let key = |schema: Option<&str>, relation: &str, column: &str| ColumnKey {
            schema: schema.map(ToOwned::to_owned),
            relation: relation.to_owned(),
            column: column.to_owned(),
        };
        let keys = [
            key(None, "t", "id"),
            key(Some("a"), "t", "id"),
            key(None, "u", "k"),
            key(None, "u", "g"),
            key(None, "u", "d"),
            key(None, "t", "nothing"),
            key(Some("a"), "u", "k"),
        ];
        let path = ["b".to_owned(), "a".to_owned()];
        let found = columns(&mut session, &path, &keys).await?;
        let [b, a, identity, generated, default, ..] = &keys;
        assert_eq!(found.len(), 5, "{found:?}");
        assert_eq!((found[b].schema.as_str(), found[b].not_null, found[b].default.as_deref()), ("b", true, Some("7")));
        assert_eq!((found[a].schema.as_str(), found[a].not_null, &found[a].default), ("a", false, &None));
        let identity = &found[identity];
        assert_eq!((identity.identity, identity.data_type.as_str()), (Some("BY DEFAULT"), "integer"));
        assert_eq!((found[generated].generated.as_deref(), &found[generated].default), (Some("(1 + 1)"), &None));
        assert_eq!(found[default].default.as_deref(), Some("b.f()"), "names are qualified");
        execute(&mut session, "SET search_path = b").await?;
        let misled = columns(&mut session, &path, &keys).await;
        assert!(matches!(misled, Err(Error::Unexpected(_))), "{misled:?}");
        Ok(())
    })
}

#[test]
fn the_printed_grants_are_enough_and_no_more_is_missing() -> Result<()> {
    run(async {
        let cluster = postgres::shared().await?;
        let (login, admin) = ("edge_login", cluster.admin());
        admin.execute(&format!("CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'")).await?;
        admin.execute(&format!("CREATE DATABASE edge_grants OWNER {OWNER}")).await?;
        let database = cluster.named("edge_grants");
        let objects = format!("SET ROLE {OWNER}; CREATE SCHEMA shop; CREATE TABLE shop.orders (id int)");
        database.execute(&objects).await?;
        let schemas = ["shop".to_owned(), "absent".to_owned()];
        let lacking = async || -> Result<Vec<String>> {
            let missing = missing(&mut session(&database, login).await?, Some(OWNER), &schemas).await?;
            Ok(missing.into_iter().map(|missing| format!("{} {}", missing.blocking, missing.grant)).collect())
        };
        let stats = format!("false GRANT pg_read_all_stats TO {login}");
        let ledger = format!("true CREATE SCHEMA whimbrel AUTHORIZATION {login}");
        let member = format!("true GRANT {OWNER} TO {login}");
        assert_eq!(lacking().await?, [ledger, member, stats.clone()]);

        let grants = grants_sql(login, Some(OWNER), "edge_grants", &["shop".to_owned()]);
        for _ in 0..2 {
            database.execute(&grants).await?;
        }
        assert_eq!(lacking().await?, [stats]);
        works(&database, login).await?;
        admin.execute(&format!("GRANT pg_read_all_stats TO {login}")).await?;
        assert_eq!(lacking().await?, [""; 0]);

        // Without the role, the tables of others are named.
        let alone = format!("REVOKE {OWNER} FROM {login}; GRANT USAGE, CREATE ON SCHEMA shop TO {login}");
        database.execute(&alone).await?;
        let mut session = session(&database, login).await?;
        let alone = missing(&mut session, None, &schemas).await?;
        let [only] = alone.as_slice() else { anyhow::bail!("{alone:?}") };
        assert_eq!(only.grant, format!("ALTER TABLE shop.fresh OWNER TO {login}"));
        assert!(only.feature.contains("shop") && only.feature.ends_with(": 2"), "{}", only.feature);
        let absent = missing(&mut session, Some("no_role"), &schemas).await?;
        let create = format!("CREATE ROLE no_role; GRANT no_role TO {login}");
        assert!(absent.iter().any(|missing| missing.grant == create), "{absent:?}");
        Ok(())
    })
}

/// Does with a login what the engine does.
async fn works(database: &Database, login: &str) -> Result<()> {
    let mut work = session(database, login).await?;
    execute(&mut work, "CREATE TABLE whimbrel.epoch (epoch bigint); INSERT INTO whimbrel.epoch VALUES (1)").await?;
    let unit = format!(
        "BEGIN; SELECT FROM whimbrel.epoch WHERE epoch = 1 FOR SHARE; SET LOCAL ROLE {OWNER}; \
         LOCK TABLE ONLY shop.orders IN ACCESS EXCLUSIVE MODE; ALTER TABLE shop.orders ADD tier text; \
         CREATE TABLE shop.fresh (id int PRIMARY KEY); RESET ROLE; UPDATE whimbrel.epoch SET epoch = 2; COMMIT"
    );
    execute(&mut work, &unit).await?;
    execute(&mut work, &format!("SET ROLE {OWNER}")).await?;
    execute(&mut work, "CREATE INDEX CONCURRENTLY orders_tier ON shop.orders (tier)").await?;
    execute(&mut work, "RESET ROLE").await?;
    let owners = "SELECT string_agg(DISTINCT relowner::regrole::text, ' ') FROM pg_class \
         WHERE relnamespace = 'shop'::regnamespace";
    assert_eq!(one(&mut work, owners).await?, OWNER);
    ServerIdentity::read(&mut work).await?;

    // Blockers are seen without a grant; what they run is not.
    let mut other = database.connect().await?;
    execute(&mut other, "BEGIN; LOCK TABLE shop.orders IN ACCESS SHARE MODE").await?;
    let pid = one(&mut other, "SELECT pg_backend_pid()").await?;
    let locks = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND relation = 'shop.orders'::regclass");
    assert_eq!(one(&mut work, &locks).await?, "1");
    let query = format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}");
    assert_eq!(one(&mut work, &query).await?, "<insufficient privilege>");

    // A session of ours that was left behind can be ended.
    let mut left = session(database, login).await?;
    let pid = one(&mut left, "SELECT pg_backend_pid()").await?;
    assert_eq!(one(&mut work, &format!("SELECT pg_terminate_backend({pid})")).await?, "t");
    let lost = sqlx::raw_sql("SELECT 1").execute(&mut left).await.err().context("still alive")?;
    assert_eq!(Error::from(lost).class(), Class::Ambiguous);
    Ok(other.close().await?)
}
