//! Strict query templates.
//!
//! `{{ name }}` is the only form; only the names of [`Variable`] exist; a value inside a PromQL string is
//! escaped for that string, and outside of one only a plain word is let through. So no value can change the
//! shape of a query.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AnalysisPlan, MetricPlan, Tick, number::format_duration};

/// A query with places for values; serialized as its source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole { variable: Variable, context: Context, at: Position },
}

/// What a template may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `args.NAME`: a value of the plan.
    Arg(String),
    /// `range`: the metric's range, or the time since the apply where that is shorter.
    Range,
    /// `elapsed`: the time since the apply.
    Elapsed,
    /// `namespace`: of the Migration.
    Namespace,
    /// `name`: of the Migration.
    Name,
    /// `phase`: of the run.
    Phase,
}

/// Where in a query a place stands: decides how its value is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// Outside of strings: only plain words.
    Bare,
    /// Inside of a string delimited by this quote, with escapes.
    Quoted(char),
    /// Inside of a backtick string, without escapes.
    Raw,
    /// Inside of a comment.
    Comment,
}

/// A place in a template: line and column, from one, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A template is wrong, or a value does not fit into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at {at}")]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub at: Position,
}

/// What templates can see of a run, besides the plan's arguments and the tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The namespace of the Migration.
    pub namespace: &'a str,
    /// The name of the Migration.
    pub name: &'a str,
    /// The phase of the run.
    pub phase: &'a str,
}

/// The queries of one metric at one tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queries {
    /// What is measured.
    pub query: String,
    /// The traffic, where the metric has a guard.
    pub guard: Option<String>,
}

impl AnalysisPlan {
    /// Returns the queries of `metric` at `tick`.
    ///
    /// # Errors
    /// Where a value does not fit its place, which [`AnalysisPlan::validate`] excludes.
    pub fn queries(
        &self,
        metric: &MetricPlan,
        scope: Scope<'_>,
        tick: &Tick,
    ) -> Result<Queries, TemplateError> {
        let render =
            |template: &Template| template.render(&self.args, scope, tick.range_of(metric), tick.elapsed);
        Ok(Queries {
            query: render(&metric.query)?,
            guard: metric.guard.as_ref().map(|guard| render(&guard.query)).transpose()?,
        })
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// Where a place is not closed, or names something that does not exist.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut context = Context::Bare;
        let mut at = Position { line: 1, column: 1 };
        let mut rest = source;
        while let Some((text, opened)) = rest.split_once("{{") {
            context = context.after(text);
            parts.push(Part::Text(text.to_owned()));
            at = at.after(text);
            let Some((inside, following)) = opened.split_once("}}") else {
                return Err(TemplateError { message: "\"{{\" without \"}}\"".to_owned(), at });
            };
            let variable = Variable::parse(inside.trim()).map_err(|message| TemplateError { message, at })?;
            parts.push(Part::Hole { variable, context, at });
            at = at.after("{{").after(inside).after("}}");
            rest = following;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { source: source.to_owned(), parts })
    }

    /// Returns the template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the variables and where they stand, in order.
    pub fn variables(&self) -> impl Iterator<Item = (&Variable, Position)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole { variable, at, .. } => Some((variable, *at)),
            Part::Text(_) => None,
        })
    }

    /// Returns whether the template names `variable`.
    pub fn uses(&self, variable: &Variable) -> bool {
        self.variables().any(|(used, _)| used == variable)
    }

    /// Puts the values in.
    ///
    /// # Errors
    /// Where a value is missing or does not fit its place.
    pub fn render(
        &self,
        args: &BTreeMap<String, String>,
        scope: Scope<'_>,
        range: Option<Duration>,
        elapsed: Duration,
    ) -> Result<String, TemplateError> {
        let mut query = String::with_capacity(self.source.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => query.push_str(text),
                Part::Hole { variable, context, at } => {
                    let value = match variable {
                        Variable::Arg(name) => args.get(name).cloned(),
                        Variable::Range => range.map(format_duration),
                        Variable::Elapsed => Some(format_duration(elapsed)),
                        Variable::Namespace => Some(scope.namespace.to_owned()),
                        Variable::Name => Some(scope.name.to_owned()),
                        Variable::Phase => Some(scope.phase.to_owned()),
                    };
                    let fitted = match value {
                        Some(value) => context.fit(&value),
                        None => Err("has no value"),
                    };
                    let refused =
                        |why| TemplateError { message: format!("{{{{ {variable} }}}} {why}"), at: *at };
                    query.push_str(&fitted.map_err(refused)?);
                }
            }
        }
        Ok(query)
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(source: String) -> Result<Self, TemplateError> {
        Self::parse(&source)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.source
    }
}

