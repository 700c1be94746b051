//! `coracle rmi`: images out of the store.

use std::collections::HashMap;

use anyhow::Result;
use image::Image;

use super::{Context, each};
use crate::container::catalogue;

/// Remove images
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Remove the name even if a container needs the image
    #[arg(short, long)]
    force: bool,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let store = context.store()?;
    let containers = catalogue::all(&context.folders)?;
    let users: HashMap<String, String> =
        containers.into_iter().map(|container| (container.record.image_id, container.record.name)).collect();
    let in_use = |image: &Image| users.get(&image.id.to_string()).map(|name| format!("container {name}"));
    each(&arguments.images, |name| {
        let removed = store.remove(name, &in_use, arguments.force)?;
        let untagged = removed.untagged.iter().map(|name| format!("Untagged: {name}"));
        let deleted = removed.deleted.iter().map(|digest| format!("Deleted: {digest}"));
        Ok(untagged.chain(deleted).collect::<Vec<_>>().join("\n"))
    })
}
