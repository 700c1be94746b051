//! `coracle restart`: stops containers and starts them again.

use anyhow::{Result, ensure};

use super::{Context, each, start, stop};
use crate::container::catalogue;
use crate::container::control::Request;

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Seconds to wait before SIGKILL
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", default_value_t = 10)]
    time: u32,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    each(&arguments.containers, |name| {
        let record = catalogue::find(&context.folders, name)?.record;
        if catalogue::is_alive(&context.folders, &record.id)? {
            ensure!(
                !record.remove,
                "The container {name} would be removed when it is stopped (--rm), so it cannot be restarted"
            );
            stop::stop(context, &record.id, &Request::Stop { grace: arguments.time.into() })?;
        }
        start::start(context, &record.id)?;
        Ok(name.to_owned())
    })
}
