//! The second session beside a block that runs: sees who is in its way and who waits behind it, and cancels it in the
//! server when somebody waits for too long or a person wants it to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::project;
use super::pulse::Pulse;
use super::subject::{Desired, Subject};
use super::views::Views;
use crate::api::Reason;
use crate::core::backfill::Progress;
use crate::core::observation::Blocker;
use crate::core::state::Cause;
use crate::core::view::{RunView, Standing, Tokens, View};
use crate::core::waiting::{self, Waiter};
use crate::postgres::block::{self, Failed, Job, Ran};
use crate::postgres::build::{self, Build};
use crate::postgres::guard::Witness;
use crate::postgres::ledger::Run;
use crate::postgres::{Connection, Error, Session, locks};

/// When the first look is taken, and how often at least and at most afterwards.
const LOOK_AFTER: Duration = Duration::from_millis(5);
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// What was seen beside a block.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Who was in its way, at the last look that found somebody.
    pub blockers: Vec<Blocker>,
    /// Who waited behind it for so long that it was cancelled.
    pub waited: Option<Waiter>,
}

/// Resolves when the object asks to stop: it was deleted or has a new abort token. On the way back nothing stops.
pub(super) async fn stop_asked(news: &mut watch::Receiver<Desired>, uid: &str, back: bool) {
    if back {
        return std::future::pending().await;
    }
    let abort = news.borrow().subject(uid).and_then(|subject| subject.tokens.abort.clone());
    loop {
        if news.changed().await.is_err() {
            return std::future::pending().await;
        }
        let asked =
            news.borrow().subject(uid).is_some_and(|subject| subject.gone || subject.tokens.abort != abort);
        if asked {
            return;
        }
    }
}

/// How often the progress of a build is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Returns what tells how far a build is, as what the run waits for.
pub(super) fn teller(
    views: &Views,
    subject: Option<&Arc<Subject>>,
    run: &Run,
    unit: usize,
) -> impl Fn(&Build) + use<> {
    let step = run.plan.step_of(unit).map_or_else(String::new, |step| step.name.clone());
    let (views, subject) = (views.clone(), subject.cloned());
    let (view, answered) = (project::run(run, None, None), run.tokens.clone());
    let told = std::sync::Mutex::new(None::<Instant>);
    move |build: &Build| {
        let (Some(subject), Ok(mut told)) = (&subject, told.lock()) else { return };
        if told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        let message = format!("step {step}: an index is built{build}");
        let view = RunView { waiting: Some(Cause::new(Reason::Applying, message)), ..view.clone() };
        show(&views, subject, view, answered.clone());
    }
}

/// Returns what tells how far a backfill is on the copy.
pub(super) fn filling_teller(
    views: &Views,
    subject: &Arc<Subject>,
    run: &Run,
    filled: watch::Receiver<Option<Progress>>,
) -> impl Fn() + Send + Sync + use<> {
    let (views, subject) = (views.clone(), Arc::clone(subject));
    let (view, answered) = (project::run(run, None, None), run.tokens.clone());
    move || {
        let Some(progress) = filled.borrow().clone() else { return };
        let view = RunView { backfill: Some(progress), ..view.clone() };
        show(&views, &subject, view, answered.clone());
    }
}

fn show(views: &Views, subject: &Subject, run: RunView, answered: Tokens) {
    let standing = Standing::Run(Box::new(run));
    let generation = subject.generation;
    views.publish(&subject.key, View { generation, standing, answered, past: Vec::new() });
}

/// Runs a block under the eyes of the session's observer.
pub(super) async fn overseen(
    session: &mut Session,
    job: &Job<'_>,
    (stop, tell): (impl Future<Output = ()>, impl Fn(&Build)),
    pulse: &Pulse,
) -> (Result<Ran, Failed>, Seen) {
    let witness = Witness::new(session.take_observer());
    let pid = session.pid();
    let mut seen = Seen::default();
    let job = Job { witness: Some(&witness), ..*job };
    let result = tokio::select! {
        result = block::run(session, &job) => result,
        () = oversee(&witness, (pid, pulse), &job, (stop, tell), &mut seen) => {
            Err(Failed::from(Error::Unexpected("the observer ended".to_owned())))
        }
    };
    session.give_back(witness.into_session());
    (result, seen)
}

async fn oversee(
    witness: &Witness,
    (pid, pulse): (i32, &Pulse),
    job: &Job<'_>,
    (stop, tell): (impl Future<Output = ()>, impl Fn(&Build)),
    seen: &mut Seen,
) {
    let began = Instant::now();
    let every = (job.limits.stall / 2).clamp(LOOK_EVERY.0, LOOK_EVERY.1);
    tokio::pin!(stop);
    let (mut pause, mut cancelled) = (LOOK_AFTER, false);
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = &mut stop, if !cancelled => true,
        };
        pause = every;
        let mut guard = witness.session().await;
        let Some(observer) = guard.as_mut() else {
            pulse.excuse();
            return std::future::pending().await;
        };
        if !job.block.transactional
            && let Ok(Some(build)) = build::progress(observer, pid).await
        {
            tell(&build);
        }
        let waited = if asked { None } else { look(observer, (pid, pulse), (job, began), seen).await };
        if asked || (waited.is_some() && !cancelled) {
            cancelled = true;
            if waited.is_some() {
                witness.note_cancellation();
            }
            seen.waited = waited;
            // Best effort: if it fails, the statement ends by its own limits.
            let _ = locks::cancel(observer, pid).await;
        }
    }
}

/// Takes one look. Returns who waits behind us for longer than the budget. What cannot be read now is read at the next look.
async fn look(
    observer: &mut Connection,
    (pid, pulse): (i32, &Pulse),
    (job, began): (&Job<'_>, Instant),
    seen: &mut Seen,
) -> Option<Waiter> {
    let waiters = locks::waiters(observer).await.ok()?;
    pulse.beat();
    if let Some(us) = waiters.iter().find(|waiter| waiter.pid == pid)
        && let Ok(blockers) = locks::blockers(observer, pid, &us.blocked_by).await
        && !blockers.is_empty()
    {
        seen.blockers = blockers;
    }
    let elapsed = began.elapsed();
    let longest = waiting::behind(&waiters, pid, job.block.transactional)?;
    // Nobody waited for us before we began.
    let waited = longest.waited.min(elapsed);
    (waited > job.limits.stall).then(|| Waiter { waited, ..longest.clone() })
}
