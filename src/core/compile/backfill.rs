//! What a backfill is in a plan, and what its table says against it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::steps::{DraftBackfill, DraftStep};
use super::{Compiler, Problem};
use crate::api::{self, DurationText, Reason};
use crate::core::backfill::{Backfill, Pace};
use crate::core::plan::{Block, Unit};
use crate::sql::{BackfillText, FactKey, FactValue, Kind, RelationName, RowsFact, Statement, TableAction};

fn pace(batch: &api::Batch) -> Pace {
    let standard = Pace::default();
    let read = |text: &Option<DurationText>, default: Duration| {
        text.as_ref().and_then(|text| text.parse("batch").ok()).unwrap_or(default)
    };
    Pace {
        rows: batch.rows,
        pause: read(&batch.pause, standard.pause),
        target: read(&batch.target_duration, standard.target),
        adaptive: batch.adaptive.unwrap_or(standard.adaptive),
    }
}

impl DraftBackfill<'_> {
    /// What has to be known of the table.
    pub fn fact(&self) -> FactKey {
        let down = self.down.iter().flat_map(|down| down.functions.iter());
        let functions: BTreeSet<&RelationName> = self.up.functions.iter().chain(down).collect();
        FactKey::Rows { relation: self.up.table.clone(), functions: functions.into_iter().cloned().collect() }
    }

    fn forward(&self) -> Backfill {
        let (spec, text) = (self.spec, &self.up);
        let set: Vec<(String, String)> =
            spec.set.iter().map(|(column, value)| (column.clone(), value.clone())).collect();
        let throttle = spec.throttle.as_ref();
        let asked =
            throttle.and_then(|one| Some((one.sql.clone()?, one.max.as_ref()?.parse("throttle.max").ok()?)));
        Backfill {
            until_done: set.iter().any(|(column, _)| text.filtered_by.contains(column)),
            repeatable: is_repeatable(text, &set, spec.allow_volatile),
            table: text.table.clone(),
            set,
            filter: spec.filter.clone(),
            pace: pace(&spec.batch),
            capture: spec.capture,
            restore: false,
            validate: spec.validate.clone(),
            throttle: asked,
            wal_rate: throttle.and_then(|one| one.wal_rate.as_ref()?.parse("throttle.walRate").ok()),
        }
    }

    fn back(&self) -> Option<Backfill> {
        let (spec, text) = (self.spec.down.as_ref()?, self.down.as_ref()?);
        let set: Vec<(String, String)> =
            spec.set.iter().map(|(column, value)| (column.clone(), value.clone())).collect();
        Some(Backfill {
            until_done: set.iter().any(|(column, _)| text.filtered_by.contains(column)),
            repeatable: is_repeatable(text, &set, self.spec.allow_volatile),
            set,
            filter: spec.filter.clone(),
            capture: false,
            validate: Vec::new(),
            ..self.forward()
        })
    }
}

/// Whether the values of a row that is done can be computed from it again.
fn is_repeatable(text: &BackfillText, set: &[(String, String)], allow_volatile: bool) -> bool {
    let steady = text.volatile.is_empty() && (text.functions.is_empty() || !allow_volatile);
    !text.queries && steady && !set.iter().any(|(column, _)| text.read.contains(column))
}

