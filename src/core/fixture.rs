//! Plans, runs and times for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::analysis::{
    AnalysisPlan, BreachRule, MetricPlan, Mode, OnNoData, OnUnknown, Reduce, Template, Threshold,
    UnknownAction,
};
use super::observation::{CopyLevel, UnitStatus};
use super::plan::{Block, DatabaseIdentity, Guard, OnBreach, Plan, Reversibility, Step, Unit};
use super::state::State;
use super::view::RunView;
use crate::sql;

/// Returns the time that many seconds after the beginning of the test.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn block(text: &str) -> Block {
    let statements = sql::parse(text).unwrap().statements;
    Block::of(statements)
}

fn unit(step: usize, up: &str, down: &str) -> Unit {
    let way_back = Some(vec![block(down)]);
    Unit { step, max_stall: Duration::from_millis(250), up: block(up), way_back, divided: None }
}

/// Two steps and three units: a column, and in the second step an index and a constraint. Neither rehearsed nor watched.
pub fn plan() -> Plan {
    let step = |name: &str, summary: &str| Step {
        name: name.to_owned(),
        summary: summary.to_owned(),
        irreversible: None,
        written_back: false,
        max_stall: None,
    };
    Plan {
        stream: "default".to_owned(),
        version: "42".to_owned(),
        hash: format!("sha256:{}", "9f".repeat(32)),
        database: DatabaseIdentity { system_identifier: "7".to_owned(), name: "shop".to_owned() },
        search_path: vec!["public".to_owned()],
        owner_role: None,
        guard: Guard::default(),
        rehearse: false,
        on_breach: OnBreach::Rollback,
        reversibility: Reversibility::Reversible,
        steps: vec![
            step("add-tier", "ALTER TABLE users ADD COLUMN tier text"),
            step("index", "CREATE INDEX ..."),
        ],
        units: vec![
            unit(0, "ALTER TABLE users ADD COLUMN tier text", "ALTER TABLE users DROP COLUMN tier"),
            unit(1, "CREATE INDEX CONCURRENTLY by_tier ON users (tier)", "DROP INDEX CONCURRENTLY by_tier"),
            unit(
                1,
                "ALTER TABLE users ADD CONSTRAINT c CHECK (tier <> '') NOT VALID",
                "ALTER TABLE users DROP CONSTRAINT c",
            ),
        ],
        findings: Vec::new(),
        preview: None,
        analysis: None,
    }
}

/// The same plan, whose second step is irreversible.
pub fn forward_only() -> Plan {
    let mut plan = plan();
    plan.reversibility = Reversibility::ForwardOnly;
    plan.steps[1].irreversible = Some("the index is needed".to_owned());
    for unit in &mut plan.units[1..] {
        unit.way_back = None;
    }
    plan
}

/// The same plan, watched for a quarter of an hour.
pub fn watched(on_breach: OnBreach) -> Plan {
    Plan { analysis: Some(analysis()), on_breach, ..plan() }
}

fn analysis() -> AnalysisPlan {
    let seconds = Duration::from_secs;
    AnalysisPlan {
        window: seconds(900),
        interval: seconds(15),
        warmup: seconds(0),
        min_samples: 10,
        max_extension: seconds(900),
        ingest_delay: seconds(5),
        breach: BreachRule { samples: 3, of: 5 },
        on_unknown: OnUnknown { action: UnknownAction::Pause, after: seconds(300) },
        args: BTreeMap::new(),
        metrics: vec![MetricPlan {
            name: "error-rate".to_owned(),
            provider: "prometheus".to_owned(),
            query: Template::parse("errors").unwrap(),
            range: None,
            reduce: Reduce::None,
            on_no_data: OnNoData::Unknown,
            threshold: Threshold { min: None, max: Some("0.05".parse().unwrap()) },
            guard: None,
            mode: Mode::Enforce,
            breach: None,
        }],
    }
}

/// A run of a plan, in a state, with the first `done` units applied.
pub fn run(plan: Plan, state: State, done: usize) -> RunView {
    let units =
        (0..plan.units.len()).map(|unit| if unit < done { UnitStatus::Done } else { UnitStatus::Open });
    RunView {
        id: "8b0c6f3e".to_owned(),
        units: units.collect(),
        plan: Arc::new(plan),
        analysis_hash: None,
        state,
        rehearsal: None,
        copy: CopyLevel::None,
        note: None,
        from_version: Some("41".to_owned()),
        started_at: at(0),
        applied_at: None,
        finished_at: None,
        attempt: None,
        waiting: None,
        watch: None,
        backfill: None,
    }
}
