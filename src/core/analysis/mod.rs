//! Pure: samples, verdicts, and whether to come back.
//!
//! An [`AnalysisPlan`] says what is watched and what counts as bad. The edge asks the providers at every
//! [`Tick`] of [`due_samples`] and hands back [`MetricReading`]s; [`judge`] turns each into a [`Sample`],
//! which is kept in the ledger; [`assess()`] turns all samples of a run into one [`Assessment`].
//!
//! Invariants:
//!
//! - Only [`Verdict::Breach`] counts as bad. What could not be measured is never good news and never bad
//!   news; it has its own policy, [`OnUnknown`].
//! - The same samples give the same assessment, in whatever order and whenever they were gathered: a breach
//!   that happened while nobody was there is a breach.
//! - A breach stays a breach, and a pass stays a pass, whatever is sampled later.

mod assess;
mod convert;
mod number;
mod plan;
mod preflight;
mod sample;
mod schedule;
mod summary;
mod template;
mod validate;

pub use assess::{Assessment, assess};
pub use number::{Decimal, DecimalError};
pub use plan::{
    AnalysisPlan, BreachRule, Guard, MetricPlan, Mode, OnNoData, OnUnknown, Reduce, Threshold, UnknownAction,
};
pub use preflight::{ProblemKind, ProviderProblem, baseline_unhealthy, preflight};
pub use sample::{Baseline, Failure, MetricReading, Reading, Sample, Verdict, judge};
pub use schedule::{MAX_DUE, Tick, Watch, due_samples, next_due};
pub use summary::{MetricSummary, RECENT_SAMPLES, Recent, VerdictCounts, summarize};
pub use template::{Position, Queries, Scope, Template, TemplateError, Variable};
pub use validate::{MAX_ARGS, MAX_METRICS, MAX_SAMPLES_PER_METRIC};

#[cfg(test)]
mod fixture;
