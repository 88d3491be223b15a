//! Observes a run and carries out one effect. Before an effect its intent is durable (the stored plan, or a unit's own
//! intent row); after it, its outcome is.

use std::time::Duration;

use jiff::SignedDuration;
use tracing::{debug, info, warn};

use super::oversee::{Seen, filling_teller, overseen, stop_asked, teller};
use super::runner::{Next, Runner};
use super::subject::{Desired, Subject};
use super::{clock, failure, standbys, watch};
use crate::api::Reason;
use crate::core::analysis::{Baseline, Sample};
use crate::core::decide::{Effect, lock_deadline};
use crate::core::lock_plan::LockPlan;
use crate::core::observation::{Attempt, Class, CopyLevel, Observation, RehearsalVerdict, UnitStatus, Wish};
use crate::core::plan::{Block, Plan};
use crate::core::stall;
use crate::core::state::{Cause, State};
use crate::crash::{self, Moment, Mutant, Site, planted};
use crate::postgres::block::{Direction, Failed, Job, Limits};
use crate::postgres::ledger::units::note_failure;
use crate::postgres::ledger::{Run, RunChange, samples};
use crate::postgres::{Error, Session, rehearsal};

/// The first attempt queues so long for a lock, and all of them where somebody holds it for long: a little more changes nothing
/// then but what others feel.
const FIRST_QUEUE: Duration = Duration::from_millis(10);
/// On a table that is never free, where each holder is gone soon, the next ones queue for longer, up to this.
const STEADY_QUEUE: Duration = Duration::from_millis(20);
const LONGER_EACH: Duration = Duration::from_millis(5);
/// Who has held a lock for so long is not gone within a queue, in seconds.
const LONG_HELD: f64 = 0.2;
/// So many attempts keep to that; a reader of seconds is outlasted by them without anybody feeling more.
const STEADY_ATTEMPTS: u32 = 20;
/// So often the copy is brought to where the primary is, before that is left to the next rehearsal.
const FOLLOW_TRIES: u32 = 3;

impl Runner {
    /// Reads what the next decision may rest on; returns the samples, too.
    pub(super) async fn observe(
        &mut self,
        run: &Run,
        wish: Wish,
    ) -> Result<(Observation, Vec<Sample>), Error> {
        let mut taken = Vec::new();
        let mut facts = None;
        if let (Some(analysis), Some(span)) = (&run.plan.analysis, watch::span(run))
            && let Some(session) = self.session.as_mut()
        {
            taken = samples::since(session.conn(), run.id, span.applied_at).await?;
            facts = Some(watch::facts(analysis, &span, &taken, clock::now()));
        }
        let seen = Observation {
            units: if planted(Mutant::IntentCountsAsDone) { believed(&run.units) } else { run.units.clone() },
            wish,
            attempt: self.attempt.as_ref().map(|(_, attempt)| attempt.clone()),
            rehearsal: run.rehearsal.as_ref().map(|rehearsal| rehearsal.verdict.clone()),
            copy: run.copy,
            baseline: run.baseline.clone(),
            watch: facts,
        };
        Ok((seen, taken))
    }

    /// Carries out one effect. A failure becomes an attempt that the next decision sees; `then` is recorded with a unit.
    pub(super) async fn act(
        &mut self,
        desired: &Desired,
        subject: Option<&Subject>,
        run: &Run,
        effect: Effect,
        (taken, then): (Vec<Sample>, Option<State>),
    ) -> Result<Next, Error> {
        debug!(migration = run.key.name, run = %run.id, ?effect, "effect");
        let site = site(effect);
        crash::at(site, Moment::BeforeIntent).await;
        let next = match effect {
            Effect::Apply { unit } => Box::pin(self.block(desired, run, unit, (None, then))).await,
            Effect::Revert { unit, block } => {
                Box::pin(self.block(desired, run, unit, (Some(block), None))).await
            }
            Effect::Rehearse => Box::pin(self.rehearse(desired, run)).await,
            Effect::Follow { applied } => Box::pin(self.follow(desired, run, applied)).await,
            Effect::Baseline => self.baseline(desired, subject, run).await,
            Effect::Sample => self.sample(desired, subject, run, &taken).await,
        };
        crash::at(site, Moment::Recorded).await;
        next
    }

