//! `coracle system`: how much room everything takes, giving up what is not needed, and whether all is in order.

mod check;
mod df;
mod prune;

use anyhow::Result;
use clap::Subcommand;

use super::Context;

pub(super) use df::used;

/// See to what is on disk
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Arguments),
    Df(df::Arguments),
    Prune(prune::Arguments),
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    match &arguments.verb {
        Verb::Check(arguments) => check::run(context, arguments),
        Verb::Df(arguments) => df::run(context, arguments),
        Verb::Prune(arguments) => prune::run(context, arguments),
    }
}
