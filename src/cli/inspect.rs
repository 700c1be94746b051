//! `coracle inspect`: all that is known of a container or an image, in Docker's words.

mod container;

use anyhow::{Context as _, Result, ensure};
use image::{Image, Reference, Store};
use serde::Serialize;
use serde_json::Value;

use super::ui::template::Template;
use super::{Context, PARTLY, ui};
use crate::container::catalogue;

/// Show all that is known of containers and images
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print what this template makes of each instead
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// What the names are names of
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
    /// Containers and images; a name that is both means the container
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Show all that is known
#[derive(Debug, clap::Args)]
pub(super) struct OfOneKind {
    /// Print what this template makes of each instead
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Images
    Image,
    /// Containers
    Container,
}

/// With Docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: &'static str,
    comment: String,
    created: Option<String>,
    docker_version: String,
    author: String,
    config: Value,
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    os: String,
    size: u64,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    metadata: Metadata,
    descriptor: Descriptor,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(rename = "Type")]
    kind: &'static str,
    layers: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    show(context, arguments.format.as_deref(), arguments.kind, &arguments.names)
}

/// `coracle container inspect`
pub(super) fn of_containers(context: &Context, arguments: &OfOneKind) -> Result<u8> {
    show(context, arguments.format.as_deref(), Some(Kind::Container), &arguments.names)
}

/// `coracle image inspect`
pub(super) fn of_images(context: &Context, arguments: &OfOneKind) -> Result<u8> {
    show(context, arguments.format.as_deref(), Some(Kind::Image), &arguments.names)
}

fn show(context: &Context, format: Option<&str>, kind: Option<Kind>, names: &[String]) -> Result<u8> {
    let template = format.filter(|format| *format != "json").map(Template::parse).transpose()?;
    let (mut found, mut code) = (Vec::new(), 0);
    for name in names {
        match find(context, kind, name) {
            Ok(description) => found.push(description),
            Err(error) => {
                ui::error(&error);
                code = PARTLY;
            }
        }
    }
    match (template, format.is_some()) {
        (Some(template), _) => {
            found.iter().try_for_each(|found| ui::line(&template.render(&serde_json::to_value(found)?)?))?;
        }
        (None, true) => ui::json_lines(found.iter())?,
        (None, false) => ui::json_pretty(&found)?,
    }
    Ok(code)
}

/// What is found under a name.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Container(Box<container::Description>),
    Image(Box<Description>),
}

/// What is known of the container, or else the image, of this name.
fn find(context: &Context, kind: Option<Kind>, name: &str) -> Result<Found> {
    if kind != Some(Kind::Image)
        && let Some(found) = catalogue::look(&context.folders, name)?
    {
        return Ok(Found::Container(Box::new(container::describe(&context.folders, &found))));
    }
    ensure!(kind != Some(Kind::Container), "No such container: {name}");
    let store = context.store()?;
    let image = store.find(name)?.with_context(|| match kind {
        Some(_) => format!("There is no image {name} here"),
        None => format!("There is no container and no image {name} here"),
    })?;
    Ok(Found::Image(Box::new(describe(&store, &image)?)))
}

fn describe(store: &Store, image: &Image) -> Result<Description> {
    let raw: serde_json::Map<String, Value> = serde_json::from_slice(&store.config_of(image)?)?;
    let text = |key: &str| raw.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let config = raw.get("config").filter(|config| config.is_object()).cloned();
    let (tags, digests) = names(image);
    Ok(Description {
        id: image.id.to_string(),
        repo_tags: tags,
        repo_digests: digests,
        parent: "",
        comment: image.config.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        created: image.created.clone(),
        docker_version: text("docker_version"),
        author: text("author"),
        config: config.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        architecture: image.config.architecture.clone(),
        variant: image.config.variant.clone(),
        os: image.config.os.clone(),
        size: image.size,
        root_fs: RootFs {
            kind: "layers",
            layers: image.config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        metadata: Metadata { last_tag_time: "0001-01-01T00:00:00Z" },
        descriptor: Descriptor {
            media_type: image::manifest::media::MANIFEST.to_owned(),
            digest: image.manifest.to_string(),
            size: store.blob(&image.manifest).metadata().map_or(0, |metadata| metadata.len()),
        },
    })
}

/// Names with tags, and names with digests, as Docker's users write them.
fn names(image: &Image) -> (Vec<String>, Vec<String>) {
    let familiar = |name: &String| name.parse::<Reference>().ok();
    let tags = image.names.iter().filter_map(familiar).filter(|name| name.digest().is_none());
    let digests = image.repo_digests.iter().filter_map(familiar);
    (tags.map(|name| name.familiar()).collect(), digests.map(|name| name.familiar()).collect())
}
