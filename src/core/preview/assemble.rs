//! From a plan and a catalog to everything that is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::statement::{self, WayBack};
use super::sum::sum_up;
use super::{
    Blocked, BlockedRelation, FORMAT, Lock, Preview, QueryPreview, Server, ServerBasis, StatementPreview,
    UnitPreview,
};
use crate::core::blast;
use crate::core::estimate::{self, Estimate, Missing};
use crate::core::plan::{Block, Plan, Reversibility, Unit};
use crate::sql::{
    self, Facts, Finding, Foreseen, Grouping, Kind, Refusal, RelationName, Snapshot, Statement,
};

/// The text of a step: what its statements were read from, for its comments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file; absent where that goes without saying.
    pub file: Option<String>,
    /// The field of the Migration, for example `spec.up`; absent for a file of SQL.
    pub field: Option<String>,
    /// The SQL as written.
    pub text: String,
    /// What the engine refuses of it.
    pub refusals: Vec<Refusal>,
}

/// What a preview is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The text of each step, in order.
    pub sources: &'a [Source],
    /// What the catalog answered when the plan was made.
    pub facts: &'a Facts,
    /// The catalog.
    pub catalog: &'a Snapshot,
}

/// Gathers everything that is known of a plan before it runs.
pub fn preview(inputs: Inputs<'_>) -> Preview {
    let statements: Vec<Statement> =
        inputs.plan.units.iter().flat_map(|unit| unit.up.statements.iter().cloned()).collect();
    let foreseen = sql::foresee(&statements, inputs.catalog);
    let findings = findings(inputs, &statements, &foreseen);
    assemble(inputs, &statements, &foreseen, findings)
}

/// The findings of every step; `statement` is counted through the plan.
fn findings(inputs: Inputs<'_>, statements: &[Statement], foreseen: &[Foreseen]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut first = 0;
    for (index, source) in inputs.sources.iter().enumerate() {
        let units: Vec<&Unit> = inputs.plan.units.iter().filter(|unit| unit.step == index).collect();
        let end = first + units.iter().map(|unit| unit.up.statements.len()).sum::<usize>();
        let mine = statements.get(first..end).unwrap_or_default();
        let seen = foreseen.get(first..end).unwrap_or_default();
        let (text, refusals) = (source.text.as_str(), source.refusals.as_slice());
        let of_step = sql::lint_script(text, mine, seen, inputs.catalog, grouping(&units), refusals);
        found.extend(
            of_step.into_iter().map(|finding| Finding { statement: finding.statement + first, ..finding }),
        );
        first = end;
    }
    found
}

/// How a step is divided: two transactions one after the other are only there if each statement has its own.
fn grouping(units: &[&Unit]) -> Grouping {
    let apart = units.windows(2).any(|pair| pair.iter().all(|unit| unit.up.transactional));
    if apart { Grouping::PerStatement } else { Grouping::Auto }
}

/// Puts together what was foreseen.
pub(super) fn assemble(
    inputs: Inputs<'_>,
    statements: &[Statement],
    foreseen: &[Foreseen],
    findings: Vec<Finding>,
) -> Preview {
    let Inputs { plan, catalog, .. } = inputs;
    let estimates = estimates(plan, statements, foreseen, catalog);
    let inverses = sql::derive_all(statements, inputs.facts, None);
    let felt = estimate::felt(statements, foreseen, catalog);
    let mut findings_of: BTreeMap<usize, Vec<Finding>> = BTreeMap::new();
    for finding in &findings {
        findings_of.entry(finding.statement).or_default().push(finding.clone());
    }
    let mut preview = Preview {
        format_version: FORMAT,
        reversibility: plan.reversibility,
        server: server(catalog),
        findings,
        blast_radius: blast::radius(statements, foreseen, catalog),
        queries: catalog.queries.as_ref().map(|_| queries(statements, catalog)),
        unknown: catalog.unknown.clone(),
        ..Preview::default()
    };
    for unit in &plan.units {
        let first = preview.statements.len();
        let end = first + unit.up.statements.len();
        for index in first..end {
            if let (Some(one), Some(seen), Some(inverse)) =
                (statements.get(index), foreseen.get(index), inverses.get(index))
            {
                let way_back = statement::way_back(plan, unit, one, inverse.clone());
                let estimate = estimates.get(index).cloned().unwrap_or(Err(Missing::Rows));
                let described = describe(inputs, unit, (one, seen, estimate), way_back);
                let findings = findings_of.remove(&index).unwrap_or_default();
                let unit = preview.units.len();
                preview.statements.push(StatementPreview { unit, findings, ..described });
            }
        }
        let felt = felt.get(first..end).unwrap_or_default().iter().flatten().copied();
        let mine = preview.statements.get(first..end).unwrap_or_default();
        preview.units.push(UnitPreview {
            statements: (first..end).collect(),
            blocked: blocked(felt, catalog),
            rows: rows(unit, catalog),
            ..describe_unit(plan, unit, mine)
        });
    }
    preview.reversibility_reason = reversibility_reason(&preview);
    sum_up(&mut preview, plan.guard.max_stall);
    preview
}

