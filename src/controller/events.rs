//! Publishes events. One that comes again soon is told as a series.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use tracing::debug;

use super::client::{self, CALL_LIMIT};
use crate::api::Migration;
use crate::core::report;

/// A recorder keeps each event for minutes, to know it again; after so many another one begins, since a thousand take megabytes.
const REMEMBERED: usize = 100;

/// Publishes events; clones share what is remembered.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    /// With how many events it has published.
    recorder: Arc<Mutex<(Recorder, usize)>>,
}

impl Events {
    /// Makes one for a process of this name.
    pub fn new(client: Client, identity: String) -> Self {
        let reporter = Reporter { controller: "whimbrel".into(), instance: Some(identity) };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, recorder: Arc::new(Mutex::new((recorder, 0))) }
    }

    /// Publishes an event about a Migration. An event is news, not state: losing one must not hold anything up.
    pub async fn publish(&self, migration: &Migration, event: report::Event) {
        let kube_event = KubeEvent {
            type_: match event.kind {
                report::EventType::Warning => EventType::Warning,
                report::EventType::Normal => EventType::Normal,
            },
            reason: event.reason.as_str().to_owned(),
            note: Some(event.note),
            action: event.action.to_owned(),
            secondary: None,
        };
        let about = ObjectReference { field_path: event.place, ..migration.object_ref(&()) };
        let recorder = self.recorder();
        let sent = recorder.publish(&kube_event, &about);
        if let Err(error) = client::within(CALL_LIMIT, "publish an event", sent).await {
            debug!("{error}");
        }
    }

    /// Returns who publishes the next event.
    fn recorder(&self) -> Recorder {
        let mut current = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let (recorder, published) = &mut *current;
        if *published >= REMEMBERED {
            (*recorder, *published) = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        *published += 1;
        recorder.clone()
    }
}
