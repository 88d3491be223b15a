//! Pure: from a spec to a plan. All user errors of a spec are found here, all at once.
//!
//! Two passes, because a way back may need what the catalog says before the first statement: [`Draft::read`] parses,
//! an edge answers [`Draft::facts_wanted`], and [`Draft::compile`] makes the plan.

mod backfill;
mod blocks;
mod hash;
mod steps;

use std::borrow::Cow;
use std::collections::BTreeSet;

use blocks::{Sharing, Undo, blocks};
pub use hash::plan_hash;
pub use steps::budgets;
use steps::{DraftStep, Strict, Survey, steps};

use super::analysis::AnalysisPlan;
use super::plan::{Block, DatabaseIdentity, Finding, Guard, OnBreach, Plan, Reversibility, Step, Unit};
use crate::api::{MigrationSpec, Reason, TransactionMode, Version};
use crate::sql::{self, AsideSuffix, FactKey, Facts, Inverse, Script, Statement};

/// What is wrong with a spec, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The word for it.
    pub reason: Reason,
    /// The field, or the field with line and column, for example `spec.up:2:14`.
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What a plan takes from the database and its object.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The database's identity.
    pub database: &'a DatabaseIdentity,
    /// The role that owns what is created.
    pub owner_role: Option<&'a str>,
    /// The limits on the primary.
    pub guard: Guard,
    /// Whether a copy goes first.
    pub rehearse: bool,
    /// How it is watched.
    pub analysis: Option<AnalysisPlan>,
    /// What tells this run's put-aside names from others.
    pub suffix: AsideSuffix,
    /// Answers to [`Draft::facts_wanted`].
    pub facts: &'a Facts,
}

/// A spec whose SQL is parsed.
pub struct Draft<'a> {
    spec: &'a MigrationSpec,
    steps: Vec<DraftStep<'a>>,
}

fn refused(field: &str, refusals: Vec<sql::Refusal>, problems: &mut Vec<Problem>) {
    for refusal in refusals {
        let place = format!("{field}:{}:{}", refusal.line, refusal.column);
        let hint = if refusal.hint.is_empty() { String::new() } else { format!("; {}", refusal.hint) };
        let message = format!("{}{hint}", refusal.message);
        problems.push(Problem { reason: Reason::SqlRefused, place, message });
    }
}

/// What is refused of a spec, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The field, for example `spec.up`.
    pub field: String,
    /// What is refused, with the place in that field.
    pub refusal: sql::Refusal,
}

impl<'a> Draft<'a> {
    /// Parses every piece of SQL of a spec.
    ///
    /// # Errors
    /// Every refusal, each with its field, line and column.
    pub fn read(spec: &'a MigrationSpec) -> Result<Self, Vec<Problem>> {
        let mut strict = Strict::default();
        let steps = steps(spec, &mut strict);
        if strict.0.is_empty() { Ok(Self { spec, steps }) } else { Err(strict.0) }
    }

    /// Reads a spec for people to look at: what is refused is told, but what the parser understands of it stays in the
    /// draft. Pieces of SQL may be as long as a file.
    pub fn survey(spec: &'a MigrationSpec) -> (Self, Vec<Refused>) {
        let mut survey = Survey::default();
        let steps = steps(spec, &mut survey);
        (Self { spec, steps }, survey.0)
    }

    /// Returns all statements on the way forward, in order.
    pub fn statements(&self) -> Vec<Statement> {
        self.steps.iter().flat_map(|step| step.up.statements.iter().cloned()).collect()
    }

    /// Returns what has to be known of the catalog.
    pub fn facts_wanted(&self) -> BTreeSet<FactKey> {
        let needs: Vec<bool> = self.steps.iter().flat_map(DraftStep::need_inverses).collect();
        let needed = |index: usize| needs.get(index).copied().unwrap_or(true);
        let mut wanted = sql::facts_wanted_where(&self.statements(), needed);
        wanted.extend(self.steps.iter().filter_map(|step| Some(step.backfill.as_ref()?.fact())));
        wanted
    }

