//! Tests of the status: what each standing and state looks like.

use super::section_tests::rehearsal;
use super::*;
use crate::core::analysis::{Assessment, MetricSummary, Mode, Recent, UnknownAction, Verdict, VerdictCounts};
use crate::core::fixture::{at, plan, run, watched};
use crate::core::observation::{Attempt, Blocker, Class, RehearsalVerdict};
use crate::core::plan::{OnBreach, Plan};
use crate::core::state::{Outcome, State};
use crate::core::view::{RunView, Tokens, WatchView};

pub(super) fn cause(reason: Reason, message: &str) -> Cause {
    Cause::new(reason, message)
}

pub(super) fn breached() -> Cause {
    cause(Reason::MetricBreached, "error-rate 0.41 > 0.05 in 3 of the last 5 samples")
}

pub(super) fn applying() -> State {
    State::Applying { since: at(0) }
}

pub(super) fn watching() -> State {
    State::Watching { applied_at: at(0), since: at(0) }
}

pub(super) fn rolling_back(cause: Cause) -> State {
    State::RollingBack { since: at(100), cause, aborted: false }
}

fn held(cause: Cause) -> State {
    State::Held { applied_at: at(0), cause }
}

pub(super) fn done(outcome: Outcome) -> State {
    State::Done { at: at(120), outcome }
}

pub(super) fn watch(assessment: Assessment) -> WatchView {
    let recent = |seconds, value| Recent { at: at(seconds), value: Some(value), verdict: Verdict::Breach };
    let metric = MetricSummary {
        name: "error-rate".to_owned(),
        mode: Mode::Enforce,
        baseline: Some(0.002),
        last: Some(0.410_958_904_1),
        limit: "<= 0.05".to_owned(),
        counts: VerdictCounts { breach: 3, ..VerdictCounts::default() },
        message: String::new(),
        recent: vec![recent(15, 0.3), recent(30, 0.41)],
    };
    WatchView { assessment, until: Some(at(900)), metrics: vec![metric] }
}

pub(super) fn breach() -> Assessment {
    let metric = "error-rate".to_owned();
    Assessment::Breach { metric, at: at(90), message: breached().message }
}

pub(super) fn waiting_for_lock(count: u32) -> Attempt {
    let blocker = Blocker {
        pid: 4711,
        application: "shop".to_owned(),
        age_seconds: Some(62.7),
        activity: "active: SELECT pg_sleep(100)".to_owned(),
        prepared: None,
    };
    Attempt {
        first: at(0),
        at: at(5),
        count,
        class: Class::Transient,
        cause: cause(
            Reason::WaitingForLock,
            "step add-tier at 1:1: lock timeout; blocked by pid 4711 (shop)",
        ),
        retry_at: at(6),
        blockers: vec![blocker],
    }
}

pub(super) fn of_run(run: RunView) -> View {
    view(Standing::Run(Box::new(run)))
}

pub(super) fn view(standing: Standing) -> View {
    View { generation: 1, standing, answered: Tokens::default(), past: Vec::new() }
}

pub(super) fn status(view: &View) -> MigrationStatus {
    report(&Migration::default(), view, false, at(720)).status
}

/// The condition in short: `True Succeeded`.
fn short(status: &MigrationStatus, name: &str) -> String {
    let found = conditions::find(status, name);
    found.map_or_else(String::new, |found| format!("{} {}", found.status, found.reason))
}

fn message(status: &MigrationStatus, name: &str) -> String {
    conditions::find(status, name).unwrap().message.clone()
}

/// Phase and conditions of kstatus in short: `Applying: Ready Unknown Applying, Reconciling True Applying`.
fn shape(status: &MigrationStatus) -> String {
    let shown = ["Ready", "Reconciling", "Stalled"].map(|name| (name, short(status, name)));
    let shown = shown.iter().filter(|(_, text)| !text.is_empty());
    let shown: Vec<String> = shown.map(|(name, text)| format!("{name} {text}")).collect();
    format!("{:?}: {}", status.phase.unwrap(), shown.join(", "))
}

#[test]
fn every_standing_has_its_conditions() {
    let check = |standing: fn(Cause) -> Standing, reason: Reason, expected: &str| {
        let view = view(standing(cause(reason, "m")));
        assert_eq!(shape(&status(&view)), expected);
    };
    let pending = "Pending: Ready Unknown WaitingForDatabase, Reconciling True WaitingForDatabase";
    check(Standing::Waiting, Reason::WaitingForDatabase, pending);
    let suspended = "Paused: Ready Unknown Suspended, Reconciling True Suspended";
    check(Standing::Waiting, Reason::Suspended, suspended);
    let away = "Pending: Ready False DatabaseUnreachable, Reconciling True Retrying";
    check(Standing::Retrying, Reason::DatabaseUnreachable, away);
    let refused = "Failed: Ready False SqlRefused, Stalled True SqlRefused";
    check(Standing::Refused, Reason::SqlRefused, refused);
    check(Standing::Covered, Reason::Succeeded, "Succeeded: Ready True Succeeded");
}

