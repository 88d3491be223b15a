//! One runner per database: observe, decide, act, until it has to wait or is done.
//!
//! Invariants: the runner is the only writer of its database's ledger in this process; it acts only while `may_act` says
//! so and its epoch stands; it stops at a safe point when it is told to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::backfill::Underway;
use super::postponed::Postponed;
use super::pulse::Pulse;
use super::seats::{Seat, Seats};
use super::subject::{Database, Desired, Subject};
use super::views::Views;
use super::{clock, failure, project};
use crate::core::decide::{Decision, decide, end_with};
use crate::core::observation::{Attempt, Class, Wish};
use crate::core::state::State;
use crate::core::view::{Standing, Tokens, View};
use crate::crash::{Mutant, planted};
use crate::postgres::ledger::{Latest, Run, RunChange, Side};
use crate::postgres::{Builds, Error, Session};

/// How long a standby may take at a time; in between, what is waited for is told.
const STANDBY_WITHIN: Duration = Duration::from_secs(2);

/// What the loop does after a pass.
#[derive(Debug)]
pub(super) enum Next {
    /// Looks again at once.
    Again,
    /// Waits for a time or for news.
    Wait(Option<Timestamp>),
    /// Has nothing to do, until news come.
    Idle,
    /// Must not go on.
    Over,
}

/// What a runner is started with.
#[derive(Clone)]
pub struct Start {
    /// Name of this process, for the epoch's owner.
    pub owner: String,
    /// The newest wishes.
    pub desired: watch::Receiver<Desired>,
    /// Where views go.
    pub views: Views,
    /// Cancelled: stop at the next safe point.
    pub stop: CancellationToken,
    /// Whether this process may act now; false in a process that lost its lead.
    pub may_act: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Bounds the databases that have sessions.
    pub seats: Seats,
    /// How long a session waits for the next migration of its database; where somebody wants its seat, counted from the newest
    /// wish.
    pub linger: Duration,
    /// How long the database may be silent while something is waited for.
    pub patience: Duration,
}

/// The runner of one database.
pub struct Runner {
    pub(super) start: Start,
    pub(super) session: Option<Session>,
    /// Held while there is a session, and while one is opened.
    pub(super) seat: Option<Seat>,
    /// The epoch that this runner took, and the timeline on which.
    pub(super) epoch: Option<(i64, i32)>,
    /// How a predecessor's index build is met.
    builds: Builds,
    pub(super) attempt: Option<(Uuid, Attempt)>,
    pub(super) refused: BTreeSet<String>,
    /// What waits and could be read, by UID and generation.
    pub(super) sound: BTreeSet<(String, i64)>,
    pub(super) postponed: Postponed,
    pub(super) failures: u32,
    /// Whether something was committed that a standby may not have.
    pub(super) unconfirmed: bool,
    /// What was published of runs that have ended: it is not read again while nothing changed.
    pub(super) shown: HashMap<String, (i64, Latest)>,
    pub(super) pulse: Pulse,
    pub(super) backfill: Option<Underway>,
    last: Option<Box<Run>>,
}

impl Runner {
    /// Makes a runner; [`Runner::run`] starts it.
    pub fn new(start: Start) -> Self {
        Self {
            start,
            session: None,
            seat: None,
            epoch: None,
            builds: Builds::Adopt,
            attempt: None,
            refused: BTreeSet::new(),
            sound: BTreeSet::new(),
            postponed: Postponed::default(),
            failures: 0,
            unconfirmed: true,
            shown: HashMap::new(),
            pulse: Pulse::default(),
            backfill: None,
            last: None,
        }
    }

    /// Runs until nothing is left to do, or it is stopped. Returns the wishes, which have changed where it did not hear of the
    /// newest any more.
    pub async fn run(mut self) -> watch::Receiver<Desired> {
        while self.is_seated().await && !self.start.stop.is_cancelled() && (self.start.may_act)() {
            let next = Box::pin(self.pass()).await;
            if !self.rest(next).await {
                break;
            }
        }
        self.leave().await;
        self.start.desired
    }

