//! Decides about the leader election; pure. [`super::election`] carries it out.
//!
//! The Lease is for availability: with it, one of several replicas acts. It is no fence (a frozen leader does not
//! know that it was replaced); the epoch in the target database is.
//!
//! Two rules keep clocks out of it. Whether another holder is alive is judged by the time since *this* process last
//! saw the record change, on its own monotonic clock; the times in the record are for people. And a leader counts from
//! the moment it *sent* its last successful renewal, so it gives up before anybody else may take over.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

/// Names the Lease and its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// What this process writes as the holder; unique among the candidates.
    pub identity: String,
    /// How long others wait after the last change that they saw, before they take over.
    pub duration: Duration,
    /// A leader that could not renew for this long stops acting; shorter than `duration`.
    pub renew_deadline: Duration,
    /// Time between two renewals of a leader, or two looks of a standby.
    pub renew_interval: Duration,
}

impl LeaseConfig {
    /// Time between the moment that a leader gives up by itself and the first moment that another may take over.
    pub fn until_others(&self) -> Duration {
        self.duration.saturating_sub(self.renew_deadline)
    }

    /// Checks the times against each other.
    ///
    /// # Errors
    /// A sentence that names the flags in conflict.
    pub fn check(&self) -> Result<(), String> {
        if self.identity.is_empty() {
            return Err("--identity is empty: it must name this process among the candidates".to_owned());
        }
        if self.duration < Duration::from_secs(1) || self.duration.subsec_nanos() != 0 {
            return Err(format!(
                "--lease-duration is {:?}: it must be whole seconds, at least 1s",
                self.duration
            ));
        }
        if self.renew_deadline >= self.duration {
            return Err(format!(
                "--lease-renew-deadline ({:?}) must be shorter than --lease-duration ({:?})",
                self.renew_deadline, self.duration
            ));
        }
        if self.renew_interval.is_zero() || self.renew_interval.saturating_mul(2) > self.renew_deadline {
            return Err(format!(
                "--lease-renew-interval ({:?}) must be above zero and at most half of --lease-renew-deadline ({:?})",
                self.renew_interval, self.renew_deadline
            ));
        }
        Ok(())
    }
}

/// What this process knows of the Lease, from its own observations only.
#[derive(Debug, Clone)]
pub struct View {
    record: Option<Lease>,
    /// When the record was first seen as it is now.
    changed_at: Instant,
    /// False when the record may have moved on: never looked, waited, or a write was refused.
    fresh: bool,
    /// No call before this time, after a failed one.
    not_before: Option<Instant>,
    held: Option<Held>,
}

/// The term that this process acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    transitions: i32,
    renewed_at: Instant,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Read the Lease.
    Look,
    /// There is no Lease: create it, held by this process.
    Create,
    /// The Lease is free or expired: take it.
    TakeOver,
    /// The Lease is held by this process: renew it.
    Renew,
    /// Nothing to do for this long.
    Wait(Duration),
    /// This process led and must stop acting.
    Lost(Loss),
}

/// Why a leader no longer leads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The API server did not confirm a renewal in time.
    #[error("the Lease could not be renewed for {0:?}")]
    NotRenewed(Duration),
    /// The record names another process, or another term of a process with the same identity.
    #[error("the Lease was taken over by {0:?}")]
    TakenOver(String),
}

impl View {
    /// Nothing observed yet.
    pub fn new(now: Instant) -> Self {
        Self { record: None, changed_at: now, fresh: false, not_before: None, held: None }
    }

    /// The API server answered a read with this record, or with none.
    pub fn observe(&mut self, record: Option<Lease>, now: Instant) {
        if spec(self.record.as_ref()) != spec(record.as_ref()) {
            self.changed_at = now;
        }
        self.record = record;
        self.fresh = true;
        self.not_before = None;
    }

    /// The API server confirmed a write of ours, which was sent at `sent_at`.
    pub fn confirmed(&mut self, record: Lease, sent_at: Instant, now: Instant) {
        let transitions = record.spec.as_ref().and_then(|s| s.lease_transitions).unwrap_or(0);
        self.held = Some(Held { transitions, renewed_at: sent_at });
        self.observe(Some(record), now);
    }

    /// A call failed: the record may have moved on, and the next call comes after `pause`.
    pub fn failed(&mut self, now: Instant, pause: Duration) {
        self.fresh = false;
        self.not_before = Some(now + pause);
    }

