//! The tables that people read, and the file that keeps the raw results.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Number {
    what: String,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
    #[serde(skip_serializing_if = "Value::is_null")]
    raw: Value,
}

impl Number {
    /// A number without a goal, to compare with.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), unit, at_most: None, at_least: None, value, met: None, raw: Value::Null }
    }

    /// Sets the goal.
    #[must_use]
    pub fn at_most(mut self, goal: f64) -> Self {
        self.at_most = Some(goal);
        self.met = Some(self.value <= goal);
        self
    }

    /// Sets the goal of a number that should be large.
    #[must_use]
    pub fn at_least(mut self, goal: f64) -> Self {
        self.at_least = Some(goal);
        self.met = Some(self.value >= goal);
        self
    }

    /// Keeps what it was computed from.
    #[must_use]
    pub fn of(mut self, raw: impl Into<Value>) -> Self {
        self.raw = raw.into();
        self
    }

    fn cells(&self) -> [String; 4] {
        let shown = |value: f64| {
            let digits = usize::from(value.fract() != 0.0 && value < 100.0);
            format!("{value:.digits$} {}", self.unit).trim_end().to_owned()
        };
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let goal = match (self.at_most, self.at_least) {
            (Some(goal), _) => format!("<= {}", shown(goal)),
            (None, Some(goal)) => format!(">= {}", shown(goal)),
            (None, None) => String::new(),
        };
        [self.what.clone(), goal, shown(self.value), met.to_owned()]
    }
}

/// A table of its own, beside the numbers.
#[derive(Debug)]
struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

/// All numbers of one run.
#[derive(Debug, Serialize)]
pub struct Report {
    facts: Value,
    numbers: Vec<Number>,
    /// Further raw results.
    #[serde(flatten)]
    raw: Map<String, Value>,
    #[serde(skip)]
    tables: Vec<Table>,
}

impl Report {
    /// Begins with the facts about machine and programs.
    pub fn new(facts: Value) -> Self {
        Self { facts, numbers: Vec::new(), raw: Map::new(), tables: Vec::new() }
    }

    /// Adds lines, and prints them for who is waiting.
    pub fn extend(&mut self, numbers: Vec<Number>) {
        for number in numbers {
            println!("    {}", number.cells().join("  "));
            self.numbers.push(number);
        }
    }

    /// Adds a table; its first row is the head.
    pub fn add_table(&mut self, title: impl Into<String>, rows: Vec<Vec<String>>) {
        self.tables.push(Table { title: title.into(), rows });
    }

    /// Keeps something raw under a name of its own.
    pub fn keep(&mut self, name: &str, raw: Value) {
        self.raw.insert(name.to_owned(), raw);
    }

    /// Notes the load of the machine at the end.
    pub fn ended(&mut self, load: String) {
        if let Some(facts) = self.facts.as_object_mut() {
            facts.insert("loadAtEnd".to_owned(), load.into());
        }
    }

    /// The tables and then all lines, as Markdown.
    pub fn text(&self) -> String {
        let table = |table: &Table| format!("{}:\n\n{}\n\n", table.title, aligned(&table.rows));
        let tables: String = self.tables.iter().map(table).collect();
        let head = ["number", "goal", "value", ""].map(str::to_owned).to_vec();
        let mut rows = vec![head];
        rows.extend(self.numbers.iter().map(|number| number.cells().to_vec()));
        tables + &aligned(&rows)
    }

    /// Writes everything as `<date>-<name>.json`, and where there are tables, what people read of it as `.md`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> Result<PathBuf> {
        let date = self.fact("date");
        let path = directory.join(format!("{date}-{name}.json"));
        std::fs::create_dir_all(directory)?;
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(self)?))?;
        if !self.tables.is_empty() {
            let title = format!(
                "{date}, {} cores, PostgreSQL {}, commit {}; load of the machine at the beginning {}, at the end {}, this included.",
                self.fact("cores"),
                self.fact("postgres"),
                self.fact("commit"),
                self.fact("loadAtStart"),
                self.fact("loadAtEnd"),
            );
            std::fs::write(path.with_extension("md"), format!("{title}\n\n{}\n", self.text()))?;
        }
        Ok(path)
    }

    fn fact(&self, name: &str) -> String {
        self.facts[name].as_str().map_or_else(|| self.facts[name].to_string(), str::to_owned)
    }
}

/// A Markdown table that is aligned in the source, too.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
        format!("|{}|", cells.collect::<Vec<_>>().join("|"))
    };
    let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1, format!("|{rule}|"));
    lines.join("\n")
}

/// A duration for people; of milliseconds.
pub fn duration(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1000.0) }
}
