//! `coracle start`: starts containers that are there and do not run.

use anyhow::{Context as _, Result, bail, ensure};

use super::{Context, each, run};
use crate::container::control::Request;
use crate::container::start::{self, Attach, Launched};
use crate::container::{attach, catalogue, terminal};

/// Start containers that were made or have ended
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Show what the container writes, pass signals on, and exit with its code
    #[arg(short, long)]
    attach: bool,
    /// Connect standard input too
    #[arg(short, long)]
    interactive: bool,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    if arguments.attach || arguments.interactive {
        let [name] = arguments.containers.as_slice() else {
            bail!("You cannot start and attach multiple containers at once")
        };
        return attached(context, name, arguments.interactive);
    }
    each(&arguments.containers, |name| {
        let container = catalogue::find(&context.folders, name)?;
        start(context, &container.record.id)?;
        Ok(name.to_owned())
    })
}

/// Starts container `id` in the background, if it does not run.
pub(super) fn start(context: &Context, id: &str) -> Result<()> {
    if let Some(launched) = launch(context, id, Attach::default())? {
        let name = launched.record.name.clone();
        ensure!(run::until_started(context, launched)? == 0, "Failed to start the container {name}");
    }
    Ok(())
}

fn launch(context: &Context, id: &str, attach: Attach) -> Result<Option<Launched>> {
    let found = catalogue::find(&context.folders, id)?;
    run::check_host(context, found.record.kernel.is_none())?;
    start::again(&context.folders, id, attach)
}

fn attached(context: &Context, name: &str, interactive: bool) -> Result<u8> {
    let record = catalogue::find(&context.folders, name)?.record;
    let has_terminal = record.process.terminal.is_some();
    let interactive = interactive && record.process.stdin;
    let raw = has_terminal && interactive;
    if raw && !terminal::is_on_stdin() {
        return Ok(run::no_terminal());
    }
    let signals = attach::hold_signals()?;
    let launched = launch(context, &record.id, Attach { stdin: interactive, output: true })?;
    let launched = launched.with_context(|| {
        format!(
            "The container {name} is running; only one that does not run can be started with -a or -i (see logs -f)"
        )
    })?;
    if has_terminal {
        launched.client.tell(&Request::Resize(terminal::size()))?;
    }
    run::foreground(context, launched, &signals, has_terminal, raw)
}
