//! From a spec to steps whose SQL is parsed; what is refused goes to whoever asked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Problem, Refused, refused};
use crate::api::{self, MigrationSpec, TransactionMode};
use crate::sql::{self, BackfillText, Script, Statement, SyncTrigger, Written};

/// A step whose SQL is parsed.
pub(super) struct DraftStep<'a> {
    pub name: String,
    /// Its place in the spec.
    pub field: String,
    pub irreversible: Option<&'a str>,
    pub transaction: TransactionMode,
    pub max_stall: Option<Duration>,
    pub up: Script,
    pub down: Option<Script>,
    /// The step changes rows in batches; `up` and `down` say what that is as one statement each.
    pub backfill: Option<DraftBackfill<'a>>,
}

/// A backfill whose expressions are parsed.
pub(super) struct DraftBackfill<'a> {
    pub spec: &'a api::Backfill,
    pub up: BackfillText,
    pub down: Option<BackfillText>,
    /// What sees to rows that are written meanwhile.
    pub trigger: Option<SyncTrigger>,
}

impl DraftStep<'_> {
    /// The SQL of the step as it was written; of a backfill, the statements that it comes to.
    pub fn text<'a>(&self, step: &'a api::Step) -> Cow<'a, str> {
        if let Some(sql) = &step.sql {
            return Cow::Borrowed(&sql.up);
        }
        let texts: Vec<&str> = self.up.statements.iter().map(|one| one.sql.as_str()).collect();
        Cow::Owned(texts.join(";\n"))
    }

    /// The statements on the way forward. A written way back may leave what nobody can drop, and the next time up meets it.
    pub fn forward(&self) -> impl Iterator<Item = Statement> {
        let written = self.down.is_some();
        self.up.statements.iter().cloned().map(move |one| if written { one.again() } else { one })
    }

    /// Whether the inverse of each statement may have to be derived: not where somebody wrote how the whole step is undone,
    /// or that it cannot be.
    pub fn need_inverses(&self) -> impl Iterator<Item = bool> {
        let one_unit =
            self.backfill.is_some() || self.up.statements.iter().all(|statement| statement.transactional);
        let captured = self.backfill.as_ref().is_some_and(|backfill| backfill.spec.capture);
        let settled = captured || self.irreversible.is_some() || self.down.is_some() && one_unit;
        self.up.statements.iter().map(move |_| !settled)
    }
}

/// Returns the stall budgets of a spec's steps' own.
pub fn budgets(spec: &MigrationSpec) -> Vec<Option<Duration>> {
    let short = spec.up.iter().map(|_| None);
    short.chain(spec.steps.iter().flatten().map(own_budget)).collect()
}

fn own_budget(step: &api::Step) -> Option<Duration> {
    step.sql.as_ref()?.max_stall.as_ref()?.parse("maxStall").ok()
}

/// Reads SQL, and keeps what is refused.
pub(super) trait Reader {
    fn script(&mut self, field: &str, text: &str) -> Script;
    fn refuse(&mut self, field: String, refusal: sql::Refusal);
}

/// Refuses as the operator does.
#[derive(Default)]
pub(super) struct Strict(pub Vec<Problem>);

impl Reader for Strict {
    fn script(&mut self, field: &str, text: &str) -> Script {
        sql::parse(text).unwrap_or_else(|refusals| {
            refused(field, refusals, &mut self.0);
            Script::default()
        })
    }

    fn refuse(&mut self, field: String, refusal: sql::Refusal) {
        refused(&field, vec![refusal], &mut self.0);
    }
}

/// Reads on, for people to look at.
#[derive(Default)]
pub(super) struct Survey(pub Vec<Refused>);

impl Reader for Survey {
    fn script(&mut self, field: &str, text: &str) -> Script {
        let reading = sql::read(text, sql::MAX_FILE_BYTES);
        for refusal in reading.refusals {
            self.refuse(field.to_owned(), refusal);
        }
        reading.script
    }

    fn refuse(&mut self, field: String, refusal: sql::Refusal) {
        self.0.push(Refused { field, refusal });
    }
}

/// Reads every step of a spec.
pub(super) fn steps<'a>(spec: &'a MigrationSpec, reader: &mut impl Reader) -> Vec<DraftStep<'a>> {
    let short = spec.up.as_ref().map(|up| DraftStep {
        name: "step-1".to_owned(),
        field: "spec".to_owned(),
        irreversible: None,
        transaction: TransactionMode::Auto,
        max_stall: None,
        up: reader.script("spec.up", up),
        down: spec.down.as_ref().map(|down| reader.script("spec.down", down)),
        backfill: None,
    });
    let mut steps: Vec<DraftStep<'a>> = short.into_iter().collect();
    for (index, step) in spec.steps.iter().flatten().enumerate() {
        let (name, field) = (step.name_at(index), format!("spec.steps[{index}]"));
        match (&step.sql, &step.backfill) {
            (Some(sql), _) => {
                let field = format!("{field}.sql");
                steps.push(DraftStep {
                    name,
                    irreversible: sql.irreversible.as_ref().map(|irreversible| irreversible.reason.as_str()),
                    transaction: sql.transaction,
                    max_stall: own_budget(step),
                    up: reader.script(&format!("{field}.up"), &sql.up),
                    down: sql.down.as_ref().map(|down| reader.script(&format!("{field}.down"), down)),
                    field,
                    backfill: None,
                });
            }
            (None, Some(backfill)) => {
                let unique = format!("{}_{}", index + 1, spec.version.replace('.', "_"));
                steps.push(of_backfill((name, &unique), format!("{field}.backfill"), backfill, reader));
            }
            // Refused by the rules of the object.
            (None, None) => {}
        }
    }
    steps
}

fn of_backfill<'a>(
    (name, unique): (String, &str),
    field: String,
    spec: &'a api::Backfill,
    reader: &mut impl Reader,
) -> DraftStep<'a> {
    let (up, mut script) = directed(&field, (&spec.table, &spec.set, spec.filter.as_deref()), reader);
    let trigger = (spec.sync == api::BackfillSync::Trigger).then(|| {
        let written = Written { table: &spec.table, set: &spec.set, filter: spec.filter.as_deref() };
        written.trigger(&up.table, unique)
    });
    if let Some(trigger) = &trigger {
        let mut read = |texts: &[String; 2]| {
            texts
                .iter()
                .flat_map(|text| reader.script(&format!("{field}.sync"), text).statements)
                .collect::<Vec<_>>()
        };
        let (before, after) = (read(&trigger.install), read(&trigger.remove));
        script.statements.splice(0..0, before);
        script.statements.extend(after);
    }
    let down = spec.down.as_ref().map(|down| {
        directed(&format!("{field}.down"), (&spec.table, &down.set, down.filter.as_deref()), reader)
    });
    let (down, down_script) = down.unzip();
    DraftStep {
        name,
        irreversible: spec.irreversible.as_ref().map(|irreversible| irreversible.reason.as_str()),
        transaction: TransactionMode::Auto,
        max_stall: None,
        up: script,
        down: down_script,
        backfill: Some(DraftBackfill { spec, up, down, trigger }),
        field,
    }
}

fn directed(
    field: &str,
    (table, set, filter): (&str, &BTreeMap<String, String>, Option<&str>),
    reader: &mut impl Reader,
) -> (BackfillText, Script) {
    Written { table, set, filter }.read().unwrap_or_else(|problems| {
        for (piece, refusal) in problems {
            reader.refuse(format!("{field}.{piece}"), refusal);
        }
        Default::default()
    })
}
