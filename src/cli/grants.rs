//! `whimbrel grants`.

use crate::postgres::grants::grants_sql;

/// Prints the least SQL that prepares a database for Whimbrel, for an administrator to read and to run with psql.
///
/// It gives the login of the operator what it needs and nothing more. What a missing grant disables is shown in the
/// condition Privileged of the Database.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Role that Whimbrel logs in with.
    #[arg(long, value_name = "ROLE")]
    login: String,
    /// Role that shall own what migrations create: spec.ownerRole of the Database.
    #[arg(long, value_name = "ROLE")]
    owner_role: Option<String>,
    /// Name of the database.
    #[arg(long, value_name = "NAME")]
    database: String,
    /// Schema that migrations work in; may be repeated or separated by commas.
    #[arg(long, value_name = "NAME", default_value = "public", value_delimiter = ',')]
    schema: Vec<String>,
}

pub(super) fn text(args: &Args) -> String {
    grants_sql(&args.login, args.owner_role.as_deref(), &args.database, &args.schema)
}
