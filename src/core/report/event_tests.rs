//! Tests of events: what whole lives of Migrations tell.

use super::tests::{
    applying, breach, breached, cause, done, of_run, rolling_back, status, view, waiting_for_lock, watch,
    watching,
};
use super::*;
use crate::api::Severity;
use crate::core::analysis::Assessment;
use crate::core::fixture::{at, plan, run, watched};
use crate::core::plan::{OnBreach, Plan};
use crate::core::preview::{Preview, StatementPreview};
use crate::core::state::{Outcome, State};
use crate::core::view::RunView;
use crate::sql;

/// Reports on one view after the other, and returns the events as `Warning MetricBreached`.
fn events(views: Vec<View>) -> Vec<String> {
    let mut migration = Migration::default();
    migration.metadata.generation = Some(1);
    migration.status = Some(accepted(&migration, at(0)));
    let mut all = Vec::new();
    for (seconds, view) in (1..).zip(views) {
        let Report { status, events } = report(&migration, &view, false, at(seconds));
        migration.status = Some(status);
        all.extend(events.iter().map(|event| format!("{:?} {}", event.kind, event.reason)));
    }
    all
}

#[test]
fn a_migration_that_goes_well_has_one_event() {
    let plan = || Plan { rehearse: true, ..plan() };
    let states = [State::Planned, State::Rehearsing { since: at(0) }, applying(), done(Outcome::Succeeded)];
    let views =
        || states.iter().zip([0, 0, 2, 3]).map(|(state, units)| of_run(run(plan(), state.clone(), units)));
    assert_eq!(events(views().collect()), ["Normal Succeeded"]);
    assert_eq!(events(views().skip(3).collect()), ["Normal Succeeded"], "also when nothing was seen before");
}

#[test]
fn each_dangerous_statement_of_a_plan_is_told_once() {
    let finding = |statement, severity, ignored: Option<&str>| sql::Finding {
        code: "WB101".to_owned(),
        severity,
        statement,
        line: 2,
        column: 1,
        message: "CREATE INDEX stops all writes to public.users".to_owned(),
        ignored: ignored.map(str::to_owned),
        ..sql::Finding::default()
    };
    let findings = vec![
        finding(0, Severity::High, None),
        finding(1, Severity::High, None),
        finding(1, Severity::High, Some("the table is empty")),
        finding(1, Severity::Medium, None),
    ];
    let statement = |step: &str| StatementPreview { step: step.to_owned(), ..StatementPreview::default() };
    let statements = vec![statement("add-tier"), statement("index")];
    let preview = Preview { statements, findings, ..Preview::default() };
    let plan = Plan { preview: Some(Box::new(preview)), ..plan() };
    let views: Vec<View> = [applying(), applying(), done(Outcome::Succeeded)]
        .map(|state| of_run(run(plan.clone(), state, 2)))
        .to_vec();
    let danger = "Warning DangerousStatement";
    assert_eq!(events(views.clone()), [danger, danger, "Normal Succeeded"]);

    let told = report(&Migration::default(), &views[0], false, at(1)).events;
    let places: Vec<_> = told.iter().filter_map(|event| event.place.as_deref()).collect();
    assert_eq!(
        places,
        ["add-tier:2:1", "index:2:1"],
        "two events that differ in nothing else would become one"
    );
    assert_eq!(told[0].note, "WB101 in step add-tier:2:1: CREATE INDEX stops all writes to public.users");
}

#[test]
fn a_breach_and_its_rollback_are_told() {
    let run = |state: State, units| RunView {
        watch: Some(watch(breach())),
        ..run(watched(OnBreach::Rollback), state, units)
    };
    let before = RunView { watch: None, ..run(watching(), 3) };
    let (back, end) = (run(rolling_back(breached()), 3), run(done(Outcome::RolledBack(breached())), 0));
    let expected = ["Normal Applied", "Warning MetricBreached", "Warning RolledBack"];
    assert_eq!(events([&before, &back, &end].map(|run| of_run(run.clone())).to_vec()), expected);
    assert_eq!(events([&before, &end].map(|run| of_run(run.clone())).to_vec()), expected, "in one step, too");
}

