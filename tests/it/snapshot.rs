//! The catalog as data, read from real servers: what is in it, with which privileges, and that nothing is left behind.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use whimbrel::postgres::snapshot;
use whimbrel::sql::{
    ConstraintKind, Generated, RelationName, RelationType, ReplicaIdentity, Snapshot, TypeKind, Volatility,
};

use crate::harness::postgres::{self, APPLICATION, Database, OPERATOR, PASSWORD, SUPERUSER, execute};
use crate::harness::run;
use crate::postgres_edge::{one, session};

const SHOP: &str = "
CREATE TYPE tier AS ENUM ('free', 'pro');
CREATE DOMAIN email AS text CHECK (VALUE ~ '@');
CREATE SCHEMA \"My app\";
CREATE TABLE users (id bigserial PRIMARY KEY, name text NOT NULL, mail email, born date, tier tier DEFAULT 'free',
    CONSTRAINT old CHECK (born > '1900-01-01'));
CREATE INDEX users_name ON users (lower(name)) INCLUDE (id) WHERE mail IS NOT NULL;
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner bigint REFERENCES users,
    net numeric(10,2), gross numeric GENERATED ALWAYS AS (net * 2) STORED);
ALTER TABLE orders ADD CONSTRAINT positive CHECK (net > 0) NOT VALID;
CREATE TABLE events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE INDEX events_at ON events (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW recent AS SELECT id FROM orders WHERE net > 1;
CREATE VIEW newest AS SELECT * FROM recent;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM name FROM users; RETURN new; END';
CREATE FUNCTION names() RETURNS SETOF text STABLE BEGIN ATOMIC SELECT name FROM users; END;
CREATE TRIGGER touch BEFORE UPDATE OF name ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE SEQUENCE numbers;
CREATE TABLE \"My app\".\"Odd\" (n int DEFAULT nextval('numbers'));
ALTER TABLE \"My app\".\"Odd\" REPLICA IDENTITY FULL;
CREATE POLICY own ON users USING (id > 1);
CREATE RULE quiet AS ON DELETE TO recent DO INSTEAD NOTHING;
CREATE PUBLICATION pub FOR TABLE users, events;
CREATE STATISTICS both_columns ON name, born FROM users;
CREATE SCHEMA whimbrel CREATE TABLE units (id int);
INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 1000) n;
INSERT INTO events VALUES ('2026-02-03', 'a'), ('2026-02-04', 'b');
ANALYZE;";

/// The snapshot as a role reads it.
async fn read(database: &Database, role: &str) -> Result<Snapshot> {
    Ok(snapshot::read(&mut session(database, role).await?, &[]).await?)
}

fn name(schema: &str, name: &str) -> RelationName {
    RelationName::qualified(schema, name)
}

#[test]
fn a_catalog_is_read_as_far_as_it_is_asked_for() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("snapshot_bounded").await?;
        database.execute(SHOP).await?;
        let mut conn = session(&database, OPERATOR).await?;
        let path = ["public".to_owned()];
        ensure!(snapshot::read_bounded(&mut conn, &path, 3, &|_| true).await?.is_none(), "more than three");

        let outline = snapshot::read_bounded(&mut conn, &path, 10_000, &|_| false).await?.context("small")?;
        let users = outline.relation(&RelationName::unqualified("users")).context("users")?;
        assert_eq!((users.rows, users.columns.len(), users.indexes.len()), (Some(1000.0), 5, 2));
        ensure!(outline.dependencies.is_empty() && outline.types.is_empty(), "no more than the outline");
        ensure!(!outline.complete, "what it lacks may be there");

        let asked = std::sync::atomic::AtomicBool::new(false);
        let more = |shown: &Snapshot| {
            asked.store(shown.relations == outline.relations, std::sync::atomic::Ordering::Relaxed);
            true
        };
        let whole = snapshot::read_bounded(&mut conn, &path, 10_000, &more).await?.context("small")?;
        ensure!(asked.into_inner(), "the outline is what is shown");
        ensure!(!whole.dependencies.is_empty(), "what depends on what");
        Ok(())
    })
}

#[test]
fn a_catalog_is_left_unread_for_what_is_new_in_it() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("snapshot_new").await?;
        database.execute(SHOP).await?;
        let mut conn = session(&database, OPERATOR).await?;
        let path = ["public".to_owned()];
        let texts = [("made", false), ("Users", true), ("public.made", false), ("whimbrel_new.users", true)];
        for (name, read) in texts {
            let sql = format!("CREATE TABLE {name} (key bigint PRIMARY KEY)");
            let statements =
                whimbrel::sql::parse(&sql).map_err(|found| anyhow::anyhow!("{found:?}"))?.statements;
            let found = snapshot::read_for(&mut conn, &path, &statements).await?.context("small")?;
            assert_eq!(!found.relations.is_empty(), read, "{sql}");
            assert_eq!(found.search_path, path, "{sql}");
        }
        Ok(())
    })
}

