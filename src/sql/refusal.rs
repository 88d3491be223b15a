//! What the room says no to, and what it leaves out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a piece of SQL is refused; the names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The grammar of PostgreSQL does not accept it.
    SyntaxError,
    /// There is no statement at all.
    Empty,
    /// The text is longer than is allowed where it stands.
    TooLong,
    /// Expressions or parentheses are nested deeper than the parser can follow.
    TooDeep,
    /// The parser could not be run.
    ParserUnavailable,
    /// A command of `psql`, not SQL.
    PsqlCommand,
    /// Transaction control other than one `BEGIN ... COMMIT` around everything.
    TransactionControl,
    /// The statement would change who runs the statements after it.
    RoleChange,
    /// The statement leaves something behind in the session.
    SessionState,
    /// A session setting that belongs elsewhere.
    Setting,
    /// Data between the statements, which only psql can send.
    CopyData,
    /// Files or commands of the server.
    FileAccess,
    /// The statement changes the whole server or another database.
    ServerWide,
    /// The schema that holds the ledger.
    ReservedSchema,
    /// It cannot run in a transaction, and nothing tells after a crash whether it took effect.
    NoProbe,
    /// It cannot run in a transaction, but stands between `BEGIN` and `COMMIT`.
    NotInTransaction,
    /// A name is needed to find the object again.
    NameRequired,
}

impl Code {
    /// The name, the same as in its JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SyntaxError => "syntax-error",
            Self::Empty => "empty",
            Self::TooLong => "too-long",
            Self::TooDeep => "too-deep",
            Self::ParserUnavailable => "parser-unavailable",
            Self::PsqlCommand => "psql-command",
            Self::TransactionControl => "transaction-control",
            Self::RoleChange => "role-change",
            Self::SessionState => "session-state",
            Self::Setting => "setting",
            Self::CopyData => "copy-data",
            Self::FileAccess => "file-access",
            Self::ServerWide => "server-wide",
            Self::ReservedSchema => "reserved-schema",
            Self::NoProbe => "no-probe",
            Self::NotInTransaction => "not-in-transaction",
            Self::NameRequired => "name-required",
        }
    }

    /// Whether the text is not SQL that can be read, as opposed to SQL that is not run.
    pub fn is_unreadable(self) -> bool {
        matches!(
            self,
            Self::SyntaxError
                | Self::Empty
                | Self::TooLong
                | Self::TooDeep
                | Self::ParserUnavailable
                | Self::PsqlCommand
                | Self::CopyData
        )
    }
}

/// A piece of SQL that is not accepted, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Why, for programs.
    pub code: Code,
    /// Why, for people.
    pub message: String,
    /// What to do instead; empty if there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// Something harmless that was left out or overruled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What was left out, and why.
    pub message: String,
}

/// A refusal before its place is known as line and column.
#[derive(Clone, Debug)]
pub(super) struct Objection {
    /// Byte offset in the whole text.
    pub offset: usize,
    pub code: Code,
    pub message: String,
    pub hint: String,
}

impl Objection {
    pub fn new(offset: usize, code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { offset, code, message: message.into(), hint: hint.into() }
    }

    pub fn placed(self, lines: &Lines<'_>) -> Refusal {
        let (line, column) = lines.place(self.offset);
        Refusal { line, column, code: self.code, message: self.message, hint: self.hint }
    }
}

/// Where the lines of a text begin, so that a place is found without counting from its beginning.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Byte offset of a line and column, both from 1.
    pub fn offset(&self, line: u32, column: u32) -> usize {
        let index = |n: u32| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
        let start = self.starts.get(index(line)).copied().unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(index(column)).map_or(rest.len(), |(at, _)| at)
    }

    /// Line and column, both from 1, of a byte offset; the column counts characters.
    pub fn place(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = super::name::clip(self.text, offset);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}