#[test]
fn every_state_has_its_conditions() {
    let check = |state: State, units: usize, expected: &str, applied: bool| {
        let status = status(&of_run(run(watched(OnBreach::Rollback), state, units)));
        assert_eq!(shape(&status), expected);
        assert_eq!(status.applied, Some(applied), "{expected}");
        assert_eq!(short(&status, "Applied").starts_with("True"), applied, "{expected}");
    };
    let at_work =
        |phase: &str, reason: &str| format!("{phase}: Ready Unknown {reason}, Reconciling True {reason}");
    check(State::Planned, 0, &at_work("Planning", "PlanReady"), false);
    check(State::Rehearsing { since: at(0) }, 0, &at_work("Rehearsing", "Rehearsing"), false);
    check(applying(), 1, &at_work("Applying", "Applying"), false);
    check(watching(), 3, &at_work("Analyzing", "Analyzing"), true);
    check(rolling_back(breached()), 2, &at_work("RollingBack", "RollingBack"), false);
    let paused = "Paused: Ready False MetricBreached, Stalled True Paused";
    check(held(breached()), 3, paused, true);
    check(held(breached()), 1, paused, false);
    check(done(Outcome::Succeeded), 3, "Succeeded: Ready True Succeeded", true);
    let ended = |phase: &str, reason: &str| format!("{phase}: Ready False {reason}, Stalled True {reason}");
    check(done(Outcome::RolledBack(breached())), 0, &ended("RolledBack", "RolledBack"), false);
    let failed = Outcome::Failed(cause(Reason::LockTimeout, "m"));
    check(done(failed), 0, &ended("Failed", "LockTimeout"), false);
    let stuck = Outcome::RollbackFailed(cause(Reason::RollbackFailed, "m"));
    check(done(stuck), 1, &ended("Failed", "RollbackFailed"), false);
    let aborted = Outcome::Aborted(cause(Reason::Aborted, "m"));
    check(done(aborted), 0, &ended("Failed", "Aborted"), false);
}

#[test]
fn what_a_run_waits_for_shows() {
    let check = |state: State, reason: Reason, expected: &str, progress: &str| {
        let mut run = run(watched(OnBreach::Rollback), state, 1);
        run.waiting = Some(cause(reason, "m"));
        let status = status(&of_run(run));
        assert_eq!(shape(&status), expected);
        assert_eq!(status.progress.unwrap().summary.unwrap(), progress, "{reason}");
    };
    let at_work =
        |phase: &str, reason: Reason| format!("{phase}: Ready Unknown {reason}, Reconciling True {reason}");
    let lock = Reason::WaitingForLock;
    check(applying(), lock, &at_work("Applying", lock), "waiting for lock");
    check(rolling_back(breached()), lock, &at_work("RollingBack", lock), "waiting for lock");
    check(applying(), Reason::Suspended, &at_work("Paused", Reason::Suspended), "suspended 1/3");
    check(watching(), Reason::Analyzing, &at_work("Analyzing", Reason::Analyzing), "watch");
    let away = "Applying: Ready False DatabaseUnreachable, Reconciling True Retrying";
    check(applying(), Reason::DatabaseUnreachable, away, "2/3");
    let unknown = "Paused: Ready False MetricUnknown, Stalled True Paused";
    check(watching(), Reason::MetricUnknown, unknown, "paused 1/3");
}

#[test]
fn ready_tells_what_happened_and_what_is_next() {
    let check = |run: RunView, expected: &str| {
        assert_eq!(message(&status(&of_run(run)), "Ready"), expected);
    };
    let again = "edit the spec, or annotate whimbrel.dev/retry-requested-at";
    check(
        run(watched(OnBreach::Rollback), done(Outcome::RolledBack(breached())), 0),
        &format!(
            "error-rate 0.41 > 0.05 in 3 of the last 5 samples; rolled back at 2027-01-15T08:02:00Z; \
             stream default is at version 41 again; {again}"
        ),
    );
    let text = "step add-tier at 1:7: ALTER TABLE users ...: column \"tier\" already exists";
    let failed = done(Outcome::Failed(cause(Reason::ApplyFailed, text)));
    check(run(plan(), failed, 0), &format!("{text}; nothing of it is applied; {again}"));
    let stuck = done(Outcome::RollbackFailed(cause(Reason::RollbackFailed, "no way")));
    let next = "remove the cause, then annotate whimbrel.dev/rollback-requested-at to try again";
    check(run(plan(), stuck, 1), &format!("no way; 1 of 3 units may still be applied; {next}"));
    let waits = "annotate whimbrel.dev/rollback-requested-at to undo it, or whimbrel.dev/retry-requested-at to watch once more";
    check(
        run(watched(OnBreach::Pause), held(cause(Reason::MetricBreached, "bad")), 3),
        &format!("bad; 3 of 3 units applied; {waits}"),
    );
    let note = Some("the copy could not follow".to_owned());
    check(
        RunView {
            note,
            watch: Some(watch(Assessment::Passed)),
            ..run(watched(OnBreach::Rollback), done(Outcome::Succeeded), 3)
        },
        "version 42 of stream default is applied: 3 units, done at 2027-01-15T08:02:00Z; 1 metric good; the copy could not follow",
    );
    check(
        RunView { watch: Some(watch(breach())), ..run(watched(OnBreach::Notify), watching(), 3) },
        "error-rate 0.41 > 0.05 in 3 of the last 5 samples; onBreach is Notify, so it stays applied; watching 1 metric \
         until 2027-01-15T08:15:00Z",
    );
}