    /// Returns the plan hash: of what was asked for and where, nothing else.
    pub fn hash(&self, database: &DatabaseIdentity, owner_role: Option<&str>) -> String {
        plan_hash(self.spec, database, owner_role)
    }

    /// Returns the SQL of each step as it was written.
    pub fn texts(&self) -> Vec<Cow<'a, str>> {
        let steps = self.spec.steps.iter().flatten();
        let short = self.spec.up.as_deref().map(Cow::Borrowed);
        short.into_iter().chain(steps.zip(&self.steps).map(|(step, draft)| draft.text(step))).collect()
    }

    /// Makes the plan.
    ///
    /// # Errors
    /// Every step that has no way back and does not say so, and every division into transactions that cannot be.
    pub fn compile(&self, around: Surroundings<'_>) -> Result<Plan, Vec<Problem>> {
        self.plan(around, Gaps::Refused)
    }

    /// Makes the plan where no database can be asked: what has no way back only for that reason is `ForwardOnly`.
    ///
    /// # Errors
    /// As those of [`Draft::compile`].
    pub fn compile_unasked(&self, around: Surroundings<'_>) -> Result<Plan, Vec<Problem>> {
        self.plan(around, Gaps::Unknown)
    }

    /// Makes the plan for people to look at: what has no way back is `ForwardOnly` instead of refused.
    ///
    /// # Errors
    /// Every division into transactions that cannot be.
    pub fn sketch(&self, around: Surroundings<'_>) -> Result<Plan, Vec<Problem>> {
        self.plan(around, Gaps::Allowed)
    }

    fn plan(&self, around: Surroundings<'_>, gaps: Gaps) -> Result<Plan, Vec<Problem>> {
        let all = self.statements();
        let preserve = self.spec.rollback.preserve_data.then(|| around.suffix.clone());
        let mut compiler = Compiler {
            gaps,
            path: &self.spec.search_path,
            facts: around.facts,
            inverses: sql::derive_all(&all, around.facts, preserve.as_ref()),
            preserve,
            all: &all,
            offset: 0,
            guard: around.guard,
            grade: Reversibility::Reversible,
            units: Vec::new(),
            problems: Vec::new(),
        };
        let mut steps = Vec::new();
        let mut findings = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            compiler.step(index, step);
            let summaries: Vec<String> = step.up.statements.iter().map(Statement::summary).collect();
            let irreversible = step.irreversible.map(str::to_owned);
            steps.push(Step {
                name: step.name.clone(),
                summary: summaries.join("; "),
                irreversible,
                written_back: step.down.is_some(),
                max_stall: step.max_stall,
            });
            findings.extend(step.up.notes.iter().map(|note| Finding {
                step: step.name.clone(),
                line: note.line,
                column: note.column,
                message: note.message.clone(),
            }));
        }
        if !compiler.problems.is_empty() {
            return Err(compiler.problems);
        }
        Ok(Plan {
            stream: self.spec.stream.clone(),
            version: canonical_version(&self.spec.version),
            hash: self.hash(around.database, around.owner_role),
            database: around.database.clone(),
            search_path: self.spec.search_path.clone(),
            owner_role: around.owner_role.map(str::to_owned),
            guard: around.guard,
            rehearse: around.rehearse,
            on_breach: OnBreach::from(self.spec.rollback.on_breach),
            reversibility: compiler.grade,
            steps,
            units: compiler.units,
            findings,
            analysis: around.analysis,
            preview: None,
        })
    }
}

/// Returns a version as the ledger stores it, so that equal versions are equal texts.
pub fn canonical_version(text: &str) -> String {
    Version::parse(text, "spec.version").map_or_else(|_| text.to_owned(), |version| version.canonical())
}

impl From<crate::api::OnBreach> for OnBreach {
    fn from(wire: crate::api::OnBreach) -> Self {
        match wire {
            crate::api::OnBreach::Rollback => Self::Rollback,
            crate::api::OnBreach::Pause => Self::Pause,
            crate::api::OnBreach::Notify => Self::Notify,
        }
    }
}

