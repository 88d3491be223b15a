//! What the matrix found: each case is played first, in every sample. The names say what must not happen again.

use anyhow::Result;

use super::fault::Case;

/// What was wrong, and the case that showed it.
pub const ALL: &[(&str, &str)] = &[
    (
        "a_second_run_of_a_version_is_begun_by_an_owner_that_was_frozen",
        "transactional:RunStored/BeforeIntent#1:Freeze:2",
    ),
    ("a_migration_that_another_owner_finished_is_begun_again", "several:UnitUp/BeforeIntent#2:SecondOwner:1"),
    ("a_unit_is_undone_twice_after_a_takeover", "rollback:StateMoved/Recorded#3:SecondOwner:1"),
    (
        "names_put_aside_by_an_interrupted_rehearsal_are_taken",
        "rehearsed:CopyDown/CommittedNotAcknowledged#1:Reset:1",
    ),
    ("a_rehearsal_dies_before_it_destroys_what_it_put_aside", "rehearsed:Purged/BeforeIntent#2:Kill:1"),
    ("a_unit_announced_on_the_copy_counts_as_there", "rehearsed:CopyAloneUp/IntentDurable#3:Kill:1"),
    ("a_rollback_gives_up_when_somebody_cancels_a_statement", "rollback:UnitDown/Executing#2:Cancel:1"),
    ("a_cancelled_statement_on_the_copy_counts_as_a_verdict", "rehearsed:CopyDown/Executing#3:Cancel:1"),
    (
        "what_failed_before_a_failover_counts_for_a_step_that_was_lost_with_it",
        "fails:IntentStored/CommittedNotAcknowledged#1:Failover:323535614",
    ),
    (
        "a_rollback_that_is_asked_for_before_the_state_moves_on_is_forgotten",
        "rollback:UnitUp/AcknowledgedNotRecorded#4:Failover:2516281205",
    ),
];

/// The cases.
///
/// # Errors
/// When one cannot be read.
pub fn cases() -> Result<Vec<Case>> {
    ALL.iter().map(|(_, case)| case.parse()).collect()
}

/// The name of a case that was found before.
pub fn name(case: &Case) -> Option<&'static str> {
    let text = case.to_string();
    ALL.iter().find(|(_, known)| *known == text).map(|(name, _)| *name)
}
