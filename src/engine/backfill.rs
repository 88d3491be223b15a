//! A backfill on the primary: a second of batches at a time, so that every wish, sample and breach in between counts.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tracing::info;
use uuid::Uuid;

use super::clock;
use super::runner::{Next, Runner};
use super::subject::Desired;
use crate::core::backfill::{Backfill, Progress, WalDebt};
use crate::core::decide::{Decision, Effect};
use crate::core::observation::UnitStatus;
use crate::core::preview::size;
use crate::core::state::State;
use crate::postgres::Error;
use crate::postgres::backfill::throttle::{self, Look, Seen};
use crate::postgres::backfill::{self, Leaf, Pacer, Slice};
use crate::postgres::block::{Direction, Job};
use crate::postgres::guard::Witness;
use crate::postgres::ledger::Run;

/// How long batches run before the next decision.
const SLICE: Duration = Duration::from_secs(1);
/// How long batches run where the server's log must not grow faster than a rate.
const SHORT_SLICE: Duration = Duration::from_millis(200);
/// How long is waited for what passes by itself, and comes again: a vacuum of the table, somebody who waits for it.
const PASSING: Duration = Duration::from_secs(30);
/// How often progress is shown at most.
const SHOWN_EVERY: Duration = Duration::from_secs(5);

/// The backfill that runs.
#[derive(Debug)]
pub(super) struct Underway {
    /// The run, its unit, and whether it is the way back.
    of: (Uuid, usize, bool),
    pacer: Pacer,
    /// How far it is, as it is shown.
    shown: Option<(Instant, Progress)>,
    /// What is shown was not published yet.
    fresh: bool,
    /// What holds it back.
    held: Option<Held>,
    /// What the server has written to its log.
    log: Log,
}

/// What the server has written to its log, where a backfill has a rate for that.
#[derive(Debug, Default)]
struct Log {
    debt: WalDebt,
    /// When it was looked at last.
    looked: Option<Instant>,
    /// When it held the backfill back last.
    held: Option<Instant>,
    /// For how long it did, as far as the ledger has not heard of it.
    waited: Duration,
    stored: Option<Instant>,
}

/// Something holds a backfill back.
#[derive(Debug)]
struct Held {
    what: String,
    since: Instant,
    /// When the ledger heard of it last.
    stored: Instant,
    passes: bool,
}

impl Runner {
    /// Runs batches for a moment.
    pub(super) async fn batches(
        &mut self,
        desired: &Desired,
        run: &Run,
        job: Job<'_>,
        backfill: &Backfill,
    ) -> Result<Next, Error> {
        let of = (run.id, job.unit, job.direction != Direction::Up);
        let begun = run.units.get(job.unit).is_some_and(|status| *status != UnitStatus::Open);
        if !begun && let Some(cause) = self.drifted(desired, run, job.unit).await? {
            let attempt = super::failure::stopped(cause, self.failures_so_far(), clock::now());
            self.note(run, attempt);
            return Ok(Next::Again);
        }
        let mut underway =
            self.backfill.take().filter(|underway| underway.of == of).unwrap_or_else(|| Underway::new(of));
        if job.direction == Direction::Up
            && let Some(next) = self.throttled(desired, (&job, backfill), &mut underway).await?
        {
            self.backfill = Some(underway);
            return Ok(next);
        }
        let (news, began) = (self.start.desired.clone(), Instant::now());
        let most = if backfill.wal_rate.is_some() { SHORT_SLICE } else { SLICE };
        let enough = move || began.elapsed() >= most || news.has_changed().unwrap_or(true);
        let (pulse, session) = (self.pulse.clone(), self.own(&desired.database).await?);
        let witness = Witness::new(session.take_observer());
        let slice = backfill::slice(session, &job, backfill, (&mut underway.pacer, enough));
        let heard = || pulse.beat();
        let slice = witness.beside(&heard, Box::pin(slice)).await;
        session.give_back(witness.into_session());
        match slice {
            Ok(Slice::More { pause, progress }) => {
                self.attempt = None;
                let throttled_by = underway.log.told(backfill);
                underway.show(Progress { throttled_by, ..progress });
                self.backfill = Some(underway);
                let until = clock::now() + SignedDuration::try_from(pause).unwrap_or(SignedDuration::ZERO);
                Ok(if pause.is_zero() { Next::Again } else { Next::Wait(Some(until)) })
            }
            Ok(Slice::Finished(ran)) => {
                info!(migration = run.key.name, run = %run.id, unit = job.unit + 1, worked = ?ran.duration, "backfill done");
                self.attempt = None;
                Ok(Next::Again)
            }
            Err(failed) => {
                self.backfill = Some(underway);
                let mut seen = super::oversee::Seen::default();
                let is_held = match &failed.error {
                    Error::RowsHeld(_) => true,
                    Error::Server(error) => error.is_lock_timeout(),
                    _ => false,
                };
                if is_held && let Some(session) = self.session.as_mut() {
                    // What is in the way counts, whoever it is.
                    seen.blockers = backfill::holders(session, &job, backfill).await.unwrap_or_default();
                }
                self.block_failed(run, job.unit, (job.direction, job.block), failed, seen).await
            }
        }
    }

