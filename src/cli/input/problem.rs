//! Why something that was given cannot be used.

use crate::sql::Refusal;

/// Something that is wrong with an input, with its place and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct InputProblem {
    /// The input.
    pub name: String,
    /// The field of a manifest that `place` counts in, if the place in the file is not known.
    pub field: Option<Box<str>>,
    /// Line and column, from 1.
    pub place: Option<(u32, u32)>,
    /// What is wrong.
    pub message: String,
    /// What to do; empty if there is nothing to say.
    pub hint: String,
    /// The line of text that `place` is in.
    pub source: Option<Box<str>>,
}

impl InputProblem {
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), ..Self::default() }
    }

    #[must_use]
    pub fn at(mut self, place: (u32, u32)) -> Self {
        self.place = Some(place);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// What the parser refuses in a piece of SQL.
    pub fn refused(name: &str, piece: &super::Piece<'_>, refusal: &Refusal) -> Self {
        let inner = (refusal.line, refusal.column);
        let place = piece.place(inner);
        Self {
            name: name.to_owned(),
            field: piece.field.as_deref().filter(|_| place.is_none()).map(Into::into),
            place: Some(place.unwrap_or(inner)),
            message: refusal.message.clone(),
            hint: refusal.hint.clone(),
            source: line_of(piece.sql, refusal.line),
        }
        .with_offset_of(piece)
    }

    /// The source line is that of the piece: what stands before it in the file is put before it.
    fn with_offset_of(mut self, piece: &super::Piece<'_>) -> Self {
        if let (Some(line), Some((_, column))) = (&self.source, self.place)
            && let Some((_, first)) = piece.place((2, 1))
            && self.field.is_none()
            && column >= first
        {
            let indent = usize::try_from(first.saturating_sub(1)).unwrap_or(0);
            self.source = Some(format!("{}{line}", " ".repeat(indent)).into());
        }
        self
    }

    /// The place as `name:line:column`, or with the field.
    pub fn location(&self) -> String {
        let mut location = self.name.clone();
        if let Some(field) = &self.field {
            location = format!("{location}: {field}");
        }
        if let Some((line, column)) = self.place {
            location = format!("{location}:{line}:{column}");
        }
        location
    }
}

fn line_of(text: &str, line: u32) -> Option<Box<str>> {
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    text.split('\n').nth(index).map(|line| line.trim_end_matches('\r').into())
}
