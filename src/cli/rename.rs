//! `coracle rename`: gives a container another name.

use anyhow::Result;

use super::Context;
use crate::container::catalogue;

/// Give a container another name
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The container
    container: String,
    /// What it is to be called
    new_name: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let container = catalogue::find(&context.folders, &arguments.container)?;
    // Docker's users know names with a slash in front from inspect.
    let name = arguments.new_name.strip_prefix('/').unwrap_or(&arguments.new_name);
    catalogue::rename(&context.folders, &container.record, name)?;
    Ok(0)
}