#[test]
fn facts_tell_of_plan_copy_primary_and_watch() {
    let check = |run: RunView, expected: [&str; 5]| {
        let status = status(&of_run(run));
        assert_eq!(facts::ALL.map(|name| short(&status, name)), expected);
    };
    let (valid, not_asked) = ("True PlanReady", "False NotRequired");
    check(run(plan(), applying(), 1), [valid, not_asked, "False Applying", not_asked, ""]);
    check(run(plan(), done(Outcome::Succeeded), 3), [valid, not_asked, "True Applied", not_asked, ""]);
    let rehearsed = Plan { rehearse: true, ..watched(OnBreach::Rollback) };
    let unknown = [valid, "Unknown Rehearsing", "False Pending", "Unknown Pending", ""];
    check(run(rehearsed.clone(), State::Rehearsing { since: at(0) }, 0), unknown);
    let rehearsal = Some(rehearsal(RehearsalVerdict::Passed));
    let seen = RunView { rehearsal, ..run(rehearsed.clone(), watching(), 3) };
    let good =
        RunView { watch: Some(watch(Assessment::Passed)), state: done(Outcome::Succeeded), ..seen.clone() };
    check(good, [valid, "True RehearsalPassed", "True Applied", "True AnalysisPassed", ""]);
    let mut bad = run(rehearsed, done(Outcome::RolledBack(breached())), 0);
    bad.rehearsal.clone_from(&seen.rehearsal);
    bad.watch = Some(watch(breach()));
    let facts =
        [valid, "True RehearsalPassed", "False RolledBack", "False MetricBreached", "True MetricBreached"];
    check(bad, facts);
}

#[test]
fn only_a_wrong_plan_is_called_invalid() {
    let check = |reason: Reason, expected: &str| {
        assert_eq!(short(&status(&view(Standing::Refused(cause(reason, "m")))), "PlanValid"), expected);
    };
    check(Reason::SqlRefused, "False SqlRefused");
    check(Reason::IrreversibleStep, "False IrreversibleStep");
    check(Reason::QueryInvalid, "False QueryInvalid");
    check(Reason::PoolerDetected, "Unknown PoolerDetected");
}

#[test]
fn facts_stay_while_the_database_is_away() {
    let before = status(&of_run(run(plan(), done(Outcome::Succeeded), 3)));
    let migration = Migration { status: Some(before), ..Migration::default() };
    let away = view(Standing::Retrying(cause(Reason::DatabaseUnreachable, "no route")));
    let status = report(&migration, &away, false, at(999)).status;
    assert_eq!((short(&status, "Ready").as_str(), status.applied), ("False DatabaseUnreachable", Some(true)));
    assert_eq!(short(&status, "Applied"), "True Applied");
    assert!(status.plan_hash.is_some() && status.progress.is_none());
}

#[test]
fn a_wait_for_data_shows_its_verdict() {
    let unknown = Assessment::Unknown {
        metric: "error-rate".to_owned(),
        since: at(1),
        action: UnknownAction::Continue,
        next: at(15),
        message: "error-rate is unknown".to_owned(),
    };
    let seen = RunView { watch: Some(watch(unknown)), ..run(watched(OnBreach::Rollback), watching(), 3) };
    let status = status(&of_run(seen));
    assert!(message(&status, "Ready").ends_with("error-rate is unknown"), "{}", message(&status, "Ready"));
    assert_eq!(short(&status, "Analyzed"), "Unknown MetricUnknown");
}

#[test]
fn only_a_pause_has_the_word_of_a_pause() {
    let refused = status(&view(Standing::Refused(cause(Reason::Paused, "m"))));
    assert_eq!(short(&refused, "Stalled"), "True Internal");
    assert!(is_final(&refused));
    let held = status(&of_run(run(plan(), held(breached()), 3)));
    assert_eq!(short(&held, "Stalled"), "True Paused");
    assert!(!is_final(&held));
}
