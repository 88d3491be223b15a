//! Runs in the ledger: inserting, reading, moving from state to state.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::begin_fenced;
use crate::core::observation::{BaselineRecord, CopyLevel, UnitStatus};
use crate::core::plan::{Plan, Step};
use crate::core::rehearsal::Rehearsal;
use crate::core::state::State;
use crate::core::view::{PastRun, Tokens};
use crate::crash::{Mutant, Site, planted};
use crate::postgres::error::Error;

/// Who asked for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunKey {
    /// Namespace of the object; empty on the command line.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
}

/// A run about to begin.
#[derive(Clone, Debug)]
pub struct NewRun<'a> {
    /// Identity of the run.
    pub id: Uuid,
    /// Who asked.
    pub key: &'a RunKey,
    /// The whole plan.
    pub plan: &'a Plan,
    /// Hash over the analysis.
    pub analysis_hash: Option<&'a str>,
    /// The version in force before, if any.
    pub from_version: Option<&'a str>,
    /// Tokens that the object already carried.
    pub tokens: &'a Tokens,
    /// The first state.
    pub state: &'a State,
    /// The latest run of this version when this one was decided on; absent where it is stored whatever there is.
    pub after: Option<Option<Uuid>>,
}

/// A run as the ledger has it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Identity of the run.
    pub id: Uuid,
    /// Who asked.
    pub key: RunKey,
    /// The whole plan.
    pub plan: Plan,
    /// Where it is.
    pub state: State,
    /// What was answered.
    pub tokens: Tokens,
    /// The rehearsal, once there is one.
    pub rehearsal: Option<Rehearsal>,
    /// The metrics before the first statement.
    pub baseline: Option<BaselineRecord>,
    /// Where the copy stands.
    pub copy: CopyLevel,
    /// What else should be known: for example that the copy could not follow.
    pub note: Option<String>,
    /// The version in force before.
    pub from_version: Option<String>,
    /// When it was stored.
    pub started_at: Timestamp,
    /// When the last unit was committed.
    pub applied_at: Option<Timestamp>,
    /// When the last window began, as the samples count it; the clock is this program's, not the server's.
    pub watched_since: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// One entry for each unit of the plan.
    pub units: Vec<UnitStatus>,
}

/// What has to be known of the latest run of a version to find whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Latest {
    /// Identity of the run.
    pub id: Uuid,
    /// UID of the object that asked for it.
    pub uid: String,
    /// Hash of its plan.
    pub hash: String,
    /// The stall budgets of its steps' own.
    pub budgets: Vec<Option<Duration>>,
    /// Where it is.
    pub state: State,
    /// What was answered.
    pub tokens: Tokens,
}

/// What changes in a run, in one fenced transaction.
#[derive(Clone, Debug, Default)]
pub struct RunChange<'a> {
    /// Another state.
    pub state: Option<&'a State>,
    /// Tokens that are answered by it.
    pub tokens: Option<&'a Tokens>,
    /// The rehearsal's record.
    pub rehearsal: Option<&'a Rehearsal>,
    /// The baseline.
    pub baseline: Option<&'a BaselineRecord>,
    /// Where the copy stands.
    pub copy: Option<CopyLevel>,
    /// A note.
    pub note: Option<&'a str>,
    /// The plan, divided otherwise; only before anything of it is in force on the primary.
    pub plan: Option<&'a Plan>,
}

impl RunChange<'_> {
    /// Returns what it is, first of all.
    fn site(&self) -> Site {
        let Self { state, tokens: _, rehearsal, baseline, copy, note: _, plan } = self;
        match (state, rehearsal, baseline, copy) {
            (Some(_), ..) => Site::StateMoved,
            _ if plan.is_some() => Site::VerdictStored,
            (_, Some(_), ..) => Site::VerdictStored,
            (_, _, Some(_), _) => Site::BaselineStored,
            (.., Some(_)) => Site::CopyLevelStored,
            (None, None, None, None) => Site::TokensAnswered,
        }
    }
}

const COLUMNS: &str = "r.id, r.namespace, r.name, r.uid, r.plan, r.state, r.tokens, r.rehearsal, r.baseline, r.copy_level, r.note, \
    r.from_version, to_json(r.started_at) #>> '{}', to_json(r.applied_at) #>> '{}', to_json(r.finished_at) #>> '{}', \
    coalesce((SELECT json_object_agg(u.unit, u.status) FROM whimbrel.units u WHERE u.run = r.id), '{}'), \
    to_json(r.watched_since) #>> '{}'";

fn time(text: Option<String>) -> Option<Timestamp> {
    text.and_then(|text| text.parse().ok())
}

