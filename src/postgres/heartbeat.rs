//! Keeps sessions alive that have nothing to do while another one works: an idle session ends by itself
//! (`idle_session_timeout`, so that a frozen owner does not keep its lock), and a network can swallow one without a word.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use sqlx::PgConnection;

use super::connect::within;
use super::error::Error;
use super::guard::Witness;
use super::session::Session;
use super::statement::send_ours;

/// A third of the time after which the server ends an idle session.
const EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take before the server counts as gone.
const ANSWER: Duration = Duration::from_mins(1);

/// Who is told that the server was heard.
pub type Heard<'a> = &'a (dyn Fn() + Send + Sync);

/// Awaits `work`, with a beat every few seconds. A beat that has begun is always finished, so that its connection stays
/// usable.
async fn alongside<T, E: From<Error>>(
    work: impl Future<Output = Result<T, E>>,
    mut idle: Idle<'_>,
) -> Result<T, E> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(EVERY) => {}
        }
        let mut beating = pin!(within("hear from an idle session", ANSWER, idle.beat()));
        tokio::select! {
            biased;
            beaten = &mut beating => beaten?,
            done = &mut work => {
                // Without an answer the session is found lost by whoever uses it next.
                let _ = beating.await;
                return done;
            }
        }
    }
}

/// Who has nothing to do.
enum Idle<'a> {
    Session { own: &'a mut PgConnection, observer: &'a mut Option<PgConnection>, heard: Heard<'a> },
    Witness(&'a Witness, Heard<'a>),
}

impl Idle<'_> {
    async fn beat(&mut self) -> Result<(), Error> {
        match self {
            Self::Session { own, observer, heard } => {
                beat(own).await?;
                if let Some(observer) = observer {
                    beat(observer).await?;
                }
                heard();
                Ok(())
            }
            Self::Witness(witness, heard) => {
                if let Some(observer) = witness.session().await.as_mut() {
                    beat(observer).await?;
                }
                heard();
                Ok(())
            }
        }
    }
}

async fn beat(session: &mut PgConnection) -> Result<(), Error> {
    send_ours(session, "SELECT".to_owned()).await
}

impl Session {
    /// Awaits work that needs nothing of this session, and keeps both of its connections alive meanwhile.
    ///
    /// # Errors
    /// Those of `work`, and that this session is lost.
    pub async fn beside<T, E: From<Error>>(
        &mut self,
        heard: Heard<'_>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (own, observer) = self.both();
        alongside(work, Idle::Session { own, observer, heard }).await
    }
}

impl Witness {
    /// Awaits work of the other connection, and keeps this one alive meanwhile.
    ///
    /// # Errors
    /// Those of `work`, and that this session is lost.
    pub async fn beside<T, E: From<Error>>(
        &self,
        heard: Heard<'_>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        alongside(work, Idle::Witness(self, heard)).await
    }
}