/// Which units may be without a way back, next to those that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gaps {
    /// None.
    Refused,
    /// Those for which a database would have to be asked.
    Unknown,
    /// All.
    Allowed,
}

impl Gaps {
    fn allow(self, unknown: bool) -> bool {
        self == Self::Allowed || self == Self::Unknown && unknown
    }
}

fn grade(way_back: Option<&[Block]>) -> Reversibility {
    match way_back {
        None => Reversibility::ForwardOnly,
        Some(blocks) if blocks.iter().any(|block| !block.aside.is_empty()) => {
            Reversibility::ReversibleWithArchive
        }
        Some(_) => Reversibility::Reversible,
    }
}

struct Compiler<'a> {
    gaps: Gaps,
    path: &'a [String],
    preserve: Option<AsideSuffix>,
    facts: &'a Facts,
    all: &'a [Statement],
    /// The inverse of each of all.
    inverses: Vec<Inverse>,
    offset: usize,
    guard: Guard,
    grade: Reversibility,
    units: Vec<Unit>,
    problems: Vec<Problem>,
}

impl Compiler<'_> {
    fn problem(&mut self, reason: Reason, place: String, message: String) {
        self.problems.push(Problem { reason, place, message });
    }

    fn step(&mut self, index: usize, step: &DraftStep<'_>) {
        if let Some(backfill) = &step.backfill {
            let units = self.backfill(index, step, backfill);
            self.offset += step.up.statements.len();
            for unit in &units {
                self.grade = self.grade.min(grade(unit.way_back.as_deref()));
            }
            self.units.extend(units);
            return;
        }
        let single = step.transaction == TransactionMode::Single || step.up.wants_single_transaction;
        if single
            && self.gaps != Gaps::Allowed
            && let Some(statement) = step.up.statements.iter().find(|statement| !statement.transactional)
        {
            let place = format!("{}.up:{}:{}", step.field, statement.line, statement.column);
            let message = "this statement cannot run in a transaction: give it a step of its own".to_owned();
            self.problem(Reason::PlanInvalid, place, message);
        }
        let first = self.offset;
        let alone = step.transaction == TransactionMode::PerStatement;
        let sharing = if alone { Sharing::Alone } else { Sharing::Together };
        let ups = blocks(step.forward().map(|one| (one, Vec::new())).collect(), sharing);
        let backs = self.ways_back(step, &ups, first);
        let parts = if alone || single { Vec::new() } else { self.parts(index, step, first) };
        let mut parts = parts.into_iter();
        self.offset += step.up.statements.len();
        for (up, way_back) in ups.into_iter().zip(backs) {
            let mine: Vec<Unit> = parts.by_ref().take(up.statements.len()).collect();
            let divided = Some(mine).filter(|mine| mine.len() > 1);
            self.grade = self.grade.min(grade(way_back.as_deref()));
            let max_stall = step.max_stall.unwrap_or(self.guard.max_stall);
            self.units.push(Unit { step: index, max_stall, up, way_back, divided });
        }
    }

    /// The step as one unit for each statement, or nothing where one of them has no way back of its own: a `down` that was
    /// written undoes the step as a whole.
    fn parts(&mut self, index: usize, step: &DraftStep<'_>, first: usize) -> Vec<Unit> {
        if step.down.is_some() || step.up.statements.len() < 2 {
            return Vec::new();
        }
        let known = self.problems.len();
        let ups =
            blocks(step.up.statements.iter().map(|one| (one.clone(), Vec::new())).collect(), Sharing::Alone);
        let backs = self.ways_back(step, &ups, first);
        let complete = self.problems.len() == known;
        self.problems.truncate(known);
        let max_stall = step.max_stall.unwrap_or(self.guard.max_stall);
        let units = ups.into_iter().zip(backs);
        let units = units
            .map(|(up, way_back)| Unit { step: index, max_stall, up, way_back, divided: None })
            .collect();
        if complete { units } else { Vec::new() }
    }

    /// Finds the way back of each of a step's blocks.
    fn ways_back(&mut self, step: &DraftStep<'_>, ups: &[Block], first: usize) -> Vec<Option<Vec<Block>>> {
        if step.irreversible.is_some() {
            return vec![None; ups.len()];
        }
        let written = step.down.as_ref().map(|down| self.written(down, step));
        match written {
            Some(down) if ups.len() == 1 => vec![Some(down)],
            Some(down) if down.len() == ups.len() => {
                down.into_iter().rev().map(|block| Some(vec![block])).collect()
            }
            // One `down` that undoes a step of several units: it belongs to the first; the others must be derivable.
            Some(down) => {
                let mut backs = vec![Some(down)];
                backs.extend(self.derived(step, ups, first, 1));
                backs
            }
            None => self.derived(step, ups, first, 0),
        }
    }

    fn written(&mut self, down: &Script, step: &DraftStep<'_>) -> Vec<Block> {
        let Some(suffix) = &self.preserve else {
            let plain = down.statements.iter().map(|one| (one.clone(), Vec::new())).collect();
            return blocks(plain, Sharing::Together);
        };
        let (texts, asides) = sql::aside_written(&down.statements, &step.up.statements, self.facts, suffix);
        let mut undo: Vec<Undo> = Vec::new();
        for text in texts {
            undo.extend(self.composed(&text).into_iter().map(|statement| (statement, Vec::new())));
        }
        let mut grouped = blocks(undo, Sharing::Together);
        if let Some(block) = grouped.iter_mut().find(|block| block.transactional) {
            block.aside = asides;
        }
        grouped
    }

    /// Reads SQL that was composed here, so that it has a kind like any other.
    fn composed(&mut self, text: &str) -> Vec<Statement> {
        match sql::parse(text) {
            Ok(script) => script.statements,
            Err(refusals) => {
                let why = refusals.first().map(ToString::to_string).unwrap_or_default();
                self.problem(
                    Reason::Internal,
                    "spec".to_owned(),
                    format!("a derived inverse does not parse: {why}"),
                );
                Vec::new()
            }
        }
    }

    fn inverse(&self, index: usize) -> Inverse {
        let missing = || Inverse::None { reason: "there is no such statement".to_owned(), unknown: false };
        self.inverses.get(index).cloned().unwrap_or_else(missing)
    }

    fn derived(
        &mut self,
        step: &DraftStep<'_>,
        ups: &[Block],
        first: usize,
        from: usize,
    ) -> Vec<Option<Vec<Block>>> {
        let mut position = first;
        let mut backs = Vec::new();
        for (number, up) in ups.iter().enumerate() {
            let here = position;
            position += up.statements.len();
            if number < from {
                continue;
            }
            let mut undo: Vec<Undo> = Vec::new();
            let mut complete = true;
            for (ordinal, statement) in up.statements.iter().enumerate().rev() {
                match self.inverse(here + ordinal) {
                    Inverse::Exact { statements, mut aside, .. } => {
                        let mut parsed: Vec<Undo> = Vec::new();
                        for text in statements {
                            parsed.extend(self.composed(&text).into_iter().map(|one| (one, Vec::new())));
                        }
                        if let Some((_, asides)) = parsed.last_mut() {
                            asides.append(&mut aside);
                        }
                        undo.extend(parsed);
                    }
                    Inverse::None { unknown, .. } if self.gaps.allow(unknown) => complete = false,
                    Inverse::None { reason, .. } => {
                        let place = format!("{}.up:{}:{}", step.field, statement.line, statement.column);
                        let advice = if step.field == "spec" {
                            "write spec.down, or use spec.steps with irreversible: {reason: ...}"
                        } else {
                            "write down, or irreversible: {reason: ...}"
                        };
                        let message = format!("no inverse can be derived, because {reason}; {advice}");
                        self.problem(Reason::IrreversibleStep, place, message);
                    }
                }
            }
            backs.push(complete.then(|| blocks(undo, Sharing::Derived)));
        }
        backs
    }
}
