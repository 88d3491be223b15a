//! What is known about each Migration, for whoever projects it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::core::view::View;
use crate::postgres::ledger::RunKey;

/// The newest view of each Migration, and news of changes.
#[derive(Clone, Debug)]
pub struct Views {
    views: Arc<Mutex<HashMap<String, Arc<View>>>>,
    news: mpsc::UnboundedSender<RunKey>,
}

impl Views {
    /// Makes an empty set and the channel that tells what changed.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<RunKey>) {
        let (news, receiver) = mpsc::unbounded_channel();
        (Self { views: Arc::default(), news }, receiver)
    }

    /// Replaces the view of an object and tells of it.
    pub fn publish(&self, key: &RunKey, view: View) {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).insert(key.uid.clone(), Arc::new(view));
        // Nobody listens any more only when the process ends.
        let _ = self.news.send(key.clone());
    }

    /// Returns the newest view of an object.
    pub fn get(&self, uid: &str) -> Option<Arc<View>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// Forgets an object.
    pub fn forget(&self, uid: &str) {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
