//! What is known about each Migration, for whoever projects it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::core::view::{Standing, View};
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

    /// Replaces the view of an object and tells of it, unless it still waits for the same: many wait while one goes on.
    pub fn publish(&self, key: &RunKey, view: View) {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let view = Arc::new(view);
        let before = views.insert(key.uid.clone(), Arc::clone(&view));
        drop(views);
        if before.is_none_or(|before| !waits_as_before(&before, &view)) {
            // Nobody listens any more only when the process ends.
            let _ = self.news.send(key.clone());
        }
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

fn waits_as_before(before: &View, now: &View) -> bool {
    let (Standing::Waiting(one), Standing::Waiting(other)) = (&before.standing, &now.standing) else {
        return false;
    };
    let beside =
        |view: &View| (view.generation, view.answered.clone(), view.past.clone(), view.lost_run.clone());
    one == other && beside(before) == beside(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::core::state::Cause;
    use crate::core::view::Tokens;

    #[test]
    fn who_waits_for_the_same_is_no_news() {
        let (views, mut news) = Views::new();
        let key = RunKey { namespace: String::new(), name: "a".to_owned(), uid: "1".to_owned() };
        let mut check = |standing: fn(Cause) -> Standing, message: &str, generation: i64, told: bool| {
            let standing = standing(Cause::new(Reason::WaitingForDatabase, message));
            let view =
                View { generation, standing, answered: Tokens::default(), past: Vec::new(), lost_run: None };
            views.publish(&key, view);
            assert_eq!(news.try_recv().is_ok(), told, "{message} {generation}");
            assert_eq!(views.get("1").map(|view| view.generation), Some(generation));
        };
        check(Standing::Waiting, "one goes first", 1, true);
        check(Standing::Waiting, "one goes first", 1, false);
        check(Standing::Waiting, "one goes first", 2, true);
        check(Standing::Waiting, "another goes first", 2, true);
        check(Standing::Retrying, "another goes first", 2, true);
        check(Standing::Retrying, "another goes first", 2, true);
    }
}