impl Compiler<'_> {
    /// Makes the units of a step that changes rows in batches.
    pub(super) fn backfill(
        &mut self,
        index: usize,
        step: &DraftStep<'_>,
        draft: &DraftBackfill<'_>,
    ) -> Vec<Unit> {
        self.against(step, draft);
        let max_stall = step.max_stall.unwrap_or(self.guard.max_stall);
        let unit = |up, way_back| Unit { step: index, max_stall, up, way_back, divided: None };
        // The trigger's statements stand around the one that says what the batches come to.
        let is_rows = |one: &Statement| matches!(one.kind, Kind::Update { .. });
        let at = step.up.statements.iter().position(is_rows).unwrap_or_default();
        let (before, rest) = step.up.statements.split_at(at);
        let (rows, after) = rest.split_at(rest.len().min(1));
        let mut up = Block::of(rows.to_vec());
        up.backfill = Some(Box::new(draft.forward()));
        let rows = unit(up, self.rows_back(step, draft, (rows, self.offset + at)));
        let Some(trigger) = &draft.trigger else { return vec![rows] };
        let [remove, install] = [&trigger.remove, &trigger.install]
            .map(|texts| Some(vec![Block::of(texts.iter().flat_map(|text| self.composed(text)).collect())]));
        vec![unit(Block::of(before.to_vec()), remove), rows, unit(Block::of(after.to_vec()), install)]
    }

    fn rows_back(
        &mut self,
        step: &DraftStep<'_>,
        draft: &DraftBackfill<'_>,
        (rows, position): (&[Statement], usize),
    ) -> Option<Vec<Block>> {
        if step.irreversible.is_some() {
            return None;
        }
        let written = || step.down.iter().flat_map(|down| down.statements.iter().cloned()).collect();
        let (statements, back): (Vec<Statement>, Option<Backfill>) = if draft.spec.capture {
            let put_back =
                Backfill { capture: false, restore: true, validate: Vec::new(), ..draft.forward() };
            (rows.to_vec(), Some(put_back))
        } else {
            (written(), draft.back())
        };
        if let Some(back) = back {
            let mut block = Block::of(statements);
            block.backfill = Some(Box::new(back));
            return Some(vec![block]);
        }
        self.implied(step, position)
    }

    /// The way back of rows that go with what the plan itself added.
    fn implied(&mut self, step: &DraftStep<'_>, position: usize) -> Option<Vec<Block>> {
        let known = self.all.get(..=position).unwrap_or(self.all);
        let derived = self
            .spellings(known)
            .into_iter()
            .map(|known| crate::sql::derive(&known, position, self.facts, self.preserve.as_ref()));
        let is_exact = |inverse: &crate::sql::Inverse| matches!(inverse, crate::sql::Inverse::Exact { .. });
        let mut all: Vec<crate::sql::Inverse> = derived.collect();
        let best = all.iter().position(is_exact).unwrap_or(0);
        match all.swap_remove(best) {
            crate::sql::Inverse::Exact { .. } => Some(Vec::new()),
            crate::sql::Inverse::None { unknown, .. } if self.gaps.allow(unknown) => None,
            crate::sql::Inverse::None { reason, .. } => {
                let message = format!(
                    "no inverse can be derived, because {reason}; write down: {{set, where}}, or capture: true, or \
                     irreversible: {{reason: ...}}"
                );
                self.problem(Reason::IrreversibleStep, step.field.clone(), message);
                None
            }
        }
    }

    /// The statements, the last of which may name its table with the first schema of the search path or without it.
    fn spellings(&self, known: &[Statement]) -> Vec<Vec<Statement>> {
        let mut all = vec![known.to_vec()];
        if let Some(Statement { kind: Kind::Update { relation: Some(table), columns }, .. }) = known.last() {
            let mut other = known.to_vec();
            let columns = columns.clone();
            let relation = Some(match &table.schema {
                None => self.path.first().map_or_else(
                    || table.clone(),
                    |schema| RelationName::qualified(schema.clone(), table.name.clone()),
                ),
                Some(schema) if self.path.first() == Some(schema) => {
                    RelationName::unqualified(table.name.clone())
                }
                Some(_) => table.clone(),
            });
            if let Some(last) = other.last_mut() {
                last.kind = Kind::Update { relation, columns };
            }
            all.push(other);
        }
        all
    }

    /// Whether two names mean the same table, one of them perhaps without the schema that is looked in first.
    fn same(&self, one: &RelationName, other: &RelationName) -> bool {
        let full = |name: &RelationName| name.schema.clone().or_else(|| self.path.first().cloned());
        one.name == other.name && full(one) == full(other)
    }

    /// Finds what the table says against a backfill.
    fn against(&mut self, step: &DraftStep<'_>, draft: &DraftBackfill<'_>) {
        let table = &draft.up.table;
        let made = self.all.get(..self.offset).unwrap_or_default();
        let is_new = made
            .iter()
            .any(|one| matches!(&one.kind, Kind::CreateTable(new) if self.same(&new.relation, table)));
        let added = |column: &str| {
            made.iter().any(|one| match &one.kind {
                Kind::AlterTable(alter) if self.same(&alter.relation, table) => alter.actions.iter().any(
                    |action| matches!(action, TableAction::AddColumn { column: new, .. } if new.name == column),
                ),
                _ => false,
            })
        };
        let mut wrong = Vec::new();
        if !draft.spec.allow_volatile {
            let down = draft.down.iter().flat_map(|down| down.volatile.iter());
            if let Some(name) = draft.up.volatile.iter().chain(down).next() {
                wrong.push(volatile(name));
            }
        }
        let forward = draft.forward();
        if draft.spec.sync == api::BackfillSync::Trigger && !forward.repeatable && !forward.until_done {
            wrong.push((
                "sync".to_owned(),
                "a trigger would change a row that is done once more: let where name a column that is set"
                    .to_owned(),
            ));
        }
        if let Some(FactValue::Rows(rows)) = self.facts.get(&draft.fact())
            && !is_new
        {
            wrong.extend(of_table(draft, rows, forward.until_done, added));
        }
        for (piece, message) in wrong {
            let place = format!("{}.{piece}", step.field);
            self.problems.push(Problem { reason: Reason::PlanInvalid, place, message });
        }
    }
}

