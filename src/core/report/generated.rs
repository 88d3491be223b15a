//! Generated views of Migrations, and Migrations with the status that earlier views gave them.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::api::Severity;
use crate::core::analysis::{Assessment, MetricSummary, Mode, Recent, UnknownAction, Verdict, VerdictCounts};
use crate::core::estimate::{Band, Estimate};
use crate::core::fixture::{at, forward_only, plan, run, watched};
use crate::core::observation::{Attempt, Blocker, Class, RehearsalVerdict, UnitStatus};
use crate::core::plan::{Finding, OnBreach, Plan};
use crate::core::preview::{self, Prediction, Preview, StatementPreview, UnitPreview};
use crate::core::rehearsal::{BatchFacts, Lock, Rehearsal, RoundTrip, StatementFacts, UnitFacts};
use crate::core::state::{Outcome, State};
use crate::core::view::{PastRun, RunView, Tokens, WatchView};
use crate::sql::{self, LockMode};

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let watched = [OnBreach::Rollback, OnBreach::Pause, OnBreach::Notify].map(watched);
    let forward = Plan { analysis: watched[0].analysis.clone(), rehearse: true, ..forward_only() };
    watched.into_iter().chain([plan(), Plan { rehearse: true, ..plan() }, forward]).collect()
});

/// Texts as servers and people write them, and worse.
fn text() -> BoxedStrategy<String> {
    let long = ("(?s).{1,8}", 100_usize..4000).prop_map(|(part, times)| part.repeat(times));
    prop_oneof![4 => "[a-z ]{0,20}", 2 => "(?s).{0,40}", 1 => long].boxed()
}

fn time() -> BoxedStrategy<Timestamp> {
    (0_i64..4000, 0_u64..1_000_000_000)
        .prop_map(|(seconds, nanos)| at(seconds) + Duration::from_nanos(nanos))
        .boxed()
}

fn cause() -> BoxedStrategy<Cause> {
    (select(Reason::ALL), text()).prop_map(|(reason, message)| Cause::new(reason, message)).boxed()
}

fn outcome() -> BoxedStrategy<Outcome> {
    prop_oneof![
        Just(Outcome::Succeeded),
        cause().prop_map(Outcome::RolledBack),
        cause().prop_map(Outcome::Failed),
        cause().prop_map(Outcome::RollbackFailed),
        cause().prop_map(Outcome::Aborted),
    ]
    .boxed()
}

fn state() -> BoxedStrategy<State> {
    prop_oneof![
        Just(State::Planned),
        time().prop_map(|since| State::Rehearsing { since }),
        time().prop_map(|since| State::Applying { since }),
        time().prop_map(|since| State::Watching { applied_at: since, since }),
        (time(), cause()).prop_map(|(applied_at, cause)| State::Held { applied_at, cause }),
        (time(), cause(), any::<bool>()).prop_map(|(since, cause, aborted)| State::RollingBack {
            since,
            cause,
            aborted
        }),
        (time(), outcome()).prop_map(|(at, outcome)| State::Done { at, outcome }),
    ]
    .boxed()
}

fn unit_status() -> BoxedStrategy<UnitStatus> {
    prop_oneof![
        Just(UnitStatus::Open),
        Just(UnitStatus::Intent),
        Just(UnitStatus::Done),
        (0_usize..3).prop_map(|blocks| UnitStatus::Reverting { blocks }),
        Just(UnitStatus::Undone),
    ]
    .boxed()
}

/// A preview in which every text may be anything.
fn preview(text: &str, count: usize) -> Preview {
    let severities = [Severity::Info, Severity::Low, Severity::Medium, Severity::High];
    let finding = |index: usize| sql::Finding {
        code: text.to_owned(),
        severity: severities[index % 4],
        statement: index,
        message: text.to_owned(),
        safe_form: text.to_owned(),
        ignored: (index % 5 == 4).then(|| text.to_owned()),
        ..sql::Finding::default()
    };
    let lock = |index: usize| preview::Lock {
        relation: format!("{text}{index}"),
        mode: LockMode::ALL[index % 8],
        blocks: Vec::new(),
    };
    let estimate = Some(Estimate { total_ms: Band::within(1e300, 3.0), ..Estimate::default() });
    Preview {
        summary: text.to_owned(),
        findings: (0..count).map(finding).collect(),
        statements: vec![StatementPreview {
            step: text.to_owned(),
            locks: (0..count).map(lock).collect(),
            ..StatementPreview::default()
        }],
        units: vec![UnitPreview { estimate, ..UnitPreview::default() }],
        ..Preview::default()
    }
}