    pub(super) fn note(&mut self, run: &Run, attempt: Attempt) {
        warn!(migration = run.key.name, run = %run.id, attempt = attempt.count, reason = attempt.cause.reason.as_str(), "{}", attempt.cause.message);
        self.attempt = Some((run.id, attempt));
    }

    pub(super) fn failures_so_far(&self) -> Option<&Attempt> {
        self.attempt.as_ref().map(|(_, attempt)| attempt)
    }

    async fn block(
        &mut self,
        desired: &Desired,
        run: &Run,
        unit: usize,
        (back, then): (Option<usize>, Option<State>),
    ) -> Result<Next, Error> {
        let Some(planned) = run.plan.units.get(unit) else {
            return Err(Error::Unexpected(format!("the plan has no unit {unit}")));
        };
        let nothing = Block::of(Vec::new());
        let (block, direction) = match back {
            None => (&planned.up, Direction::Up),
            Some(index) => {
                let blocks = planned.way_back.as_deref().unwrap_or_default();
                (blocks.get(index).unwrap_or(&nothing), Direction::Down { block: index, of: blocks.len() })
            }
        };
        let limits = limits(&run.plan, planned.max_stall, self.failures_so_far());
        let ended = then.is_some() && block.transactional;
        // The way back was not measured, and has to come through.
        let locks = if back.is_none() { LockPlan::of(&run.plan, run.rehearsal.as_ref(), unit) } else { None };
        let plain = Job { limits, ..Job::plain(run.id, &run.plan, unit, (direction, block)) };
        if let Some(backfill) = &block.backfill {
            return Box::pin(self.batches(desired, run, plain, backfill)).await;
        }
        let job = Job { then: then.as_ref().filter(|_| block.transactional), locks: locks.as_ref(), ..plain };
        // The way back must not be held up by anybody who only reads.
        if back.is_none()
            && let Some(cause) = self.held_up(desired, run, unit).await?
        {
            return Ok(self.not_begun(run, cause));
        }
        if back.is_none()
            && let Some(cause) = self.drifted(desired, run, unit).await?
        {
            let attempt = failure::stopped(cause, self.failures_so_far(), clock::now());
            self.note(run, attempt);
            return Ok(Next::Again);
        }
        let mut news = self.start.desired.clone();
        let uid = run.key.uid.clone();
        let tell = teller(&self.start.views, desired.subject(&run.key.uid), run, unit);
        let pulse = self.pulse.clone();
        let session = self.own(&desired.database).await?;
        let stop = async move { stop_asked(&mut news, &uid, back.is_some()).await };
        let (ran, seen) = overseen(session, &job, (stop, tell), &pulse).await;
        match ran {
            Ok(ran) => {
                info!(migration = run.key.name, run = %run.id, unit = unit + 1, back = back.is_some(), ended, held = ?ran.held, took = ?ran.duration, "unit committed");
                self.attempt = None;
                self.await_replay(desired, run, unit).await?;
                Ok(Next::Again)
            }
            Err(failed) => self.block_failed(run, unit, (direction, block), failed, seen).await,
        }
    }

