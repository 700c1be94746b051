//! `coracle system prune`: containers that do not run, images nobody needs, parts of downloads.

use anyhow::Result;
use config::size;

use crate::cli::in_use::in_use;
use crate::cli::{Context, PARTLY, filter, image, ui};
use crate::container::catalogue;
use crate::container::record::Status;

/// Remove containers that do not run, images that nobody needs, and parts of downloads
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also images that have names, unless a container needs them
    #[arg(short, long)]
    all: bool,
    /// Only images that fit: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let options = filter::prune(&arguments.filter, arguments.all)?;
    let images = if options.all { "images that no container needs" } else { "images that have no name" };
    let warning = format!(
        "WARNING! This will remove:\n  - all containers that do not run\n  - all {images}\n  - all parts of downloads \
         that broke off"
    );
    if !arguments.force && !ui::confirm(&warning)? {
        return Ok(0);
    }
    let mut code = 0;
    let mut removed = Vec::new();
    for container in catalogue::all(&context.folders)? {
        if container.state.status == Status::Running {
            continue;
        }
        match catalogue::remove(&context.folders, &container.record) {
            Ok(()) => removed.push(container.record.id),
            Err(error) => {
                ui::error(&error);
                code = PARTLY;
            }
        }
    }
    if !removed.is_empty() {
        ui::line("Deleted Containers:")?;
        removed.iter().try_for_each(|id| ui::line(id))?;
        ui::line("")?;
    }
    let store = context.store()?;
    let pruned = store.prune(&options, &|| in_use(&context.folders))?;
    image::say_pruned(&pruned)?;
    let bytes = pruned.bytes.saturating_add(store.prune_partials()?);
    ui::line(&format!("Total reclaimed space: {}", size::human(bytes)))?;
    Ok(code)
}