fn volatile(name: &str) -> (String, String) {
    let message = format!(
        "{name}() gives another value at each call, so a batch that is tried again gives other rows; say allowVolatile: \
         true if that is meant"
    );
    ("set".to_owned(), message)
}

/// What the catalog says against a backfill of a table that is there: the piece of the spec, and the message.
fn of_table(
    draft: &DraftBackfill<'_>,
    rows: &RowsFact,
    until_done: bool,
    added: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let table = &draft.up.table;
    let Some(kind) = rows.kind.as_deref() else {
        return vec![("table".to_owned(), format!("there is no table {table}"))];
    };
    let kinds =
        [("v", "a view"), ("m", "a materialized view"), ("f", "a foreign table"), ("S", "a sequence")];
    if let Some((_, what)) = kinds.iter().find(|(letter, _)| *letter == kind) {
        let message = format!("{table} is {what}; a backfill changes the rows of a table");
        return vec![("table".to_owned(), message)];
    }
    let mut wrong = Vec::new();
    if let Some(foreign) = &rows.foreign_part {
        wrong.push(("table".to_owned(), format!("its partition {foreign} is a foreign table")));
    }
    let down = draft.spec.down.iter().flat_map(|down| down.set.keys().map(|column| ("down.set", column)));
    for (piece, column) in draft.spec.set.keys().map(|column| ("set", column)).chain(down) {
        let said = |message: String| (format!("{piece}.{column}"), message);
        match rows.columns.iter().find(|one| one.name == *column) {
            None if added(column) => {}
            None => wrong.push(said(format!("{table} has no column {column}"))),
            Some(found) if found.generated => {
                wrong.push(said("it is a generated column, whose value is the server's".to_owned()));
            }
            Some(found) if found.always_identity => {
                wrong.push(said("it is an identity column GENERATED ALWAYS".to_owned()));
            }
            Some(_) if rows.key.contains(column) => wrong.push(said(format!(
                "it belongs to the key ({}) by which the rows are gone through",
                rows.key.join(", ")
            ))),
            Some(_) if rows.partitioned_by.contains(column) => {
                wrong.push(said(
                    "the table is partitioned by it, so a row would move to another partition".to_owned(),
                ));
            }
            Some(_) => {}
        }
    }
    if rows.key.is_empty() && !until_done {
        let why = "it has neither a primary key nor a unique index over columns that are NOT NULL";
        wrong.push(("table".to_owned(), format!(
            "{table} cannot be gone through exactly once: {why}; add one, or let where say which rows are not done yet \
             by a column that is set"
        )));
    }
    if rows.key.is_empty() && draft.back().is_some_and(|back| !back.until_done) {
        let message =
            "without a key the way back finds its rows only by a where that names a column that it sets";
        wrong.push(("down".to_owned(), message.to_owned()));
    }
    if let Some(name) = rows.volatile.first().filter(|_| !draft.spec.allow_volatile) {
        wrong.push(volatile(name));
    }
    wrong
}