fn read(row: &PgRow) -> Result<Run, Error> {
    let plan: Json<Plan> = row.try_get(4)?;
    let state: Json<State> = row.try_get(5)?;
    let tokens: Json<Tokens> = row.try_get(6)?;
    let rehearsal: Option<Json<Rehearsal>> = row.try_get(7)?;
    let baseline: Option<Json<BaselineRecord>> = row.try_get(8)?;
    let copy: Json<CopyLevel> = row.try_get(9)?;
    let statuses: Json<BTreeMap<String, UnitStatus>> = row.try_get(15)?;
    let units = (0..plan.0.units.len())
        .map(|unit| statuses.0.get(&unit.to_string()).copied().unwrap_or_default())
        .collect();
    Ok(Run {
        id: row.try_get(0)?,
        key: RunKey { namespace: row.try_get(1)?, name: row.try_get(2)?, uid: row.try_get(3)? },
        plan: plan.0,
        state: state.0,
        tokens: tokens.0,
        rehearsal: rehearsal.map(|json| json.0),
        baseline: baseline.map(|json| json.0),
        copy: copy.0,
        note: row.try_get(10)?,
        from_version: row.try_get(11)?,
        started_at: time(row.try_get(12)?).unwrap_or_default(),
        applied_at: time(row.try_get(13)?),
        watched_since: time(row.try_get(16)?),
        finished_at: time(row.try_get(14)?),
        units,
    })
}

fn select(rest: &str) -> sqlx::SqlStr {
    crate::postgres::statement::ours(format!("SELECT {COLUMNS} FROM whimbrel.runs r {rest}"))
}

