//! The PostgreSQL edge on real servers: identity, copies, errors, facts, grants.

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, PgConnection};
use whimbrel::postgres::connect::{Purpose, connect};
use whimbrel::postgres::copy::{Overlap, overlap};
use whimbrel::postgres::facts::{ColumnKey, columns};
use whimbrel::postgres::grants::{grants_sql, missing};
use whimbrel::postgres::identity::{Comparison, ServerIdentity};
use whimbrel::postgres::{Class, Error, Target};

pub use crate::harness::engine::target;
use crate::harness::postgres::{
    self, Cluster, Database, OPERATOR, OWNER, Options, PASSWORD, SUPERUSER, execute, text,
};
use crate::harness::run;

/// A session, as the operator opens it.
pub async fn open(target: &Target) -> Result<PgConnection, Error> {
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
        assert_eq!(
            (found[b].schema.as_str(), found[b].not_null, found[b].default.as_deref()),
            ("b", true, Some("7"))
        );
        assert_eq!((found[a].schema.as_str(), found[a].not_null, &found[a].default), ("a", false, &None));
        let identity = &found[identity];
        assert_eq!((identity.identity, identity.data_type.as_str()), (Some("BY DEFAULT"), "integer"));
        assert_eq!(
            (found[generated].generated.as_deref(), &found[generated].default),
            (Some("(1 + 1)"), &None)
        );
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
    execute(&mut work, "CREATE TABLE whimbrel.epoch (epoch bigint); INSERT INTO whimbrel.epoch VALUES (1)")
        .await?;
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
    let locks =
        format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND relation = 'shop.orders'::regclass");
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