    /// Looks whether something holds the backfill back, and tells it.
    async fn throttled(
        &mut self,
        desired: &Desired,
        (job, backfill): (&Job<'_>, &Backfill),
        underway: &mut Underway,
    ) -> Result<Option<Next>, Error> {
        let session = self.own(&desired.database).await?;
        let mut leaves = throttle::tables(session, job, backfill).await?;
        let mut observer = session.take_observer();
        let seen = match observer.as_mut() {
            Some(observer) => throttle::look(observer, (job, backfill), &leaves).await,
            None => Ok(Look { may_interleave: true, ..Look::default() }),
        };
        session.give_back(observer);
        let seen = match seen {
            Ok(look) => {
                underway.pacer.interleave(look.may_interleave);
                if look.held.is_none()
                    && let Some(wait) = underway.log.look(backfill, look.wal)
                {
                    return self
                        .over_the_rate((job, backfill), (underway, &mut leaves), wait)
                        .await
                        .map(Some);
                }
                look.held
            }
            // A query of the plan that cannot be asked holds everything back until it can.
            Err(Error::Backfill(what)) => Some(Seen { what, passes: false }),
            Err(error) => return Err(error),
        };
        let Some(what) = seen else {
            underway.held = None;
            return Ok(None);
        };
        if what.passes && underway.has_waited_long() {
            return Ok(None);
        }
        let more = underway.hold(&what);
        if let Some(more) = more {
            info!(run = %job.run, unit = job.unit + 1, "backfill held back: {}", what.what);
            let session = self.own(&desired.database).await?;
            throttle::note(session, job, &mut leaves, (Some(&what.what), more)).await?;
        }
        let session = self.own(&desired.database).await?;
        let progress = backfill::progress(session, job, &leaves).await?;
        underway.show(Progress { throttled_by: Some(what.what), ..progress });
        Ok(Some(Next::Wait(Some(clock::now() + SignedDuration::from_secs(1)))))
    }

    /// Waits for the server's log, which batches and their pauses alternate with: told while that goes on, stored now and then.
    async fn over_the_rate(
        &mut self,
        (job, backfill): (&Job<'_>, &Backfill),
        (underway, leaves): (&mut Underway, &mut [Leaf]),
        wait: Duration,
    ) -> Result<Next, Error> {
        underway.held = None;
        let what = underway.log.told(backfill);
        let Some(session) = self.session.as_mut() else { return Ok(Next::Again) };
        if let Some(more) = underway.log.due() {
            throttle::note(session, job, leaves, (what.as_deref(), more)).await?;
        }
        let progress = backfill::progress(session, job, leaves).await?;
        underway.show(Progress { throttled_by: what, ..progress });
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_secs(1));
        Ok(Next::Wait(Some(clock::now() + wait)))
    }

    /// Whether there is something to publish of a run; between two batches only what is shown anew.
    pub(super) fn has_news(&mut self, run: &Run, decision: &Decision) -> bool {
        let between = matches!(decision, Decision::Run(Effect::Apply { .. } | Effect::Revert { .. }));
        match self.backfill.as_mut().filter(|underway| underway.of.0 == run.id) {
            Some(underway) if between => std::mem::take(&mut underway.fresh) || self.attempt.is_some(),
            Some(underway) => {
                // Whatever this says is over with the next batch.
                underway.fresh = true;
                true
            }
            None => true,
        }
    }

    /// How far the backfill of a run is, for people.
    pub(super) fn backfill_shown(&self, run: &Run) -> Option<Progress> {
        let going = matches!(run.state, State::Applying { .. } | State::RollingBack { .. });
        let underway = self.backfill.as_ref().filter(|underway| going && underway.of.0 == run.id)?;
        underway.shown.as_ref().map(|(_, progress)| progress.clone())
    }
}

impl Log {
    /// Looks how far the log is. Returns how long to wait, if it grew too fast.
    fn look(&mut self, backfill: &Backfill, position: i64) -> Option<Duration> {
        let rate = backfill.wal_rate?;
        let since = self.looked.replace(Instant::now()).map_or(Duration::ZERO, |at| at.elapsed());
        let wait = self.debt.note(position, since, rate)?.clamp(Duration::from_millis(20), SLICE);
        self.held = Some(Instant::now());
        self.waited += wait;
        Some(wait)
    }

