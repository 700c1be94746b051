//! `coracle volume rm`: removes volumes.

use anyhow::Result;

use crate::cli::{Context, each};
use crate::container::volumes;

/// Remove volumes that no container needs, with their data
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One that is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// The volumes
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    each(&arguments.names, |name| {
        if !arguments.force || volumes::look(&context.folders, name)?.is_some() {
            volumes::remove(&context.folders, name)?;
        }
        Ok(name.to_owned())
    })
}
