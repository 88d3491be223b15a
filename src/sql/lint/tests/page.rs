//! `docs/findings.md` is written from the tables of this module: `WRITE=1 cargo test --lib findings_page` writes it anew.

use std::fmt::Write as _;

use super::super::advice;
use super::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings.md");

const HEAD: &str = "\
# Findings

What `whimbrel lint`, `whimbrel plan` and `status.plan` of a Migration may say about a statement. Codes are stable: one that is
given up is not given again. Each finding has its place, a sentence that says why, and the form that does no harm where
there is one, as SQL.

What a finding says rests on what is foreseen of the statement (locks, scans, rewrites) in the catalog that is known, and not
on its text alone; what is not known is taken for the worst. The severity is made of the lock, the size of the table and
its traffic:

| severity | what it means |
|---|---|
| High | an outage, a loss of data, or a change that breaks what runs |
| Medium | may be felt: it depends on the size of a table, or on who is connected |
| Low | felt by somebody, and shortly |
| Info | good to know |

Work under a lock is Low on up to 10,000 rows and 16 MiB, Medium on up to 100,000 rows and 128 MiB (High if the table is used a
hundred times in each second and readers wait too, Low if nobody uses it), and High beyond, or where the size is not known. An
empty table makes it Info.

A finding is accepted with a comment that names it and gives a reason ([how](lint.md#accept-a-finding)).

## Codes

| code | name | about | what |
|---|---|---|---|
";

const ADVICE: &str = "
## Advice

The rules of [squawk](https://squawkhq.com/docs/rules), which read the text alone, are shown as advice under their own names,
with the severity Low or Info. Advice is left out where a finding says the same, and shown as *overruled*, with the reason,
where the catalog shows that it does not hold: a `varchar` that becomes longer, `SET NOT NULL` with a valid `CHECK`, a table that
the same script makes. Overruled advice never counts. Where squawk does not see the same statements as PostgreSQL's own
grammar, it is not heard.

| rule | severity | the findings that say it better |
|---|---|---|
";

const REST: &str = "
The other rules of squawk are not heard: those of taste (`prefer-text-field`, `prefer-robust-stmts`, `prefer-identity`,
`prefer-bigint-over-smallint`, `require-table-schema`), and those about what Whimbrel does by itself (`require-lock-timeout`,
`require-statement-timeout`, `transaction-nesting`, `ban-uncommitted-transaction`,
`ban-concurrent-index-creation-in-transaction`).
";

#[test]
fn findings_page() {
    let mut page = HEAD.to_owned();
    for rule in RULES {
        writeln!(page, "| `{}` | `{}` | {} | {} |", rule.code, rule.name, rule.class, rule.summary).unwrap();
    }
    page.push_str(ADVICE);
    for (name, severity, same) in advice::heard() {
        let same: Vec<String> = same.iter().map(|code| format!("`{code}`")).collect();
        writeln!(page, "| `{name}` | {severity:?} | {} |", same.join(", ")).unwrap();
    }
    page.push_str(REST);
    if std::env::var_os("WRITE").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "docs/findings.md is not what the tables say: WRITE=1 cargo test --lib findings_page"
    );
}

#[test]
fn advice_names_findings_that_exist() {
    for (name, _, same) in advice::heard() {
        assert!(same.iter().all(|code| rule(code).is_some()), "{name}");
        assert!(is_advice(&name) && !is_advice("WB101"));
    }
}
