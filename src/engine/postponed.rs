//! Objects whose run could not begin for something outside of the database, such as a provider that does not answer: the
//! others go on meanwhile.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::failure;
use crate::core::observation::Class;

/// Attempts after which the pauses do not grow any more.
const GROWS_UNTIL: u32 = 4;

/// How often each object was postponed, and until when, by UID.
#[derive(Debug, Default)]
pub(super) struct Postponed(BTreeMap<String, (u32, Timestamp)>);

impl Postponed {
    /// Postpones an object once more, each time for longer.
    pub(super) fn add(&mut self, uid: &str, now: Timestamp) {
        let attempts = self.0.get(uid).map_or(1, |(attempts, _)| attempts + 1);
        let pause = failure::pause(Class::Transient, false, attempts.min(GROWS_UNTIL));
        let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(5));
        self.0.insert(uid.to_owned(), (attempts, now + pause));
    }

    /// Returns until when an object has to wait.
    pub(super) fn until(&self, uid: &str, now: Timestamp) -> Option<Timestamp> {
        let (_, until) = self.0.get(uid)?;
        (*until > now).then_some(*until)
    }

    /// Forgets an object whose run began.
    pub(super) fn remove(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    /// Lets every object try again at once, because something changed.
    pub(super) fn look_again(&mut self) {
        for (_, until) in self.0.values_mut() {
            *until = Timestamp::UNIX_EPOCH;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_end_by_themselves_and_by_news() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let mut postponed = Postponed::default();
        assert_eq!(postponed.until("a", now), None);
        postponed.add("a", now);
        let until = postponed.until("a", now);
        assert!(until.is_some_and(|until| postponed.until("a", until).is_none()));
        assert_eq!(postponed.until("b", now), None);
        postponed.look_again();
        assert_eq!(postponed.until("a", now), None);
    }
}
