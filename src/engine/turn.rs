//! Nothing is under way in a database: finds whose turn it is, and begins.

use std::sync::Arc;

use tracing::info;
use uuid::Uuid;

use super::begin::{self, NotBegun};
use super::runner::{Next, Runner, wish};
use super::subject::{Desired, Subject};
use super::{clock, project};
use crate::api::{Reason, Version};
use crate::core::compile::{budgets, canonical_version, plan_hash};
use crate::core::order::{Candidate, InForce, Latest, Place, order};
use crate::core::state::Cause;
use crate::core::view::{Standing, View};
use crate::postgres::Error;
use crate::postgres::ledger::{self, Run};

impl Runner {
    /// Nothing is under way: finds whose turn it is.
    pub(super) async fn choose(&mut self, desired: &Desired) -> Result<Next, Error> {
        let session = self.open(&desired.database).await?;
        let ledger = session.head().is_some();
        let identity = begin::identity(session);
        let mut in_force = InForce {
            versions: Vec::new(),
            baseline: desired.database.baseline.clone(),
            out_of_order: desired.database.out_of_order,
        };
        if ledger {
            let applied = Run::applied_versions(session.conn()).await?;
            in_force.versions = applied
                .into_iter()
                .filter_map(|(stream, text)| Some((stream, Version::parse(&text, "version").ok()?)))
                .collect();
        }
        let versions: Vec<String> =
            desired.subjects.iter().map(|subject| canonical_version(&subject.spec.version)).collect();
        let mut latest = vec![None; versions.len()];
        if ledger {
            let streams = desired.subjects.iter().map(|subject| subject.spec.stream.as_str());
            let asked: Vec<(&str, &str)> = streams.zip(versions.iter().map(String::as_str)).collect();
            latest = Run::latest(session.conn(), &asked).await?;
        }
        let mut candidates = Vec::new();
        let mut subjects = Vec::new();
        for ((subject, version), latest) in desired.subjects.iter().zip(&versions).zip(latest) {
            let Ok(version) = Version::parse(version, "spec.version") else {
                continue;
            };
            let hash = plan_hash(&subject.spec, &identity, desired.database.owner_role.as_deref());
            candidates.push(candidate(subject, version, hash, latest.as_ref()));
            subjects.push((Arc::clone(subject), latest));
        }
        self.look_back(desired, &in_force, &subjects).await?;
        let places = order(&candidates, &in_force);
        Box::pin(self.take_turns(desired, &in_force, places, subjects)).await
    }

    async fn take_turns(
        &mut self,
        desired: &Desired,
        in_force: &InForce,
        places: Vec<Place>,
        subjects: Vec<(Arc<Subject>, Option<ledger::Latest>)>,
    ) -> Result<Next, Error> {
        let now = clock::now();
        let mut turn = None;
        let mut look_again = None;
        for (place, (subject, latest)) in places.into_iter().zip(subjects) {
            let refused = self.refused.contains(&subject.key.uid);
            let later = self.postponed.until(&subject.key.uid, now);
            match place {
                Place::Begin if refused => {}
                Place::Begin if later.is_some() => look_again = look_again.min(later).or(later),
                Place::Begin if turn.is_none() => turn = Some((subject, true, latest)),
                Place::Resume if turn.is_none() => turn = Some((subject, false, latest)),
                Place::Begin | Place::Resume => {
                    let cause = Cause::new(
                        Reason::WaitingForDatabase,
                        "another Migration of this database goes first",
                    );
                    self.tell(&subject, Standing::Waiting(cause));
                }
                Place::Show => self.show(desired, &subject, latest).await?,
                Place::Covered(cause) => self.answer(&subject, Standing::Covered(cause)),
                Place::Wait(cause) => self.wait(&subject, cause),
                Place::Refuse(cause) => self.answer(&subject, Standing::Refused(cause)),
            }
        }
        match turn {
            None if look_again.is_some() => Ok(Next::Wait(look_again)),
            None => Ok(Next::Idle),
            Some((_, false, Some(latest))) => match self.whole(desired, latest.id).await? {
                Some(run) => Box::pin(self.drive(desired, run)).await,
                None => Ok(Next::Again),
            },
            Some((subject, _, latest)) => {
                Box::pin(self.begin(desired, in_force, &subject, latest.map(|run| run.id))).await
            }
        }
    }

    /// It is not its turn. What could never begin is told at once, not when its turn comes.
    fn wait(&mut self, subject: &Subject, cause: Cause) {
        let read = (subject.key.uid.clone(), subject.generation);
        let never =
            if subject.gone || self.sound.contains(&read) { None } else { begin::never(&subject.spec) };
        if let Some(cause) = never {
            return self.answer(subject, Standing::Refused(cause));
        }
        self.sound.insert(read);
        self.tell(subject, Standing::Waiting(cause));
    }

