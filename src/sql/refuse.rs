//! Statements that are never sent, and settings that are left out.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DiscardMode, ReindexObjectType, TransactionStmtKind, VariableSetKind, VariableSetStmt,
};

use super::classify::has_option;
use super::grammar::Parsed;
use super::kind::Kind;
use super::refusal::{Code, Objection};
use super::statement::Statement;
use super::token::Token;

/// The schema that holds the ledger.
const LEDGER: &str = "whimbrel";

/// Settings that whimbrel makes itself for every statement: a script may name them, and is overruled.
const OVERRULED: &[&str] = &[
    "application_name",
    "client_connection_check_interval",
    "client_min_messages",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "transaction_timeout",
];

/// Why a statement is left out, if it is a setting that whimbrel makes itself.
pub(super) fn overruled(parsed: &Parsed) -> Option<String> {
    let NodeEnum::VariableSetStmt(set) = &parsed.node else {
        return None;
    };
    let name = set.name.to_ascii_lowercase();
    OVERRULED
        .contains(&name.as_str())
        .then(|| format!("{name} is left out: it is set for every statement anyway"))
}

/// Why a statement is not accepted.
pub(super) fn objection(parsed: &Parsed, statement: &Statement, one_transaction: bool) -> Option<Objection> {
    let said = |(code, message, hint): Said| Objection::new(parsed.start, code, message, hint);
    control(&parsed.node)
        .or_else(|| setting(&parsed.node, one_transaction))
        .or_else(|| session(&parsed.node, one_transaction))
        .or_else(|| server(&parsed.node))
        .or_else(|| outside(statement, &parsed.node, one_transaction))
        .map(said)
        .or_else(|| called(parsed))
        .or_else(|| reserved(parsed))
}

