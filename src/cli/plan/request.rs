//! From what is given on the command line to one spec: files of SQL become steps, Migrations follow one after the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::api::{self, FieldProblem, MigrationSpec, SqlStep, Step, Version};
use crate::cli::input::{self, Content, Input, InputProblem, Piece};
use crate::core::compile::{Draft, Problem, Refused};
use crate::core::preview::Source;
use crate::sql::{Code, Refusal};

const UP: &str = ".up.sql";
const DOWN: &str = ".down.sql";
/// Longest name of a step.
const MAX_NAME: usize = 63;

/// What is asked for.
pub(super) struct Request {
    /// Everything as one spec.
    pub spec: MigrationSpec,
    /// Written as Migrations: what the operator would refuse is refused.
    pub strict: bool,
    inputs: Vec<Input>,
    /// Where each step comes from.
    origins: Vec<Origin>,
}

/// Where a step comes from: the input, and the field in it.
struct Origin {
    up: Place,
    down: Option<Place>,
}

/// An input, and the field of it if it is a Migration.
struct Place {
    input: usize,
    field: Option<String>,
}

/// Reads what is named; `manifests` have to hold Migrations.
pub(super) fn read(paths: &[PathBuf], manifests: &[PathBuf]) -> Result<Request, Vec<InputProblem>> {
    let mut all: Vec<PathBuf> = paths.to_vec();
    all.extend(manifests.iter().cloned());
    let mut inputs = input::gather(&all)?;
    let beside = beside(&inputs);
    if !beside.is_empty() {
        inputs.extend(input::gather(&beside)?);
    }
    let no_migration = inputs.iter().find(|input| {
        matches!(input.content, Content::Sql) && manifests.iter().any(|path| *path == Path::new(&input.name))
    });
    if let Some(input) = no_migration {
        return Err(vec![
            InputProblem::new(&input.name, "is no Migration in YAML").hint("name files of SQL without -f"),
        ]);
    }
    build(inputs)
}

/// The ways back that stand beside files which are named alone.
fn beside(inputs: &[Input]) -> Vec<PathBuf> {
    let names: BTreeSet<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let ups = inputs.iter().filter_map(|input| input.name.strip_suffix(UP));
    let downs = ups.map(|stem| format!("{stem}{DOWN}"));
    downs
        .filter(|down| !names.contains(down.as_str()))
        .map(PathBuf::from)
        .filter(|path| path.is_file())
        .collect()
}

fn build(inputs: Vec<Input>) -> Result<Request, Vec<InputProblem>> {
    let migrations = inputs.iter().filter(|input| matches!(input.content, Content::Migration { .. })).count();
    if migrations == 0 {
        return Ok(of_scripts(inputs));
    }
    if let Some(script) = inputs.iter().find(|input| matches!(input.content, Content::Sql)) {
        let problem = InputProblem::new(&script.name, "is SQL, and others are Migrations");
        return Err(vec![problem.hint("plan files of SQL and Migrations one after the other")]);
    }
    of_migrations(inputs)
}

/// Each file of SQL is a step; `NAME.down.sql` is the way back of `NAME.up.sql`.
fn of_scripts(inputs: Vec<Input>) -> Request {
    let mut names = BTreeSet::new();
    let (mut steps, mut origins) = (Vec::new(), Vec::new());
    let named = |name: &str| inputs.iter().position(|input| input.name == name);
    for (index, input) in inputs.iter().enumerate() {
        let forward = input.name.strip_suffix(DOWN).map(|stem| format!("{stem}{UP}"));
        if forward.is_some_and(|up| named(&up).is_some()) {
            continue;
        }
        let down = input.name.strip_suffix(UP).and_then(|stem| named(&format!("{stem}{DOWN}")));
        let text = |index: usize| inputs.get(index).map(|input| input.text.to_string());
        let sql = SqlStep { up: input.text.to_string(), down: down.and_then(text), ..SqlStep::default() };
        steps.push(Step::of_sql(Some(step_name(&input.name, steps.len(), &mut names)), sql));
        let place = |input| Place { input, field: None };
        origins.push(Origin { up: place(index), down: down.map(place) });
    }
    let spec = MigrationSpec { version: "1".to_owned(), steps: Some(steps), ..MigrationSpec::default() };
    Request { spec, strict: false, inputs, origins }
}

