//! Compares the ledger with what was recorded outside of it: a server that lost its last commits has less.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::runner::Runner;
use super::subject::{Desired, Subject};
use crate::core::compile::canonical_version;
use crate::core::order::InForce;
use crate::postgres::Error;
use crate::postgres::ledger::{Latest, Run};

impl Runner {
    /// Notes which runs are lost.
    ///
    /// # Errors
    /// `LedgerRewound` where a version that was applied is lost, and its Migration is not here to apply it again.
    pub(super) async fn look_back(
        &mut self,
        desired: &Desired,
        in_force: &InForce,
        subjects: &[(Arc<Subject>, Option<Latest>)],
    ) -> Result<(), Error> {
        let mut doubtful = BTreeMap::new();
        let mut outdated = None;
        for (subject, latest) in subjects {
            let uid = &subject.key.uid;
            let ended = || latest.is_none().then(|| self.shown.get(uid)).flatten();
            let recorded = match &subject.recorded_run {
                Some(recorded) => recorded.clone(),
                None => match ended() {
                    Some((_, run)) => {
                        outdated = Some(subject);
                        run.id.to_string()
                    }
                    None => continue,
                },
            };
            if latest.as_ref().is_none_or(|run| run.id.to_string() != recorded) {
                doubtful.insert(recorded, subject.key.clone());
            }
        }
        let session = self.open(&desired.database).await?;
        let ledger = session.head().is_some();
        let asked: Vec<String> = doubtful.keys().cloned().collect();
        let lost = if ledger { Run::lost(session.conn(), &asked).await? } else { asked };
        let lost = lost.into_iter().filter_map(|run| Some((doubtful.get(&run)?.clone(), run)));
        self.start.views.note_lost(lost);
        if let Some(subject) = outdated {
            // The wishes are older than the end of its run: they do not name everything that is lost.
            let (stream, version) = (subject.spec.stream.clone(), canonical_version(&subject.spec.version));
            return Err(Error::LedgerRewound { stream, version });
        }
        let session = self.open(&desired.database).await?;
        for (stream, version) in desired.database.recorded.versions.iter().chain(&desired.settled) {
            let text = version.canonical();
            let here = |subject: &Subject| {
                subject.spec.stream == *stream && canonical_version(&subject.spec.version) == text
            };
            let known = in_force.versions.iter().any(|(name, one)| name == stream && one == version)
                || in_force.baseline.as_ref().is_some_and(|baseline| version <= baseline)
                || subjects.iter().any(|(subject, _)| here(subject));
            if known {
                continue;
            }
            let any_run =
                ledger && Run::latest(session.conn(), &[(stream, &text)]).await?.iter().any(Option::is_some);
            if !any_run {
                return Err(Error::LedgerRewound { stream: stream.clone(), version: text });
            }
        }
        Ok(())
    }
}
