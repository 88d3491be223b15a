//! Versions of a stream: up to four numbers, compared number by number.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::problem::FieldProblem;

/// Most digits of the first number, and of those after it.
const DIGITS: [usize; 4] = [18, 9, 9, 9];

/// A version such as `20261120093000` or `1.4.2`.
///
/// Order and equality look at the numbers only: `1.10` follows `1.9`, and `7`, `007` and `7.0` are the same
/// version. [`Display`](fmt::Display) shows what was written; [`canonical`](Self::canonical) is the key.
#[derive(Clone, Debug)]
pub struct Version {
    numbers: [u64; 4],
    text: String,
}

impl Version {
    /// Reads a version.
    ///
    /// # Errors
    /// A problem that names `field` when the text is not one to four numbers with dots between them.
    pub fn parse(text: &str, field: &str) -> Result<Self, FieldProblem> {
        let problem = || {
            FieldProblem::new(
                field,
                format!("{text:?} is not a version: write up to four numbers, like 20261120093000 or 1.4.2"),
            )
        };
        let mut numbers = [0; 4];
        let mut parts = text.split('.');
        for (number, (most, part)) in numbers.iter_mut().zip(DIGITS.iter().zip(parts.by_ref())) {
            let valid = (1..=*most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            *number = if valid {
                part.parse().map_err(|_| problem())?
            } else {
                return Err(problem());
            };
        }
        match parts.next() {
            None => Ok(Self {
                numbers,
                text: text.into(),
            }),
            Some(_) => Err(problem()),
        }
    }

    /// Returns the same text for all spellings of one version: no leading zeros, no trailing `.0`.
    pub fn canonical(&self) -> String {
        let [first, rest @ ..] = &self.numbers;
        let kept = rest
            .iter()
            .rposition(|number| *number != 0)
            .map_or(0, |last| last + 1);
        rest.iter()
            .take(kept)
            .fold(first.to_string(), |text, number| format!("{text}.{number}"))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.numbers == other.numbers
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers)
    }
}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.numbers.hash(state);
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
