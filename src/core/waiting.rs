//! Pure: who waits behind whom.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::sql::LockMode;

/// A session that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its backend.
    pub pid: i32,
    /// For how long.
    pub waited: Duration,
    /// The mode that it asks for, of a relation; absent for a row or another transaction.
    pub mode: Option<LockMode>,
    /// The sessions that it waits for; 0 stands for a prepared transaction.
    pub blocked_by: Vec<i32>,
}

impl Waiter {
    /// Whether it reads or writes rows, as applications do.
    fn is_application(&self) -> bool {
        self.mode.is_none_or(|mode| mode <= LockMode::RowExclusive)
    }
}

/// Returns who waits longest for `pid`, or for somebody who does. Behind a statement outside a transaction only readers and
/// writers of rows count: another change of the schema may wait for the end of an index build.
pub fn behind(waiters: &[Waiter], pid: i32, transactional: bool) -> Option<&Waiter> {
    let mut ahead = BTreeSet::from([pid]);
    loop {
        let before = ahead.len();
        for waiter in waiters {
            if waiter.blocked_by.iter().any(|one| ahead.contains(one)) {
                ahead.insert(waiter.pid);
            }
        }
        if ahead.len() == before {
            break;
        }
    }
    let counts = |waiter: &&Waiter| {
        waiter.pid != pid && ahead.contains(&waiter.pid) && (transactional || waiter.is_application())
    };
    waiters.iter().filter(counts).max_by_key(|waiter| waiter.waited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::LockMode::{AccessExclusive, AccessShare, RowExclusive, ShareUpdateExclusive};

    #[test]
    fn who_waits_behind_somebody_who_waits_behind_us_waits_for_us() {
        let waiter = |pid, waited, mode, blocked_by: &[i32]| Waiter {
            pid,
            waited: Duration::from_millis(waited),
            mode,
            blocked_by: blocked_by.to_vec(),
        };
        let check = |waiters: &[Waiter], transactional, expected: Option<i32>| {
            assert_eq!(behind(waiters, 1, transactional).map(|one| one.pid), expected, "{waiters:?}");
        };
        let reader = waiter(3, 10, Some(AccessShare), &[2]);
        let alter = waiter(2, 90, Some(AccessExclusive), &[1]);
        check(&[], true, None);
        check(&[waiter(2, 90, Some(RowExclusive), &[7])], true, None);
        check(&[reader.clone(), alter.clone()], true, Some(2));
        // Another change of the schema may wait for an index build, but not who reads behind it.
        check(&[reader, alter.clone()], false, Some(3));
        check(&[alter, waiter(4, 5, Some(ShareUpdateExclusive), &[1])], false, None);
        // A row of ours.
        check(&[waiter(5, 10, None, &[1])], false, Some(5));
        // We wait ourselves, for somebody else.
        check(
            &[waiter(1, 90, Some(AccessExclusive), &[9]), waiter(6, 20, Some(RowExclusive), &[1, 9])],
            true,
            Some(6),
        );
        // In a circle there is an end.
        check(&[waiter(1, 90, None, &[2]), waiter(2, 90, None, &[1])], true, Some(2));
    }
}
