//! A part of the keys, spread over all of them: what a copy goes over when it has gone over everything once.
//!
//! Invariant: the ranges are frozen when the backfill begins, as its bound is, and the way back goes over the same ones.

use sqlx::{PgConnection, Row};

use super::leaf::Leaf;
use super::text::KeyValue;
use crate::postgres::error::Error;
use crate::postgres::statement::ours;

/// Keys above which a part is enough.
const LARGE: u64 = 200_000;
/// How many ranges, and of how many keys each.
const RANGES: usize = 20;
const KEYS: u32 = 1000;
/// Rows among which the beginnings of ranges are drawn.
const DRAWN: u32 = 20_000;

/// Keys above the first, which is absent at the beginning, up to the second.
pub type KeyRange = (Option<KeyValue>, KeyValue);

/// Leaves of a large leaf some ranges to be gone over. Runs as the owner.
pub(super) async fn draw(conn: &mut PgConnection, leaf: &mut Leaf) -> Result<(), Error> {
    let Some(bound) = leaf.bound.clone().filter(|_| leaf.keys_total > LARGE && !leaf.key.by_place) else {
        return Ok(());
    };
    let rows =
        sqlx::raw_sql(ours(leaf.drawn(share(leaf.keys_total), RANGES - 1))).fetch_all(&mut *conn).await?;
    let mut ranges: Vec<KeyRange> = Vec::new();
    let mut starts: Vec<Option<KeyValue>> = vec![None];
    for row in &rows {
        starts.push(Some(row.try_get(0)?));
    }
    for start in starts {
        if let (Some(start), Some((_, last))) = (&start, ranges.last())
            && !is_after(conn, leaf, start, last).await?
        {
            continue;
        }
        let end = leaf.window_end(start.as_ref(), &bound, u64::from(KEYS));
        // Where fewer keys are left than a range has, what is there is enough.
        let Some(row) = sqlx::raw_sql(ours(end)).fetch_optional(&mut *conn).await? else { break };
        ranges.push((start, row.try_get(0)?));
    }
    let Some((_, last)) = ranges.last() else { return Ok(()) };
    leaf.bound = Some(last.clone());
    let keys = u64::from(KEYS) * ranges.len() as u64;
    leaf.rows_expected = leaf.rows_expected.saturating_mul(keys) / leaf.keys_total.max(1);
    leaf.keys_total = keys;
    leaf.ranges = ranges;
    Ok(())
}

/// The range that comes after those that are done.
pub(super) fn next(leaf: &Leaf) -> Option<&KeyRange> {
    let done = leaf.cursor.as_ref().and_then(|cursor| leaf.ranges.iter().position(|(_, to)| to == cursor));
    leaf.ranges.get(done.map_or(0, |done| done + 1))
}

/// Per cent of the table's pages that have enough rows to draw from.
fn share(keys: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let keys = keys as f64;
    (100.0 * f64::from(DRAWN) / keys.max(1.0)).min(100.0)
}

async fn is_after(
    conn: &mut PgConnection,
    leaf: &Leaf,
    one: &KeyValue,
    other: &KeyValue,
) -> Result<bool, Error> {
    Ok(sqlx::raw_sql(ours(leaf.is_after(one, other))).fetch_one(conn).await?.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_gone_over_one_after_the_other() {
        let key = |id: &str| vec![id.to_owned()];
        let ranges = vec![(None, key("10")), (Some(key("50")), key("60"))];
        let at = |cursor: Option<&str>| {
            let leaf = Leaf { ranges: ranges.clone(), cursor: cursor.map(key), ..Leaf::default() };
            next(&leaf).map(|(_, to)| to.join(","))
        };
        assert_eq!(at(None).as_deref(), Some("10"));
        assert_eq!(at(Some("10")).as_deref(), Some("60"));
        assert_eq!(at(Some("60")), None);
    }
}
