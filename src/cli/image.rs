//! `coracle image`: the verbs for images, by their longer names.

use anyhow::Result;
use clap::Subcommand;
use config::size;
use image::store::Pruned;

use super::in_use::in_use;
use super::{Context, filter, history, images, inspect, load, pull, push, rmi, save, tag, ui};

/// Manage images
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(visible_alias = "list")]
    Ls(images::Arguments),
    Pull(pull::Arguments),
    Push(push::Arguments),
    #[command(visible_alias = "remove")]
    Rm(rmi::Arguments),
    Inspect(inspect::OfOneKind),
    History(history::Arguments),
    Tag(tag::Arguments),
    Save(save::Arguments),
    Load(load::Arguments),
    Prune(Prune),
}

/// Remove images that nobody needs
#[derive(Debug, clap::Args)]
struct Prune {
    /// Also those that have names, unless a container needs them
    #[arg(short, long)]
    all: bool,
    /// Only those that fit: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    match &arguments.verb {
        Verb::Ls(arguments) => images::run(context, arguments),
        Verb::Pull(arguments) => pull::run(context, arguments),
        Verb::Push(arguments) => push::run(context, arguments),
        Verb::Rm(arguments) => rmi::run(context, arguments),
        Verb::Inspect(arguments) => inspect::of_images(context, arguments),
        Verb::History(arguments) => history::run(context, arguments),
        Verb::Tag(arguments) => tag::run(context, arguments),
        Verb::Save(arguments) => save::run(context, arguments),
        Verb::Load(arguments) => load::run(context, arguments),
        Verb::Prune(arguments) => prune(context, arguments),
    }
}

fn prune(context: &Context, arguments: &Prune) -> Result<u8> {
    let options = filter::prune(&arguments.filter, arguments.all)?;
    let what = if options.all { "all images that no container needs" } else { "all images that have no name" };
    if !arguments.force && !ui::confirm(&format!("WARNING! This will remove {what}."))? {
        return Ok(0);
    }
    let pruned = context.store()?.prune(&options, &|| in_use(&context.folders))?;
    say_pruned(&pruned)?;
    ui::line(&format!("Total reclaimed space: {}", size::human(pruned.bytes)))?;
    Ok(0)
}

/// What is gone, as Docker words it.
pub(super) fn say_pruned(pruned: &Pruned) -> Result<()> {
    if !pruned.untagged.is_empty() || !pruned.deleted.is_empty() {
        ui::line("Deleted Images:")?;
        pruned.untagged.iter().try_for_each(|name| ui::line(&format!("untagged: {name}")))?;
        pruned.deleted.iter().try_for_each(|digest| ui::line(&format!("deleted: {digest}")))?;
        ui::line("")?;
    }
    Ok(())
}