fn planned() -> BoxedStrategy<Plan> {
    let findings = (text(), 0_usize..120);
    (select(PLANS.as_slice()), text(), findings)
        .prop_map(|(mut plan, text, (message, count))| {
            let finding = Finding { step: "add-tier".to_owned(), line: 1, column: 1, message };
            plan.findings = vec![finding; count];
            plan.preview = (count % 2 == 1).then(|| Box::new(preview(&text, count)));
            if text.len() > 20 {
                plan.steps[0].name.clone_from(&text);
                plan.steps[0].summary.clone_from(&text);
                plan.units[0].up.statements[0].sql.clone_from(&text);
                plan.version.clone_from(&text);
                plan.units[0]
                    .way_back
                    .iter_mut()
                    .flatten()
                    .for_each(|block| block.statements[0].sql.clone_from(&text));
            }
            plan
        })
        .boxed()
}

fn rehearsal() -> BoxedStrategy<Rehearsal> {
    let verdict = prop_oneof![Just(RehearsalVerdict::Passed), cause().prop_map(RehearsalVerdict::Failed)];
    let round_trip = select(vec![RoundTrip::Complete, RoundTrip::UpOnly, RoundTrip::Broken]);
    let modes = select(vec!["ACCESS EXCLUSIVE", "SHARE", "ROW SHARE", "something new"]);
    let locks = prop::collection::vec((text(), modes), 0..40);
    (verdict, round_trip, locks, text(), any::<Duration>())
        .prop_map(|(verdict, round_trip, locks, text, held)| {
            let lock = |(relation, mode): (String, &str)| Lock { relation, mode: mode.to_owned() };
            let locks = locks.into_iter().map(lock).collect();
            let estimate = Some(Estimate { total_ms: Band::within(1e300, 3.0), ..Estimate::default() });
            let prediction = (!text.is_empty()).then(|| {
                Box::new(Prediction {
                    summary: text.clone(),
                    units: vec![estimate; 4],
                    ..Prediction::default()
                })
            });
            let statements = vec![StatementFacts { summary: text.clone(), duration: held, locks }];
            let facts = |unit| UnitFacts {
                unit,
                duration: held,
                held,
                statements: statements.clone(),
                batches: Some(BatchFacts { rows: u64::MAX, wal_bytes: u64::MAX, ..BatchFacts::default() }),
            };
            Rehearsal {
                replica: text,
                started_at: at(1),
                finished_at: at(2),
                round_trip,
                fingerprint: "f".to_owned(),
                reached: Vec::new(),
                units: (0..4).map(facts).collect(),
                verdict,
                prediction,
            }
        })
        .boxed()
}

fn assessment() -> BoxedStrategy<Assessment> {
    let actions = select(vec![UnknownAction::Pause, UnknownAction::Rollback, UnknownAction::Continue]);
    prop_oneof![
        Just(Assessment::Continue { next: at(9) }),
        text().prop_map(|message| Assessment::Extend { next: at(9), until: at(99), message }),
        (text(), text()).prop_map(|(metric, message)| Assessment::Breach { metric, at: at(9), message }),
        (text(), actions).prop_map(|(message, action)| Assessment::Unknown {
            metric: "m".to_owned(),
            since: at(1),
            action,
            next: at(9),
            message,
        }),
        Just(Assessment::Passed),
        text().prop_map(|message| Assessment::Inconclusive { message }),
    ]
    .boxed()
}

