//! The one watch of Migrations: fills the cache, wakes their reconciles, and tells of whose Database there is news.

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::mpsc;

use crate::api::{Database, Migration, MigrationStatus};

/// What `kubectl apply` keeps of the object that it was given.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Objects of one answer when all are listed: they are slim only once they are read, and what an answer takes is not given back.
const PAGE: u32 = 100;

/// Who may have lost a Migration that went before: the others of its Database, or after a new list, anybody.
#[derive(Clone, Debug)]
pub enum Gone {
    /// One of this Database.
    Of(ObjectRef<Database>),
    /// Any: what went while nobody watched is in no list.
    Any,
}

/// Watches Migrations. The cache holds what is asked of it: who wants what, and how it ended; a reconcile reads its own object
/// at the source. `tell` hears of a Database after the cache knows why, and `gone` of what is in it no more.
pub fn watch(
    api: Api<Migration>,
    cache: Writer<Migration>,
    tell: mpsc::UnboundedSender<ObjectRef<Database>>,
    gone: mpsc::UnboundedSender<Gone>,
) -> impl Stream<Item = watcher::Result<Migration>> + Send {
    watcher(api, watcher::Config::default().page_size(PAGE))
        .modify(slim)
        .reflect(cache)
        // Nobody listens any more only when the process ends.
        .inspect(move |event| match event {
            Ok(Event::Apply(one) | Event::InitApply(one)) => {
                let _ = tell.send(database(one));
            }
            Ok(Event::Delete(one)) => {
                let _ = tell.send(database(one));
                let _ = gone.send(Gone::Of(database(one)));
            }
            Ok(Event::InitDone) => {
                let _ = gone.send(Gone::Any);
            }
            Ok(Event::Init) | Err(_) => {}
        })
        .applied_objects()
}

/// The Database of a Migration.
pub fn database(migration: &Migration) -> ObjectRef<Database> {
    ObjectRef::new(&migration.spec.database_ref.name).within(&migration.namespace().unwrap_or_default())
}

/// Takes out of an object what nobody asks the cache for, which is most of it.
fn slim(object: &mut Migration) {
    object.metadata.managed_fields = None;
    object.annotations_mut().remove(LAST_APPLIED);
    if let Some(status) = &mut object.status {
        let MigrationStatus { plan, rehearsal, progress, analysis, history, conditions, .. } = status;
        (*plan, *rehearsal, *progress, *analysis) = (None, None, None, None);
        *history = Vec::new();
        for condition in conditions {
            condition.message = String::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::report;

    #[test]
    fn what_is_kept_says_the_same_of_how_it_ended() {
        let condition = |type_: &str| {
            serde_json::json!({"type": type_, "status": "True", "reason": "Succeeded", "message": "x".repeat(900),
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
        };
        let object = serde_json::json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Migration",
            "metadata": {"name": "a", "generation": 1, "annotations": {LAST_APPLIED: "{}", "whimbrel.dev/retry-requested-at": "1"},
                "managedFields": [{"manager": "kubectl"}]},
            "spec": {"databaseRef": {"name": "shop"}, "version": "1", "up": "SELECT 1"},
            "status": {"observedGeneration": 1, "runID": "r", "applied": true, "toVersion": "1", "lastHandledRetryAt": "1",
                "conditions": [condition("Ready"), condition("PlanValid")]},
        });
        let whole: Migration = serde_json::from_value(object).unwrap();
        let mut kept = whole.clone();
        slim(&mut kept);
        assert!(report::settled(&whole) && report::settled(&kept) && report::succeeded(&kept));
        assert_eq!(kept.spec, whole.spec);
        let size = |object: &Migration| serde_json::to_string(object).unwrap().len();
        assert!(size(&kept) < 1000 && size(&whole) > 2000, "{} {}", size(&kept), size(&whole));
    }
}
