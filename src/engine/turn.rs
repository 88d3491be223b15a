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
use crate::core::view::Standing;
use crate::postgres::Error;
use crate::postgres::ledger::Run;

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
        let mut candidates = Vec::new();
        let mut latest_runs = Vec::new();
        if ledger {
            let applied = Run::applied_versions(session.conn()).await?;
            in_force.versions = applied
                .into_iter()
                .filter_map(|(stream, text)| Some((stream, Version::parse(&text, "version").ok()?)))
                .collect();
        }
        for subject in &desired.subjects {
            let version = canonical_version(&subject.spec.version);
            let latest = if ledger {
                Run::latest(session.conn(), &subject.spec.stream, &version).await?
            } else {
                None
            };
            let Ok(parsed) = Version::parse(&version, "spec.version") else {
                continue;
            };
            candidates.push(Candidate {
                uid: subject.key.uid.clone(),
                name: subject.key.name.clone(),
                created: subject.created,
                stream: subject.spec.stream.clone(),
                version: parsed,
                hash: plan_hash(&subject.spec, &identity, desired.database.owner_role.as_deref()),
                budgets: budgets(&subject.spec),
                wish: wish(Some(subject), latest.as_ref().map(|run| &run.tokens), false),
                latest: latest.as_ref().map(|run| Latest {
                    uid: run.key.uid.clone(),
                    hash: run.plan.hash.clone(),
                    budgets: run.plan.steps.iter().map(|step| step.max_stall).collect(),
                    state: run.state.clone(),
                }),
            });
            latest_runs.push((Arc::clone(subject), latest));
        }
        let places = order(&candidates, &in_force);
        self.take_turns(desired, &in_force, places, latest_runs).await
    }

    async fn take_turns(
        &mut self,
        desired: &Desired,
        in_force: &InForce,
        places: Vec<Place>,
        subjects: Vec<(Arc<Subject>, Option<Run>)>,
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
                Place::Wait(cause) => self.tell(&subject, Standing::Waiting(cause)),
                Place::Refuse(cause) => self.answer(&subject, Standing::Refused(cause)),
            }
        }
        match turn {
            None if look_again.is_some() => Ok(Next::Wait(look_again)),
            None => Ok(Next::Idle),
            Some((_, false, Some(run))) => self.drive(desired, run).await,
            Some((subject, _, latest)) => {
                self.begin(desired, in_force, &subject, latest.map(|run| run.id)).await
            }
        }
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

    /// Publishes a run that has ended.
    async fn show(&mut self, desired: &Desired, subject: &Subject, run: Option<Run>) -> Result<(), Error> {
        let Some(run) = run else { return Ok(()) };
        let session = self.open(&desired.database).await?;
        let view = project::with_samples(session.conn(), &run, None, None).await?;
        let past = Run::past(session.conn(), &run.plan.stream, &run.plan.version).await?;
        self.publish(subject, Standing::Run(Box::new(view)), run.tokens.clone(), past);
        Ok(())
    }
}
