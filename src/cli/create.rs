//! `coracle create`: makes a container without starting it.

use anyhow::Result;

use super::{Context, run, ui};
use crate::container::start;

/// Make a container without starting it, and print its id
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    container: run::Flags,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<u8> {
    let prepared = run::prepare(context, arguments.container, false)?;
    let record = start::create(&context.folders, prepared.request, &prepared.image)?;
    drop(prepared.holds);
    ui::line(&record.id)?;
    Ok(0)
}
