//! A number that is not known exactly.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is expected, and between what it will most likely be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Band {
    /// What is expected.
    pub expected: f64,
    /// The least that is likely.
    pub low: f64,
    /// The most that is likely.
    pub high: f64,
}

impl Band {
    /// A number that may be that many times smaller or larger.
    pub fn within(expected: f64, factor: f64) -> Self {
        Self { expected, low: expected / factor, high: expected * factor }.rounded()
    }

    /// A number with its bounds.
    pub fn of(expected: f64, low: f64, high: f64) -> Self {
        Self { expected, low, high }.rounded()
    }

    /// The sum; it is as unsure as its parts are together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            expected: self.expected + other.expected,
            low: self.low + other.low,
            high: self.high + other.high,
        }
        .rounded()
    }

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            expected: self.expected.max(other.expected),
            low: self.low.max(other.low),
            high: self.high.max(other.high),
        }
    }

    /// Three digits after the point are more than anybody knows.
    fn rounded(self) -> Self {
        let round = |number: f64| (number * 1000.0).round() / 1000.0;
        Self { expected: round(self.expected), low: round(self.low), high: round(self.high) }
    }
}
