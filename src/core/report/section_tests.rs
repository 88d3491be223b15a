//! Tests of the sections: plan, rehearsal, progress, analysis, history.

use super::conditions;
use super::tests::{
    applying, breach, breached, done, of_run, rolling_back, status, waiting_for_lock, watch, watching,
};
use crate::api::{Outcome as Ended, Risk, Severity, condition};
use crate::core::analysis::Assessment;
use crate::core::backfill::Progress;
use crate::core::estimate::{Band, Basis, Estimate};
use crate::core::fixture::{at, forward_only, plan, run, watched};
use crate::core::observation::RehearsalVerdict;
use crate::core::plan::{OnBreach, Plan};
use crate::core::preview::{self, Prediction, Preview, StatementPreview, UnitPreview};
use crate::core::rehearsal::{BatchFacts, Lock, Rehearsal, RoundTrip, StatementFacts, UnitFacts};
use crate::core::state::{Outcome, State};
use crate::core::view::{PastRun, RunView};
use crate::sql::{self, LockMode};

pub(super) fn rehearsal(verdict: RehearsalVerdict) -> Rehearsal {
    let lock = |relation: &str, mode: &str| Lock { relation: relation.to_owned(), mode: mode.to_owned() };
    let facts = |unit, millis, locks: Vec<Lock>| {
        let duration = std::time::Duration::from_millis(millis);
        let statements = vec![StatementFacts { summary: "s".to_owned(), duration, locks }];
        UnitFacts { unit, duration, held: duration / 2, statements, batches: None }
    };
    Rehearsal {
        replica: "copy:5432/shop".to_owned(),
        started_at: at(1),
        finished_at: at(2),
        round_trip: RoundTrip::Complete,
        fingerprint: "f0".to_owned(),
        reached: Vec::new(),
        units: vec![
            facts(0, 12, vec![lock("public.users", "ACCESS EXCLUSIVE"), lock("public.users", "SHARE")]),
            facts(1, 4000, vec![lock("public.users", "SHARE UPDATE EXCLUSIVE")]),
            facts(
                2,
                30,
                vec![lock("public.users", "SHARE ROW EXCLUSIVE"), lock("public.tiers", "ROW SHARE")],
            ),
        ],
        verdict,
        prediction: None,
    }
}

#[test]
fn plan_and_rehearsal_show_each_step() {
    let status = status(&of_run(RunView {
        rehearsal: Some(rehearsal(RehearsalVerdict::Passed)),
        ..run(forward_only(), applying(), 1)
    }));
    let plan = status.plan.unwrap();
    let shown: Vec<_> = plan
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.transactional, step.statements, step.reversible))
        .collect();
    assert_eq!(shown, [("add-tier", true, 1, true), ("index", false, 2, false)]);
    assert_eq!(plan.steps[0].inverse.as_deref(), Some("ALTER TABLE users DROP COLUMN tier;"));
    assert_eq!(plan.steps[1].inverse, None);
    let steps = status.rehearsal.unwrap().steps;
    let times: Vec<_> = steps.iter().map(|step| (step.duration.as_str(), step.held.as_str())).collect();
    assert_eq!(times, [("12ms", "6ms"), ("4.03s", "2s")]);
    let locks: Vec<_> =
        steps[1].locks.iter().map(|lock| (lock.relation.as_str(), lock.mode.as_str())).collect();
    assert_eq!(locks, [("public.tiers", "ROW SHARE"), ("public.users", "SHARE ROW EXCLUSIVE")]);
    assert_eq!(steps[0].locks[0].mode, "ACCESS EXCLUSIVE");
}