#[test]
fn a_breach_that_leads_to_nothing_is_told_once() {
    let run = |assessment, state| {
        of_run(RunView { watch: Some(watch(assessment)), ..run(watched(OnBreach::Notify), state, 3) })
    };
    let next = at(15);
    let views = vec![
        run(Assessment::Continue { next }, watching()),
        run(breach(), watching()),
        run(breach(), watching()),
        run(breach(), done(Outcome::Succeeded)),
    ];
    assert_eq!(events(views), ["Normal Applied", "Warning MetricBreached", "Normal Succeeded"]);
}

#[test]
fn a_lock_is_told_of_once_and_not_at_once() {
    let waits = |count, units| {
        let attempt = Some(waiting_for_lock(count));
        let waiting = attempt.as_ref().map(|attempt| attempt.cause.clone());
        of_run(RunView { attempt, waiting, ..run(plan(), applying(), units) })
    };
    assert_eq!(events(vec![waits(1, 0), waits(3, 0)]), [""; 0]);
    assert_eq!(events(vec![waits(3, 0), waits(4, 0), waits(9, 0)]), ["Warning WaitingForLock"]);
    assert_eq!(events(vec![waits(4, 0), waits(4, 1)]), ["Warning WaitingForLock"; 2], "another unit");
}

#[test]
fn what_stalls_or_fails_is_told_once() {
    let refused = || view(Standing::Refused(cause(Reason::SqlRefused, "m")));
    let away = || view(Standing::Retrying(cause(Reason::DatabaseUnreachable, "m")));
    let suspended = || view(Standing::Waiting(cause(Reason::Suspended, "m")));
    let waits = || view(Standing::Waiting(cause(Reason::WaitingForEarlierVersion, "m")));
    assert_eq!(events(vec![refused(), refused()]), ["Warning SqlRefused"]);
    assert_eq!(events(vec![away(), away(), waits()]), ["Warning DatabaseUnreachable"]);
    assert_eq!(events(vec![suspended(), suspended(), waits()]), ["Normal Suspended"]);
    let unknown = || {
        let waiting = Some(cause(Reason::MetricUnknown, "m"));
        of_run(RunView { waiting, ..run(watched(OnBreach::Rollback), watching(), 3) })
    };
    assert_eq!(events(vec![unknown(), unknown()]), ["Normal Applied", "Warning MetricUnknown"]);
    let stuck = done(Outcome::RollbackFailed(cause(Reason::RollbackFailed, "m")));
    let back = of_run(run(plan(), rolling_back(cause(Reason::RollbackRequested, "m")), 3));
    let expected = ["Normal RollbackRequested", "Warning RollbackFailed"];
    assert_eq!(events(vec![back, of_run(run(plan(), stuck, 1))]), expected);
}

#[test]
fn another_run_is_told_of_like_the_first() {
    let end = |id: &str| {
        let id = id.to_owned();
        of_run(RunView { id, ..run(plan(), done(Outcome::Failed(cause(Reason::ApplyFailed, "m"))), 0) })
    };
    assert_eq!(events(vec![end("1"), end("1"), end("2")]), ["Warning ApplyFailed"; 2]);
}

#[test]
fn of_a_run_that_was_lost_nothing_stays_but_the_news() {
    let applied = status(&of_run(run(plan(), done(Outcome::Succeeded), 3)));
    let migration = Migration { status: Some(applied.clone()), ..Migration::default() };
    let waiting = view(Standing::Waiting(cause(Reason::WaitingForDatabase, "another goes first")));
    let kept = report(&migration, &waiting, false, at(800)).status;
    assert_eq!((kept.run_id, kept.applied), (applied.run_id, Some(true)));
    let Report { status, events } = report(&migration, &waiting, true, at(800));
    assert_eq!((status.run_id, status.applied), (None, None));
    assert_eq!(events[0].reason, Reason::LedgerRewound);
}
