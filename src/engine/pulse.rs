//! Signs of life of a database. A network can swallow a connection without a word, sqlx offers no keepalive, and a statement
//! may run for hours: so whoever waits for a server listens for what else it says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a database was heard last; clones share it.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }
}

impl Pulse {
    fn set(&self, heard: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }

    /// Notes that it was heard.
    pub fn beat(&self) {
        self.set(Some(Instant::now()));
    }

    /// From here to the next beat nobody listens: something else bounds what is waited for.
    pub fn excuse(&self) {
        self.set(None);
    }

    /// Resolves when it was not heard for so long.
    pub async fn silence(&self, patience: Duration) {
        loop {
            let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let left = heard.map_or(patience, |at| patience.saturating_sub(at.elapsed()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_is_counted_from_the_last_beat() {
        let (pulse, patience) = (Pulse::default(), Duration::from_millis(40));
        let began = Instant::now();
        let beats = async {
            for _ in 0..4 {
                tokio::time::sleep(patience / 2).await;
                pulse.beat();
            }
        };
        tokio::join!(pulse.silence(patience), beats);
        assert!(began.elapsed() >= patience * 3, "{:?}", began.elapsed());
        pulse.excuse();
        assert!(tokio::time::timeout(patience * 3, pulse.silence(patience)).await.is_err());
    }
}
