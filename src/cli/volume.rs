//! `coracle volume`: data that outlives containers.

mod create;
mod inspect;
mod ls;
mod prune;
mod rm;

use anyhow::Result;
use clap::Subcommand;

use super::Context;

/// Manage volumes
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Arguments),
    #[command(visible_alias = "list")]
    Ls(ls::Arguments),
    Inspect(inspect::Arguments),
    #[command(visible_alias = "remove")]
    Rm(rm::Arguments),
    Prune(prune::Arguments),
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    match &arguments.verb {
        Verb::Create(arguments) => create::run(context, arguments),
        Verb::Ls(arguments) => ls::run(context, arguments),
        Verb::Inspect(arguments) => inspect::run(context, arguments),
        Verb::Rm(arguments) => rm::run(context, arguments),
        Verb::Prune(arguments) => prune::run(context, arguments),
    }
}