    async fn begin(
        &mut self,
        desired: &Desired,
        in_force: &InForce,
        subject: &Subject,
        latest: Option<Uuid>,
    ) -> Result<Next, Error> {
        let from = in_force.current(&subject.spec.stream).map(Version::canonical);
        let owner = self.start.owner.clone();
        self.unconfirmed = true;
        let session = self.open(&desired.database).await?;
        let begun =
            begin::begin(session, &desired.database, subject, &owner, (from.as_deref(), latest)).await;
        self.remember_epoch();
        match begun {
            Ok(()) => {
                self.postponed.remove(&subject.key.uid);
                info!(database = desired.database.name, migration = subject.key.name, "run begun");
                Ok(Next::Again)
            }
            Err(NotBegun::Overtaken) => Ok(Next::Again),
            Err(NotBegun::Failed(error)) => Err(error),
            Err(NotBegun::Refused(cause)) => {
                info!(
                    migration = subject.key.name,
                    reason = cause.reason.as_str(),
                    "refused: {}",
                    cause.message
                );
                self.refused.insert(subject.key.uid.clone());
                self.answer(subject, Standing::Refused(cause));
                Ok(Next::Again)
            }
            Err(NotBegun::Later(cause)) => {
                self.postponed.add(&subject.key.uid, clock::now());
                self.tell(subject, Standing::Retrying(cause));
                Ok(Next::Again)
            }
        }
    }

    async fn whole(&mut self, desired: &Desired, run: Uuid) -> Result<Option<Run>, Error> {
        Run::by_id(self.open(&desired.database).await?.conn(), run).await
    }

    /// Publishes a run that has ended, unless that was done.
    async fn show(
        &mut self,
        desired: &Desired,
        subject: &Subject,
        latest: Option<ledger::Latest>,
    ) -> Result<(), Error> {
        let Some(latest) = latest else { return Ok(()) };
        let shown = (subject.generation, latest);
        if self.shown.get(&subject.key.uid) == Some(&shown) {
            return Ok(());
        }
        // An earlier runner of this process may have done it.
        if self.start.views.get(&subject.key.uid).is_some_and(|view| tells(&view, &shown)) {
            self.shown.insert(subject.key.uid.clone(), shown);
            return Ok(());
        }
        let Some(run) = self.whole(desired, shown.1.id).await? else { return Ok(()) };
        let session = self.open(&desired.database).await?;
        let view = project::with_samples(session.conn(), &run, None, None).await?;
        let past = Run::past(session.conn(), &run.plan.stream, &run.plan.version).await?;
        self.publish(subject, Standing::Run(Box::new(view)), run.tokens.clone(), past);
        self.shown.insert(subject.key.uid.clone(), shown);
        Ok(())
    }
}

/// Whether a view is all that there is to say of a run that has ended.
fn tells(view: &View, (generation, latest): &(i64, ledger::Latest)) -> bool {
    let Standing::Run(run) = &view.standing else { return false };
    view.generation == *generation
        && view.answered == latest.tokens
        && run.id == latest.id.to_string()
        && run.state == latest.state
        && run.attempt.is_none()
        && run.waiting.is_none()
}

/// What the order of migrations rests on.
fn candidate(
    subject: &Subject,
    version: Version,
    hash: String,
    latest: Option<&ledger::Latest>,
) -> Candidate {
    Candidate {
        uid: subject.key.uid.clone(),
        name: subject.key.name.clone(),
        created: subject.created,
        stream: subject.spec.stream.clone(),
        version,
        hash,
        budgets: budgets(&subject.spec),
        wish: wish(Some(subject), latest.map(|run| &run.tokens), false),
        latest: latest.map(|run| Latest {
            uid: run.uid.clone(),
            hash: run.hash.clone(),
            budgets: run.budgets.clone(),
            state: run.state.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fixture::{at, plan, run};
    use crate::core::state::{Outcome, State};
    use crate::core::view::{RunView, Tokens};

    #[test]
    fn a_view_that_tells_all_of_an_ended_run_is_not_made_again() {
        let id = Uuid::new_v4();
        let ended = State::Done { at: at(9), outcome: Outcome::Succeeded };
        let latest = ledger::Latest {
            id,
            uid: "1".to_owned(),
            hash: String::new(),
            budgets: Vec::new(),
            state: ended.clone(),
            tokens: Tokens::default(),
        };
        let of = RunView { id: id.to_string(), ..run(plan(), ended, 3) };
        let check = |expected: bool, change: fn(&mut View, &mut RunView)| {
            let standing = Standing::Waiting(Cause::new(Reason::WaitingForDatabase, ""));
            let mut view = View { generation: 1, standing, answered: Tokens::default(), past: Vec::new() };
            let mut shown = of.clone();
            change(&mut view, &mut shown);
            view.standing = Standing::Run(Box::new(shown));
            assert_eq!(tells(&view, &(1, latest.clone())), expected, "{view:?}");
        };
        check(true, |_, _| ());
        check(false, |view, _| view.generation = 2);
        check(false, |view, _| view.answered.retry = Some("1".to_owned()));
        check(false, |_, run| run.id = Uuid::new_v4().to_string());
        check(false, |_, run| run.state = State::Applying { since: at(1) });
        check(false, |_, run| run.waiting = Some(Cause::new(Reason::DatabaseUnreachable, "away")));
    }
}