impl Variable {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "range" => Ok(Self::Range),
            "elapsed" => Ok(Self::Elapsed),
            "namespace" => Ok(Self::Namespace),
            "name" => Ok(Self::Name),
            "phase" => Ok(Self::Phase),
            other => match other.strip_prefix("args.").filter(|arg| is_word(arg)) {
                Some(arg) => Ok(Self::Arg(arg.to_owned())),
                None => Err(format!(
                    "unknown variable {:?}; there are args.NAME, range, elapsed, namespace, name and phase",
                    other.chars().take(40).collect::<String>()
                )),
            },
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arg(name) => write!(f, "args.{name}"),
            Self::Range => f.write_str("range"),
            Self::Elapsed => f.write_str("elapsed"),
            Self::Namespace => f.write_str("namespace"),
            Self::Name => f.write_str("name"),
            Self::Phase => f.write_str("phase"),
        }
    }
}

impl Context {
    /// Returns the context after `text`, by PromQL's lexical rules.
    fn after(self, text: &str) -> Self {
        let mut context = self;
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            context = match (context, char) {
                (Self::Bare, '"' | '\'') => Self::Quoted(char),
                (Self::Bare, '`') => Self::Raw,
                (Self::Bare, '#') => Self::Comment,
                (Self::Quoted(_), '\\') => {
                    chars.next();
                    context
                }
                (Self::Quoted(quote), _) if char == quote => Self::Bare,
                (Self::Raw, '`') | (Self::Comment, '\n') => Self::Bare,
                _ => context,
            };
        }
        context
    }

    /// Returns `value` as it has to be written here.
    fn fit(self, value: &str) -> Result<String, &'static str> {
        match self {
            Self::Bare if is_bare(value) => Ok(value.to_owned()),
            Self::Bare => {
                Err("stands outside of a string, where only a number, a duration or a plain word fits")
            }
            Self::Quoted(quote) => Ok(escape(value, quote)),
            Self::Raw if value.contains('`') => Err("stands in a backtick string, where no backtick fits"),
            Self::Raw => Ok(value.to_owned()),
            Self::Comment => Ok(value.replace('\n', " ")),
        }
    }
}