type Said = (Code, String, &'static str);

// Every caller answers with an option.
#[allow(clippy::unnecessary_wraps)]
fn no(code: Code, message: impl Into<String>, hint: &'static str) -> Option<Said> {
    Some((code, message.into(), hint))
}

fn control(node: &NodeEnum) -> Option<Said> {
    let NodeEnum::TransactionStmt(control) = node else {
        return None;
    };
    let hint = "leave it out; a step is one transaction where that is possible, or wrap the whole script in one plain \
                BEGIN and COMMIT";
    let word = match control.kind() {
        TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => "BEGIN",
        TransactionStmtKind::TransStmtCommit => "COMMIT",
        TransactionStmtKind::TransStmtRollback => "ROLLBACK",
        TransactionStmtKind::TransStmtSavepoint => "SAVEPOINT",
        TransactionStmtKind::TransStmtRelease => "RELEASE SAVEPOINT",
        TransactionStmtKind::TransStmtRollbackTo => "ROLLBACK TO SAVEPOINT",
        TransactionStmtKind::TransStmtPrepare => "PREPARE TRANSACTION",
        TransactionStmtKind::TransStmtCommitPrepared => "COMMIT PREPARED",
        TransactionStmtKind::TransStmtRollbackPrepared => "ROLLBACK PREPARED",
        TransactionStmtKind::Undefined => "transaction control",
    };
    no(
        Code::TransactionControl,
        format!("{word} is not allowed here: whimbrel controls the transactions"),
        hint,
    )
}

fn setting(node: &NodeEnum, one_transaction: bool) -> Option<Said> {
    let set = match node {
        NodeEnum::VariableSetStmt(set) => set,
        NodeEnum::ConstraintsSetStmt(_) if one_transaction => return None,
        NodeEnum::ConstraintsSetStmt(_) => {
            return no(
                Code::Setting,
                "SET CONSTRAINTS lasts for one transaction only",
                "wrap the whole script in BEGIN and COMMIT",
            );
        }
        _ => return None,
    };
    let name = set.name.to_ascii_lowercase();
    let local = set.is_local && set.kind() == VariableSetKind::VarSetValue;
    match name.as_str() {
        _ if set.kind() == VariableSetKind::VarResetAll => {
            no(Code::SessionState, "RESET ALL would undo the settings that guard the run", "leave it out")
        }
        "role" | "session_authorization" => no(
            Code::RoleChange,
            format!("{} is not allowed: the Database says who runs the statements", words(set)),
            "set ownerRole on the Database",
        ),
        "search_path" => no(
            Code::Setting,
            "SET search_path is not allowed here: it would hold for some statements only",
            "set spec.searchPath, or write the schema before the name",
        ),
        "transaction" | "session characteristics" => {
            no(Code::TransactionControl, format!("{} is not allowed", words(set)), "leave it out")
        }
        _ if local && one_transaction => None,
        _ => no(
            Code::Setting,
            format!("{} would stay set for the statements after it", words(set)),
            "wrap the whole script in BEGIN and COMMIT and use SET LOCAL, or set it on the role with ALTER ROLE",
        ),
    }
}

fn words(set: &VariableSetStmt) -> String {
    let verb = match set.kind() {
        VariableSetKind::VarReset | VariableSetKind::VarResetAll => "RESET",
        _ if set.is_local => "SET LOCAL",
        _ => "SET",
    };
    format!("{verb} {}", set.name.replace("session_authorization", "SESSION AUTHORIZATION"))
}

fn session(node: &NodeEnum, one_transaction: bool) -> Option<Said> {
    let leave = "leave it out";
    match node {
        NodeEnum::DiscardStmt(discard) => {
            let what = if discard.target() == DiscardMode::DiscardAll { "DISCARD ALL" } else { "DISCARD" };
            no(Code::SessionState, format!("{what} would undo what guards the run"), leave)
        }
        NodeEnum::LoadStmt(_) => no(Code::SessionState, "LOAD changes the session", leave),
        NodeEnum::ListenStmt(_) | NodeEnum::UnlistenStmt(_) => {
            no(Code::SessionState, "LISTEN has no place in a migration: nobody hears it", leave)
        }
        NodeEnum::PrepareStmt(_) | NodeEnum::ExecuteStmt(_) | NodeEnum::DeallocateStmt(_) => no(
            Code::SessionState,
            "prepared statements last for a session, and a run may need several",
            "write the statement itself",
        ),
        NodeEnum::DeclareCursorStmt(_) | NodeEnum::FetchStmt(_) | NodeEnum::ClosePortalStmt(_) => {
            no(Code::SessionState, "cursors last for a session, and a run may need several", "use a DO block")
        }
        node if temporary(node) && !one_transaction => no(
            Code::SessionState,
            "temporary objects last for a session, and a run may need several",
            "wrap the whole script in BEGIN and COMMIT, or use an ordinary table",
        ),
        _ => None,
    }
}

fn temporary(node: &NodeEnum) -> bool {
    let relation = match node {
        NodeEnum::CreateStmt(create) => create.relation.as_ref(),
        NodeEnum::CreateTableAsStmt(create) => create.into.as_ref().and_then(|into| into.rel.as_ref()),
        NodeEnum::SelectStmt(select) => select.into_clause.as_ref().and_then(|into| into.rel.as_ref()),
        NodeEnum::ViewStmt(view) => view.view.as_ref(),
        NodeEnum::CreateSeqStmt(sequence) => sequence.sequence.as_ref(),
        _ => None,
    };
    relation.is_some_and(|relation| {
        relation.relpersistence == "t" || ["pg_temp"].contains(&relation.schemaname.as_str())
    })
}

fn server(node: &NodeEnum) -> Option<Said> {
    let elsewhere = "do it by other means, before the migration";
    let wide =
        |what: &str| no(Code::ServerWide, format!("{what} changes more than this database"), elsewhere);
    match node {
        NodeEnum::CopyStmt(copy) if copy.is_program => no(
            Code::FileAccess,
            "COPY ... PROGRAM runs a command on the database server",
            "load the data by other means",
        ),
        NodeEnum::CopyStmt(copy) if copy.filename.is_empty() && copy.is_from => no(
            Code::CopyData,
            "COPY FROM STDIN needs data that is not SQL",
            "write INSERT ... VALUES, or load the data by other means",
        ),
        NodeEnum::CopyStmt(copy) if copy.filename.is_empty() => {
            no(Code::FileAccess, "COPY TO STDOUT has nobody to read it", "leave it out")
        }
        NodeEnum::CopyStmt(_) => no(
            Code::FileAccess,
            "COPY with a file reads or writes files of the database server",
            "write INSERT ... VALUES, or load the data by other means",
        ),
        NodeEnum::AlterSystemStmt(_) => wide("ALTER SYSTEM"),
        NodeEnum::CreatedbStmt(_) => wide("CREATE DATABASE"),
        NodeEnum::DropdbStmt(_) => wide("DROP DATABASE"),
        NodeEnum::AlterDatabaseStmt(alter) if has_option(&alter.options, "tablespace") => {
            wide("ALTER DATABASE ... SET TABLESPACE")
        }
        NodeEnum::CreateTableSpaceStmt(_) => wide("CREATE TABLESPACE"),
        NodeEnum::DropTableSpaceStmt(_) => wide("DROP TABLESPACE"),
        NodeEnum::CreateSubscriptionStmt(_) => wide("CREATE SUBSCRIPTION"),
        NodeEnum::AlterSubscriptionStmt(_) => wide("ALTER SUBSCRIPTION"),
        NodeEnum::DropSubscriptionStmt(_) => wide("DROP SUBSCRIPTION"),
        _ => None,
    }
}

/// Statements that cannot run in a transaction: without a probe, without a name to probe for, or in the wrong place.
fn outside(statement: &Statement, node: &NodeEnum, one_transaction: bool) -> Option<Said> {
    let why = "cannot run in a transaction, and nothing would tell after a crash how far it came";
    let unknown = |what: &str, hint: &'static str| no(Code::NoProbe, format!("{what} {why}"), hint);
    match node {
        NodeEnum::ReindexStmt(reindex) => match reindex.kind() {
            ReindexObjectType::ReindexObjectSchema => {
                unknown("REINDEX SCHEMA", "reindex table by table, CONCURRENTLY")
            }
            ReindexObjectType::ReindexObjectSystem => {
                unknown("REINDEX SYSTEM", "run it by hand, in a quiet hour")
            }
            ReindexObjectType::ReindexObjectDatabase => {
                unknown("REINDEX DATABASE", "reindex table by table, CONCURRENTLY")
            }
            _ => None,
        },
        NodeEnum::ClusterStmt(cluster) if cluster.relation.is_none() => {
            unknown("CLUSTER of all tables", "name the table and the index")
        }
        NodeEnum::VacuumStmt(vacuum) if vacuum.is_vacuumcmd && has_option(&vacuum.options, "full") => {
            unknown(
                "VACUUM FULL",
                "it rewrites the table under a lock that stops readers; use plain VACUUM, or pg_repack",
            )
        }
        _ => None,
    }
    .or_else(|| match &statement.kind {
        Kind::CreateIndex(index) if index.concurrently && index.name.is_none() => no(
            Code::NameRequired,
            "CREATE INDEX CONCURRENTLY needs a name: without one it cannot be found again after a crash",
            "write the name of the index after CONCURRENTLY",
        ),
        _ if !statement.transactional && one_transaction => no(
            Code::NotInTransaction,
            format!("{} cannot run between BEGIN and COMMIT", statement.summary()),
            "take BEGIN and COMMIT away, or put the statement into a step of its own",
        ),
        _ if !statement.transactional && statement.probe().is_none() => {
            unknown(&statement.summary(), "run it by hand")
        }
        _ => None,
    })
}

/// `set_config('...')` does what `SET` does.
fn called(parsed: &Parsed) -> Option<Objection> {
    let mut pairs = parsed.tokens.windows(2);
    let call = pairs.find_map(|pair| match pair {
        [name, open] if open.is_word(&parsed.sql, "(") && name.name(&parsed.sql)? == "set_config" => {
            Some(*name)
        }
        _ => None,
    })?;
    Some(Objection::new(
        parsed.start + call.start,
        Code::Setting,
        "set_config() would stay set for the statements after it",
        "set it on the role with ALTER ROLE; for the search path set spec.searchPath",
    ))
}

/// The first place where a statement names the schema of the ledger.
fn reserved(parsed: &Parsed) -> Option<Objection> {
    let sql = parsed.sql.as_str();
    let tokens = parsed.tokens.as_slice();
    let path = tokens.iter().position(|token| token.name(sql).as_deref() == Some("search_path"));
    let (index, _) = tokens.iter().enumerate().find(|(index, token)| {
        let named = token.name(sql).as_deref() == Some(LEDGER);
        let quoted = token.string(sql).is_some_and(|text| text.split(',').any(|part| part.trim() == LEDGER));
        let (before, after) = (tokens.get(..*index).unwrap_or_default(), tokens.get(index + 1));
        if quoted || named {
            let in_path = path.is_some_and(|path| path < *index);
            let set_schema = ends_with(before, sql, &["set", "schema"]);
            return in_path
                || set_schema
                || named && (after.is_some_and(|dot| dot.is_word(sql, ".")) || names_schema(before, sql));
        }
        false
    })?;
    Some(Objection::new(
        parsed.start + tokens.get(index).map_or(0, |token| token.start),
        Code::ReservedSchema,
        format!("schema {LEDGER} holds the history of migrations and cannot be touched by one"),
        "use another schema; a table or alias of that name needs another alias",
    ))
}

/// Whether the next name after `before` is that of a schema: `SCHEMA [IF [NOT] EXISTS] [a,] ...`, `ALTER SCHEMA a RENAME
/// TO ...`, `IMPORT FOREIGN SCHEMA a FROM SERVER s INTO ...`.
fn names_schema(before: &[Token], sql: &str) -> bool {
    let mut list = before;
    while let [rest @ .., _, comma] = list
        && comma.is_word(sql, ",")
    {
        list = rest;
    }
    let starts = |words: &[&str]| {
        words.iter().enumerate().all(|(i, word)| before.get(i).is_some_and(|token| token.is_word(sql, word)))
    };
    ends_with(list, sql, &["schema"])
        || ends_with(list, sql, &["schema", "if", "exists"])
        || ends_with(list, sql, &["schema", "if", "not", "exists"])
        || ends_with(list, sql, &["schema", "authorization"])
        || starts(&["alter", "schema"]) && ends_with(list, sql, &["rename", "to"])
        || starts(&["import", "foreign", "schema"]) && ends_with(list, sql, &["into"])
}

fn ends_with(tokens: &[Token], sql: &str, words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && words.iter().rev().zip(tokens.iter().rev()).all(|(word, token)| token.is_word(sql, word))
}