fn watch() -> BoxedStrategy<WatchView> {
    let verdict = select(vec![Verdict::Pass, Verdict::Breach, Verdict::NoData, Verdict::Error]);
    let metric =
        (text(), any::<Option<f64>>(), verdict, 0_usize..20).prop_map(|(name, value, verdict, samples)| {
            let recent = Recent { at: at(3) + Duration::from_millis(7), value, verdict };
            MetricSummary {
                limit: name.clone(),
                message: name.clone(),
                name,
                mode: Mode::Enforce,
                baseline: value,
                last: value,
                counts: VerdictCounts::default(),
                recent: vec![recent; samples],
            }
        });
    let metrics = prop::collection::vec(metric, 0..20);
    (assessment(), option::of(time()), metrics)
        .prop_map(|(assessment, until, metrics)| WatchView { assessment, until, metrics })
        .boxed()
}

fn attempt() -> BoxedStrategy<Attempt> {
    let blocker = (any::<i32>(), text(), any::<Option<f64>>()).prop_map(|(pid, text, age_seconds)| Blocker {
        pid,
        application: text.clone(),
        age_seconds,
        activity: text,
        prepared: None,
    });
    let blockers = prop::collection::vec(blocker, 0..15);
    (cause(), any::<u32>(), blockers)
        .prop_map(|(cause, count, blockers)| {
            let class = Class::Transient;
            Attempt { first: at(4), at: at(5), count, class, cause, retry_at: at(6), blockers }
        })
        .boxed()
}

fn run_view() -> BoxedStrategy<RunView> {
    let units = prop::collection::vec(unit_status(), 3);
    let waits = (option::of(attempt()), option::of(cause()), option::of(text()));
    let seen = (option::of(rehearsal()), option::of(watch()));
    (planned(), state(), units, waits, seen, option::of(time()), select(vec!["run-1", "run-2"]))
        .prop_map(|(plan, state, units, (attempt, waiting, note), (rehearsal, watch), applied_at, id)| {
            let run = run(plan, state, 0);
            let id = id.to_owned();
            RunView { id, units, rehearsal, note, applied_at, attempt, waiting, watch, ..run }
        })
        .boxed()
}

fn past() -> BoxedStrategy<PastRun> {
    let outcomes = select(vec!["Succeeded", "RolledBack", "Failed", "RollbackFailed", "Aborted", "Held"]);
    (outcomes, text(), option::of(time()))
        .prop_map(|(outcome, text, at)| PastRun {
            plan_hash: text.clone(),
            outcome: outcome.to_owned(),
            started_at: at,
            finished_at: at,
            message: Some(text),
        })
        .boxed()
}

pub(super) fn view() -> BoxedStrategy<View> {
    let standing = prop_oneof![
        1 => cause().prop_map(Standing::Waiting),
        1 => cause().prop_map(Standing::Retrying),
        1 => cause().prop_map(Standing::Refused),
        1 => cause().prop_map(Standing::Covered),
        2 => run_view().prop_map(|run| Standing::Run(Box::new(run))),
    ];
    let token = || option::of(text());
    let answered = (token(), token(), token());
    let answered = answered.prop_map(|(retry, abort, rollback)| Tokens { retry, abort, rollback });
    (standing, answered, prop::collection::vec(past(), 0..8), 1_i64..4)
        .prop_map(|(standing, answered, past, generation)| View { generation, standing, answered, past })
        .boxed()
}

/// A Migration with the status that earlier reports gave it.
pub(super) fn migration() -> BoxedStrategy<Migration> {
    (prop::collection::vec(view(), 0..3), option::of(text()))
        .prop_map(|(views, token)| {
            let mut migration = Migration::default();
            migration.metadata.annotations =
                token.map(|token| [(RECONCILE_REQUESTED_AT.to_owned(), token)].into_iter().collect());
            for (generation, mut view) in (1..).zip(views) {
                view.generation = generation;
                see(&mut migration, &view, at(generation));
            }
            migration
        })
        .boxed()
}

/// Reports, and gives the Migration the new status.
pub(super) fn see(migration: &mut Migration, view: &View, now: Timestamp) -> Vec<Event> {
    migration.metadata.generation = Some(view.generation);
    let Report { status, events } = report(migration, view, false, now);
    migration.status = Some(status);
    events
}
