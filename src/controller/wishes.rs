//! Gathers what is wanted of a database, and hands it to the database's runner.
//!
//! A runner is started, or told, only when there is news: else its own views, which cause reconciles, would start it over
//! and over again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::Api;

use super::client::{self, CALL_LIMIT, Error};
use super::context::{Context, Mark, Offered};
use super::databases::{self, Revision};
use super::resolve::{Resolver, Unresolved};
use crate::api::{
    ABORT_REQUESTED_AT, Database, Migration, RETRY_REQUESTED_AT, ROLLBACK_REQUESTED_AT, Reason, Version,
};
use crate::core::report;
use crate::core::state::{Cause, State};
use crate::core::view::{RunView, Standing, Tokens, View};
use crate::engine::subject::{Database as Served, Desired, Providers, Subject};
use crate::postgres::ledger::RunKey;

/// What is missing in the cluster, or failing, is looked at again so often: Secrets are not watched.
const AGAIN_SOON: Duration = Duration::from_secs(5);
/// A refusal that does not depend on the object alone is looked at again so often.
const AGAIN_LATER: Duration = Duration::from_secs(30);

/// Returns when an object is looked at again without any news.
pub fn look_again(standing: &Standing) -> Option<Duration> {
    match standing {
        Standing::Retrying(_) => Some(AGAIN_SOON),
        Standing::Refused(cause) if cause.reason.may_heal() => Some(AGAIN_LATER),
        // What a run fails for may be a password, or a privilege, or a server that is away.
        Standing::Run(run) if !run.state.is_done() && (run.attempt.is_some() || cannot_connect(run)) => {
            Some(AGAIN_SOON)
        }
        // A runner may have ended without a last word, as when another process took over for a while.
        Standing::Run(run) if !run.state.is_done() && !matches!(run.state, State::Held { .. }) => {
            Some(AGAIN_LATER)
        }
        Standing::Refused(_) | Standing::Waiting(_) | Standing::Covered(_) | Standing::Run(_) => None,
    }
}

fn cannot_connect(run: &RunView) -> bool {
    let reasons = [Reason::AuthenticationFailed, Reason::DatabaseUnreachable, Reason::ServerInRecovery];
    run.waiting.as_ref().is_some_and(|cause| reasons.contains(&cause.reason))
}

/// Reads the Database of a Migration while that is still being read itself; nothing where it may not be needed.
pub async fn database_ahead(context: &Context, seen: &Migration) -> Option<Database> {
    if has_the_newest(context, seen) || resolved(context, seen).is_some() {
        return None;
    }
    // Whoever needs it and does not have it reads it again, and says why it cannot be read.
    read_database(context, seen).await.ok().flatten()
}

async fn read_database(context: &Context, object: &Migration) -> Result<Option<Database>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<Database> = Api::namespaced(context.client.clone(), &namespace);
    let name = &object.spec.database_ref.name;
    let since = context.databases.news(&namespace, name);
    let found = client::within(CALL_LIMIT, &format!("read Database {name}"), api.get_opt(name)).await?;
    if let Some(database) = &found {
        context.databases.note(database, since);
    }
    Ok(found)
}

/// Gives the newest objects of a database to its runner, if there is news. Returns a view instead where that is not
/// possible. `ahead` is a Database that was just read.
///
/// # Errors
/// When the API server does not answer.
pub async fn hand_over(
    context: &Arc<Context>,
    object: &Migration,
    ahead: Option<Database>,
) -> Result<Option<View>, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let resolver = Resolver::new(context.client.clone(), &namespace);
    if has_the_newest(context, object) {
        return Ok(None);
    }
    let reused = if ahead.is_none() { resolved(context, object) } else { None };
    let found = match reused {
        Some(reused) => Ok(Some(reused)),
        None => resolve(context, &resolver, object, ahead).await,
    };
    let (revision, database, since) = match found {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(Unresolved::Cause(cause)) => return Ok(Some(stuck(object, cause))),
        Err(Unresolved::Api(error)) => return Err(error),
    };
    let mark = mark(object, revision.clone());
    let Wanted { subjects, open, settled } = wanted(context, &resolver, object).await?;
    if !news(context, object, &mark) {
        // Another Migration of the database has handed it over meanwhile.
        return Ok(None);
    }
    note(context, &object.uid().unwrap_or_default(), mark.clone());
    for subject in open {
        // Its own reconcile has nothing to hand over then, unless it knows of something newer.
        let (generation, tokens) = (Some(subject.generation), subject.tokens.clone());
        let mark = Mark { generation, tokens, gone: subject.gone, ..mark.clone() };
        note(context, &subject.key.uid, mark);
    }
    let key = database.name.clone();
    let desired = Desired { database, subjects, settled, presence: context.presence(), at: Instant::now() };
    context.offer(&key, desired, (revision, since));
    Ok(None)
}

/// A database as its runner takes it: of which revision, and since when that is known.
type Known = (Revision, Arc<Served>, Instant);

/// Reads and resolves the Database of an object; none where its runner has no need of it.
async fn resolve(
    context: &Context,
    resolver: &Resolver,
    object: &Migration,
    ahead: Option<Database>,
) -> Result<Option<Known>, Unresolved> {
    let name = &object.spec.database_ref.name;
    let found = match ahead.filter(|database| database.name_any() == *name) {
        Some(database) => Some(database),
        None => read_database(context, object).await?,
    };
    let Some(database) = found else {
        let namespace = object.namespace().unwrap_or_default();
        let message = format!("Database {name} does not exist in namespace {namespace}");
        return Err(Unresolved::Cause(Cause::new(Reason::DatabaseNotFound, message)));
    };
    let revision = databases::revision(&database);
    if !news(context, object, &mark(object, revision.clone())) {
        return Ok(None);
    }
    let since = Instant::now();
    Ok(Some((revision, Arc::new(resolver.database(&database).await?), since)))
}

