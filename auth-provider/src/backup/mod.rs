//! `auth-provider backup`, `restore` and `migrate`: all that a provider knows, in one encrypted file or in another
//! database. Unlike the administrator's commands they open the database themselves, by the server's own configuration.
//!
//! A backup is a stream of rows ([`records`]), the same whichever database they come from, sealed under a key that the
//! operator keeps ([`seal`], [`key`]). So a backup of SQLite is restored into PostgreSQL and the other way round.

pub mod key;
pub mod records;
pub mod seal;

mod migrate;
mod report;
mod restore;
mod take;

use std::path::PathBuf;

use clap::Command;
use m2m::Clock;
use serde_json::json;

use crate::{
    cli::{Failure, output::print},
    config::Config,
};
use key::BackupKey;
use report::report;

const BACKUP_HELP: &str = "\
The server may be running: the backup is of one moment, and nobody waits for it.

Keep the key apart from the backups, and not only on this machine. Whoever has both has every
key and every secret of this provider; whoever lost the key has no backup.

Environment:
  AUTH_PROVIDER_BACKUP_KEY  the key itself, instead of --key-file

Examples:
  auth-provider backup new-key backup.key
  auth-provider backup --key-file backup.key /var/backups/auth-provider.backup
  auth-provider backup verify --key-file backup.key /var/backups/auth-provider.backup";

const RESTORE_HELP: &str = "\
What was changed after the backup is lost. Tokens that were revoked after it are valid again until
they end, and clients, secrets and keys that were taken away after it are back: take them away
again, and say --revoke-tokens when you do not know which.

Environment:
  AUTH_PROVIDER_BACKUP_KEY  the key itself, instead of --key-file

Example, on an empty machine:
  auth-provider restore --key-file backup.key --data-dir data auth-provider.backup";

const MIGRATE_HELP: &str = "\
Stop the servers first: what they write while it is copied is not copied. The master key is not in
the database: servers on the new one need the same DATA_DIR/master.key or AUTH_PROVIDER_MASTER_KEY,
and find their clients' secrets in the same clients.json.

Example:
  auth-provider migrate --from sqlite:data/auth-provider.db --to postgres://auth@db/auth";

/// The commands that open the database by themselves.
#[derive(clap::Subcommand)]
pub enum DataCommand {
    /// Write all that the provider knows, its keys too, to one encrypted file
    #[command(after_help = BACKUP_HELP)]
    Backup(BackupArgs),
    /// Make an empty database, the master key and clients.json from a backup
    #[command(after_help = RESTORE_HELP)]
    Restore(RestoreArgs),
    /// Copy everything from one database into another, empty one, and compare both
    #[command(after_help = MIGRATE_HELP)]
    Migrate(MigrateArgs),
}

#[derive(clap::Args)]
#[command(subcommand_negates_reqs = true)]
pub struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// The file to write: only its owner can read it, and it appears when it is whole
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Replace the file when there is one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    with: With,
}

#[derive(clap::Subcommand)]
enum BackupCommand {
    /// Read a backup from beginning to end, and say what is in it
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Make a key for backups, in a new file that only its owner can read
    NewKey {
        /// Where the key is going to be
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(clap::Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take back every token that was issued until now: clients get new ones, nothing that was revoked is valid again
    #[arg(long)]
    revoke_tokens: bool,
    #[command(flatten)]
    with: With,
}

#[derive(clap::Args)]
pub struct MigrateArgs {
    /// The database to read: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`
    #[arg(
        long,
        env = "AUTH_PROVIDER_MIGRATE_FROM",
        value_name = "URL",
        hide_env_values = true
    )]
    from: String,
    /// The database to fill, which is empty or not there yet
    #[arg(
        long,
        env = "AUTH_PROVIDER_MIGRATE_TO",
        value_name = "URL",
        hide_env_values = true
    )]
    to: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// With which key, and how to print what was done.
#[derive(clap::Args)]
struct With {
    /// The file of the backup's key, which only its owner can read
    #[arg(long, value_name = "FILE", global = true)]
    key_file: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
}

/// Carries out a command.
///
/// # Errors
/// When something stands in the way: the error's chain says what, in one line, and holds no secret.
pub async fn run(command: DataCommand, config: &Config, clock: &Clock) -> Result<(), Failure> {
    match command {
        DataCommand::Backup(arguments) => backup(arguments, config, clock).await,
        DataCommand::Restore(arguments) => restore(arguments, config, clock).await,
        DataCommand::Migrate(arguments) => {
            let lines = migrate::migrate(&arguments.from, &arguments.to).await?;
            let json = arguments.json;
            print(&report(json, json!({}), &lines, migrate::AFTERWARDS))
        }
    }
}

async fn backup(arguments: BackupArgs, config: &Config, clock: &Clock) -> Result<(), Failure> {
    let BackupArgs {
        command,
        file,
        force,
        with,
    } = arguments;
    let json = with.json;
    match (command, file) {
        (Some(BackupCommand::NewKey { file }), None) => {
            let key = BackupKey::generate();
            key.write(&file)?;
            let (name, file) = (key.name().to_string(), file.display().to_string());
            let told = format!("{file} has the new key {name}. Keep a copy of it elsewhere.\n");
            print(&report(
                json,
                json!({"key": name, "file": file}),
                &[],
                &told,
            ))
        }
        (Some(BackupCommand::Verify { file }), None) => {
            let key = BackupKey::find(with.key_file.as_deref())?;
            let contents = restore::read_through(&file, &key)?;
            let told = contents.told();
            print(&report(json, contents.json(), &contents.lines, &told))
        }
        (None, Some(file)) => {
            let key = BackupKey::find(with.key_file.as_deref())?;
            let taken = take::take(config, clock, &file, force, &key).await?;
            let told = taken.told(&file);
            print(&report(json, taken.json(&file), &taken.lines, &told))
        }
        _ => Err(Failure::Usage(
            "say FILE, or a command with its own: a file of that name is written as ./verify"
                .to_owned(),
        )),
    }
}

async fn restore(arguments: RestoreArgs, config: &Config, clock: &Clock) -> Result<(), Failure> {
    let key = BackupKey::find(arguments.with.key_file.as_deref())?;
    let RestoreArgs {
        file,
        revoke_tokens,
        ..
    } = &arguments;
    let done = restore::restore(config, clock, file, &key, *revoke_tokens).await?;
    let told = done.told(config);
    let json = arguments.with.json;
    print(&report(
        json,
        done.json(config),
        &done.contents.lines,
        &told,
    ))
}

/// Keeps the settings of the server out of these commands' help, but for those that they read.
pub fn with_help(mut program: Command) -> Command {
    let settings = program.get_arguments().filter(|one| one.is_global_set());
    let hidden: Vec<_> = settings.map(|one| one.clone().hide(true)).collect();
    let read = ["database_url", "data_dir", "clients_file", "config"];
    let unread = hidden
        .iter()
        .filter(|one| !read.contains(&one.get_id().as_str()));
    let unread: Vec<_> = unread.cloned().collect();
    for name in ["backup", "restore"] {
        program = program.mut_subcommand(name, |command| {
            let command = command.args(&unread);
            command.mut_subcommands(|command| command.args(&hidden))
        });
    }
    program.mut_subcommand("migrate", |command| command.args(&hidden))
}