#[test]
fn plan_shows_what_was_foreseen_of_each_step() {
    let lock =
        |relation: &str, mode| preview::Lock { relation: relation.to_owned(), mode, blocks: Vec::new() };
    let estimate = |ms| {
        let band = Band::within(ms, 3.0);
        Some(Estimate { hold_ms: Band::within(ms / 2.0, 3.0), total_ms: band, ..Estimate::default() })
    };
    let statement = |unit, locks, rewrite| StatementPreview {
        unit,
        step: if unit == 0 { "add-tier" } else { "index" }.to_owned(),
        locks,
        rewrite,
        ..StatementPreview::default()
    };
    let finding = |severity, message: &str, ignored: Option<&str>| sql::Finding {
        code: "WB101".to_owned(),
        severity,
        statement: 1,
        message: message.to_owned(),
        safe_form: "CREATE INDEX CONCURRENTLY ...".to_owned(),
        ignored: ignored.map(str::to_owned),
        ..sql::Finding::default()
    };
    let weak = lock("public.users", LockMode::Share);
    let preview = Preview {
        risk: Risk::High,
        summary: "Risk High · ForwardOnly".to_owned(),
        statements: vec![
            statement(0, vec![weak.clone(), lock("public.users", LockMode::AccessExclusive)], true),
            statement(1, vec![weak], false),
            statement(1, Vec::new(), false),
        ],
        units: [40.0, 2000.0]
            .map(|ms| UnitPreview { estimate: estimate(ms), ..UnitPreview::default() })
            .to_vec(),
        findings: vec![
            finding(Severity::Low, "later", None),
            finding(Severity::High, "first", None),
            finding(Severity::High, "never", Some("known")),
        ],
        ..Preview::default()
    };
    let mut forward = forward_only();
    forward.preview = Some(Box::new(preview));
    let shown = status(&of_run(run(forward, applying(), 1))).plan.unwrap();
    assert_eq!((shown.risk, shown.summary.as_deref()), (Some(Risk::High), Some("Risk High · ForwardOnly")));
    let found: Vec<_> =
        shown.findings.iter().map(|one| (one.message.as_str(), one.step.as_deref().unwrap_or(""))).collect();
    assert_eq!(found, [("first", "index"), ("later", "index")]);
    assert_eq!(shown.findings[0].safe_form.as_deref(), Some("CREATE INDEX CONCURRENTLY ..."));
    let [add, index] = &shown.steps[..] else { panic!("two steps") };
    assert_eq!((add.lock.as_deref(), add.locks.len()), (Some("ACCESS EXCLUSIVE"), 1));
    assert_eq!((add.rewrite, add.scan, index.rewrite), (Some(true), Some(false), Some(false)));
    let first = add.estimate.as_ref().unwrap();
    assert_eq!(
        (first.held.as_str(), first.duration.as_str(), first.basis.as_str()),
        ("20ms", "40ms", "Catalog")
    );
    assert_eq!(index.lock.as_deref(), Some("SHARE"));
}

#[test]
fn what_was_rehearsed_counts_more_than_what_was_foreseen() {
    let estimate =
        |basis, ms| Some(Estimate { basis, total_ms: Band::within(ms, 1.25), ..Estimate::default() });
    let mut foreseen = plan();
    let units = [4000.0, 2000.0, 1.0].map(|ms| estimate(Basis::Catalog, ms));
    foreseen.preview = Some(Box::new(Preview {
        risk: Risk::High,
        summary: "Risk High".to_owned(),
        units: units.map(|estimate| UnitPreview { estimate, ..UnitPreview::default() }).to_vec(),
        ..Preview::default()
    }));
    let prediction = Prediction {
        risk: Risk::Low,
        summary: "Risk Low".to_owned(),
        units: vec![
            estimate(Basis::Rehearsed, 30.0),
            estimate(Basis::Catalog, 10.0),
            estimate(Basis::Rehearsed, 2.0),
        ],
        ..Prediction::default()
    };
    let measured =
        Rehearsal { prediction: Some(Box::new(prediction)), ..rehearsal(RehearsalVerdict::Passed) };
    let view = RunView { rehearsal: Some(measured), ..run(foreseen, applying(), 1) };
    let shown = status(&of_run(view)).plan.unwrap();
    assert_eq!((shown.risk, shown.summary.as_deref()), (Some(Risk::Low), Some("Risk Low")));
    let of = |step: usize| shown.steps[step].estimate.as_ref().unwrap();
    assert_eq!((of(0).duration.as_str(), of(0).basis.as_str()), ("30ms", "Rehearsed"));
    assert_eq!((of(1).duration.as_str(), of(1).basis.as_str()), ("12ms", "Catalog"), "two units");
}

#[test]
fn a_rehearsed_backfill_says_how_long_it_takes_here() {
    let total_ms = Band::of(300_000.0, 241_000.0, 840_000.0);
    let wal_bytes = Band::within(4_600_000_000.0, 2.0);
    let expected = Estimate { basis: Basis::Rehearsed, total_ms, wal_bytes, ..Estimate::default() };
    let told = |basis| {
        let mut foreseen = Plan { rehearse: true, ..plan() };
        let here = UnitPreview { rows: Some(23_000_000.0), ..UnitPreview::default() };
        foreseen.preview = Some(Box::new(Preview { units: vec![here; 3], ..Preview::default() }));
        let mut measured = rehearsal(RehearsalVerdict::Passed);
        let worked = std::time::Duration::from_secs(10);
        measured.units[1].batches =
            Some(BatchFacts { keys: 600_000, rows: 600_000, batches: 60, worked, wal_bytes: 120_000_000 });
        let units = vec![None, Some(Estimate { basis, ..expected }), None];
        measured.prediction = Some(Box::new(Prediction { units, ..Prediction::default() }));
        let shown = status(&of_run(RunView { rehearsal: Some(measured), ..run(foreseen, applying(), 0) }));
        let steps = shown.rehearsal.unwrap().steps;
        let message = shown.conditions.iter().find(|one| one.type_ == "Rehearsed").unwrap().message.clone();
        (steps.into_iter().filter_map(|step| step.backfill).collect::<Vec<_>>(), message)
    };
    let (backfills, message) = told(Basis::Rehearsed);
    let [one] = backfills.as_slice() else { panic!("{backfills:?}") };
    assert_eq!((one.rows, one.rows_per_second, one.wal_bytes_per_row), (600_000, Some(60_000), Some(200)));
    assert_eq!((one.predicted_rows, one.predicted.as_deref()), (Some(23_000_000), Some("5m-14m")));
    assert_eq!(one.predicted_wal_bytes, Some(4_600_000_000));
    let end = "changed 60 k rows a second there, 200 B of WAL each: 23 M rows are expected to take 5m-14m and 4.3 GiB of WAL on \
               the primary";
    assert!(message.ends_with(end), "{message}");
    let (backfills, message) = told(Basis::Catalog);
    assert_eq!(backfills[0].predicted, None, "the copy says nothing of it");
    assert!(message.ends_with("200 B of WAL each"), "{message}");
}