    async fn pass(&mut self) -> Next {
        if self.start.desired.has_changed().unwrap_or(false) {
            self.reconsider();
        }
        let desired = self.start.desired.borrow_and_update().clone();
        let (pulse, patience) = (self.pulse.clone(), self.start.patience);
        pulse.beat();
        let looked = tokio::select! {
            looked = self.look(&desired) => looked,
            // What is under way is given up with its connection; the next one looks what became of it.
            () = pulse.silence(patience) => Err(Error::Deadline { what: "hear from the database", after: patience }),
        };
        match looked {
            Ok(next) => {
                self.failures = 0;
                next
            }
            Err(error) => self.failed(&desired, &error),
        }
    }

    /// News: what was refused or postponed may be possible now.
    pub(super) fn reconsider(&mut self) {
        self.refused.clear();
        self.postponed.look_again();
    }

    async fn look(&mut self, desired: &Desired) -> Result<Next, Error> {
        self.heed(desired);
        let confirm = desired.database.remote_apply && self.unconfirmed;
        let session = self.open(&desired.database).await?;
        if confirm && session.head().is_some() {
            session.await_standby(STANDBY_WITHIN).await?;
            self.unconfirmed = false;
        }
        let session = self.open(&desired.database).await?;
        if session.head().is_some()
            && let Some(run) = Run::active(session.conn()).await?
        {
            let run = self.believed(run);
            return self.drive(desired, run).await;
        }
        self.last = None;
        self.builds = Builds::Adopt;
        self.choose(desired).await
    }

    /// What a program with a planted bug takes for the ledger's word.
    fn believed(&self, read: Run) -> Run {
        match &self.last {
            Some(last) if self.attempt.is_some() && planted(Mutant::StaleAfterLostCommit) => (**last).clone(),
            _ => read,
        }
    }

    /// Notes whether the end of the last run is wanted, for a build that is in the way.
    fn heed(&mut self, desired: &Desired) {
        let asked = self.last.as_ref().and_then(|run| {
            desired.subject(&run.key.uid).map(|subject| wish(Some(subject), Some(&run.tokens), false))
        });
        self.builds = asked.map_or(self.builds, |wish| builds(&wish));
    }

    /// Returns the session, opened if need be, and owned if this runner owned it before.
    pub(super) async fn open(&mut self, database: &Database) -> Result<&mut Session, Error> {
        let session = if let Some(session) = self.session.take() {
            session
        } else {
            let session = Session::open(&database.primary, &self.start.application()).await?;
            if session.head().is_some_and(|head| head.side != Side::Primary.as_str()) {
                return Err(Error::IsACopy);
            }
            database.is_behind(&session)?;
            session
        };
        let session = self.session.insert(session);
        let timeline = session.server().timeline_number();
        if self.epoch.is_some_and(|(_, known)| known != timeline) {
            // After a failover the epoch may have gone back, and its number may be somebody else's: it is taken anew. What
            // failed may have been about what was lost.
            (self.epoch, self.attempt) = (None, None);
        }
        if let Some((epoch, _)) = self.epoch
            && !session.owned()
        {
            session.own(&self.start.owner, Some(epoch), self.builds).await?;
        }
        Ok(session)
    }

    /// Makes sure that this runner owns the database.
    pub(super) async fn own(&mut self, database: &Database) -> Result<&mut Session, Error> {
        let (owner, builds) = (self.start.owner.clone(), self.builds);
        let session = self.open(database).await?;
        if !session.owned() {
            session.own(&owner, None, builds).await?;
        }
        session.note_timeline().await?;
        self.remember_epoch();
        self.session.as_mut().ok_or_else(|| Error::Unexpected("no session".to_owned()))
    }

    /// Remembers under which epoch this runner owns the database.
    pub(super) fn remember_epoch(&mut self) {
        if let Some(session) = self.session.as_ref().filter(|session| session.owned()) {
            self.epoch = Some((session.epoch(), session.server().timeline_number()));
        }
    }

