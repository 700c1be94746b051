//! `coracle volume prune`: removes the volumes that no container needs.

use anyhow::{Result, bail};
use config::size;
use image::store::Label;

use crate::cli::{Context, PARTLY, filter, system, ui};
use crate::container::volumes::{self, ANONYMOUS};

/// Remove the volumes that no container needs and that nobody named
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also those that have a name
    #[arg(short, long)]
    all: bool,
    /// Only those that fit: label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for text in &arguments.filter {
        match filter::split(text)? {
            ("label", value) => with.push(Label::parse(value)),
            ("label!", value) => without.push(Label::parse(value)),
            (key, _) => bail!("{key:?} is not a filter for volume prune: write label or label!"),
        }
    }
    let which = if arguments.all { "all" } else { "anonymous" };
    let warning = format!("WARNING! This will remove {which} local volumes not used by at least one container.");
    if !arguments.force && !ui::confirm(&warning)? {
        return Ok(0);
    }
    let (mut code, mut bytes, mut removed) = (0, 0u64, Vec::new());
    let users = volumes::users(&context.folders)?;
    for volume in volumes::all(&context.folders)? {
        let meant = (arguments.all || volume.labels.contains_key(ANONYMOUS))
            && !users.contains_key(&volume.name)
            && with.iter().all(|label| filter::has(&volume.labels, label))
            && !without.iter().any(|label| filter::has(&volume.labels, label));
        if !meant {
            continue;
        }
        let size = system::used(&volume.data);
        match volumes::remove(&context.folders, &volume.name) {
            Ok(()) => {
                bytes = bytes.saturating_add(size);
                removed.push(volume.name);
            }
            Err(error) => {
                ui::error(&error);
                code = PARTLY;
            }
        }
    }
    if !removed.is_empty() {
        ui::line("Deleted Volumes:")?;
        removed.iter().try_for_each(|name| ui::line(name))?;
        ui::line("")?;
    }
    ui::line(&format!("Total reclaimed space: {}", size::human(bytes)))?;
    Ok(code)
}
