//! `coracle wait`: waits for containers to end.

use anyhow::Result;

use super::{Context, each};
use crate::container::catalogue;
use crate::container::control::Client;
use crate::container::record::Status;

/// Wait until containers end, and print their exit codes
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    each(&arguments.containers, |name| {
        let container = catalogue::find(&context.folders, name)?;
        if container.state.status == Status::Exited {
            return Ok(container.state.exit_code.to_string());
        }
        if let Some(client) = Client::connect(&context.folders, &container.record.id)?
            && let Some(code) = client.end()?
        {
            return Ok(code.to_string());
        }
        // It ended just now, or its monitor was killed: what is recorded is the truth.
        Ok(catalogue::find(&context.folders, name)?.state.exit_code.to_string())
    })
}
