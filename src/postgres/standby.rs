//! Physical standbys: who reads there for long what is to be locked, and how far the replay is. Nothing is changed there.

use std::time::Duration;

use sqlx::{PgConnection, Row};

use super::connect::{Purpose, close, connect, within};
use super::error::Error;
use super::target::Target;

/// Longest time of one question.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the replay is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A transaction on a standby that holds a relation open.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader {
    /// Its backend on the standby.
    pub pid: i32,
    /// `application_name`, empty where it may not be seen.
    pub application: String,
    /// Age of its transaction in seconds; absent where it may not be seen.
    pub age_seconds: Option<f64>,
    /// What it reads, with its schema.
    pub relation: String,
    transaction: String,
}

/// What stands on a standby in the way of a lock that readers wait for.
#[derive(Clone, Debug, PartialEq)]
pub enum Obstacle {
    /// A long reader: the replay would stop behind the lock until it ends.
    Reader(Reader),
    /// Somebody paused the replay.
    Paused,
    /// The replay is that far behind.
    Lag(Duration),
    /// It is no standby of the primary.
    Foreign,
}

/// Looks whether something on a standby of the server `system_identifier` is in the way of locks on `relations`.
///
/// # Errors
/// When it cannot be looked at.
pub async fn obstacle(
    target: &Target,
    system_identifier: &str,
    relations: &[(String, String)],
    (reading, lag): (Duration, Duration),
) -> Result<Option<Obstacle>, Error> {
    let mut session = connect(target, &Purpose::new("whimbrel standby")).await?;
    let found = async {
        let found = standing(&mut session, system_identifier, lag).await?;
        if found.is_some() {
            return Ok(found);
        }
        Ok(reader(&mut session, relations, reading).await?.map(Obstacle::Reader))
    };
    let found = within("look at a standby", ANSWER + reading, found).await;
    close(session).await;
    found
}

async fn standing(
    session: &mut PgConnection,
    system_identifier: &str,
    most: Duration,
) -> Result<Option<Obstacle>, Error> {
    let row = sqlx::query(
        "SELECT pg_is_in_recovery(), (SELECT system_identifier::text FROM pg_control_system()), \
                pg_is_in_recovery() AND pg_is_wal_replay_paused(), \
                CASE WHEN pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn() \
                     THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END",
    )
    .fetch_one(session)
    .await?;
    let (standby, identifier, paused): (bool, String, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let lag: Option<f64> = row.try_get(3)?;
    let lag = lag.and_then(|lag| Duration::try_from_secs_f64(lag).ok()).filter(|lag| *lag > most);
    Ok(match lag {
        _ if !standby || identifier != system_identifier => Some(Obstacle::Foreign),
        _ if paused => Some(Obstacle::Paused),
        lag => lag.map(Obstacle::Lag),
    })
}

/// The longest of those who read for longer than `reading`. Where the age may not be seen, who reads now and still reads
/// then has done so.
async fn reader(
    session: &mut PgConnection,
    relations: &[(String, String)],
    reading: Duration,
) -> Result<Option<Reader>, Error> {
    let now = readers(session, relations).await?;
    let limit = reading.as_secs_f64();
    if let Some(known) = now.iter().find(|reader| reader.age_seconds.is_some_and(|age| age >= limit)) {
        return Ok(Some(known.clone()));
    }
    if now.iter().all(|reader| reader.age_seconds.is_some()) {
        return Ok(None);
    }
    tokio::time::sleep(reading).await;
    let then = readers(session, relations).await?;
    let stays = |reader: &&Reader| {
        reader.age_seconds.is_none() && now.iter().any(|one| one.transaction == reader.transaction)
    };
    Ok(then.iter().find(stays).cloned())
}

/// Everybody who holds one of the relations open, the oldest transaction first.
async fn readers(session: &mut PgConnection, relations: &[(String, String)]) -> Result<Vec<Reader>, Error> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        relations.iter().map(|(schema, name)| (schema.as_str(), name.as_str())).unzip();
    let rows = sqlx::query(
        "SELECT DISTINCT ON (a.xact_start, l.pid) l.pid, coalesce(a.application_name, ''), \
                extract(epoch FROM clock_timestamp() - a.xact_start)::float8, \
                quote_ident(n.nspname) || '.' || quote_ident(c.relname), l.virtualtransaction \
         FROM unnest($1::text[], $2::text[]) AS r (schema, name) \
         JOIN pg_catalog.pg_namespace n ON n.nspname = r.schema \
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = r.name \
         JOIN pg_catalog.pg_locks l ON l.locktype = 'relation' AND l.relation = c.oid AND l.granted \
             AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
             AND l.mode <> 'AccessExclusiveLock' AND l.pid <> pg_backend_pid() \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid ORDER BY a.xact_start NULLS LAST, l.pid",
    )
    .bind(schemas)
    .bind(names)
    .fetch_all(session)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Reader {
                pid: row.try_get(0)?,
                application: row.try_get(1)?,
                age_seconds: row.try_get(2)?,
                relation: row.try_get(3)?,
                transaction: row.try_get(4)?,
            })
        })
        .collect()
}

/// Returns where the primary's log is now.
pub async fn position(primary: &mut PgConnection) -> Result<String, Error> {
    let row = sqlx::raw_sql("SELECT pg_current_wal_insert_lsn()::text").fetch_one(primary).await?;
    Ok(row.try_get(0)?)
}

/// Waits until a standby has replayed the log up to `position`, as long as `most`. Returns whether it has.
///
/// # Errors
/// When it cannot be looked at.
pub async fn replayed(target: &Target, position: &str, most: Duration) -> Result<bool, Error> {
    let asking = async {
        let mut session = connect(target, &Purpose::new("whimbrel standby")).await?;
        loop {
            let there: Option<bool> = sqlx::query_scalar("SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn")
                .bind(position)
                .fetch_one(&mut session)
                .await?;
            // What is no standby (any more) has nothing to replay.
            if there.unwrap_or(true) {
                close(session).await;
                return Ok::<_, Error>(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(most, asking).await {
        Ok(done) => done.map(|()| true),
        Err(_) => Ok(false),
    }
}
