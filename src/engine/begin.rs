//! From an object that may begin to a run in the ledger: plan, policy, metrics preflight, and only then the first write.

use tracing::warn;
use uuid::Uuid;

use super::clock;
use super::runner::wish;
use super::subject::{Database, Subject};
use super::watch;
use crate::api::{FieldProblem, MigrationSpec, Reason};
use crate::core::analysis::AnalysisPlan;
use crate::core::compile::{Draft, Problem, Surroundings};
use crate::core::decide::first;
use crate::core::observation::{Observation, UnitStatus};
use crate::core::plan::{DatabaseIdentity, Plan};
use crate::core::preview::{Inputs, Source, preview};
use crate::core::state::Cause;
use crate::postgres::ledger::{NewRun, Run, Side};
use crate::postgres::{Builds, Connection, Error, Session, catalog, snapshot};
use crate::sql::{AsideSuffix, Facts, Snapshot, Statement, Unknown};

/// Why a run does not begin.
#[derive(Debug)]
pub enum NotBegun {
    /// A person has to change something.
    Refused(Cause),
    /// It may pass by itself.
    Later(Cause),
    /// Another owner began a run meanwhile: what was decided is past.
    Overtaken,
    /// The database.
    Failed(Error),
}

impl From<Error> for NotBegun {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Returns the identity of the database behind a session.
pub fn identity(session: &Session) -> DatabaseIdentity {
    let server = session.server();
    DatabaseIdentity { system_identifier: server.system_identifier.clone(), name: server.database.clone() }
}

fn refused(problems: &[Problem]) -> NotBegun {
    let reason = problems.first().map_or(Reason::PlanInvalid, |problem| problem.reason);
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    NotBegun::Refused(Cause::new(reason, message))
}

fn invalid(root: &str, problems: &[FieldProblem]) -> NotBegun {
    let told: Vec<String> = problems.iter().map(|problem| format!("{root}{problem}")).collect();
    let message = told.join("; ");
    NotBegun::Refused(Cause::new(Reason::PlanInvalid, message))
}

/// The catalog for a preview, or one of which nothing is known where it is too large.
async fn catalog_for_preview(
    observer: Option<&mut Connection>,
    search_path: &[String],
    major: u32,
    statements: &[Statement],
) -> Result<Snapshot, Error> {
    let Some(observer) = observer else { return Ok(Snapshot::assumed(Some(major))) };
    let read = snapshot::read_for(observer, search_path, statements).await?;
    Ok(read.unwrap_or_else(|| Snapshot {
        search_path: search_path.to_vec(),
        unknown: vec![Unknown {
            what: "the catalog".to_owned(),
            why: format!(
                "it has more than {} relations, too many to look at for each migration",
                snapshot::MOST_RELATIONS
            ),
            remedy: "whimbrel plan --database-url reads it whole".to_owned(),
        }],
        ..Snapshot::assumed(Some(major))
    }))
}

/// Reads what the plan rests on, and beside it, on the observer, the catalog for its preview.
async fn look(
    session: &mut Session,
    search_path: &[String],
    draft: &Draft<'_>,
) -> Result<(Facts, Snapshot), Error> {
    let mut observer = session.take_observer();
    let (wanted, statements) = (draft.facts_wanted(), draft.statements());
    let foresight =
        catalog_for_preview(observer.as_mut(), search_path, session.server().major(), &statements);
    let (facts, catalog) = tokio::join!(catalog::answer(session.conn(), search_path, &wanted), foresight);
    session.give_back(observer);
    let catalog = match catalog {
        // Foresight is advice: without it the plan is as good.
        Err(Error::Server(error)) => {
            warn!("the catalog cannot be read for the preview: {error}");
            Snapshot::assumed(None)
        }
        read => read?,
    };
    Ok((facts?, catalog))
}

/// Reads what is wanted, as far as that needs no database: wrong fields, and SQL that is none or that is refused.
fn read(spec: &MigrationSpec) -> Result<(Option<AnalysisPlan>, Draft<'_>), NotBegun> {
    let wrong = crate::api::validate::migration(spec);
    if !wrong.is_empty() {
        return Err(invalid("", &wrong));
    }
    let analysis = match &spec.analysis {
        None => None,
        Some(spec) => {
            Some(AnalysisPlan::try_from(spec).map_err(|problems| invalid("spec.analysis.", &problems))?)
        }
    };
    let draft = Draft::read(spec).map_err(|problems| refused(&problems))?;
    Ok((analysis, draft))
}

/// Returns why something could never begin, whatever the database is.
pub fn never(spec: &MigrationSpec) -> Option<Cause> {
    match read(spec) {
        Err(NotBegun::Refused(cause)) => Some(cause),
        _ => None,
    }
}

/// Makes the plan of a subject.
async fn plan(
    session: &mut Session,
    database: &Database,
    subject: &Subject,
    id: Uuid,
) -> Result<Plan, NotBegun> {
    let (analysis, draft) = read(&subject.spec)?;
    let (facts, catalog) = look(session, &subject.spec.search_path, &draft).await?;
    let suffix = id.simple().to_string().get(..8).and_then(|text| AsideSuffix::new(text.to_owned()));
    let Some(suffix) = suffix else {
        return Err(NotBegun::Refused(Cause::new(Reason::Internal, "a run identifier has no suffix")));
    };
    let around = Surroundings {
        database: &identity(session),
        owner_role: database.owner_role.as_deref(),
        guard: database.guard,
        rehearse: database.copy.is_some(),
        analysis,
        suffix,
        facts: &facts,
    };
    let mut plan = draft.compile(around).map_err(|problems| refused(&problems))?;
    let sources: Vec<Source> = draft
        .texts()
        .into_iter()
        .map(|text| Source { text: text.into_owned(), ..Source::default() })
        .collect();
    let inputs = Inputs { plan: &plan, sources: &sources, facts: &facts, catalog: &catalog };
    plan.preview = Some(Box::new(preview(inputs)));
    if plan.reversibility < database.min_reversibility {
        let message = format!(
            "the plan is {:?}, and policy.minReversibility of the database demands {:?}",
            plan.reversibility, database.min_reversibility
        );
        return Err(NotBegun::Refused(Cause::new(Reason::PolicyViolation, message)));
    }
    Ok(plan)
}

/// Begins a run: the plan is made and checked, the metrics are asked, the ledger is made, the epoch is taken, and the
/// whole plan is stored.
///
/// # Errors
/// See [`NotBegun`]; before the last step nothing was written.
pub async fn begin(
    session: &mut Session,
    database: &Database,
    subject: &Subject,
    owner: &str,
    (from_version, latest): (Option<&str>, Option<Uuid>),
) -> Result<(), NotBegun> {
    let id = Uuid::new_v4();
    let plan = plan(session, database, subject, id).await?;
    if let Some(analysis) = &plan.analysis
        && let Err((cause, transient)) = watch::check(analysis, subject, clock::now()).await
    {
        return Err(if transient { NotBegun::Later(cause) } else { NotBegun::Refused(cause) });
    }
    session.ensure_ledger(Side::Primary).await?;
    if !session.owned() {
        session.own(owner, None, Builds::Adopt).await?;
    }
    let analysis_hash = plan.analysis.as_ref().and_then(|analysis| analysis.hash().ok());
    let units = vec![UnitStatus::default(); plan.units.len()];
    let seen = Observation { units, wish: wish(Some(subject), None, false), ..Observation::default() };
    let state = first(&plan, &seen, clock::now());
    let new = NewRun {
        id,
        key: &subject.key,
        plan: &plan,
        analysis_hash: analysis_hash.as_deref(),
        from_version,
        tokens: &subject.tokens,
        state: &state,
        after: Some(latest),
    };
    let epoch = session.epoch();
    if Run::insert(session.conn(), epoch, &new).await? { Ok(()) } else { Err(NotBegun::Overtaken) }
}