    pub(super) async fn block_failed(
        &mut self,
        run: &Run,
        unit: usize,
        (direction, block): (Direction, &Block),
        failed: Failed,
        seen: Seen,
    ) -> Result<Next, Error> {
        if matches!(failed.error, Error::Fenced) {
            return Err(failed.error);
        }
        if !failure::session_survives(&failed.error) {
            self.session = None;
        }
        let error = match &seen.waited {
            Some(waiter) => format!(
                "cancelled, because session {} waited behind it for {:?}, and the stall budget is {:?}",
                waiter.pid,
                Duration::from_millis(u64::try_from(waiter.waited.as_millis()).unwrap_or(u64::MAX)),
                run.plan.units.get(unit).map(|unit| unit.max_stall).unwrap_or_default()
            ),
            None => failed.error.to_string(),
        };
        let text = run.plan.failure(unit, block, failed.statement, &error);
        let way_out = match direction {
            Direction::Up => Some(stall::way_out(&run.plan, unit, failed.statement)),
            Direction::Down { .. } => None,
        };
        let before = self.failures_so_far();
        let attempt =
            failure::attempt(&failed.error, (text, way_out.as_deref()), seen.blockers, before, clock::now());
        let attempt = match direction {
            Direction::Up => with_deadline(run, attempt),
            Direction::Down { .. } => failure::on_the_way_back(&failed.error, with_deadline(run, attempt)),
        };
        if attempt.class != Class::Transient
            && let Some(statement) = failed.statement.and_then(|index| block.statements.get(index))
            && let Some(session) = self.session.as_mut()
        {
            let (epoch, place) = (session.epoch(), (unit, direction.word(), direction.block()));
            // A note for the history: where it cannot be written, the failure counts all the same.
            match note_failure(session.conn(), epoch, run.id, place, (&statement.sql, &error)).await {
                Err(error @ Error::Fenced) => return Err(error),
                Err(error) if !failure::session_survives(&error) => self.session = None,
                Ok(()) | Err(_) => {}
            }
        }
        self.note(run, attempt);
        Ok(Next::Again)
    }

    /// Notes a unit that could not begin because of a standby.
    fn not_begun(&mut self, run: &Run, cause: Cause) -> Next {
        let attempt = standbys::attempt(cause, self.failures_so_far(), clock::now());
        self.note(run, with_deadline(run, attempt));
        Next::Again
    }

    async fn rehearse(&mut self, desired: &Desired, run: &Run) -> Result<Next, Error> {
        let result = self.on_copy(desired, run, true).await;
        let record = match result {
            Ok(record) => record,
            Err(error @ (Error::Fenced | Error::ConnectionLost(_))) => return Err(error),
            Err(error) => {
                let mut attempt = self.copy_failed(&error);
                let another_copy_is_needed =
                    matches!(error, Error::CopyIsPrimary | Error::PoolerDetected { .. } | Error::Settings(_));
                if !another_copy_is_needed {
                    // The copy is not the primary: whatever happened there is looked up there again, and a login or a
                    // privilege may be corrected without any change of the Migration.
                    attempt.class = Class::Transient;
                }
                self.note(run, attempt);
                return Ok(Next::Again);
            }
        };
        let session = self.own(&desired.database).await?;
        let epoch = session.epoch();
        if let Some(mut record) = record {
            let verdict = match record.verdict {
                RehearsalVerdict::Passed => stall::judge(&run.plan, &record),
                RehearsalVerdict::Failed(_) => stall::Verdict::Fits,
            };
            let mut change = RunChange::default();
            match &verdict {
                stall::Verdict::Fits => change.rehearsal = Some(&record),
                stall::Verdict::Exceeds(cause) => {
                    record.verdict = RehearsalVerdict::Failed(cause.clone());
                    change.rehearsal = Some(&record);
                }
                // The plan as it is divided now is rehearsed before anything of it reaches the primary.
                stall::Verdict::Divide { plan, note } => {
                    info!(migration = run.key.name, run = %run.id, units = plan.units.len(), "{note}");
                    (change.plan, change.note) = (Some(&**plan), Some(note.as_str()));
                }
            }
            Run::change(session.conn(), epoch, run.id, &change).await?;
        }
        self.attempt = None;
        Ok(Next::Again)
    }