#[test]
fn progress_names_step_attempt_and_blockers() {
    let attempt = waiting_for_lock(4);
    let waiting = Some(attempt.cause.clone());
    let status = status(&of_run(RunView { attempt: Some(attempt), waiting, ..run(plan(), applying(), 0) }));
    let progress = status.progress.unwrap();
    assert_eq!((progress.unit, progress.of, progress.attempt), (1, 3, Some(4)));
    assert_eq!(progress.step.as_deref(), Some("add-tier"));
    let [blocker] = progress.blockers.as_slice() else { panic!("{progress:?}") };
    assert_eq!((blocker.pid, blocker.age.as_ref().unwrap().as_str()), (4711, "1m2s"));
    assert_eq!(blocker.query.as_deref(), Some("active: SELECT pg_sleep(100)"));
}

#[test]
fn progress_fits_a_column() {
    let check = |run: RunView, expected: &str| {
        assert_eq!(status(&of_run(run)).progress.unwrap().summary.unwrap(), expected);
    };
    check(run(plan(), State::Planned, 0), "0/3");
    check(run(plan(), applying(), 2), "3/3");
    check(run(plan(), rolling_back(breached()), 2), "undoing 2/3");
    check(run(plan(), done(Outcome::Succeeded), 3), "3/3");
    check(run(plan(), done(Outcome::RolledBack(breached())), 0), "0/3");
    let next = at(15);
    check(
        RunView { watch: Some(watch(Assessment::Continue { next })), ..run(plan(), watching(), 3) },
        "watch 3m left",
    );
}

#[test]
fn a_backfill_is_followed_on_the_copy_and_on_the_primary() {
    let (rows_done, rows_total) = (21_500_000, 50_000_000);
    let rate = Some(50_000.0);
    let filling = Progress { rows_done, rows_total, share: 0.43, rate, ..Progress::default() };
    let check = |state: State, column: &str| {
        let status = status(&of_run(RunView { backfill: Some(filling.clone()), ..run(plan(), state, 0) }));
        assert_eq!(status.progress.as_ref().unwrap().summary.as_deref(), Some(column));
        conditions::find(&status, condition::READY).unwrap().message.clone()
    };
    check(applying(), "43% 14m");
    let message = check(State::Rehearsing { since: at(0) }, "rehearsing 43%");
    assert!(
        message.ends_with("the primary is untouched; a backfill there is at 22 M of 50 M rows"),
        "{message}"
    );
}

#[test]
fn analysis_shows_values_against_limits() {
    let status = status(&of_run(RunView {
        watch: Some(watch(breach())),
        ..run(watched(OnBreach::Pause), watching(), 3)
    }));
    let analysis = status.analysis.unwrap();
    assert_eq!(analysis.verdict, Some(crate::api::Verdict::Breach));
    let metric = &analysis.metrics[0];
    assert_eq!((metric.last.as_deref(), metric.limit.as_deref()), (Some("0.410959"), Some("<= 0.05")));
    assert_eq!(metric.recent[0].at.0, at(30), "newest first");
    assert_eq!(metric.message.as_deref(), Some(breached().message.as_str()));
}

#[test]
fn the_run_itself_is_no_earlier_run() {
    let past = |seconds, outcome: &str| PastRun {
        plan_hash: "sha256:00".to_owned(),
        outcome: outcome.to_owned(),
        started_at: Some(at(seconds)),
        finished_at: Some(at(seconds + 1)),
        message: None,
    };
    let mut view = of_run(run(plan(), done(Outcome::Succeeded), 3));
    view.past = vec![past(0, "Succeeded"), past(-50, "RolledBack")];
    let history = status(&view).history;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].outcome, Ended::RolledBack);
}
