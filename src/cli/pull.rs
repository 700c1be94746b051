//! `coracle pull`: an image from a registry.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use image::pull::PullOptions;
use image::registry::Client;
use image::{Image, Platform, Reference, Store};

use super::registry::RegistryArguments;
use super::ui::progress::Drawing;
use super::{Context, ui};

/// Fetch an image from a registry
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Take the image for this platform, for example linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// Fetch the images of all tags there are
    #[arg(short, long)]
    all_tags: bool,
    #[command(flatten)]
    registry: RegistryArguments,
    /// The image
    image: String,
}

/// When `run` pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// If it is not here
    Missing,
    /// In any case
    Always,
    /// Not at all
    Never,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let tried = || format!("Cannot pull the image {}", arguments.image);
    let reference = Reference::resolve(&arguments.image, &context.file.registries.aliases).with_context(tried)?;
    let store = context.store()?;
    let references = if arguments.all_tags { all_tags(context, arguments, &reference)? } else { vec![reference] };
    for reference in references {
        let (platform, quiet) = (arguments.platform.clone(), arguments.quiet);
        let image = pull(context, &store, &reference, platform, &arguments.registry, quiet)?;
        if !quiet {
            ui::say(&format!("Image {} ({})", image.id.short(), config::size::human(image.size)));
        }
        ui::line(&reference.full())?;
    }
    Ok(0)
}

/// A name for each tag.
fn all_tags(context: &Context, arguments: &Arguments, reference: &Reference) -> Result<Vec<Reference>> {
    let tried = || format!("Cannot tell the tags of {}", reference.name());
    ensure!(
        arguments.image.rsplit('/').next().is_some_and(|last| !last.contains([':', '@'])),
        "--all-tags takes a name without a tag: {} has one",
        arguments.image
    );
    let client = Client::new(reference, &arguments.registry.options(context, reference)?).with_context(tried)?;
    let tags = client.tags().with_context(tried)?;
    ensure!(!tags.is_empty(), "{} has no tags", reference.name());
    tags.iter().map(|tag| format!("{}:{tag}", reference.name()).parse().with_context(tried)).collect()
}

/// Pulls an image, drawing how far it is.
pub(super) fn pull(
    context: &Context,
    store: &Store,
    reference: &Reference,
    platform: Option<Platform>,
    registry: &RegistryArguments,
    quiet: bool,
) -> Result<Image> {
    let tried = || format!("Cannot pull the image {reference}");
    let mut options = PullOptions { registry: registry.options(context, reference)?, ..PullOptions::default() };
    options.policy = Arc::new(context.policy().with_context(tried)?);
    if let Some(platform) = platform {
        options.platform = platform;
    }
    let progress = Drawing::new(quiet);
    Ok(image::pull(store, reference, &options, &progress)?)
}
