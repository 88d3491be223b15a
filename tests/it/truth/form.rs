//! A form: statements whose effect is measured.

/// Statements, what they need, and where they exist.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// One statement, or several that run one after the other, each in a transaction of its own. Names the form.
    pub sql: &'static str,
    /// Runs before, in the same database; not measured.
    pub setup: &'static str,
    /// Time zone of the session; `None` for UTC.
    pub zone: Option<&'static str>,
    /// First major version that knows it.
    pub since: u32,
    /// It cannot run in a transaction.
    pub outside: bool,
    /// Rows decide what it touches of all that it may touch: more may be foreseen than happens.
    pub at_most: bool,
}

/// A form without any preparation that every supported version knows.
pub const fn form(sql: &'static str) -> Form {
    Form { sql, setup: "", zone: None, since: 14, outside: false, at_most: false }
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

    /// More may be foreseen than happens.
    pub const fn at_most(self) -> Self {
        Self { at_most: true, ..self }
    }

    /// The session is in another time zone than UTC.
    pub const fn at(self, zone: &'static str) -> Self {
        Self { zone: Some(zone), ..self }
    }

    /// The first major version that knows it.
    pub const fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    /// Whether it leaves something behind, so that nothing else can be measured in its database.
    pub fn leaves_traces(&self) -> bool {
        self.outside || self.sql.contains("; ")
    }

    /// Whether two forms find the same database.
    pub fn starts_like(&self, other: &Self) -> bool {
        self.setup == other.setup && self.zone == other.zone
    }

    /// What names it.
    pub fn name(&self) -> String {
        let zone = self.zone.map(|zone| format!(" (TimeZone {zone})")).unwrap_or_default();
        let setup = if self.setup.is_empty() { String::new() } else { format!(" (after {})", self.setup) };
        format!("{}{setup}{zone}", self.sql)
    }
}
