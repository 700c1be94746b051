//! `coracle rmi`: images out of the store.

use anyhow::Result;
use image::Image;

use super::in_use::in_use;
use super::{Context, each};

/// Remove images
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Remove the name even if a container needs the image
    #[arg(short, long)]
    force: bool,
    /// Keep parent images, of which there are none
    #[arg(long)]
    no_prune: bool,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let store = context.store()?;
    // Asked when nothing can change any more.
    let user = |image: &Image| match in_use(&context.folders) {
        Ok(in_use) => in_use.user_of(image).map(str::to_owned),
        Err(error) => Some(format!("a container perhaps ({error})")),
    };
    each(&arguments.images, |name| {
        let removed = store.remove(name, &user, arguments.force)?;
        let untagged = removed.untagged.iter().map(|name| format!("Untagged: {name}"));
        let deleted = removed.deleted.iter().map(|digest| format!("Deleted: {digest}"));
        Ok(untagged.chain(deleted).collect::<Vec<_>>().join("\n"))
    })
}