    /// A wait is over. A standby looks again; a leader goes on from what its own write returned.
    pub fn waited(&mut self) {
        self.fresh = self.fresh && self.held.is_some();
    }

    /// Until when this process may act as the leader, unless it renews.
    pub fn leads_until(&self, cfg: &LeaseConfig) -> Option<Instant> {
        self.held.map(|held| held.renewed_at + cfg.renew_deadline)
    }

    /// The holder in the record, if any.
    pub fn holder(&self) -> Option<&str> {
        holder(self.record.as_ref())
    }

    /// The Lease to send for [`Act::Create`], [`Act::TakeOver`] and [`Act::Renew`]. `wall` is for people only.
    pub fn claim(&self, cfg: &LeaseConfig, wall: Timestamp) -> Lease {
        let metadata = ObjectMeta {
            name: Some(cfg.name.clone()),
            namespace: Some(cfg.namespace.clone()),
            ..ObjectMeta::default()
        };
        let mut lease = self.record.clone().unwrap_or(Lease { metadata, spec: None });
        let before = lease.spec.take().unwrap_or_default();
        let renewal = self.held.is_some_and(|held| is_ours(&before, held, &cfg.identity));
        let transitions = match (&self.record, renewal) {
            (None, _) => 0,
            (Some(_), true) => before.lease_transitions.unwrap_or(0),
            (Some(_), false) => before.lease_transitions.unwrap_or(0).saturating_add(1),
        };
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(cfg.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(cfg.duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: if renewal { before.acquire_time } else { Some(MicroTime(wall)) },
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(transitions),
            preferred_holder: before.preferred_holder,
            strategy: before.strategy,
        });
        lease
    }

    /// The Lease to send when this process stops by itself: free, so that a successor need not wait. `None` when it
    /// holds nothing.
    pub fn release(&self, cfg: &LeaseConfig, wall: Timestamp) -> Option<Lease> {
        let held = self.held?;
        let mut lease = self.record.clone()?;
        let spec = lease.spec.as_mut()?;
        if !is_ours(spec, held, &cfg.identity) {
            return None;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(wall));
        Some(lease)
    }
}

/// Decides the next act of a candidate.
pub fn next(view: &View, cfg: &LeaseConfig, now: Instant) -> Act {
    if let Some(held) = view.held {
        let silent = now.saturating_duration_since(held.renewed_at);
        if silent >= cfg.renew_deadline {
            return Act::Lost(Loss::NotRenewed(silent));
        }
    }
    if let Some(pause) =
        view.not_before.and_then(|at| at.checked_duration_since(now)).filter(|p| !p.is_zero())
    {
        return Act::Wait(pause.min(time_left(view, cfg, now)));
    }
    if !view.fresh {
        return Act::Look;
    }
    match (&view.record, view.held) {
        (None, _) => Act::Create,
        (Some(record), Some(held)) => renew(record, held, cfg, now),
        (Some(record), None) => campaign(record, view.changed_at, cfg, now),
    }
}

/// Time until a leader must stop; the longest time for a standby.
pub fn time_left(view: &View, cfg: &LeaseConfig, now: Instant) -> Duration {
    view.leads_until(cfg).map_or(Duration::MAX, |until| until.saturating_duration_since(now))
}

fn renew(record: &Lease, held: Held, cfg: &LeaseConfig, now: Instant) -> Act {
    let ours = record.spec.as_ref().is_some_and(|spec| is_ours(spec, held, &cfg.identity));
    if !ours {
        let holder = holder(Some(record)).unwrap_or("nobody");
        return Act::Lost(Loss::TakenOver(holder.to_owned()));
    }
    match cfg.renew_interval.checked_sub(now.saturating_duration_since(held.renewed_at)) {
        Some(rest) if !rest.is_zero() => Act::Wait(rest),
        _ => Act::Renew,
    }
}

fn campaign(record: &Lease, changed_at: Instant, cfg: &LeaseConfig, now: Instant) -> Act {
    match holder(Some(record)) {
        // Free; or held by an earlier process of this name, which is gone, since names are unique.
        None => return Act::TakeOver,
        Some(name) if name == cfg.identity => return Act::TakeOver,
        Some(_) => {}
    }
    let valid_for = record
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map_or(cfg.duration, Duration::from_secs);
    match valid_for.checked_sub(now.saturating_duration_since(changed_at)) {
        Some(rest) if !rest.is_zero() => Act::Wait(rest.min(cfg.renew_interval)),
        _ => Act::TakeOver,
    }
}