/// Estimates each statement; one that says what batches do, as those batches.
fn estimates(
    plan: &Plan,
    statements: &[Statement],
    foreseen: &[Foreseen],
    catalog: &Snapshot,
) -> Vec<Result<Estimate, Missing>> {
    let mut estimates = estimate::estimate(statements, foreseen, catalog);
    let mut rest = estimates.iter_mut();
    for unit in &plan.units {
        let mine = rest.by_ref().take(unit.up.statements.len());
        let Some(backfill) = &unit.up.backfill else {
            mine.for_each(drop);
            continue;
        };
        for estimate in mine.flatten() {
            *estimate = estimate::in_batches(*estimate, &backfill.pace, rows(unit, catalog));
        }
    }
    estimates
}

/// The rows of the table that a unit goes through in batches.
fn rows(unit: &Unit, catalog: &Snapshot) -> Option<f64> {
    catalog.relation(&unit.up.backfill.as_ref()?.table).and_then(estimate::rows)
}

fn server(catalog: &Snapshot) -> Server {
    let seen = catalog.complete || catalog.taken_at.is_some();
    let basis = if seen { ServerBasis::Catalog } else { ServerBasis::Assumed };
    Server {
        major: catalog.major,
        database: catalog.database.clone(),
        basis,
        taken_at: catalog.taken_at.clone(),
    }
}

/// A name with its schema, as far as the catalog knows it.
fn spelled(name: &RelationName, catalog: &Snapshot) -> String {
    catalog.relation(name).map_or_else(|| name.sql(), |relation| relation.name.sql())
}

fn describe(
    inputs: Inputs<'_>,
    unit: &Unit,
    (statement, foreseen, estimate): (&Statement, &Foreseen, Result<Estimate, Missing>),
    way_back: WayBack,
) -> StatementPreview {
    let names = |list: &[RelationName]| list.iter().map(|name| spelled(name, inputs.catalog)).collect();
    StatementPreview {
        sql: statement.sql.clone(),
        kind: kind(&statement.kind),
        file: inputs.sources.get(unit.step).and_then(|source| source.file.clone()),
        field: inputs.sources.get(unit.step).and_then(|source| source.field.clone()),
        line: statement.line,
        column: statement.column,
        step: inputs.plan.steps.get(unit.step).map(|step| step.name.clone()).unwrap_or_default(),
        transactional: statement.transactional,
        locks: foreseen
            .locks
            .iter()
            .map(|lock| Lock {
                relation: spelled(&lock.relation, inputs.catalog),
                mode: lock.mode,
                blocks: Blocked::by(lock.mode),
            })
            .collect(),
        rewrite: !foreseen.rewrites.is_empty(),
        rewrites: names(&foreseen.rewrites),
        scan: !foreseen.scans.is_empty(),
        scans: names(&foreseen.scans),
        heavy: foreseen.heavy,
        destructive: foreseen.destructive,
        changes_data: foreseen.changes_data,
        opaque: foreseen.opaque,
        reversible: way_back.grade > Reversibility::ForwardOnly,
        grade: way_back.grade,
        grade_reason: way_back.reason,
        inverse: way_back.inverse,
        condition: way_back.condition,
        consequences: foreseen.consequences.clone(),
        assumptions: foreseen.assumptions.clone(),
        no_estimate: estimate.as_ref().err().map(ToString::to_string),
        estimate: estimate.ok(),
        ..StatementPreview::default()
    }
}

/// The name of a kind; of one without a type of its own, the name of its node in the grammar (`do`, `cluster`).
fn kind(kind: &Kind) -> String {
    let Kind::Other(node) = kind else { return kind.name().to_owned() };
    let bare = node.strip_suffix("Stmt").unwrap_or(node);
    let mut letters = bare.chars();
    letters.next().map_or_else(|| "unknown".to_owned(), |first| first.to_lowercase().chain(letters).collect())
}

