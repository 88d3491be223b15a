//! A form: statements whose effect is measured.

/// Statements, what they need, and where they exist.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// One statement, or several that run one after the other, each in a transaction of its own. Names the form.
    pub sql: &'static str,
    /// Runs before, in the same database; not measured.
    pub setup: &'static str,
    /// First major version that knows it.
    pub since: u32,
    /// It cannot run in a transaction.
    pub outside: bool,
}

/// A form without any preparation that every supported version knows.
pub const fn form(sql: &'static str) -> Form {
    Form { sql, setup: "", since: 14, outside: false }
}

/// A form that cannot run in a transaction.
pub const fn outside(sql: &'static str) -> Form {
    Form { outside: true, ..form(sql) }
}

impl Form {
    /// What runs before.
    pub const fn after(self, setup: &'static str) -> Self {
        Self { setup, ..self }
    }

    /// The first major version that knows it.
    pub const fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    /// Whether it needs a database of its own, because it leaves something behind.
    pub fn leaves_traces(&self) -> bool {
        self.outside || !self.setup.is_empty() || self.sql.contains("; ")
    }

    /// What names it.
    pub fn name(&self) -> String {
        match self.setup {
            "" => self.sql.to_owned(),
            setup => format!("{} (after {setup})", self.sql),
        }
    }
}