#[test]
fn a_catalog_is_read_whole() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("snapshot_whole").await?;
        database.execute(SHOP).await?;
        let found = read(&database, SUPERUSER).await?;
        assert!(found.complete && found.taken_at.is_some(), "{:?}", found.unknown);
        assert_eq!(found.database.as_deref(), Some("snapshot_whole"));
        assert_eq!(found.search_path, ["postgres", "public"]);
        assert_eq!(found.settings["TimeZone"], "UTC");
        assert_eq!(found.settings["maintenance_work_mem"], "67108864");
        assert!(
            found.schemas.contains(&"My app".to_owned()) && !found.schemas.contains(&"whimbrel".to_owned())
        );
        relations(&found)?;
        let kinds: Vec<_> = found.types.iter().map(|of| (of.name.name.as_str(), of.kind)).collect();
        assert_eq!(kinds, [("email", TypeKind::Domain), ("tier", TypeKind::Enum)]);
        assert_eq!(found.types[1].labels, ["free", "pro"]);
        let function =
            |name: &str| found.functions.iter().find(|of| of.name.name == name).context("function");
        let (names, touch) = (function("names")?, function("touch")?);
        assert_eq!((names.parsed_body, names.volatility, &names.source), (true, Volatility::Stable, &None));
        assert!(touch.source.as_deref().is_some_and(|source| source.contains("FROM users")), "{touch:?}");
        Ok(())
    })
}

fn relations(found: &Snapshot) -> Result<()> {
    let relation = |schema: &str, of: &str| found.relation(&name(schema, of)).context(of.to_owned());
    let users = relation("public", "users")?;
    assert_eq!((users.rows, users.publications.as_slice()), (Some(1000.0), &["pub".to_owned()][..]));
    assert!(users.bytes > 0 && users.total_bytes > users.bytes, "{users:?}");
    let types: Vec<_> = users.columns.iter().map(|column| column.data_type.as_str()).collect();
    assert_eq!(types, ["bigint", "text", "public.email", "date", "public.tier"]);
    assert_eq!(users.columns[0].default.as_deref(), Some("nextval('public.users_id_seq'::regclass)"));
    assert!(users.columns[1].width.is_some_and(|width| width > 5), "{:?}", users.columns[1]);
    let index = users.indexes.iter().find(|index| index.name == "users_name").context("index")?;
    assert_eq!(index.columns, [None, Some("id".to_owned())]);
    assert_eq!(
        (index.used_columns.as_slice(), index.key_columns),
        (&["name".to_owned(), "mail".to_owned()][..], 1)
    );
    assert!(index.partial && index.valid && !index.unique && index.bytes > 0, "{index:?}");
    assert_eq!((users.triggers[0].function.as_str(), users.policies.len()), ("public.touch", 1));
    let orders = relation("public", "orders")?;
    assert_eq!(orders.columns[3].generated, Some(Generated::Stored));
    assert!(orders.columns[0].identity);
    let constraint = |of: &str| orders.constraints.iter().find(|one| one.name == of).context(of.to_owned());
    let (key, check) = (constraint("orders_owner_fkey")?, constraint("positive")?);
    assert_eq!((key.kind, key.references.as_ref()), (ConstraintKind::ForeignKey, Some(&users.name)));
    assert_eq!((key.columns.as_slice(), check.validated), (&["owner".to_owned()][..], false));
    let (parent, part) = (relation("public", "events")?, relation("public", "events_1")?);
    assert_eq!((parent.kind, parent.rows), (RelationType::PartitionedTable, Some(2.0)));
    assert_eq!(parent.partition_key.as_deref(), Some("RANGE (at)"));
    assert_eq!((part.partition_of.as_ref(), part.publications.len()), (Some(&parent.name), 1));
    assert!(part.partition_bound.as_deref().is_some_and(|bound| bound.starts_with("FOR VALUES FROM")));
    let odd = relation("My app", "Odd")?;
    assert_eq!(odd.replica_identity, ReplicaIdentity::Full);
    assert!(
        relation("public", "recent")?.definition.as_deref().is_some_and(|sql| sql.contains("public.orders"))
    );
    assert_eq!(
        relation("public", "users_id_seq")?.owned_by,
        Some((users.name.clone(), Some("id".to_owned())))
    );
    assert!(found.relation(&name("whimbrel", "units")).is_none());
    dependencies(found)
}