impl Position {
    fn after(self, text: &str) -> Self {
        text.chars().fold(self, |at, char| match char {
            '\n' => Self { line: at.line + 1, column: 1 },
            _ => Self { column: at.column + 1, ..at },
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || "_-".contains(char))
}

fn is_bare(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|char| char.is_ascii_alphanumeric() || "_:.".contains(char))
}

fn escape(value: &str, quote: char) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut escaped, char| {
        match char {
            '\n' => escaped.push_str("\\n"),
            '\\' => escaped.push_str("\\\\"),
            _ if char == quote => escaped.extend(['\\', char]),
            _ => escaped.push(char),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(source: &str, args: &[(&str, &str)]) -> Result<String, String> {
        let scope = Scope { namespace: "shop", name: "add-tier", phase: "Analyzing" };
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (range, elapsed) = (Some(Duration::from_mins(1)), Duration::from_secs(90));
        Template::parse(source)
            .and_then(|template| template.render(&args, scope, range, elapsed))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_put_in_and_escaped_for_their_place() {
        let check = |source: &str, arg: &str, expected: &str| {
            assert_eq!(render(source, &[("a", arg)]).as_deref(), Ok(expected), "{source}");
        };
        check("up", "", "up");
        check("rate(x[{{ range }}])", "", "rate(x[1m])");
        check("rate(x[{{range}}]) + {{ elapsed }}", "", "rate(x[1m]) + 90s");
        check(
            r#"x{ns="{{ namespace }}",n="{{ name }}",p='{{ phase }}'}"#,
            "",
            r#"x{ns="shop",n="add-tier",p='Analyzing'}"#,
        );
        check(r#"x{a="{{ args.a }}"}"#, r#"q"u\o'te"#, r#"x{a="q\"u\\o'te"}"#);
        check(r"x{a='{{ args.a }}'}", "q\"u'o\nte", "x{a='q\"u\\'o\\nte'}");
        check(r#"x{a="it's \" {{ args.a }}"}"#, r#"""#, r#"x{a="it's \" \""}"#);
        check("x{a=`{{ args.a }}`}", r"\d", r"x{a=`\d`}");
        check("x > {{ args.a }}", "0.5", "x > 0.5");
        check("x # \"{{ args.a }}\n+ {{ args.a }}", "y", "x # \"y\n+ y");
        check("x{a=\"\"}\n# {{ args.a }}", "a\nb", "x{a=\"\"}\n# a b");
    }

    #[test]
    fn problems_have_a_position() {
        let check = |source: &str, arg: &str, expected: &str| {
            let problem = render(source, &[("a", arg)]).unwrap_err();
            assert!(problem.contains(expected), "{source}: {problem}");
        };
        check("up{{", "", "\"{{\" without \"}}\" at line 1, column 3");
        check("sum(\n  {{ rnage }})", "", "unknown variable \"rnage\"; there are");
        check("sum(\n  {{ rnage }})", "", "line 2, column 3");
        check("{{ range }}{{.Name}}", "", "unknown variable \".Name\"; there are");
        check("{{ range }}{{.Name}}", "", "line 1, column 12");
        check("{{ args. }}", "", "unknown variable");
        check("{{ args.a.b }}", "", "unknown variable");
        check("{{ args.b }}", "", "{{ args.b }} has no value at line 1, column 1");
        check("x > {{ args.a }}", "0 or vector(1)", "outside of a string");
        check("x{a={{ args.a }}}", "\"}", "outside of a string");
        check("x > {{ namespace }}-{{ name }}", "", "{{ name }} stands outside of a string");
        check("x{a=`{{ args.a }}`}", "`} or up", "backtick");
    }

    /// Reads a quoted PromQL string as Prometheus does; `None` where it ends early.
    fn unquote(quoted: &str, quote: char) -> Option<String> {
        let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
        let mut chars = inner.chars();
        let mut text = String::new();
        while let Some(char) = chars.next() {
            match char {
                '\n' => return None,
                _ if char == quote => return None,
                '\\' => match chars.next()? {
                    'n' => text.push('\n'),
                    escaped if escaped == '\\' || escaped == quote => text.push(escaped),
                    _ => return None,
                },
                _ => text.push(char),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_quoted_value_arrives_as_it_was_written(value in "(?s).{0,40}", quote in prop::sample::select(vec!['"', '\''])) {
            let rendered = render(&format!("{quote}{{{{ args.a }}}}{quote}"), &[("a", &value)]).unwrap();
            prop_assert_eq!(unquote(&rendered, quote), Some(value));
        }

        #[test]
        fn any_source_parses_or_is_refused(source in "(?s)[a-z{} \"'`\\\\#\n]{0,60}") {
            if let Ok(template) = Template::parse(&source) {
                prop_assert_eq!(template.source(), source);
            }
        }
    }
}