/// The name of a file as that of a step, each once.
fn step_name(file: &str, index: usize, taken: &mut BTreeSet<String>) -> String {
    let name =
        Path::new(file).file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let stem = name.strip_suffix(UP).or_else(|| name.strip_suffix(".sql")).unwrap_or(&name);
    let plain: String =
        stem.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    let parts: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let mut base: String = parts.join("-").chars().take(MAX_NAME - 4).collect();
    base.truncate(base.trim_end_matches('-').len());
    if base.is_empty() {
        base = format!("step-{}", index + 1);
    }
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

/// One Migration as it is, or several as one, in the order of their versions.
fn of_migrations(inputs: Vec<Input>) -> Result<Request, Vec<InputProblem>> {
    let mut problems = Vec::new();
    for (input, object, spec) in migrations(&inputs) {
        let told =
            |problem: FieldProblem| InputProblem::new(&input.name, format!("Migration {object}: {problem}"));
        problems.extend(api::validate::migration(spec).into_iter().map(told));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let specs: Vec<(usize, &str, &MigrationSpec)> =
        migrations(&inputs).enumerate().map(|(index, (_, object, spec))| (index, object, spec)).collect();
    if let [(index, _, spec)] = specs.as_slice() {
        let (spec, origins) = ((*spec).clone(), origins(*index, spec));
        return Ok(Request { spec, strict: true, inputs, origins });
    }
    let (spec, origins) = joined(specs).map_err(|message| {
        let name = inputs.first().map(|input| input.name.clone()).unwrap_or_default();
        vec![InputProblem::new(name, message).hint("plan them one by one")]
    })?;
    Ok(Request { spec, strict: true, inputs, origins })
}

fn migrations(inputs: &[Input]) -> impl Iterator<Item = (&Input, &str, &MigrationSpec)> {
    inputs.iter().filter_map(|input| match &input.content {
        Content::Migration { object, spec, .. } => Some((input, object.as_str(), spec.as_ref())),
        Content::Sql => None,
    })
}

fn origins(input: usize, spec: &MigrationSpec) -> Vec<Origin> {
    let place = |field: String| Place { input, field: Some(field) };
    let short = spec.up.iter().map(|_| Origin {
        up: place("spec.up".to_owned()),
        down: spec.down.as_ref().map(|_| place("spec.down".to_owned())),
    });
    let long = spec.steps.iter().flatten().enumerate().map(|(index, step)| Origin {
        up: place(format!("spec.steps[{index}].{}", if step.sql.is_some() { "sql.up" } else { "backfill" })),
        down: step
            .sql
            .as_ref()
            .and_then(|sql| sql.down.as_ref())
            .map(|_| place(format!("spec.steps[{index}].sql.down"))),
    });
    short.chain(long).collect()
}

/// Several Migrations as the steps of one.
fn joined(mut specs: Vec<(usize, &str, &MigrationSpec)>) -> Result<(MigrationSpec, Vec<Origin>), String> {
    specs.sort_by_cached_key(|(_, _, spec)| {
        let version = Version::parse(&spec.version, "spec.version").ok();
        (spec.stream.clone(), version)
    });
    let first = specs.first().map(|(_, _, spec)| (*spec).clone()).unwrap_or_default();
    let (mut steps, mut places) = (Vec::new(), Vec::new());
    for (index, object, spec) in specs {
        if spec.database_ref != first.database_ref {
            return Err("the Migrations are for different databases".to_owned());
        }
        if spec.search_path != first.search_path
            || spec.rollback.preserve_data != first.rollback.preserve_data
        {
            return Err("the Migrations differ in searchPath or in rollback.preserveData".to_owned());
        }
        places.extend(origins(index, spec));
        let short = spec.up.iter().map(|up| {
            let sql = SqlStep { up: up.clone(), down: spec.down.clone(), ..SqlStep::default() };
            Step::of_sql(Some(object.to_owned()), sql)
        });
        steps.extend(short);
        steps.extend(spec.steps.iter().flatten().enumerate().map(|(number, step)| Step {
            name: Some(format!("{object}/{}", step.name_at(number))),
            ..step.clone()
        }));
    }
    Ok((MigrationSpec { up: None, down: None, steps: Some(steps), ..first }, places))
}

impl Request {
    /// Parses the SQL.
    ///
    /// # Errors
    /// What cannot be read; of Migrations, also what the operator refuses.
    pub fn draft(&self) -> Result<(Draft<'_>, Vec<Source>), Vec<InputProblem>> {
        let (draft, refused) = Draft::survey(&self.spec);
        let (fatal, told): (Vec<Refused>, Vec<Refused>) =
            refused.into_iter().partition(|one| self.strict || one.refusal.code.is_unreadable());
        if !fatal.is_empty() {
            return Err(fatal.iter().map(|one| self.refusal(&one.field, &one.refusal)).collect());
        }
        let texts = draft.texts();
        let sources = self.origins.iter().zip(texts).enumerate().map(|(index, (origin, text))| Source {
            file: self.inputs.get(origin.up.input).map(|input| input.name.clone()),
            field: origin.up.field.clone(),
            text: text.into_owned(),
            refusals: told
                .iter()
                .filter(|one| step_of(&one.field) == Some((index, true)))
                .map(|one| one.refusal.clone())
                .collect(),
        });
        let sources = sources.collect();
        Ok((draft, sources))
    }

    /// What is wrong with a plan, at its place in the files.
    pub fn problem(&self, problem: &Problem) -> InputProblem {
        let mut parts = problem.place.rsplitn(3, ':');
        let mut number = || parts.next().and_then(|text| text.parse().ok());
        let (column, line): (Option<u32>, Option<u32>) = (number(), number());
        match (line, column, parts.next()) {
            (Some(line), Some(column), Some(field)) => {
                let (message, hint) = problem.message.split_once("; ").unwrap_or((&problem.message, ""));
                let (message, hint) = (message.to_owned(), hint.to_owned());
                self.refusal(field, &Refusal { line, column, code: Code::NoProbe, message, hint })
            }
            _ => InputProblem::new(self.name(), problem.to_string()),
        }
    }

    /// Line and column in a file of a place in its SQL, or in a field of it, if that is known.
    pub fn place(&self, file: &str, field: Option<&str>, inner: (u32, u32)) -> Option<(u32, u32)> {
        let of_file = self.inputs.iter().filter(|input| input.name == file);
        let mut pieces = of_file.flat_map(Input::pieces);
        pieces.find(|piece| piece.field.as_deref() == field).and_then(|piece| piece.place(inner))
    }

    /// What everything is called where one name has to do.
    fn name(&self) -> String {
        self.inputs.first().map(|input| input.name.clone()).unwrap_or_default()
    }

    fn refusal(&self, field: &str, refusal: &Refusal) -> InputProblem {
        let place = step_of(field).and_then(|(step, up)| {
            let origin = self.origins.get(step)?;
            if up { Some(&origin.up) } else { origin.down.as_ref() }
        });
        let found = place.and_then(|place| {
            let input = self.inputs.get(place.input)?;
            let mut pieces = input.pieces().into_iter();
            let piece: Piece<'_> = pieces.find(|piece| piece.field == place.field)?;
            Some(InputProblem::refused(&input.name, &piece, refusal))
        });
        found.unwrap_or_else(|| InputProblem::new(self.name(), format!("{field}: {refusal}")))
    }
}

/// The step that a field belongs to, and whether it is the way forward.
fn step_of(field: &str) -> Option<(usize, bool)> {
    let up = field.ends_with("up");
    let Some(rest) = field.strip_prefix("spec.steps[") else { return Some((0, up)) };
    let (index, _) = rest.split_once(']')?;
    Some((index.parse().ok()?, up))
}