fn is_ours(spec: &LeaseSpec, held: Held, identity: &str) -> bool {
    spec.holder_identity.as_deref() == Some(identity)
        && spec.lease_transitions.unwrap_or(0) == held.transitions
}

fn spec(record: Option<&Lease>) -> Option<&LeaseSpec> {
    record.and_then(|lease| lease.spec.as_ref())
}

fn holder(record: Option<&Lease>) -> Option<&str> {
    spec(record).and_then(|spec| spec.holder_identity.as_deref()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "whimbrel-a";

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn cfg() -> LeaseConfig {
        LeaseConfig {
            namespace: "whimbrel-system".to_owned(),
            name: "whimbrel".to_owned(),
            identity: ME.to_owned(),
            duration: secs(15),
            renew_deadline: secs(10),
            renew_interval: secs(2),
        }
    }

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record(holder: &str, transitions: i32, renewed: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(transitions),
            renew_time: Some(MicroTime(wall(renewed))),
            ..LeaseSpec::default()
        };
        Lease { metadata: ObjectMeta::default(), spec: Some(spec) }
    }

    /// A standby that saw `lease` at `t0` and looked again `ages` later, unchanged.
    fn standby(lease: Option<Lease>, t0: Instant, age: Duration) -> View {
        let mut view = View::new(t0);
        view.observe(lease.clone(), t0);
        view.waited();
        view.observe(lease, t0 + age);
        view
    }

    fn leader(t0: Instant) -> View {
        let mut view = View::new(t0);
        view.observe(None, t0);
        let claim = view.claim(&cfg(), wall(0));
        view.confirmed(claim, t0, t0);
        view
    }

    #[test]
    fn a_candidate_looks_first() {
        let t0 = Instant::now();
        assert_eq!(next(&View::new(t0), &cfg(), t0), Act::Look);
    }

    #[test]
    fn a_standby_takes_what_is_free_or_silent_for_long_enough() {
        let check = |lease: Option<Lease>, age: Duration, expected: Act| {
            let t0 = Instant::now();
            let view = standby(lease.clone(), t0, age);
            assert_eq!(next(&view, &cfg(), t0 + age), expected, "{lease:?} after {age:?}");
        };
        check(None, secs(0), Act::Create);
        check(Some(record("", 3, 0)), secs(0), Act::TakeOver);
        check(Some(record(ME, 3, 0)), secs(0), Act::TakeOver);
        check(Some(record("b", 3, 0)), secs(0), Act::Wait(secs(2)));
        check(Some(record("b", 3, 0)), secs(14), Act::Wait(secs(1)));
        check(Some(record("b", 3, 0)), secs(15), Act::TakeOver);
        // A record without a usable duration falls back to the own one.
        let mut odd = record("b", 3, 0);
        odd.spec.as_mut().unwrap().lease_duration_seconds = Some(-1);
        check(Some(odd), secs(14), Act::Wait(secs(1)));
    }

    #[test]
    fn the_wall_clock_in_the_record_decides_nothing() {
        for renewed in [-7_200, 0, 7_200, 4_000_000_000] {
            let t0 = Instant::now();
            let view = standby(Some(record("b", 0, renewed)), t0, secs(14));
            assert_eq!(next(&view, &cfg(), t0 + secs(14)), Act::Wait(secs(1)), "renewed at {renewed}");
        }
    }

    #[test]
    fn each_change_of_the_record_starts_the_wait_again() {
        let t0 = Instant::now();
        let mut view = standby(Some(record("b", 0, 0)), t0, secs(14));
        view.waited();
        view.observe(Some(record("b", 0, 1)), t0 + secs(16));
        assert_eq!(next(&view, &cfg(), t0 + secs(16)), Act::Wait(secs(2)));
        assert_eq!(next(&view, &cfg(), t0 + secs(31)), Act::TakeOver);
    }

    #[test]
    fn a_leader_renews_until_the_deadline_and_no_longer() {
        let t0 = Instant::now();
        let mut view = leader(t0);
        assert_eq!(next(&view, &cfg(), t0), Act::Wait(secs(2)));
        assert_eq!(next(&view, &cfg(), t0 + secs(2)), Act::Renew);
        view.failed(t0 + secs(9), secs(2));
        assert_eq!(next(&view, &cfg(), t0 + secs(9)), Act::Wait(secs(1)), "never waits past the deadline");
        assert_eq!(next(&view, &cfg(), t0 + secs(10)), Act::Lost(Loss::NotRenewed(secs(10))));
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_sent() {
        let t0 = Instant::now();
        let mut view = leader(t0);
        let claim = view.claim(&cfg(), wall(2));
        view.confirmed(claim, t0 + secs(2), t0 + secs(6));
        assert_eq!(view.leads_until(&cfg()), Some(t0 + secs(12)));
    }

    #[test]
    fn a_frozen_leader_has_lost_when_it_wakes() {
        let t0 = Instant::now();
        let act = next(&leader(t0), &cfg(), t0 + secs(3_600));
        assert_eq!(act, Act::Lost(Loss::NotRenewed(secs(3_600))));
    }

    #[test]
    fn a_leader_has_lost_when_the_record_is_of_another_term() {
        for (lease, by) in [(record("b", 1, 0), "b"), (record(ME, 1, 0), ME), (record("", 0, 0), "nobody")] {
            let t0 = Instant::now();
            let mut view = leader(t0);
            view.failed(t0 + secs(2), secs(0));
            assert_eq!(next(&view, &cfg(), t0 + secs(2)), Act::Look);
            view.observe(Some(lease), t0 + secs(2));
            assert_eq!(next(&view, &cfg(), t0 + secs(2)), Act::Lost(Loss::TakenOver(by.to_owned())));
        }
    }

    #[test]
    fn a_renewal_whose_answer_was_lost_is_recognised() {
        let t0 = Instant::now();
        let mut view = leader(t0);
        let written = view.claim(&cfg(), wall(2));
        view.failed(t0 + secs(2), secs(0));
        view.observe(Some(written), t0 + secs(3));
        assert_eq!(next(&view, &cfg(), t0 + secs(3)), Act::Renew);
        assert_eq!(view.leads_until(&cfg()), Some(t0 + secs(10)), "only a confirmed write extends the term");
    }

    #[test]
    fn a_deleted_lease_is_created_again() {
        let t0 = Instant::now();
        let mut view = leader(t0);
        view.failed(t0 + secs(2), secs(0));
        view.observe(None, t0 + secs(2));
        assert_eq!(next(&view, &cfg(), t0 + secs(2)), Act::Create);
    }

    #[test]
    fn a_takeover_starts_a_new_term_and_a_renewal_keeps_it() {
        let t0 = Instant::now();
        let mut view = standby(Some(record("b", 6, 0)), t0, secs(15));
        let taken = view.claim(&cfg(), wall(100));
        let spec = taken.spec.clone().unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some(ME), Some(7)));
        view.confirmed(taken, t0 + secs(15), t0 + secs(15));
        let renewed = view.claim(&cfg(), wall(102)).spec.unwrap();
        assert_eq!(renewed.lease_transitions, Some(7));
        assert_eq!(renewed.acquire_time, Some(MicroTime(wall(100))));
        assert_eq!(renewed.renew_time, Some(MicroTime(wall(102))));
    }

    #[test]
    fn a_released_lease_is_free_at_once_and_only_the_holder_releases() {
        let t0 = Instant::now();
        let freed = leader(t0).release(&cfg(), wall(1)).unwrap();
        let other = LeaseConfig { identity: "b".to_owned(), ..cfg() };
        assert_eq!(next(&standby(Some(freed), t0, secs(0)), &other, t0), Act::TakeOver);
        assert_eq!(standby(Some(record("b", 0, 0)), t0, secs(0)).release(&cfg(), wall(1)), None);
    }

    #[test]
    fn times_that_contradict_each_other_are_refused() {
        let check = |change: &dyn Fn(&mut LeaseConfig), expected: &str| {
            let mut cfg = cfg();
            change(&mut cfg);
            let said = cfg.check().err().unwrap_or_default();
            assert!(said.contains(expected), "{said:?} does not name {expected:?}");
        };
        check(&|_| {}, "");
        check(&|c| c.identity.clear(), "--identity");
        check(&|c| c.duration = Duration::from_millis(1_500), "--lease-duration");
        check(&|c| c.renew_deadline = secs(15), "--lease-renew-deadline");
        check(&|c| c.renew_interval = secs(6), "--lease-renew-interval");
        check(&|c| c.renew_interval = Duration::ZERO, "--lease-renew-interval");
    }
}
