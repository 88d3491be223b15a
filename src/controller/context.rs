//! What every reconcile shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::Client;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::{self, Gone};
use super::client::{self, CALL_LIMIT};
use super::databases::{Databases, Revision};
use super::election::Leadership;
use super::events::Events;
use crate::api::{Migration, MigrationStatus};
use crate::core::report;
use crate::core::view::Tokens;
use crate::engine::runner::{Runner, Start};
use crate::engine::seats::Seats;
use crate::engine::subject::{Database, Desired, Presence};
use crate::engine::views::Views;
use crate::postgres::ledger::RunKey;

/// How long a database may be silent while a runner waits for it: well beyond the limits of our own statements.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a session waits for the next migration of its database, which may come once the Database tells of this one.
const LINGER: Duration = Duration::from_secs(2);

/// For so long the watch is waited for to tell of what was written; then the object is read.
const WATCH_LAGS: Duration = Duration::from_secs(4);

/// A Database that was resolved is as good for so long: Secrets are not watched.
const RESOLVED_FOR: Duration = Duration::from_secs(5);

/// How often the cache is looked at by those who wait for it.
const CACHE_EVERY: Duration = Duration::from_millis(200);

/// A status that is still on its way is written at most so often.
pub const STATUS_EVERY: Duration = Duration::from_millis(500);

/// One that tells nothing but how far a run is, so often: a short migration costs no status in between.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// One that tells nothing but whose turn it is, so often: of many that wait, most have their turn soon.
pub const TURN_EVERY: Duration = Duration::from_secs(5);

/// What a runner has to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The object's generation.
    pub generation: Option<i64>,
    /// Its Database.
    pub database: Revision,
    /// What was asked for by annotations.
    pub tokens: Tokens,
    /// Whether the object is gone, or about to go.
    pub gone: bool,
}

/// What was handed over for an object.
#[derive(Clone, Debug)]
pub struct Offered {
    /// When.
    pub at: Instant,
    /// What.
    pub mark: Mark,
}

/// The last status that was written of an object.
#[derive(Debug)]
pub struct Written {
    at: Instant,
    resource_version: Option<String>,
    /// The cache has not all of it.
    status: Option<Box<MigrationStatus>>,
}

/// A runner that is under way.
pub struct Handle {
    desired: watch::Sender<Desired>,
    /// What its database was resolved from, and when.
    resolved: (Revision, Instant),
}

/// What every reconcile shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// All Migrations that are watched, as a cache: good for finding out who else wants something, never for a reason to
    /// undo anything.
    pub migrations: Store<Migration>,
    /// What the engine knows.
    pub views: Views,
    /// Where events go.
    pub events: Events,
    /// Counters.
    pub counters: super::counters::Counters,
    pub(super) runners: Mutex<HashMap<String, Handle>>,
    pub(super) written: Mutex<HashMap<String, Written>>,
    pub(super) offered: Mutex<HashMap<String, Offered>>,
    /// The Databases that were read, as long as no news of them came.
    pub databases: Databases,
    /// Databases that this process has looked at.
    pub(super) looked_at: Mutex<HashMap<String, Instant>>,
    /// Runners that are under way.
    pub tracker: TaskTracker,
    /// Bounds the databases that have sessions.
    pub seats: Seats,
    /// Cancelled: reach a safe point and end.
    pub stop: CancellationToken,
    /// Whether this process may act.
    pub leadership: watch::Receiver<Leadership>,
    /// Name of this process.
    pub identity: String,
}

