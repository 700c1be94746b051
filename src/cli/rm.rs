//! `coracle rm`: removes containers.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Context, each, stop};
use crate::container::control::Request;
use crate::container::{catalogue, volumes};

/// Remove containers
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Kill those that run first
    #[arg(short, long)]
    force: bool,
    /// Also the volumes that nobody named
    #[arg(short, long)]
    volumes: bool,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    each(&arguments.containers, |name| {
        let container = catalogue::find(&context.folders, name)?;
        let record = container.record;
        if arguments.force && catalogue::is_alive(&context.folders, &record.id)? {
            stop::stop(context, &record.id, &Request::Signal(Signal::SIGKILL as i32))?;
        }
        catalogue::remove(&context.folders, &record)?;
        if arguments.volumes {
            volumes::remove_anonymous(&context.folders, &record.volumes)?;
        }
        Ok(name.to_owned())
    })
}