fn describe_unit(plan: &Plan, unit: &Unit, statements: &[StatementPreview]) -> UnitPreview {
    let way_back = unit.way_back.as_ref().map(|blocks| {
        let sql = |block: &Block| block.statements.iter().map(|one| one.sql.clone()).collect();
        blocks.iter().map(sql).collect()
    });
    UnitPreview {
        step: plan.steps.get(unit.step).map(|step| step.name.clone()).unwrap_or_default(),
        transactional: unit.up.transactional,
        batches: unit.up.backfill.is_some(),
        max_stall_ms: u64::try_from(unit.max_stall.as_millis()).unwrap_or(u64::MAX),
        reversible: unit.way_back.is_some(),
        reason: unit_reason(plan, unit, statements),
        way_back,
        ..UnitPreview::default()
    }
}

/// The largest of the relations that readers or writers wait for; one of unknown size is larger than any. Of equals the
/// first counts: the one that a statement names.
fn blocked<'a>(felt: impl Iterator<Item = &'a RelationName>, catalog: &Snapshot) -> Option<BlockedRelation> {
    let each = felt.map(|name| BlockedRelation {
        relation: spelled(name, catalog),
        rows: catalog.relation(name).and_then(estimate::rows),
    });
    each.reduce(|largest, one| {
        let rows = |blocked: &BlockedRelation| blocked.rows.unwrap_or(f64::INFINITY);
        if rows(&one) > rows(&largest) { one } else { largest }
    })
}

/// Why a unit cannot be undone, or what makes its way back no better.
fn unit_reason(plan: &Plan, unit: &Unit, statements: &[StatementPreview]) -> String {
    let declared = plan.steps.get(unit.step).and_then(|step| step.irreversible.as_ref());
    if let (None, Some(declared)) = (&unit.way_back, declared) {
        return format!("its step is said to be irreversible: {declared}");
    }
    let worst = statements.iter().min_by_key(|statement| (statement.grade, statement.condition.is_none()));
    worst.map(|statement| statement.grade_reason.clone()).unwrap_or_default()
}

/// Why the plan cannot be undone any better.
fn reversibility_reason(preview: &Preview) -> String {
    let conditions = preview.statements.iter().filter_map(|statement| statement.condition.as_deref());
    let conditions: BTreeSet<&str> = conditions.collect();
    let mut exact = "every statement has an exact inverse".to_owned();
    for (index, condition) in conditions.into_iter().enumerate() {
        let _ = write!(exact, "{} {condition}", if index == 0 { ", if" } else { " and" });
    }
    let grade = preview.reversibility;
    let one_way = preview.units.iter().find(|unit| !unit.reversible);
    let within = |statement: &&StatementPreview| {
        one_way.is_none_or(|unit| preview.units.get(statement.unit) == Some(unit))
    };
    let worst = preview.statements.iter().filter(within).min_by_key(|statement| statement.grade);
    match (grade, one_way, worst) {
        (Reversibility::Reversible, ..) | (_, _, None) => exact,
        (_, Some(unit), Some(at)) => format!("{} at {}:{}: {}", at.step, at.line, at.column, unit.reason),
        (_, None, Some(at)) => format!("{} at {}:{}: {}", at.step, at.line, at.column, at.grade_reason),
    }
}

/// The application's statements that are concerned, those that break first, the most frequent first.
fn queries(statements: &[Statement], catalog: &Snapshot) -> Vec<QueryPreview> {
    let impacts = sql::impacts(statements, catalog);
    let mut queries: Vec<QueryPreview> = impacts
        .into_iter()
        .filter_map(|impact| {
            let query = catalog.queries.as_ref()?.get(impact.query)?;
            let uses = impact.uses.iter().map(|(relation, column)| match column {
                Some(column) => format!("{}.{}", relation.sql(), sql::quote_ident(column)),
                None => relation.sql(),
            });
            Some(QueryPreview {
                text: query.text.clone(),
                user: query.user.clone(),
                calls_per_minute: query.calls_per_minute,
                mean_ms: query.mean_ms,
                uses: uses.collect(),
                breaks: impact.breaks,
                statement: impact.statement,
            })
        })
        .collect();
    queries.sort_by(|one, other| {
        let rank = |query: &QueryPreview| (query.breaks.is_none(), -query.calls_per_minute);
        let ((one, one_calls), (other, other_calls)) = (rank(one), rank(other));
        one.cmp(&other).then(one_calls.total_cmp(&other_calls))
    });
    queries
}
