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
            None => Ok(Self { numbers, text: text.into() }),
            Some(_) => Err(problem()),
        }
    }

    /// Returns the same text for all spellings of one version: no leading zeros, no trailing `.0`.
    pub fn canonical(&self) -> String {
        let [first, rest @ ..] = &self.numbers;
        let kept = rest.iter().rposition(|number| *number != 0).map_or(0, |last| last + 1);
        rest.iter().take(kept).fold(first.to_string(), |text, number| format!("{text}.{number}"))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text, "spec.version").unwrap()
    }

    #[test]
    fn versions_are_compared_number_by_number() {
        let ordered = ["0", "1", "1.0.1", "1.2", "1.10", "2", "10", "20261120093000", "20261120093000.1"];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for (text, other, canonical) in [("7", "007", "7"), ("7", "7.0.0", "7"), ("1.2.0.0", "01.02", "1.2")]
        {
            assert_eq!(version(text), version(other));
            assert_eq!(version(text).canonical(), canonical);
            assert_eq!(version(other).canonical(), canonical);
        }
        assert_eq!(version("007.0").to_string(), "007.0");
        assert_eq!(version("1.0.3").canonical(), "1.0.3");
    }

    #[test]
    fn other_texts_are_refused() {
        let texts = ["", ".", "1.", ".1", "1..2", "1.2.3.4.5", "v1", "1-rc1", "-1", "+1", "1 ", "\u{661}"];
        for text in texts.into_iter().chain(["1234567890123456789", "1.1234567890"]) {
            let problem = Version::parse(text, "spec.version").unwrap_err();
            assert!(problem.to_string().starts_with("spec.version: "), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn canonical_text_keeps_the_version(text in r"[0-9]{1,18}(\.[0-9]{1,9}){0,3}") {
            let version = version(&text);
            let again = Version::parse(&version.canonical(), "f").unwrap();
            prop_assert_eq!(&again, &version);
            prop_assert_eq!(again.canonical(), version.canonical());
        }
    }
}
