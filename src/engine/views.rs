//! What is known about each Migration, for whoever projects it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::core::view::{Standing, View};
use crate::postgres::ledger::RunKey;

/// The newest view of each Migration, and news of changes.
#[derive(Clone, Debug)]
pub struct Views {
    latest: Arc<Mutex<HashMap<String, Arc<View>>>>,
    /// Few, and true for as long as a status tells of them, whatever becomes of the views.
    lost: Arc<Mutex<HashMap<String, String>>>,
    news: mpsc::UnboundedSender<RunKey>,
}

impl Views {
    /// Makes an empty set and the channel that tells what changed.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<RunKey>) {
        let (news, receiver) = mpsc::unbounded_channel();
        (Self { latest: Arc::default(), lost: Arc::default(), news }, receiver)
    }

    /// Replaces the view of an object and tells of it, unless it still waits for the same: many wait while one goes on.
    pub fn publish(&self, key: &RunKey, view: View) {
        let mut views = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// Notes runs that the ledger lost and statuses may tell of: all of them before anybody hears of one. What was said of a
    /// lost run is true no more.
    pub fn note_lost(&self, runs: impl IntoIterator<Item = (RunKey, String)>) {
        let mut views = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        for (key, run) in runs {
            let of_it = |view: &Arc<View>| matches!(&view.standing, Standing::Run(shown) if shown.id == run);
            if views.get(&key.uid).is_some_and(of_it) {
                views.remove(&key.uid);
            }
            if lost.insert(key.uid.clone(), run.clone()).as_ref() != Some(&run) {
                told.push(key);
            }
        }
        drop((lost, views));
        for key in told {
            // Nobody listens any more only when the process ends.
            let _ = self.news.send(key);
        }
    }

    /// Returns the run of an object that the ledger lost last.
    pub fn lost(&self, uid: &str) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
    }

    /// Forgets an object, but for what is lost of it.
    pub fn forget(&self, uid: &str) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn waits_as_before(before: &View, now: &View) -> bool {
    let (Standing::Waiting(one), Standing::Waiting(other)) = (&before.standing, &now.standing) else {
        return false;
    };
    let beside = |view: &View| (view.generation, view.answered.clone(), view.past.clone());
    one == other && beside(before) == beside(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::core::fixture::{plan, run};
    use crate::core::state::{Cause, State};
    use crate::core::view::{RunView, Tokens};

    #[test]
    fn who_waits_for_the_same_is_no_news() {
        let (views, mut news) = Views::new();
        let key = RunKey { namespace: String::new(), name: "a".to_owned(), uid: "1".to_owned() };
        let mut check = |standing: fn(Cause) -> Standing, message: &str, generation: i64, told: bool| {
            let standing = standing(Cause::new(Reason::WaitingForDatabase, message));
            let view = View { generation, standing, answered: Tokens::default(), past: Vec::new() };
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

    #[test]
    fn what_is_lost_outlives_the_views_and_takes_those_of_its_run_along() {
        let (views, mut news) = Views::new();
        let key = RunKey { namespace: String::new(), name: "a".to_owned(), uid: "1".to_owned() };
        let run = run(plan(), State::Planned, 0);
        let shown = |id: &str| {
            let standing = Standing::Run(Box::new(RunView { id: id.to_owned(), ..run.clone() }));
            View { generation: 1, standing, answered: Tokens::default(), past: Vec::new() }
        };
        let mut lose = |of: &str| {
            while news.try_recv().is_ok() {}
            views.note_lost([(key.clone(), of.to_owned())]);
            (views.get("1").is_some(), news.try_recv().is_ok())
        };
        views.publish(&key, shown("first"));
        assert_eq!(lose("first"), (false, true));
        views.publish(&key, shown("second"));
        assert_eq!(lose("first"), (true, false), "it is told once, and of the next run all is true");
        views.forget("1");
        assert_eq!(views.lost("1").as_deref(), Some("first"));
    }
}
