//! The table that people read, and the file that keeps the raw results.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

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

/// All numbers of one run.
#[derive(Debug, Serialize)]
pub struct Report {
    facts: Value,
    numbers: Vec<Number>,
}

impl Report {
    /// Begins with the facts about machine and programs.
    pub fn new(facts: Value) -> Self {
        let numbers = Vec::new();
        Self { facts, numbers }
    }

    /// Adds lines, and prints them for who is waiting.
    pub fn extend(&mut self, numbers: Vec<Number>) {
        for number in numbers {
            println!("    {}", number.cells().join("  "));
            self.numbers.push(number);
        }
    }

    /// Notes the load of the machine at the end.
    pub fn ended(&mut self, load: String) {
        if let Some(facts) = self.facts.as_object_mut() {
            facts.insert("loadAtEnd".to_owned(), load.into());
        }
    }

    /// All lines, aligned, as Markdown.
    pub fn table(&self) -> String {
        let head = ["number", "goal", "value", ""].map(str::to_owned);
        let mut rows = vec![head];
        rows.extend(self.numbers.iter().map(Number::cells));
        let widths: Vec<usize> = (0..4)
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
            .collect();
        let line = |row: &[String; 4]| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
            format!("|{}|", cells.collect::<Vec<_>>().join("|"))
        };
        let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        lines.insert(1, format!("|{rule}|"));
        lines.join("\n")
    }

    /// The facts about machine and programs.
    pub fn facts(&self) -> &Value {
        &self.facts
    }

    /// Writes everything as `<date>-<name>.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> Result<PathBuf> {
        self.write_with(directory, name, ("numbers", serde_json::to_value(&self.numbers)?))
    }

    /// Writes everything, and something more under a name of its own.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_with(&self, directory: &Path, name: &str, (key, more): (&str, Value)) -> Result<PathBuf> {
        let date = self.facts.get("date").and_then(Value::as_str).unwrap_or_default();
        let path = directory.join(format!("{date}-{name}.json"));
        std::fs::create_dir_all(directory)?;
        let mut document = serde_json::to_value(self)?;
        document[key] = more;
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        Ok(path)
    }
}
