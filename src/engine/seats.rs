//! How many databases have sessions at the same time: those that are worked on, and those that are only looked at.
//!
//! Invariant: whoever opens a session to a primary has a seat for as long as it is open. A run that waits without a session
//! has none, so that long waits keep nobody else away.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Of so many seats, one is kept for looks, so that long work does not keep a new Database from being looked at.
const ONE_FOR_LOOKS_OF: usize = 8;

/// So many Databases are looked at at the same time, at most.
const LOOKS: usize = 8;

/// The seats; clones share them.
#[derive(Clone, Debug)]
pub struct Seats {
    all: Arc<Semaphore>,
    work: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    /// How many wait to work.
    waiting: watch::Sender<usize>,
}

/// A seat, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    since: Instant,
    _all: OwnedSemaphorePermit,
    _part: OwnedSemaphorePermit,
}

impl Seat {
    /// Returns when it was taken.
    pub fn since(&self) -> Instant {
        self.since
    }
}

/// Somebody who waits, until it is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|waiting| *waiting += 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

impl Seats {
    /// Makes `most` seats, at least one. Where there is only one, work and looks take turns.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        let kept = most.div_ceil(ONE_FOR_LOOKS_OF).min(most - 1);
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Self {
            all: semaphore(most),
            work: semaphore(most - kept),
            looks: semaphore(most.min(LOOKS)),
            waiting: watch::Sender::new(0),
        }
    }

    /// Waits for a seat to work.
    pub async fn to_work(&self) -> Option<Seat> {
        let _waiting = Waiting::new(&self.waiting);
        take(&self.work, &self.all).await
    }

    /// Waits for a seat to look.
    pub async fn to_look(&self) -> Option<Seat> {
        take(&self.looks, &self.all).await
    }

    /// Resolves when somebody waits to work.
    pub async fn wanted(&self) {
        // The sender lives as long as this.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// None only when the semaphores are closed, which they never are.
async fn take(part: &Arc<Semaphore>, all: &Arc<Semaphore>) -> Option<Seat> {
    let part = Arc::clone(part).acquire_owned().await.ok()?;
    let all = Arc::clone(all).acquire_owned().await.ok()?;
    Some(Seat { since: Instant::now(), _all: all, _part: part })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Takes seats until none is left.
    fn taken(mut next: impl FnMut() -> Option<Option<Seat>>) -> Vec<Seat> {
        std::iter::from_fn(|| next().flatten()).collect()
    }

    #[tokio::test]
    async fn work_and_looks_share_the_seats() {
        let check = |most: usize, work: usize, looks_beside: usize, looks_alone: usize| {
            let seats = Seats::new(most);
            let working = taken(|| seats.to_work().now_or_never());
            let looking = taken(|| seats.to_look().now_or_never());
            assert_eq!((working.len(), looking.len()), (work, looks_beside), "{most}");
            drop(working);
            drop(looking);
            assert_eq!(taken(|| seats.to_look().now_or_never()).len(), looks_alone, "{most}");
        };
        check(0, 1, 0, 1);
        check(1, 1, 0, 1);
        check(2, 1, 1, 2);
        check(8, 7, 1, 8);
        check(16, 14, 2, 8);
    }

    #[tokio::test]
    async fn whoever_rests_hears_that_a_seat_is_wanted() {
        let seats = Seats::new(1);
        let resting = seats.to_work().await;
        assert!(seats.wanted().now_or_never().is_none(), "nobody waits");
        let mut second = Box::pin(seats.to_work());
        assert!(second.as_mut().now_or_never().is_none(), "the seat is taken");
        assert!(seats.wanted().now_or_never().is_some());
        drop(resting);
        assert!(second.as_mut().now_or_never().flatten().is_some());
        drop(second);
        assert!(seats.wanted().now_or_never().is_none());
    }
}