fn stuck(object: &Migration, cause: Cause) -> View {
    View {
        generation: object.metadata.generation.unwrap_or_default(),
        standing: Standing::Retrying(cause),
        answered: Tokens::default(),
        past: Vec::new(),
    }
}

/// Returns the database of an object as its runner has it, where that is known to be the newest and was read not long ago.
fn resolved(context: &Context, object: &Migration) -> Option<Known> {
    let (namespace, name) = (object.namespace()?, &object.spec.database_ref.name);
    let revision = context.databases.known(&namespace, name);
    let (database, since) = context.resolved(&format!("{namespace}/{name}"), &revision)?;
    Some((revision, database, since))
}

fn note(context: &Context, uid: &str, mark: Mark) {
    context.note_offer(uid, Offered { at: Instant::now(), mark });
}

fn mark(object: &Migration, database: Revision) -> Mark {
    let gone = object.metadata.deletion_timestamp.is_some();
    Mark { generation: object.metadata.generation, database, tokens: tokens(object), gone }
}

/// Whether the runner was given exactly this object, and has ended its run: nothing about the Database changes that.
fn last_word_said(context: &Context, object: &Migration) -> bool {
    let uid = object.uid().unwrap_or_default();
    let (Some(Offered { mark: given, .. }), Some(view)) = (context.offered(&uid), context.views.get(&uid))
    else {
        return false;
    };
    given == mark(object, given.database.clone())
        && Some(view.generation) == given.generation
        && matches!(&view.standing, Standing::Run(run) if run.state.is_done())
}

/// Whether the runner has all that is known of an object and its Database, so that nothing has to be read for it.
pub fn has_the_newest(context: &Context, object: &Migration) -> bool {
    let namespace = object.namespace().unwrap_or_default();
    let database = context.databases.known(&namespace, &object.spec.database_ref.name);
    last_word_said(context, object) || (database.is_some() && !news(context, object, &mark(object, database)))
}

/// Whether the runner has to hear of an object.
fn news(context: &Context, object: &Migration, mark: &Mark) -> bool {
    let uid = object.uid().unwrap_or_default();
    let Some(offered) = context.offered(&uid) else { return true };
    if offered.mark != *mark {
        return true;
    }
    match context.views.get(&uid) {
        // Its first view is on its way.
        None => offered.at.elapsed() >= AGAIN_SOON,
        Some(view) => look_again(&view.standing).is_some_and(|pause| offered.at.elapsed() >= pause),
    }
}

/// What the Migrations of a database ask for.
#[derive(Default)]
struct Wanted {
    /// All that are not settled well.
    subjects: Vec<Arc<Subject>>,
    /// Those of them that are not settled at all.
    open: Vec<Arc<Subject>>,
    /// The versions of the others.
    settled: Vec<(String, Version)>,
}

/// Gathers what the Migrations of the same database ask for, the given one as it was read at its source.
async fn wanted(context: &Context, resolver: &Resolver, object: &Migration) -> Result<Wanted, Error> {
    let mut wanted = Wanted::default();
    // An empty cache would look like deleted objects.
    if !context.cached().await {
        return Ok(wanted);
    }
    let mut objects = vec![object.clone()];
    for other in context.migrations.state() {
        let same = other.namespace() == object.namespace()
            && other.spec.database_ref.name == object.spec.database_ref.name
            && other.uid() != object.uid();
        if same && (!report::succeeded(&other) || context.lost(&other)) {
            objects.push((*other).clone());
        } else if same && let Some(version) = applied_version(&other) {
            wanted.settled.push((other.spec.stream.clone(), version));
        }
    }
    for object in objects {
        let metrics =
            object.spec.analysis.as_ref().map(|analysis| analysis.metrics.as_slice()).unwrap_or_default();
        let names = metrics.iter().map(|metric| metric.provider_ref.name.as_str());
        let providers = match resolver.providers(names).await {
            Ok(providers) => providers,
            Err(Unresolved::Api(error)) => return Err(error),
            Err(Unresolved::Cause(_)) => continue,
        };
        let subject = Arc::new(subject(&object, providers));
        wanted.subjects.push(Arc::clone(&subject));
        if !report::settled(&object) {
            wanted.open.push(subject);
        }
    }
    Ok(wanted)
}

/// Returns the version that a Migration's run applied, as its status says; none where it counts as applied without a run.
fn applied_version(migration: &Migration) -> Option<Version> {
    let status = migration.status.as_ref().filter(|status| status.applied == Some(true))?;
    status.run_id.as_ref()?;
    Version::parse(&migration.spec.version, "spec.version").ok()
}

/// Reads the one-shot tokens of an object.
fn tokens(object: &Migration) -> Tokens {
    let token = |name: &str| object.annotations().get(name).filter(|token| !token.is_empty()).cloned();
    Tokens {
        retry: token(RETRY_REQUESTED_AT),
        abort: token(ABORT_REQUESTED_AT),
        rollback: token(ROLLBACK_REQUESTED_AT),
    }
}

fn subject(object: &Migration, providers: Providers) -> Subject {
    Subject {
        key: RunKey {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        },
        generation: object.metadata.generation.unwrap_or_default(),
        created: object.creation_timestamp().map(|time| time.0).unwrap_or_default(),
        spec: object.spec.clone(),
        gone: object.metadata.deletion_timestamp.is_some(),
        tokens: tokens(object),
        providers,
        recorded_run: object.status.as_ref().and_then(|status| status.run_id.clone()),
    }
}
