//! Between two passes: how long a runner waits, and how long it keeps its session and its seat meanwhile.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::clock;
use super::runner::{Next, Runner};
use super::seats::Seat;

/// A wait longer than this holds no connection.
const KEEP_SESSION: SignedDuration = SignedDuration::from_secs(3);

/// A wait longer than this holds no seat that somebody else wants.
const KEEP_SEAT: Duration = Duration::from_millis(500);

/// Nobody keeps a wanted seat for longer without work, however many wishes come.
const SEATED_AT_MOST: Duration = Duration::from_secs(10);

impl Runner {
    /// Waits for a seat. Returns false when it is told to stop first.
    pub(super) async fn is_seated(&mut self) -> bool {
        if self.seat.is_none() {
            tokio::select! {
                seat = self.start.seats.to_work() => self.seat = seat,
                () = self.start.stop.cancelled() => {}
            }
        }
        self.seat.is_some()
    }

    /// Closes the session, and gives its seat away.
    pub(super) async fn leave(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
        self.seat = None;
    }

    /// Waits as the last pass said. Returns false at the end.
    pub(super) async fn rest(&mut self, next: Next) -> bool {
        let until = match next {
            Next::Again => return true,
            Next::Over => return false,
            Next::Idle => return self.linger().await,
            Next::Wait(until) => until,
        };
        let now = clock::now();
        let pause = until.map(|until| until.duration_since(now).max(SignedDuration::ZERO));
        if self.session.is_none() || pause.is_none_or(|pause| pause > KEEP_SESSION) {
            self.leave().await;
        }
        let pause = pause.map_or(Duration::from_hours(1), |pause| pause.try_into().unwrap_or_default());
        let over = Instant::now() + pause;
        loop {
            let gives_way = self.seat.is_some() && over.saturating_duration_since(Instant::now()) > KEEP_SEAT;
            tokio::select! {
                () = tokio::time::sleep_until(over.into()) => return true,
                changed = self.start.desired.changed() => {
                    self.reconsider();
                    return changed.is_ok();
                }
                () = self.start.stop.cancelled() => return false,
                () = self.start.seats.wanted(), if gives_way => self.leave().await,
            }
        }
    }

    /// Keeps the session for a moment, since migrations of a database often come one after the other. Returns whether
    /// there is news.
    async fn linger(&mut self) -> bool {
        if self.session.is_some() {
            let (at, seats) = (self.gives_way_at(), self.start.seats.clone());
            let gives_way = async {
                tokio::time::sleep_until(at.into()).await;
                seats.wanted().await;
            };
            tokio::select! {
                () = tokio::time::sleep(self.start.linger) => {}
                () = gives_way => {}
                changed = self.start.desired.changed() => {
                    self.reconsider();
                    return changed.is_ok();
                }
                () = self.start.stop.cancelled() => return false,
            }
        }
        self.start.desired.has_changed().unwrap_or(false)
    }

    /// From when on a session without work gives way to whoever wants its seat: where many wishes come, each comes soon after
    /// another, and a session that gives way in between is opened over and over again.
    fn gives_way_at(&self) -> Instant {
        let wished = self.start.desired.borrow().at;
        let seated = self.seat.as_ref().map_or(wished, Seat::since);
        (wished + self.start.linger).min(seated + SEATED_AT_MOST)
    }
}