    /// Opens the copy beside the primary and rehearses there, or brings it to where the primary is.
    async fn on_copy(
        &mut self,
        desired: &Desired,
        run: &Run,
        rehearse: bool,
    ) -> Result<Option<crate::core::rehearsal::Rehearsal>, Error> {
        let Some(target) = &desired.database.copy else {
            return Err(Error::Settings(
                "the plan has a rehearsal, and the Database has no copy any more".to_owned(),
            ));
        };
        let owner = self.start.owner.clone();
        let pulse = self.pulse.clone();
        let mut copy = Session::open(target, "whimbrel/copy").await?;
        let subject = desired.subject(&run.key.uid).filter(|_| rehearse);
        let tell = subject.map(|subject| filling_teller(&self.start.views, subject, run, copy.filled()));
        let heard = || {
            pulse.beat();
            if let Some(tell) = &tell {
                tell();
            }
        };
        let primary = self.own(&desired.database).await?;
        let result = async {
            rehearsal::take(primary, &mut copy, &owner).await?;
            if rehearse {
                let address = target.address();
                rehearsal::rehearse(primary, &mut copy, run, &address, (clock::now, &heard)).await.map(Some)
            } else {
                rehearsal::align(primary, &mut copy, &heard).await.map(|()| None)
            }
        }
        .await;
        copy.close().await;
        result
    }

    async fn follow(&mut self, desired: &Desired, run: &Run, applied: bool) -> Result<Next, Error> {
        let level = match self.on_copy(desired, run, false).await {
            Ok(_) if applied => CopyLevel::After,
            Ok(_) => CopyLevel::Before,
            Err(error @ Error::Fenced) => return Err(error),
            Err(error) => {
                let attempt = Attempt { class: Class::Transient, ..self.copy_failed(&error) };
                if attempt.count < FOLLOW_TRIES && may_follow(&error, attempt.count) {
                    self.note(run, attempt);
                    return Ok(Next::Again);
                }
                warn!(migration = run.key.name, "the copy could not follow: {error}");
                CopyLevel::Behind
            }
        };
        self.attempt = None;
        let note = (level == CopyLevel::Behind)
            .then_some("the copy could not follow; the next rehearsal makes up for it");
        let session = self.own(&desired.database).await?;
        let epoch = session.epoch();
        Run::change(
            session.conn(),
            epoch,
            run.id,
            &RunChange { copy: Some(level), note, ..RunChange::default() },
        )
        .await?;
        Ok(Next::Again)
    }

    /// The attempt at something on the copy that failed.
    fn copy_failed(&self, error: &Error) -> Attempt {
        let text = format!("the copy: {error}");
        let before = self.failures_so_far();
        let mut attempt = failure::attempt(error, (text, Some("")), Vec::new(), before, clock::now());
        if attempt.cause.reason == Reason::DatabaseUnreachable {
            attempt.cause.reason = Reason::ReplicaUnreachable;
        }
        attempt
    }

    /// Awaits something of the world outside, and keeps the session alive meanwhile, if there is one.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let work = async { Ok(work.await) };
        let pulse = self.pulse.clone();
        match self.session.as_mut() {
            Some(session) => session.beside(&|| pulse.beat(), work).await,
            None => work.await,
        }
    }

    async fn baseline(
        &mut self,
        desired: &Desired,
        subject: Option<&Subject>,
        run: &Run,
    ) -> Result<Next, Error> {
        let (Some(analysis), Some(subject)) = (&run.plan.analysis, subject) else {
            return Ok(Next::Again);
        };
        match self.beside(watch::baseline(analysis, subject, clock::now())).await? {
            Ok(record) => {
                let session = self.own(&desired.database).await?;
                let epoch = session.epoch();
                Run::change(
                    session.conn(),
                    epoch,
                    run.id,
                    &RunChange { baseline: Some(&record), ..RunChange::default() },
                )
                .await?;
                self.attempt = None;
            }
            Err(cause) => {
                let attempt = later(cause, self.failures_so_far());
                self.note(run, attempt);
            }
        }
        Ok(Next::Again)
    }

    async fn sample(
        &mut self,
        desired: &Desired,
        subject: Option<&Subject>,
        run: &Run,
        taken: &[Sample],
    ) -> Result<Next, Error> {
        let (Some(analysis), Some(span), Some(subject)) = (&run.plan.analysis, watch::span(run), subject)
        else {
            return Ok(Next::Again);
        };
        let before = run.baseline.as_ref().map_or_else(Baseline::default, |record| record.values.clone());
        let fresh =
            self.beside(watch::sample(analysis, &span, subject, taken, &before, clock::now())).await?;
        let session = self.own(&desired.database).await?;
        let epoch = session.epoch();
        samples::record(session.conn(), epoch, run.id, &fresh).await?;
        Ok(Next::Again)
    }
}

