//! What a preview says, in words: the same for the terminal and for pull requests.

use crate::core::estimate::{Band, Basis, Estimate};
use crate::core::preview::{
    Blocked, Lock, QueryPreview, Server, ServerBasis, StatementPreview, UnitPreview, amount, duration, size,
};
use crate::sql::{Finding, Heavy};

/// Where a statement stands: `file:line:column`.
pub(super) fn placed(statement: &StatementPreview) -> String {
    let file = statement.file.as_deref().unwrap_or("-");
    match &statement.field {
        Some(field) => format!("{file}: {field}:{}:{}", statement.line, statement.column),
        None => format!("{file}:{}:{}", statement.line, statement.column),
    }
}

/// The server that was looked at.
pub(super) fn server(server: &Server) -> String {
    let major = server.major.map_or_else(
        || "PostgreSQL, the worst of 14 to 18".to_owned(),
        |major| format!("PostgreSQL {major}"),
    );
    let seen = match server.basis {
        ServerBasis::Assumed => {
            "no catalog: sizes are not known, and what it would say is taken for the worst".to_owned()
        }
        ServerBasis::Catalog => {
            let of = server.database.as_ref().map(|name| format!("database {name}, ")).unwrap_or_default();
            let taken = server.taken_at.as_ref().map(|at| format!(" of {at}")).unwrap_or_default();
            format!("{of}catalog{taken}")
        }
    };
    format!("{major} · {seen}")
}

/// A unit in a line.
pub(super) fn unit(unit: &UnitPreview) -> String {
    let how = match (unit.batches, unit.transactional) {
        (true, _) => "in batches, each a transaction of its own",
        (false, true) => "one transaction",
        (false, false) => "outside of a transaction",
    };
    format!("{} · {how}", unit.step)
}

fn band(band: &Band, show: impl Fn(f64) -> String) -> String {
    if (band.high - band.low).abs() < f64::EPSILON {
        return show(band.expected);
    }
    format!("~{} ({} to {})", show(band.expected), show(band.low), show(band.high))
}

/// Wait, hold and total, what is written, and what the numbers rest on.
pub(super) fn estimate(estimate: Option<&Estimate>) -> String {
    let Some(estimate) = estimate else {
        return "how long it takes cannot be told; a size that is not known can be given with --rows TABLE=N"
            .to_owned();
    };
    let wait = estimate.wait_ms.as_ref().map_or_else(|| "not known".to_owned(), |wait| band(wait, duration));
    let basis = match estimate.basis {
        Basis::Catalog => "estimate from the catalog, not rehearsed",
        Basis::Rehearsed => "from a rehearsal",
    };
    format!(
        "wait {wait} · hold {} · total {} · WAL {} · disk {} · {basis}",
        band(&estimate.hold_ms, duration),
        band(&estimate.total_ms, duration),
        size(estimate.wal_bytes.expected),
        size(estimate.disk_peak_bytes.expected),
    )
}

/// How long a statement takes.
pub(super) fn takes(statement: &StatementPreview) -> String {
    match &statement.estimate {
        None => "not known".to_owned(),
        Some(estimate) => {
            let total = band(&estimate.total_ms, duration);
            if estimate.hold_ms.high > 0.0 { format!("{total}, and somebody waits for it") } else { total }
        }
    }
}

/// A lock, and who waits for it.
pub(super) fn lock(lock: &Lock) -> String {
    let who = match lock.blocks.as_slice() {
        [] => "nobody waits".to_owned(),
        [Blocked::Ddl] => "DDL waits".to_owned(),
        blocks => {
            let names = blocks.iter().map(|who| match who {
                Blocked::Reads => "reads",
                Blocked::Writes => "writes",
                Blocked::Ddl => "DDL",
            });
            let names: Vec<&str> = names.collect();
            format!("{} wait", listed(&names))
        }
    };
    format!("{} on {}: {who}", lock.mode, lock.relation)
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// Rewrites and scans.
pub(super) fn work(statement: &StatementPreview) -> Vec<String> {
    let meanwhile = match statement.heavy {
        Heavy::None => "",
        Heavy::Writes => ", while writers wait",
        Heavy::Everything => ", while readers and writers wait",
    };
    let names = |list: &[String]| listed(&list.iter().map(String::as_str).collect::<Vec<_>>());
    let mut work = Vec::new();
    if statement.rewrite {
        work.push(format!("writes {} anew{meanwhile}", names(&statement.rewrites)));
    }
    if statement.scan {
        work.push(format!("reads all of {}{meanwhile}", names(&statement.scans)));
    }
    if statement.destructive {
        work.push("deletes data, or an object that holds some".to_owned());
    }
    if statement.changes_data {
        work.push("changes rows".to_owned());
    }
    if statement.opaque {
        work.push("cannot be known from the text".to_owned());
    }
    work
}

/// A finding, with why it does not count if it does not.
pub(super) fn finding(finding: &Finding) -> String {
    match (&finding.ignored, &finding.overruled) {
        (Some(reason), _) => format!("{} (ignored: {reason})", finding.message),
        (None, Some(why)) => format!("{} ({why})", finding.message),
        (None, None) => finding.message.clone(),
    }
}

/// A number of calls.
fn calls(number: f64) -> String {
    match number {
        n if n > 0.0 && n < 0.5 => "less than 1 call".to_owned(),
        n if (0.5..1.5).contains(&n) => "1 call".to_owned(),
        n => format!("{} calls", amount(n)),
    }
}

/// The title over queries.
pub(super) fn queries(queries: &[QueryPreview]) -> String {
    let breaks = queries.iter().filter(|query| query.breaks.is_some());
    let (broken, calls) =
        breaks.fold((0, 0.0), |(broken, calls), query| (broken + 1, calls + query.calls_per_minute));
    let concerned = match queries.len() {
        1 => "1 live query is concerned".to_owned(),
        many => format!("{many} live queries are concerned"),
    };
    match broken {
        0 => format!("{concerned}, none will fail"),
        broken => format!("{concerned}, {broken} will fail ({}/min)", self::calls(calls)),
    }
}

/// Who runs a query, and how often.
pub(super) fn query(query: &QueryPreview) -> String {
    let user = query.user.as_ref().map(|user| format!("{user}, ")).unwrap_or_default();
    let uses =
        if query.uses.is_empty() { String::new() } else { format!(", uses {}", query.uses.join(", ")) };
    let calls = calls(query.calls_per_minute);
    format!("{user}{calls}/min, {} each{uses}", duration(query.mean_ms))
}

/// A text in one line, cut where it does not fit.
pub(super) fn one_line(text: &str, room: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= room {
        return line;
    }
    let cut: String = line.chars().take(room.saturating_sub(3)).collect();
    format!("{}...", cut.trim_end())
}
