//! Planted bugs that the matrix of crashes, or a named test, has to find.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

mutants! {
    /// A unit's ledger row is written in a transaction of its own, after the unit's.
    LedgerAfterCommit,
    /// A unit outside a transaction counts as done before it was sent.
    LedgerBeforeEffect,
    /// An index that is there counts as valid.
    InvalidIndexAccepted,
    /// What a failed build left is not removed.
    NoRepair,
    /// A statement whose outcome is not known is sent again without a look.
    BlindRetry,
    /// What was announced counts as done.
    IntentCountsAsDone,
    /// After a lost acknowledgement, the next decision rests on what was known before.
    StaleAfterLostCommit,
    /// After a takeover, the first decision rests on what was read before it.
    StaleAfterTakeover,
    /// A run is stored whatever was begun since it was decided on.
    BeginsTwice,
    /// Transactions do not look at the epoch.
    NoFence,
    /// The fence locks too weakly to hold off the next owner.
    KeyShareFence,
    /// A new owner keeps the epoch of the old one.
    EpochNotBumped,
    /// A predecessor's session is left alone, and whether the work lock was had is not looked at.
    LockResultIgnored,
    /// A deleted object goes on.
    DeletionForgotten,
    /// A rehearsal that failed does not come back.
    RehearsalStays,
    /// What an interrupted rehearsal put aside is not destroyed.
    TrashKept,
    /// The cursor of a backfill is stored in a transaction of its own, after the batch's.
    CursorApart,
    /// The upper bound of a backfill is read anew for each window.
    BoundNotFrozen,
    /// A breach counts as a pass.
    BreachPasses,
    /// A metric that is not a number counts as zero.
    NanIsZero,
}

/// Returns whether a bug is planted: the environment names it in `WHIMBREL_MUTANT`.
#[cfg(feature = "crash-points")]
pub fn planted(mutant: Mutant) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("WHIMBREL_MUTANT").ok());
    CHOSEN.as_deref().is_some_and(|chosen| chosen == format!("{mutant:?}"))
}

/// Returns whether a bug is planted: never, without the feature.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub const fn planted(_mutant: Mutant) -> bool {
    false
}