impl Context {
    /// Hands the newest wishes to the runner of a database; starts one where none runs. `resolved` says of which revision the
    /// database is, and since when that is known.
    pub fn offer(self: &Arc<Self>, key: &str, desired: Desired, resolved: (Revision, Instant)) {
        let mut runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runner) = runners.get_mut(key)
            && !runner.desired.is_closed()
            && runner.desired.send(desired.clone()).is_ok()
        {
            runner.resolved = resolved;
            return;
        }
        let (sender, receiver) = watch::channel(desired);
        runners.insert(key.to_owned(), Handle { desired: sender, resolved });
        drop(runners);
        let leadership = self.leadership.clone();
        let start = Start {
            owner: self.identity.clone(),
            desired: receiver,
            views: self.views.clone(),
            stop: self.stop.clone(),
            may_act: Arc::new(move || leadership.borrow().holds(Instant::now())),
            seats: self.seats.clone(),
            linger: LINGER,
            patience: PATIENCE,
        };
        let context = Arc::clone(self);
        let key = key.to_owned();
        self.tracker.spawn(async move {
            let desired = Box::pin(Runner::new(start).run()).await;
            context.retire(&key, &desired);
        });
    }

    /// Starts a runner for a database with a run that no object asks for any more, where none runs.
    pub fn adopt(self: &Arc<Self>, key: &str, desired: Desired) {
        let runs = self.runners.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key);
        if !runs {
            self.offer(key, desired, (None, Instant::now()));
        }
    }

    /// Returns the database that a runner was given last, and when it was resolved, if that was of this revision and not long
    /// ago.
    pub fn resolved(&self, key: &str, revision: &Revision) -> Option<(Arc<Database>, Instant)> {
        let runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
        let runner = runners.get(key).filter(|runner| !runner.desired.is_closed())?;
        let (of, at) = &runner.resolved;
        let is_good = revision.is_some() && of == revision && at.elapsed() < RESOLVED_FOR;
        is_good.then(|| (Arc::clone(&runner.desired.borrow().database), *at))
    }

    /// How long ago this process looked at a Database; none before the first look.
    pub fn since_look(&self, uid: &str) -> Option<Duration> {
        let looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        looked_at.get(uid).map(Instant::elapsed)
    }

    /// Notes a look at a Database.
    pub fn note_look(&self, uid: &str) {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), Instant::now());
    }

    /// A runner ended, and heard of these wishes. If others came in while it was about to, another one takes them.
    fn retire(self: &Arc<Self>, key: &str, heard: &watch::Receiver<Desired>) {
        let latest = {
            let mut runners = self.runners.lock().unwrap_or_else(PoisonError::into_inner);
            let news = heard.has_changed().unwrap_or(false);
            let latest = heard.borrow().clone();
            let resolved = runners.remove(key).map(|runner| runner.resolved);
            news.then_some(latest).zip(resolved)
        };
        if let Some((desired, resolved)) = latest
            && !self.stop.is_cancelled()
        {
            self.offer(key, desired, resolved);
        }
    }

    /// Waits until the cache of Migrations was filled for the first time; false when it never will be.
    pub async fn cached(&self) -> bool {
        filled(&self.migrations).await
    }

    /// Asks the API server itself whether an object exists.
    pub fn presence(self: &Arc<Self>) -> Presence {
        let client = self.client.clone();
        Arc::new(move |key: RunKey| {
            let client = client.clone();
            async move {
                let api: Api<Migration> = Api::namespaced(client, &key.namespace);
                let found = client::within(CALL_LIMIT, "look for a Migration", api.get_opt(&key.name)).await;
                match found {
                    Ok(object) => {
                        Ok(object.is_some_and(|object| object.metadata.uid.as_deref() == Some(&key.uid)))
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            .boxed()
        })
    }

    /// Whether the ledger lost the run that an object's status tells of.
    pub fn lost(&self, object: &Migration) -> bool {
        let run = object.status.as_ref().and_then(|status| status.run_id.as_ref());
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        run.is_some() && self.views.lost(uid).as_ref() == run
    }

    /// Returns what was handed over for an object last.
    pub fn offered(&self, uid: &str) -> Option<Offered> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// Notes what is handed over for an object.
    pub fn note_offer(&self, uid: &str, offered: Offered) {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), offered);
    }

    /// Returns the Migrations that may have waited for one that is gone: the runner is to hear of them again.
    pub fn left_behind(&self, gone: &Gone) -> Vec<ObjectRef<Migration>> {
        let concerned = |migration: &Migration| match gone {
            Gone::Of(database) => *database == cache::database(migration),
            Gone::Any => true,
        };
        let mut found = self.migrations.state();
        found.retain(|migration| concerned(migration) && !report::settled(migration));
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        for migration in &found {
            offered.remove(&migration.uid().unwrap_or_default());
        }
        found.iter().map(|migration| ObjectRef::from_obj(&**migration)).collect()
    }

    /// Returns how long the next status of an object has to wait, if it was written less than `every` ago.
    pub fn too_early(&self, uid: &str, every: Duration) -> Option<Duration> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = written.get(uid)?.at.elapsed();
        (elapsed < every).then(|| every.saturating_sub(elapsed))
    }

    /// Notes that a status was written, which made an object what it is now.
    pub fn wrote(&self, uid: &str, now: &Migration) {
        let status = now.status.clone().map(Box::new);
        let written = Written { at: Instant::now(), resource_version: now.resource_version(), status };
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), written);
    }

    /// Forgets what was written of an object: it was changed since.
    pub fn forget_written(&self, uid: &str) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Whether the watch has not told yet of what was written of an object last.
    pub fn is_behind(&self, uid: &str, object: &Migration) -> bool {
        let number = |version: Option<&String>| version.and_then(|version| version.parse::<u64>().ok());
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(one) = written.get(uid).filter(|one| one.at.elapsed() < WATCH_LAGS) else { return false };
        let versions =
            (number(object.metadata.resource_version.as_ref()), number(one.resource_version.as_ref()));
        matches!(versions, (Some(seen), Some(written)) if seen < written)
    }

    /// Returns an object of the cache with its whole status, where it is as it was written last.
    pub fn as_written(&self, uid: &str, object: &Migration) -> Option<Migration> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = written.get(uid).filter(|one| one.resource_version == object.resource_version())?;
        Some(Migration { status: ours.status.as_deref().cloned(), ..object.clone() })
    }

    /// Whether an object is as it was written last, and its runner has it and has not said anything yet.
    pub fn awaits_its_runner(&self, uid: &str, object: &Migration) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = written.get(uid).is_some_and(|one| one.resource_version == object.resource_version());
        drop(written);
        ours && self.offered(uid).is_some() && self.views.get(uid).is_none()
    }

    /// Forgets an object that is gone or settled.
    pub fn forget(&self, uid: &str) {
        self.forget_written(uid);
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.views.forget(uid);
    }
}

/// The runtime wakes only one of several that wait for a store, so each of them looks again by itself.
async fn filled(store: &Store<Migration>) -> bool {
    loop {
        if let Ok(ready) = tokio::time::timeout(CACHE_EVERY, store.wait_until_ready()).await {
            return ready.is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_for_the_cache_hears_of_it() {
        let (store, mut writer) = reflector::store::<Migration>();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { filled(&store).await })
            })
            .collect();
        tokio::task::yield_now().await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for one in waiting {
            let heard = tokio::time::timeout(CACHE_EVERY * 10, one).await;
            assert!(heard.expect("in time").expect("no panic"));
        }
    }
}
