//! When a client of the API server saw what: one watch on all Migrations, as the operator has one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A state of an object, and when it was delivered.
#[derive(Clone, Debug)]
struct Sighting {
    at: Instant,
    object: Value,
}

/// By namespace and name, oldest first.
type Seen = HashMap<(String, String), Vec<Sighting>>;

/// Everything that was delivered so far.
pub struct Sightings {
    seen: Arc<Mutex<Seen>>,
    news: watch::Receiver<()>,
    watching: JoinHandle<()>,
}

impl Drop for Sightings {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Sightings {
    /// Begins to watch.
    pub fn begin(api: Api<DynamicObject>) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (sender, news) = watch::channel(());
        let watching = tokio::spawn(follow(api, Arc::clone(&seen), sender));
        Self { seen, news, watching }
    }

    /// Waits for the first state of an object that satisfies a condition, and returns when it was delivered.
    ///
    /// # Errors
    /// When there is none within a minute.
    pub async fn first(&self, namespace: &str, name: &str, is: impl Fn(&Value) -> bool) -> Result<Instant> {
        self.first_within(Duration::from_mins(1), (namespace, name), is).await
    }

    /// As [`Sightings::first`], within another time.
    ///
    /// # Errors
    /// When there is none.
    pub async fn first_within(
        &self,
        limit: Duration,
        (namespace, name): (&str, &str),
        is: impl Fn(&Value) -> bool,
    ) -> Result<Instant> {
        let mut news = self.news.clone();
        let end = Instant::now() + limit;
        loop {
            if let Some(at) = self.find(namespace, name, &is) {
                return Ok(at);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{namespace}/{name} is not as awaited: {}", self.last(namespace, name));
            }
            // The end of the waiting is found at the top.
            let _ = tokio::time::timeout(left, news.changed()).await;
        }
    }

    fn find(&self, namespace: &str, name: &str, is: &impl Fn(&Value) -> bool) -> Option<Instant> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let of = seen.get(&(namespace.to_owned(), name.to_owned()))?;
        of.iter().find(|one| is(&one.object)).map(|one| one.at)
    }

    fn last(&self, namespace: &str, name: &str) -> Value {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let of = seen.get(&(namespace.to_owned(), name.to_owned()));
        of.and_then(|of| of.last()).map(|one| one.object["status"].clone()).unwrap_or_default()
    }
}

async fn follow(api: Api<DynamicObject>, seen: Arc<Mutex<Seen>>, news: watch::Sender<()>) {
    let mut version = None;
    loop {
        // Broken off watches go on where they were; nothing is watched before the first list.
        let from = match version.clone() {
            Some(from) => Some(from),
            None => {
                api.list(&ListParams::default()).await.ok().and_then(|list| list.metadata.resource_version)
            }
        };
        if let Some(from) = from
            && let Ok(stream) = api.watch(&WatchParams::default(), &from).await
        {
            let mut events = stream.boxed();
            while let Ok(Some(event)) = events.try_next().await {
                let at = Instant::now();
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                    version.clone_from(&object.metadata.resource_version);
                    note(&seen, at, object);
                    news.send_replace(());
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn note(seen: &Mutex<Seen>, at: Instant, object: DynamicObject) {
    let key = (object.namespace().unwrap_or_default(), object.name_any());
    let sighting = Sighting { at, object: serde_json::to_value(object).unwrap_or_default() };
    seen.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().push(sighting);
}

/// Whether a status is about the newest spec and says `Ready=True`.
pub fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && condition(object, "Ready") == "True"
}

/// The status of a condition; empty where there is none.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}