fn dependencies(found: &Snapshot) -> Result<()> {
    let edges: Vec<String> = found
        .dependencies
        .iter()
        .map(|of| format!("{} {} -> {}", of.dependent.kind, of.dependent.identity, of.on.identity))
        .collect();
    for expected in [
        "view public.recent -> public.orders.net",
        "view public.newest -> public.recent.id",
        "rule quiet on public.recent -> public.recent",
        "generated column public.orders.gross -> public.orders.net",
        "index public.users_name -> public.users.mail",
        "table constraint orders_owner_fkey on public.orders -> public.users.id",
        "trigger touch on public.users -> public.users.name",
        "trigger touch on public.users -> public.touch()",
        "policy own on public.users -> public.users.id",
        "function public.names() -> public.users.name",
        "statistics object public.both_columns -> public.users.born",
        "sequence public.users_id_seq -> public.users.id",
        "default value for \"My app\".\"Odd\".n -> public.numbers",
        "table column public.users.mail -> public.email",
        "publication relation public.users in publication pub -> public.users",
        "materialized view public.totals -> public.orders",
    ] {
        ensure!(edges.iter().any(|edge| edge == expected), "{expected} is not among {edges:#?}");
    }
    Ok(())
}

#[test]
fn a_login_without_privileges_reads_the_structure_and_is_told_what_is_missing() -> Result<()> {
    run(async {
        let cluster = postgres::shared().await?;
        let database = cluster.database("snapshot_low").await?;
        database.execute(SHOP).await?;
        database.execute("CREATE EXTENSION pg_stat_statements").await?;
        cluster.admin().execute(&format!("CREATE ROLE nosy LOGIN PASSWORD '{PASSWORD}'")).await?;
        database.execute("SELECT count(*) FROM users").await?;
        let mut other = database.connect_as(APPLICATION).await?;
        execute(&mut other, "BEGIN; SELECT 1").await?;
        let all = read(&database, SUPERUSER).await?;
        let low = read(&database, "nosy").await?;
        assert_eq!(low.relations.len(), all.relations.len());
        assert_eq!(low.dependencies, all.dependencies);
        let told: Vec<String> =
            low.unknown.iter().map(|of| format!("{}: {}: {}", of.what, of.why, of.remedy)).collect();
        let check = |what: &str, remedy: &str| {
            assert!(
                told.iter().any(|line| line.starts_with(what) && line.ends_with(remedy)),
                "{what}: {told:#?}"
            );
        };
        check("live queries: the text of ", "GRANT pg_read_all_stats TO nosy");
        check("open transactions: ", "GRANT pg_read_all_stats TO nosy");
        check("widths of columns: no privilege to read ", "GRANT pg_read_all_data TO nosy");
        assert!(low.transaction_ages.is_empty() && !all.transaction_ages.is_empty());
        assert_eq!(all.unknown, []);
        let texts = |found: &Snapshot| {
            found.queries.iter().flatten().map(|query| query.text.clone()).collect::<Vec<_>>()
        };
        assert!(texts(&all).iter().any(|text| text.contains("count(*) FROM users")), "{:?}", texts(&all));
        assert!(!texts(&all).iter().any(|text| text.contains("/* whimbrel")), "{:?}", texts(&all));
        // What the remedies name is enough.
        database.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC").await?;
        let closed = read(&database, "nosy").await?;
        assert_eq!((closed.relations.len(), &closed.queries), (all.relations.len(), &None));
        let remedies: Vec<&str> = closed.unknown.iter().map(|of| of.remedy.as_str()).collect();
        assert!(remedies.contains(&"GRANT USAGE ON SCHEMA public TO nosy"), "{remedies:?}");
        let grants = "GRANT pg_read_all_stats, pg_read_all_data TO nosy";
        cluster.admin().execute(grants).await?;
        database.execute("GRANT USAGE ON SCHEMA public TO nosy").await?;
        assert_eq!(read(&database, "nosy").await?.unknown, []);
        Ok(())
    })
}

#[test]
fn nothing_is_left_behind_and_nobody_is_waited_for() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("snapshot_clean").await?;
        database.execute(SHOP).await?;
        let mut session = session(&database, OPERATOR).await?;
        execute(&mut session, "SET search_path = public; SET statement_timeout = '7s'").await?;
        let mut holder = database.connect().await?;
        execute(&mut holder, "BEGIN; LOCK TABLE public.users IN ACCESS EXCLUSIVE MODE").await?;
        let start = Instant::now();
        let found = snapshot::read(&mut session, &["public".to_owned()]).await?;
        assert!(start.elapsed() < Duration::from_secs(5), "waited {:?}", start.elapsed());
        let why = "somebody holds public.users exclusively";
        assert!(found.unknown.iter().any(|of| of.why == why), "{:?}", found.unknown);
        assert!(found.relation(&name("public", "users")).is_some_and(|users| users.columns.len() == 5));
        assert!(found.relation(&name("public", "orders")).is_some_and(|orders| orders.total_bytes > 0));
        execute(&mut holder, "ROLLBACK").await?;
        let state = "SELECT current_setting('search_path') || current_setting('statement_timeout') \
             || current_setting('transaction_read_only')";
        assert_eq!(one(&mut session, state).await?, "public7soff");
        let locks = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation > 16383";
        assert_eq!(one(&mut session, locks).await?, "0");
        let quiet = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND \
             application_name LIKE 'whimbrel%' AND datname = current_database()";
        assert_eq!(one(&mut session, quiet).await?, "0");
        Ok(())
    })
}
