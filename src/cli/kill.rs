//! `coracle kill`: sends containers a signal.

use anyhow::Result;

use super::{Context, each};
use crate::container::control::{self, Request};
use crate::container::{catalogue, signal};

/// Send containers a signal
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The signal, by name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let signal = signal::parse(&arguments.signal)?;
    each(&arguments.containers, |name| {
        let container = catalogue::find(&context.folders, name)?;
        let client = control::running(&context.folders, &container.record.id, name)?;
        if !client.ask(&Request::Signal(signal))? {
            return Err(control::not_running(name));
        }
        Ok(name.to_owned())
    })
}