/// The units of a program that takes an announcement for the deed.
fn believed(units: &[UnitStatus]) -> Vec<UnitStatus> {
    let believe = |unit: &UnitStatus| if *unit == UnitStatus::Intent { UnitStatus::Done } else { *unit };
    units.iter().map(believe).collect()
}

/// Where an effect may be interrupted.
fn site(effect: Effect) -> Site {
    match effect {
        Effect::Rehearse => Site::Rehearse,
        Effect::Baseline => Site::Baseline,
        Effect::Apply { .. } => Site::Apply,
        Effect::Revert { .. } => Site::Revert,
        Effect::Sample => Site::Sample,
        Effect::Follow { .. } => Site::Follow,
    }
}

/// Says of an attempt at a lock until when it is repeated.
fn with_deadline(run: &Run, mut attempt: Attempt) -> Attempt {
    if let Some(until) = lock_deadline(&run.plan, &run.state, &run.units, &attempt) {
        attempt.cause.message = format!("{}; attempts go on until {until:.0}", attempt.cause.message);
    }
    attempt
}

/// A failure outside the database that may pass.
fn later(cause: Cause, before: Option<&Attempt>) -> Attempt {
    let count = before.map_or(1, |attempt| attempt.count + 1);
    let now = clock::now();
    let pause = failure::pause(Class::Transient, false, count.min(4));
    let retry_at = now + SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(1));
    let first = before.map_or(now, |attempt| attempt.first);
    Attempt { first, at: now, count, class: Class::Transient, cause, retry_at, blockers: Vec::new() }
}

/// Whether the copy may follow the next time. One that was away from the start is not waited for.
fn may_follow(error: &Error, tries: u32) -> bool {
    let away = tries == 1 && matches!(error, Error::Unreachable { .. });
    !away && (matches!(error.class(), Class::Transient | Class::Ambiguous) || error.is_cancelled())
}

/// The time limits of the attempt after `before`.
fn limits(plan: &Plan, stall: Duration, before: Option<&Attempt>) -> Limits {
    let queue = queue(before).min(stall.mul_f64(0.8));
    Limits { queue, stall, statement: plan.guard.statement_timeout, alone: Duration::from_hours(24) }
}

/// How long an attempt queues for a lock: it grows towards the stall budget only while attempts keep failing.
fn queue(before: Option<&Attempt>) -> Duration {
    let Some(before) = before else { return FIRST_QUEUE };
    let held = before.blockers.iter().any(|one| one.age_seconds.is_some_and(|age| age >= LONG_HELD));
    let steady =
        if held { FIRST_QUEUE } else { (FIRST_QUEUE + LONGER_EACH * before.count).min(STEADY_QUEUE) };
    steady.mul_f64(1.0 + f64::from(before.count.saturating_sub(STEADY_ATTEMPTS)) * 0.25)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::observation::Blocker;

    #[test]
    fn the_queue_grows_where_it_helps_and_while_attempts_keep_failing() {
        let check = |count: u32, age: Option<f64>, millis: u64| {
            let blocker = |age| Blocker {
                pid: 7,
                application: String::new(),
                age_seconds: age,
                activity: String::new(),
                prepared: None,
            };
            let now = jiff::Timestamp::UNIX_EPOCH;
            let cause = Cause::new(Reason::WaitingForLock, "held");
            let blockers = vec![blocker(None), blocker(age)];
            let (class, retry_at) = (Class::Transient, now);
            let before = Attempt { first: now, at: now, count, class, cause, retry_at, blockers };
            assert_eq!(queue(Some(&before)), Duration::from_millis(millis), "{count} {age:?}");
        };
        assert_eq!(queue(None), FIRST_QUEUE);
        check(1, None, 15);
        check(2, Some(0.01), 20);
        check(9, Some(0.01), 20);
        check(1, Some(3.0), 10);
        check(20, Some(3.0), 10);
        check(24, Some(3.0), 20);
        check(24, None, 40);
    }
}
