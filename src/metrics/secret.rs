//! Text that must not be shown.

use std::fmt;

/// A confidential text; its `Debug` shows nothing of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Shorter texts are not looked for when a message is cleaned: they would match by accident.
const SHORTEST_FOUND: usize = 4;

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to be sent to where it belongs.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns `message` without the text.
    pub(super) fn redact(&self, message: &str) -> String {
        if self.0.len() < SHORTEST_FOUND { message.to_owned() } else { message.replace(&self.0, "***") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