impl Run {
    /// Reads one run.
    pub async fn by_id(conn: &mut PgConnection, id: Uuid) -> Result<Option<Self>, Error> {
        let row = sqlx::query(select("WHERE r.id = $1")).bind(id).fetch_optional(conn).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns which of these runs the ledger does not have.
    pub async fn lost(conn: &mut PgConnection, recorded: &[String]) -> Result<Vec<String>, Error> {
        if recorded.is_empty() {
            return Ok(Vec::new());
        }
        let lost = sqlx::query_scalar(
            "SELECT n.id FROM unnest($1::text[]) AS n (id) WHERE NOT EXISTS (SELECT FROM whimbrel.runs r WHERE r.id::text = n.id)",
        )
        .bind(recorded)
        .fetch_all(conn)
        .await?;
        Ok(lost)
    }

    /// Reads the UID of the object whose run has not ended.
    pub async fn unfinished(conn: &mut PgConnection) -> Result<Option<String>, Error> {
        let uid = "SELECT uid FROM whimbrel.runs WHERE finished_at IS NULL ORDER BY seq LIMIT 1";
        let row = sqlx::raw_sql(uid).fetch_optional(conn).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Reads the run that has not ended; there is at most one in a database.
    pub async fn active(conn: &mut PgConnection) -> Result<Option<Self>, Error> {
        let row = sqlx::query(select("WHERE r.finished_at IS NULL ORDER BY r.seq LIMIT 1"))
            .fetch_optional(conn)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Reads the latest run of each version, given as stream and version; one entry for each, in that order.
    pub async fn latest(
        conn: &mut PgConnection,
        versions: &[(&str, &str)],
    ) -> Result<Vec<Option<Latest>>, Error> {
        let (streams, numbers): (Vec<&str>, Vec<&str>) = versions.iter().copied().unzip();
        let mut found = vec![None; versions.len()];
        let rows = sqlx::query(
            "SELECT w.place, r.id, r.uid, r.plan_hash, r.plan -> 'steps', r.state, r.tokens \
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (stream, version, place) \
             CROSS JOIN LATERAL (SELECT * FROM whimbrel.runs r WHERE r.stream = w.stream AND r.version = w.version \
                                 ORDER BY r.seq DESC LIMIT 1) r",
        )
        .bind(streams)
        .bind(numbers)
        .fetch_all(conn)
        .await?;
        for row in rows {
            let place: i64 = row.try_get(0)?;
            let (steps, state, tokens): (Json<Vec<Step>>, Json<State>, Json<Tokens>) =
                (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
            let latest = Latest {
                id: row.try_get(1)?,
                uid: row.try_get(2)?,
                hash: row.try_get(3)?,
                budgets: steps.0.iter().map(|step| step.max_stall).collect(),
                state: state.0,
                tokens: tokens.0,
            };
            if let Some(entry) = usize::try_from(place - 1).ok().and_then(|place| found.get_mut(place)) {
                *entry = Some(latest);
            }
        }
        Ok(found)
    }

    /// Stores a run, its plan included. The one effect of this transaction is the row. Returns false, and stores nothing,
    /// when another owner began a run since this one was decided on: what was decided before the epoch was taken may be
    /// long past.
    pub async fn insert(conn: &mut PgConnection, epoch: i64, new: &NewRun<'_>) -> Result<bool, Error> {
        let mut tx = begin_fenced(conn, epoch, Site::RunStored).await?;
        let copy = if new.plan.rehearse { CopyLevel::Before } else { CopyLevel::None };
        let stored = sqlx::query(
            "INSERT INTO whimbrel.runs (id, stream, version, plan_hash, analysis_hash, from_version, namespace, name, uid, plan, \
             phase, state, tokens, copy_level) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 \
             WHERE $15 OR (NOT EXISTS (SELECT FROM whimbrel.runs WHERE finished_at IS NULL) AND $16 IS NOT DISTINCT FROM \
               (SELECT r.id FROM whimbrel.runs r WHERE r.stream = $2 AND r.version = $3 ORDER BY r.seq DESC LIMIT 1))",
        )
        .bind(new.id)
        .bind(&new.plan.stream)
        .bind(&new.plan.version)
        .bind(&new.plan.hash)
        .bind(new.analysis_hash)
        .bind(new.from_version)
        .bind(&new.key.namespace)
        .bind(&new.key.name)
        .bind(&new.key.uid)
        .bind(Json(new.plan))
        .bind(new.state.phase())
        .bind(Json(new.state))
        .bind(Json(new.tokens))
        .bind(Json(copy))
        .bind(new.after.is_none() || planted(Mutant::BeginsTwice))
        .bind(new.after.flatten())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(stored.rows_affected() > 0)
    }

    /// Changes a run in one fenced transaction.
    pub async fn change(
        conn: &mut PgConnection,
        epoch: i64,
        id: Uuid,
        change: &RunChange<'_>,
    ) -> Result<(), Error> {
        let mut tx = begin_fenced(conn, epoch, change.site()).await?;
        let done = change.state.is_some_and(State::is_done);
        let applied = change.state.is_some_and(State::applied);
        let watched_since = match change.state {
            Some(State::Watching { since, .. }) => Some(since.to_string()),
            _ => None,
        };
        sqlx::query(
            "UPDATE whimbrel.runs SET phase = coalesce($2, phase), state = coalesce($3, state), tokens = coalesce($4, tokens), \
             rehearsal = coalesce($5, rehearsal), baseline = coalesce($6, baseline), copy_level = coalesce($7, copy_level), \
             note = coalesce($8, note), plan = coalesce($12, plan), \
             applied_at = CASE WHEN $9 THEN coalesce(applied_at, clock_timestamp()) ELSE applied_at END, \
             watched_since = coalesce($11::text::timestamptz, watched_since), \
             finished_at = CASE WHEN $3 IS NULL THEN finished_at WHEN $10 THEN clock_timestamp() END WHERE id = $1",
        )
        .bind(id)
        .bind(change.state.map(State::phase))
        .bind(change.state.map(Json))
        .bind(change.tokens.map(Json))
        .bind(change.rehearsal.map(Json))
        .bind(change.baseline.map(Json))
        .bind(change.copy.map(Json))
        .bind(change.note)
        .bind(applied)
        .bind(done)
        .bind(watched_since)
        .bind(change.plan.map(Json))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Reads the versions that are in force, by stream, in no order that means anything.
    pub async fn applied_versions(conn: &mut PgConnection) -> Result<Vec<(String, String)>, Error> {
        let rows = sqlx::query(
            "SELECT stream, version FROM (SELECT DISTINCT ON (stream, version) stream, version, phase FROM whimbrel.runs \
             ORDER BY stream, version, seq DESC) latest WHERE phase = 'Succeeded'",
        )
        .fetch_all(conn)
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Reads how the latest runs of a version ended, newest first.
    pub async fn past(conn: &mut PgConnection, stream: &str, version: &str) -> Result<Vec<PastRun>, Error> {
        let rows = sqlx::query(
            "SELECT plan_hash, phase, to_json(started_at) #>> '{}', to_json(finished_at) #>> '{}', \
             state FROM whimbrel.runs \
             WHERE stream = $1 AND version = $2 AND finished_at IS NOT NULL ORDER BY seq DESC LIMIT 5",
        )
        .bind(stream)
        .bind(version)
        .fetch_all(conn)
        .await?;
        rows.iter()
            .map(|row| {
                let state: Json<State> = row.try_get(4)?;
                let message = match &state.0 {
                    State::Done { outcome, .. } => outcome.cause().map(|cause| cause.message.clone()),
                    _ => None,
                };
                Ok(PastRun {
                    plan_hash: row.try_get(0)?,
                    outcome: row.try_get(1)?,
                    started_at: time(row.try_get(2)?),
                    finished_at: time(row.try_get(3)?),
                    message,
                })
            })
            .collect()
    }
}
