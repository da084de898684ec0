//! `auth-provider policy …`: the whole graph as a file, and as a picture.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::{
    Session,
    confirm::Confirm,
    failure::{Exit, Failure},
    output::{is_colored, terminal_width},
};
use crate::{
    policy_plan::{PlanView, plan_text},
    policy_view::{self, Graph},
};

/// The columns of a picture that goes to no terminal.
const FILE_WIDTH: u16 = 120;

#[derive(clap::Subcommand)]
pub enum PolicyCommand {
    /// Show what a policy file would change, and change nothing
    #[command(after_help = "Examples:\n  auth-provider policy plan policy.toml\n  \
                            auth-provider policy plan --prune --check policy.toml   # exit status 3: it differs")]
    Plan {
        #[command(flatten)]
        file: PolicyFile,
        /// Exit with status 3 if there is anything to change
        #[arg(long)]
        check: bool,
    },
    /// Make what a policy file says be in force, all of it or nothing
    #[command(after_help = "Examples:\n  auth-provider policy apply policy.toml\n  \
                            auth-provider policy apply --prune --yes - < policy.toml")]
    Apply {
        #[command(flatten)]
        file: PolicyFile,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Write what is in force as a policy file
    Export {
        /// Where to; `-` is stdout
        #[arg(value_name = "FILE")]
        path: PathBuf,
        /// Write over a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Print who may call what
    #[command(after_help = "Example:\n  auth-provider policy show --format mermaid > graph.mmd")]
    Show {
        /// A table, a list of arrows, or the text of a diagram
        #[arg(long, value_enum, default_value_t = Format::Matrix)]
        format: Format,
    },
}

#[derive(clap::Args)]
pub struct PolicyFile {
    /// The file, in TOML; `-` is stdin
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Also remove what the file does not name
    #[arg(long)]
    prune: bool,
}

/// How the graph is printed.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Format {
    /// Clients against resources
    Matrix,
    /// An arrow per line
    Graph,
    /// For documents in Markdown
    Mermaid,
    /// For Graphviz
    Dot,
}

pub(super) async fn run(command: PolicyCommand, session: &Session) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Plan { file, check } => {
            let plan = file.post(session, "plan", &file.read()?).await?;
            show_plan(session, &plan)?;
            Ok(if check && !is_empty(&plan) {
                Exit::ChangesPending
            } else {
                Exit::Done
            })
        }
        PolicyCommand::Apply { file, confirm } => apply(session, &file, confirm).await,
        PolicyCommand::Export { path, force } => export(session, &path, force).await,
        PolicyCommand::Show { format } => show(session, format).await,
    }
}

async fn apply(session: &Session, file: &PolicyFile, confirm: Confirm) -> Result<Exit, Failure> {
    let text = file.read()?;
    if file.prune {
        let plan = file.post(session, "plan", &text).await?;
        let removals = plan["remove"].as_u64().unwrap_or_default();
        if removals > 0
            && let Some(person) = confirm.person()?
        {
            let text = plan_text(&session.api.read::<PlanView>(&plan)?, is_colored());
            person.ask(&format!("Applies this, with its removals:\n{text}"))?;
        }
    }
    let done = file.post(session, "apply", &text).await?;
    show_plan(session, &done)?;
    Ok(Exit::Done)
}

async fn export(session: &Session, path: &Path, force: bool) -> Result<Exit, Failure> {
    let is_stdout = path == Path::new("-");
    if !is_stdout && !force && path.symlink_metadata().is_ok() {
        return Err(there_already(path));
    }
    let text = session.api.get_text(&["policy"]).await?;
    if is_stdout {
        io::stdout().lock().write_all(text.as_bytes())?;
    } else {
        write(path, &text, force)?;
    }
    Ok(Exit::Done)
}

async fn show(session: &Session, format: Format) -> Result<Exit, Failure> {
    let answer = session.api.get(&["policy", "graph"]).await?;
    session
        .out
        .show(&session.api, &answer.value, |graph: Graph| match format {
            Format::Matrix => {
                policy_view::matrix(&graph, terminal_width().unwrap_or(FILE_WIDTH).into())
            }
            Format::Graph => policy_view::graph_text(&graph),
            Format::Mermaid => policy_view::mermaid(&graph),
            Format::Dot => policy_view::dot(&graph),
        })?;
    Ok(Exit::Done)
}

fn show_plan(session: &Session, plan: &Value) -> Result<(), Failure> {
    session.out.show(&session.api, plan, |plan: PlanView| {
        plan_text(&plan, is_colored())
    })
}

fn is_empty(plan: &Value) -> bool {
    plan["changes"].as_array().is_none_or(Vec::is_empty)
}

impl PolicyFile {
    fn read(&self) -> Result<String, Failure> {
        let (text, shown) = if self.path == Path::new("-") {
            let mut text = String::new();
            let read = io::stdin().lock().read_to_string(&mut text);
            (read.map(|_| text), "stdin".to_owned())
        } else {
            (
                fs::read_to_string(&self.path),
                self.path.display().to_string(),
            )
        };
        Ok(text.with_context(|| format!("cannot read {shown}"))?)
    }

    async fn post(&self, session: &Session, verb: &str, text: &str) -> Result<Value, Failure> {
        let path = ["policy", verb];
        Ok(session.api.post_toml(&path, self.prune, text).await?.value)
    }
}

fn there_already(path: &Path) -> Failure {
    Failure::Usage(format!(
        "{} is there already: write over it with --force",
        path.display()
    ))
}

/// The whole file or nothing: beside it first, then in its place.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let written = || -> io::Result<_> {
        let mut file = tempfile::Builder::new()
            .prefix(".policy")
            .permissions(fs::Permissions::from_mode(0o666)) // no secret; the umask takes its part
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let cannot = |error| Failure::Failed(anyhow!("cannot write {}: {error}", path.display()));
    let file = written().map_err(cannot)?;
    if force {
        file.persist(path).map_err(|error| cannot(error.error))?;
        return Ok(());
    }
    file.persist_noclobber(path)
        .map_err(|error| match error.error {
            error if error.kind() == io::ErrorKind::AlreadyExists => there_already(path),
            error => cannot(error),
        })?;
    Ok(())
}
