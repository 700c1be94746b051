//! `coracle stop`: asks containers to end, and ends those that do not.

use anyhow::{Result, bail};

use super::{Context, each};
use crate::container::control::{Client, Request};
use crate::container::{catalogue, id};

/// Stop containers: the stop signal first, SIGKILL after a while
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Seconds to wait before SIGKILL
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u32,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    each(&arguments.containers, |name| {
        let container = catalogue::find(&context.folders, name)?;
        stop(context, &container.record.id, &Request::Stop { grace: arguments.time.into() })?;
        Ok(name.to_owned())
    })
}

/// Asks a container to end and waits until it has; one that does not run has.
pub(super) fn stop(context: &Context, id: &str, request: &Request) -> Result<()> {
    let Some(client) = Client::connect(&context.folders, id)? else {
        if catalogue::is_alive(&context.folders, id)? {
            bail!("The container {} is just being started or removed; try again", id::short(id));
        }
        return Ok(());
    };
    if client.ask(request)? {
        client.end()?;
    }
    Ok(())
}
