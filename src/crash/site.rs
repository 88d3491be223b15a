//! The effects, and the moments of each.

/// A moment in the life of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Nothing of it is known to anybody.
    BeforeIntent,
    /// That it is about to happen survives a crash.
    IntentDurable,
    /// All of it is sent but for what makes it last.
    Sent,
    /// The server carries it out.
    Executing,
    /// It lasts, and nobody was told.
    CommittedNotAcknowledged,
    /// We were told, and noted nothing.
    AcknowledgedNotRecorded,
    /// It is noted.
    Recorded,
}

macro_rules! sites {
    ($($(#[$doc:meta])* $name:ident: [$first:ident $(, $rest:ident)*],)*) => {
        /// An effect: something that changes a database, or the ledger in it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Site {
            $($(#[$doc])* $name,)*
        }

        impl Site {
            /// All of them, in the order in which a run meets them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the moments at which something may happen to it; there is at least one.
            pub const fn moments(self) -> &'static [Moment] {
                match self {
                    $(Self::$name => &[Moment::$first $(, Moment::$rest)*],)*
                }
            }
        }
    };
}

sites! {
    /// The ledger is made.
    LedgerMade: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// A copied ledger becomes the copy's own.
    LedgerAdopted: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The timeline that was seen is stored.
    TimelineRecorded: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The epoch is taken.
    EpochTaken: [BeforeIntent, CommittedNotAcknowledged, Recorded],
    /// What a predecessor left running is ended.
    PredecessorsEnded: [BeforeIntent, Executing, Recorded],
    /// The advisory lock is taken.
    LockTaken: [BeforeIntent, Recorded],
    /// A run is stored with its plan.
    RunStored: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// A run moves to another state.
    StateMoved: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// Tokens are answered, and nothing else changes.
    TokensAnswered: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The engine rehearses.
    Rehearse: [BeforeIntent, Recorded],
    /// A written way back is tried in a transaction that is rolled back.
    Trial: [BeforeIntent, Executing, Recorded],
    /// A unit on the copy, forward.
    CopyUp: [BeforeIntent, IntentDurable, Executing, Sent, CommittedNotAcknowledged, AcknowledgedNotRecorded],
    /// A unit on the copy, back.
    CopyDown: [BeforeIntent, IntentDurable, Executing, Sent, CommittedNotAcknowledged, AcknowledgedNotRecorded],
    /// A unit outside a transaction on the copy, forward.
    CopyAloneUp:
        [BeforeIntent, IntentDurable, Sent, Executing, CommittedNotAcknowledged, AcknowledgedNotRecorded, Recorded],
    /// A unit outside a transaction on the copy, back.
    CopyAloneDown:
        [BeforeIntent, IntentDurable, Sent, Executing, CommittedNotAcknowledged, AcknowledgedNotRecorded, Recorded],
    /// What was put aside on the copy is destroyed.
    Purged: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The verdict of a rehearsal is stored.
    VerdictStored: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The engine reads the metrics before the first statement.
    Baseline: [BeforeIntent, Recorded],
    /// The baseline is stored.
    BaselineStored: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The engine applies a unit.
    Apply: [BeforeIntent, Recorded],
    /// A unit forward.
    UnitUp: [BeforeIntent, IntentDurable, Executing, Sent, CommittedNotAcknowledged, AcknowledgedNotRecorded],
    /// A unit outside a transaction, forward.
    AloneUp:
        [BeforeIntent, IntentDurable, Sent, Executing, CommittedNotAcknowledged, AcknowledgedNotRecorded, Recorded],
    /// The intent of a unit outside a transaction is stored.
    IntentStored: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// What a failed attempt left is removed.
    Repaired: [BeforeIntent, Executing, CommittedNotAcknowledged, Recorded],
    /// The catalog is asked whether a statement outside a transaction took effect.
    Probed: [BeforeIntent, Recorded],
    /// The outcome of a unit outside a transaction is stored, or that a way back has no statements.
    OutcomeStored: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// A statement that failed is noted.
    FailureNoted: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The engine brings the copy to where the primary is.
    Follow: [BeforeIntent, Recorded],
    /// The bounds of a backfill are frozen, and it is announced; in either direction, on the primary or the copy.
    BackfillBegun: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// A batch of a backfill on the copy, in either direction.
    CopyBatch: [BeforeIntent, IntentDurable, Executing, Sent, CommittedNotAcknowledged, AcknowledgedNotRecorded],
    /// A batch of a backfill forward, or a visit to rows that were held.
    BatchUp: [BeforeIntent, IntentDurable, Executing, Sent, CommittedNotAcknowledged, AcknowledgedNotRecorded],
    /// What holds a backfill back is stored.
    ThrottleNoted: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// A batch of a backfill back.
    BatchDown: [BeforeIntent, IntentDurable, Executing, Sent, CommittedNotAcknowledged, AcknowledgedNotRecorded],
    /// Where the copy stands is stored.
    CopyLevelStored: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The engine asks the metrics.
    Sample: [BeforeIntent, Recorded],
    /// Samples are stored.
    SamplesStored: [BeforeIntent, Sent, CommittedNotAcknowledged, Recorded],
    /// The engine undoes a block of a unit.
    Revert: [BeforeIntent, Recorded],
    /// A unit back.
    UnitDown: [BeforeIntent, IntentDurable, Executing, Sent, CommittedNotAcknowledged, AcknowledgedNotRecorded],
    /// A unit outside a transaction, back.
    AloneDown:
        [BeforeIntent, IntentDurable, Sent, Executing, CommittedNotAcknowledged, AcknowledgedNotRecorded, Recorded],
}