    /// The database could not be used: everybody who waits for it is told, and it is tried again.
    fn failed(&mut self, desired: &Desired, error: &Error) -> Next {
        if matches!(error, Error::Fenced) {
            info!(database = desired.database.name, "another owner took over");
            return Next::Over;
        }
        self.failures += 1;
        self.shown.clear();
        if !failure::session_survives(error) {
            self.session = None;
        }
        let cause = failure::of_the_database(error);
        // A predecessor's build may go on for hours.
        if self.failures == 1 || !matches!(error, Error::OwnerAlive(_)) {
            warn!(database = desired.database.name, reason = cause.reason.as_str(), "{}", cause.message);
        }
        let stuck = matches!(
            error,
            Error::PoolerDetected { .. }
                | Error::WrongServer { .. }
                | Error::NotPinned(_)
                | Error::LedgerGone
                | Error::IsACopy
                | Error::LedgerNewer { .. }
                | Error::Settings(_)
        );
        for subject in &desired.subjects {
            let standing = match &self.last {
                Some(run) if run.key.uid == subject.key.uid => {
                    let mut view = project::run(run, None, None);
                    view.waiting = Some(cause.clone());
                    Standing::Run(Box::new(view))
                }
                _ if stuck => Standing::Refused(cause.clone()),
                _ => Standing::Retrying(cause.clone()),
            };
            self.tell(subject, standing);
        }
        let waits = matches!(error, Error::OwnerAlive(_) | Error::NoStandby | Error::StandbyBehind(_));
        let pause = if waits {
            Duration::from_millis(500)
        } else {
            failure::pause(Class::Transient, false, self.failures)
        };
        let pause = if stuck { pause.max(Duration::from_secs(15)) } else { pause };
        Next::Wait(Some(
            clock::now() + SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(5)),
        ))
    }

    pub(super) fn publish(
        &self,
        subject: &Subject,
        standing: Standing,
        answered: Tokens,
        past: Vec<crate::core::view::PastRun>,
    ) {
        let view = View { generation: subject.generation, standing, answered, past };
        self.start.views.publish(&subject.key, view);
    }

    /// Publishes where an object stands; its tokens stay open.
    pub(super) fn tell(&self, subject: &Subject, standing: Standing) {
        self.publish(subject, standing, Tokens::default(), Vec::new());
    }

    /// Publishes a last word; whatever the tokens asked for is answered by it.
    pub(super) fn answer(&self, subject: &Subject, standing: Standing) {
        self.publish(subject, standing, subject.tokens.clone(), Vec::new());
    }

    /// One step of a run: observe, decide, act.
    pub(super) async fn drive(&mut self, desired: &Desired, run: Run) -> Result<Next, Error> {
        let subject = desired.subject(&run.key.uid).cloned();
        let gone = match &subject {
            Some(subject) => subject.gone,
            None => match (desired.presence)(run.key.clone()).await {
                Ok(false) => true,
                // It exists, and its reconcile will bring it; or that is not known. Neither is a reason to act.
                Ok(true) | Err(_) => {
                    return Ok(Next::Wait(Some(clock::now() + SignedDuration::from_secs(1))));
                }
            },
        };
        let wish = wish(subject.as_deref(), Some(&run.tokens), gone);
        self.last = Some(Box::new(run.clone()));
        self.shown.remove(&run.key.uid);
        self.builds = builds(&wish);
        let owned = self.session.as_ref().is_some_and(Session::owned);
        self.own(&desired.database).await?;
        if !owned && !planted(Mutant::StaleAfterTakeover) {
            // What an earlier owner committed before it was gone is not in what was read before.
            return Ok(Next::Again);
        }
        if self.attempt.as_ref().is_some_and(|(id, _)| *id != run.id) {
            self.attempt = None;
        }
        let (seen, samples) = self.observe(&run, wish).await?;
        let now = clock::now();
        let decision = decide(&run.plan, &run.state, &seen, now);
        let waiting = if let Decision::Wait { cause, .. } = &decision { Some(cause.clone()) } else { None };
        if let (Some(subject), Decision::Run(_) | Decision::Wait { .. } | Decision::Stop) =
            (&subject, &decision)
            && self.has_news(&run, &decision)
        {
            let attempt = self.attempt.as_ref().map(|(_, attempt)| attempt.clone());
            let mut view = project::run(&run, attempt, waiting);
            view.watch = project::watch(&run, &samples);
            view.backfill = self.backfill_shown(&run);
            let past = match &decision {
                Decision::Stop => {
                    Run::past(self.open(&desired.database).await?.conn(), &run.plan.stream, &run.plan.version)
                        .await?
                }
                _ => Vec::new(),
            };
            let answered =
                if decision == Decision::Stop { subject.tokens.clone() } else { run.tokens.clone() };
            self.publish(subject, Standing::Run(Box::new(view)), answered, past);
        }
        match decision {
            Decision::Run(effect) => {
                self.unconfirmed = true;
                // The end is recorded once a standby has all before it.
                let then = end_with(&run.plan, &run.state, &seen, effect, now)
                    .filter(|_| !desired.database.remote_apply);
                self.act(desired, subject.as_deref(), &run, effect, (samples, then)).await
            }
            Decision::Move(state) => self.change_state(desired, subject.as_deref(), &run, state).await,
            Decision::Wait { until, .. } => Ok(Next::Wait(until)),
            Decision::Stop => self.answer_tokens(desired, subject.as_deref(), &run).await,
        }
    }

    async fn change_state(
        &mut self,
        desired: &Desired,
        subject: Option<&Subject>,
        run: &Run,
        state: State,
    ) -> Result<Next, Error> {
        if !run.state.may_become(&state) {
            error!(from = run.state.phase(), to = state.phase(), "illegal transition; nothing is done");
            return Ok(Next::Wait(Some(clock::now() + SignedDuration::from_mins(5))));
        }
        info!(migration = run.key.name, run = %run.id, from = run.state.phase(), to = state.phase(), "run moves on");
        let tokens = subject.map(|subject| subject.tokens.clone());
        let change = RunChange { state: Some(&state), tokens: tokens.as_ref(), ..RunChange::default() };
        self.unconfirmed = true;
        // It is about what was due in the old state, which may be over although the answer to this is lost.
        let attempt = self.attempt.take();
        let session = self.own(&desired.database).await?;
        let epoch = session.epoch();
        if let Err(error) = Run::change(session.conn(), epoch, run.id, &change).await {
            self.attempt = attempt.filter(|_| error.class() != Class::Ambiguous);
            return Err(error);
        }
        Ok(Next::Again)
    }

    /// The run rests. Tokens that change nothing are answered all the same, so that they never act later.
    async fn answer_tokens(
        &mut self,
        desired: &Desired,
        subject: Option<&Subject>,
        run: &Run,
    ) -> Result<Next, Error> {
        if let Some(subject) = subject
            && subject.tokens != run.tokens
        {
            let session = self.own(&desired.database).await?;
            let epoch = session.epoch();
            let change = RunChange { tokens: Some(&subject.tokens), ..RunChange::default() };
            Run::change(session.conn(), epoch, run.id, &change).await?;
        }
        if run.state.is_done() { Ok(Next::Again) } else { Ok(Next::Idle) }
    }
}