    /// What is told of it, while it has held the backfill back of late.
    fn told(&self, backfill: &Backfill) -> Option<String> {
        let rate = backfill.wal_rate.filter(|_| self.held.is_some_and(|at| at.elapsed() < SHOWN_EVERY))?;
        #[expect(clippy::cast_precision_loss, reason = "a number for people")]
        let rate = size(rate as f64);
        Some(format!("the server would write more than {rate} of WAL a second (throttle.walRate)"))
    }

    /// Returns for how long it has held the backfill back since that was stored, when it is to be.
    fn due(&mut self) -> Option<Duration> {
        if self.stored.is_some_and(|at| at.elapsed() < SHOWN_EVERY) {
            return None;
        }
        self.stored = Some(Instant::now());
        Some(std::mem::take(&mut self.waited))
    }
}

impl Underway {
    fn new(of: (Uuid, usize, bool)) -> Self {
        Self { of, pacer: Pacer::default(), shown: None, fresh: false, held: None, log: Log::default() }
    }

    /// Whether it has waited long enough for what passes: on a busy table there is always a vacuum.
    fn has_waited_long(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.passes && held.since.elapsed() >= PASSING)
    }

    /// Notes what holds it back. Returns for how long more, when that is to be stored.
    fn hold(&mut self, seen: &Seen) -> Option<Duration> {
        let now = Instant::now();
        match &mut self.held {
            Some(held) if held.what == seen.what || held.passes && seen.passes => {
                let more = held.stored.elapsed();
                let due = more >= SHOWN_EVERY;
                if due {
                    held.stored = now;
                }
                due.then_some(more)
            }
            held => {
                let more = held.as_ref().map_or(Duration::ZERO, |held| held.stored.elapsed());
                *held = Some(Held { what: seen.what.clone(), since: now, stored: now, passes: seen.passes });
                Some(more)
            }
        }
    }

    fn show(&mut self, progress: Progress) {
        let due = self.shown.as_ref().is_none_or(|(at, shown)| {
            at.elapsed() >= SHOWN_EVERY || shown.throttled_by != progress.throttled_by
        });
        if due {
            self.shown = Some((Instant::now(), progress));
            self.fresh = true;
        }
    }
}
