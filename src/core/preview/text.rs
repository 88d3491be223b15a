//! Numbers for people.

/// Writes a count short: `2.1 M`, `300 k`, `17`.
pub fn amount(count: f64) -> String {
    scaled(count, 1000.0, &["", " k", " M", " G", " T"])
}

/// Writes a number of bytes short: `8 KiB`, `1.3 GiB`.
pub fn size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

/// Writes a duration short, from milliseconds: `40 ms`, `1.3 s`, `12 min`.
pub fn duration(ms: f64) -> String {
    let steps = [(1000.0, "ms", 1.0), (60_000.0, "s", 1000.0), (3_600_000.0, "min", 60_000.0)];
    match steps.into_iter().find(|(below, _, unit)| round(ms / unit) * unit < *below) {
        Some((_, _, 1.0)) if ms > 0.0 && ms < 1.0 => "1 ms".to_owned(),
        Some((_, name, unit)) => format!("{} {name}", round(ms / unit)),
        None if ms < 48.0 * 3_600_000.0 => format!("{} h", round(ms / 3_600_000.0)),
        None => format!("{} d", round(ms / 86_400_000.0)),
    }
}

/// Two digits that say something; more from 100 on.
fn round(number: f64) -> f64 {
    if number < 10.0 { (number * 10.0).round() / 10.0 } else { number.round() }
}

fn scaled(number: f64, base: f64, units: &[&str]) -> String {
    let mut rest = number.max(0.0);
    let mut left = units.iter();
    let mut unit = left.next().copied().unwrap_or_default();
    while round(rest) >= base {
        let Some(larger) = left.next() else { break };
        rest /= base;
        unit = larger;
    }
    let digits = if unit == units.first().copied().unwrap_or_default() { rest.round() } else { round(rest) };
    format!("{digits}{unit}")
}

/// One of something, or several.
pub(super) fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