impl Start {
    /// `application_name` of the runner's sessions; a taker-over finds them by its first word.
    fn application(&self) -> String {
        let owner: String = self.owner.chars().filter(char::is_ascii_graphic).take(36).collect();
        format!("whimbrel/{owner}")
    }
}

/// A build is not worth waiting for where a person wants the end of the run.
fn builds(wish: &Wish) -> Builds {
    if wish.gone || wish.abort || wish.rollback { Builds::End } else { Builds::Adopt }
}

/// Compares an object's tokens with those that were answered.
pub(super) fn wish(subject: Option<&Subject>, answered: Option<&Tokens>, gone: bool) -> Wish {
    let gone = gone && !planted(Mutant::DeletionForgotten);
    let Some(subject) = subject else {
        return Wish { gone, ..Wish::default() };
    };
    let Some(answered) = answered else {
        // Without a run there is nothing that a token could ask for.
        return Wish { suspend: subject.spec.suspend, gone: gone || subject.gone, ..Wish::default() };
    };
    let new = |asked: &Option<String>, answered: &Option<String>| asked.is_some() && asked != answered;
    Wish {
        suspend: subject.spec.suspend,
        gone: gone || (subject.gone && !planted(Mutant::DeletionForgotten)),
        abort: new(&subject.tokens.abort, &answered.abort),
        rollback: new(&subject.tokens.rollback, &answered.rollback),
        retry: new(&subject.tokens.retry, &answered.retry),
    }
}
