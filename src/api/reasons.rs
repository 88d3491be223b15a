//! The one vocabulary: condition reasons, event reasons and metric labels are these words and no others.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Types of conditions.
pub mod condition {
    /// Summary: True when all that was asked for is so.
    pub const READY: &str = "Ready";
    /// Present, and True, only while the operator works towards the newest generation.
    pub const RECONCILING: &str = "Reconciling";
    /// Present, and True, only while the operator cannot go on by itself.
    pub const STALLED: &str = "Stalled";
    /// Migration: the plan could be made, and may run.
    pub const PLAN_VALID: &str = "PlanValid";
    /// Migration: the plan ran on the copy, and was undone there.
    pub const REHEARSED: &str = "Rehearsed";
    /// Migration: the primary has the change.
    pub const APPLIED: &str = "Applied";
    /// Migration: the watch ended well.
    pub const ANALYZED: &str = "Analyzed";
    /// Migration: the change was undone.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// Database: the primary answers, and is the server that it was.
    pub const CONNECTED: &str = "Connected";
    /// Database: the login may do what is needed.
    pub const PRIVILEGED: &str = "Privileged";
    /// Database: the copy can be used for rehearsals.
    pub const REPLICA_USABLE: &str = "ReplicaUsable";
}

macro_rules! reasons {
    ($($name:ident: $sentence:literal,)+) => {
        /// Why something is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $(#[doc = $sentence] $name,)+
        }

        impl Reason {
            /// All reasons, in the order of a migration's life.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the word, as in `LockTimeout`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Returns the sentence that documents the word.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)+ }
            }
        }
    };
}

impl Reason {
    /// Returns whether a refusal may heal without any change of the object: it is about the database, its copy, other
    /// objects or a provider, and not about the object's own text.
    pub const fn may_heal(self) -> bool {
        !matches!(
            self,
            Self::SqlRefused
                | Self::IrreversibleStep
                | Self::PlanInvalid
                | Self::ChecksumMismatch
                | Self::OutOfOrder
        )
    }
}

reasons! {
    Succeeded: "All that was asked for is so.",
    Pending: "The object was seen, and nothing was done yet.",
    Planning: "The plan is being made.",
    PlanReady: "The plan was made, and may run.",
    PlanInvalid: "The object does not make a plan; the message names the field.",
    SqlRefused: "A statement is refused; the message names its line and column.",
    IrreversibleStep: "A step has no `down`, none can be derived, and it is not declared irreversible.",
    DangerousStatement: "A statement of the plan is dangerous; the message says why, and the plan has the safe form.",
    PolicyViolation: "The plan is not what the database's policy allows.",
    ChecksumMismatch: "The SQL of an applied version is not what was applied.",
    OutOfOrder: "The version is below the current one of its stream.",
    VersionConflict: "Another Migration has the same version of the same stream.",
    WaitingForEarlierVersion: "An earlier version of the stream is not finished.",
    WaitingForDatabase: "Another run on the database is not finished, or the database is not ready.",
    DatabaseNotFound: "The Database that is referred to does not exist.",
    DatabaseUnreachable: "The database does not answer.",
    AuthenticationFailed: "The database refuses the user or the password.",
    SecretNotFound: "A Secret or ConfigMap that is referred to does not exist.",
    SecretKeyNotFound: "A key that is referred to is not in its Secret or ConfigMap.",
    ConnectionInvalid: "The connection URL or its TLS settings cannot be used.",
    Connected: "The database answers, and is the server that it was.",
    WrongServer: "The server is not the one that was pinned at first contact.",
    ServerInRecovery: "The server is a standby, and takes no change.",
    PoolerDetected: "The connection goes through a transaction pooler, on which locks do not hold.",
    Privileged: "The login may do what is needed.",
    InsufficientPrivilege: "The login lacks a privilege; the message names it.",
    LedgerTouched: "The SQL of a migration locked or changed the history table.",
    LedgerNewer: "The history table was made by a newer release.",
    LedgerRewound: "The history table went back in time, as after a failover that lost commits.",
    ReplicaUnreachable: "The copy does not answer.",
    ReplicaIsPrimary: "The copy is the primary itself.",
    ReplicaUsable: "The copy can be used for rehearsals.",
    Drifted: "The copy has not the schema of the primary; the message names the first differences.",
    NotRequired: "The object does not ask for it.",
    Rehearsing: "The plan runs on the copy.",
    RehearsalFailed: "The plan failed on the copy; the primary was not touched.",
    RoundTripFailed: "On the copy, undoing the plan did not bring back the schema that was there before.",
    RehearsalPassed: "The plan ran on the copy, was undone, and ran again.",
    Applying: "The plan runs on the primary.",
    Applied: "The primary has the change.",
    WaitingForLock: "A statement waits for a lock; the message names who holds it.",
    LockTimeout: "The locks were not to be had within the time for attempts.",
    StallBudgetExceeded: "A statement would block the application for longer than the stall budget.",
    LockPlanViolated: "On the primary a step locked more than on the copy, and was rolled back; the message has the difference.",
    WaitingForStandby: "A standby has a long reader of what is to be locked, or lags; the message names it.",
    BackfillFailed: "A backfill cannot go on; the message names the row. What is done stays, and a retry goes on from there.",
    ValidationFailed: "What a backfill was to bring about is not so at its end; the message says which query or row.",
    DiskFull: "The server has no space left; the message says what to free.",
    ApplyFailed: "A statement failed on the primary.",
    Analyzing: "The change is applied, and watched.",
    AnalysisPassed: "The watch ended, and every metric was good.",
    AnalysisInconclusive: "The watch ended with too few samples to judge.",
    BaselineUnhealthy: "A metric was bad before anything ran.",
    MetricBreached: "A metric went beyond its limit often enough.",
    MetricUnknown: "A metric was unknown for too long.",
    ProviderNotFound: "The MetricsProvider that is referred to does not exist.",
    ProviderUnreachable: "The provider does not answer, or refuses.",
    QueryInvalid: "A query cannot be used: it does not parse, or does not give exactly one number.",
    RollingBack: "The change is being undone.",
    RolledBack: "The change was undone.",
    RollbackFailed: "The change could not be undone; a person is needed.",
    RollbackRequested: "Somebody asked to undo the change.",
    Aborted: "Somebody asked to stop the run.",
    Paused: "The run stopped at a safe point, and waits for a person.",
    Suspended: "The object says that the run must not go on.",
    Retrying: "Something failed that may pass, and is tried again.",
    Unsupported: "The object asks for something that this release or this server cannot do.",
    Internal: "The operator met something that must not happen; its log says more.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Form of a condition's reason (metav1.Condition): CamelCase, and short enough for a metric label and an event.
    #[test]
    fn every_reason_is_one_documented_word() {
        let mut words = BTreeSet::new();
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(words.insert(word), "{word} is there twice");
            assert!(word.len() <= 64 && word.starts_with(|c: char| c.is_ascii_uppercase()), "{word}");
            assert!(word.chars().all(|c| c.is_ascii_alphabetic()), "{word}");
            let sentence = reason.sentence();
            assert!(sentence.ends_with('.') && sentence.len() > 10, "{word}: {sentence}");
        }
    }
}
