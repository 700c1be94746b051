//! `coracle images`: what is in the store.

use std::time::SystemTime;

use anyhow::Result;
use config::size;
use image::store::Usage;
use image::{Image, Reference};
use serde::Serialize;
use serde_json::Value;

use super::filter::Filter;
use super::in_use::in_use;
use super::ui::age;
use super::ui::template::{self, Column, Form};
use super::{Context, ui};

/// What Docker writes where there is nothing.
pub(super) const NONE: &str = "<none>";

/// List images
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also intermediate images, of which there are none
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only those that fit: reference=PATTERN, dangling=true, before=IMAGE, since=IMAGE, until=TIME, label=KEY[=VALUE]
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// Do not cut ids off
    #[arg(long)]
    no_trunc: bool,
    /// Form of the output: table, json, or a template
    #[arg(long, value_name = "FORM", default_value = "table", conflicts_with = "quiet")]
    format: String,
    /// Show the platforms of each name
    #[arg(long, conflicts_with_all = ["quiet", "format", "digests"])]
    tree: bool,
    /// Only those of this repository, or with this tag; * and ? stand for what they usually do
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
}

/// One line, with Docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    containers: String,
    created_at: String,
    created_since: String,
    digest: String,
    #[serde(rename = "ID")]
    id: String,
    platform: String,
    repository: String,
    shared_size: String,
    size: String,
    tag: String,
    unique_size: String,
}

const HEADS: [Column; 6] = [
    ("DIGEST", "Digest"),
    ("CREATED AT", "CreatedAt"),
    ("PLATFORM", "Platform"),
    ("CONTAINERS", "Containers"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
];

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let store = context.store()?;
    let mut filters = arguments.filter.clone();
    filters.extend(arguments.repository.iter().map(|pattern| format!("reference={pattern}")));
    let filter = Filter::parse(&filters, &store)?;
    let form = Form::parse(&arguments.format)?;
    let mut images = store.images()?;
    images.reverse();
    let images: Vec<(Image, Vec<String>)> =
        images.into_iter().filter_map(|image| filter.fits(&image).map(|names| (image, names))).collect();
    if arguments.quiet {
        for (image, _) in images {
            ui::line(&id(&image, arguments.no_trunc))?;
        }
        return Ok(0);
    }
    if arguments.tree {
        return tree(&images);
    }
    // Only templates and JSON show what takes time to find out.
    let usage = if matches!(form, Form::Table) { None } else { Some((store.usage()?, context)) };
    let mut rows: Vec<Value> = Vec::new();
    for (image, names) in &images {
        for row in rows_of(image, names, arguments.no_trunc, usage.as_ref()) {
            rows.push(serde_json::to_value(row)?);
        }
    }
    let mut columns: Vec<Column> = vec![
        ("REPOSITORY", "Repository"),
        ("TAG", "Tag"),
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("SIZE", "Size"),
    ];
    if arguments.digests {
        columns.insert(2, ("DIGEST", "Digest"));
    }
    template::print(&form, &rows, &columns, &HEADS)?;
    Ok(0)
}

fn rows_of(image: &Image, names: &[String], whole: bool, usage: Option<&(Usage, &Context)>) -> Vec<Row> {
    let (mut unique, mut shared, mut containers) = ("N/A".to_owned(), "N/A".to_owned(), "N/A".to_owned());
    if let Some((usage, context)) = usage {
        if let Some(used) = usage.images.iter().find(|used| used.image.id == image.id) {
            unique = size::human(used.bytes.saturating_sub(used.shared));
            shared = size::human(used.shared);
        }
        if let Ok(in_use) = in_use(&context.folders) {
            containers = usize::from(in_use.user_of(image).is_some()).to_string();
        }
    }
    let row = |(repository, tag, digest)| Row {
        containers: containers.clone(),
        created_at: image.created.clone().unwrap_or_default(),
        created_since: created(image),
        digest,
        id: id(image, whole),
        platform: image.config.platform().to_string(),
        repository,
        shared_size: shared.clone(),
        size: size::human(image.size),
        tag,
        unique_size: unique.clone(),
    };
    if names.is_empty() {
        return vec![row((NONE.to_owned(), NONE.to_owned(), NONE.to_owned()))];
    }
    names.iter().map(|name| row(split(name, &image.repo_digests))).collect()
}

/// Repository, tag and digest of a name.
pub(super) fn split(name: &str, digests: &[String]) -> (String, String, String) {
    let Ok(parsed) = name.parse::<Reference>() else {
        return (name.to_owned(), NONE.to_owned(), NONE.to_owned());
    };
    let own = format!("{}@", parsed.name());
    let digest = digests.iter().find_map(|digest| digest.strip_prefix(&own)).unwrap_or(NONE).to_owned();
    (parsed.familiar_name(), parsed.tag().unwrap_or(NONE).to_owned(), digest)
}

pub(super) fn id(image: &Image, whole: bool) -> String {
    if whole { image.id.to_string() } else { image.id.short().to_owned() }
}

/// How long ago; images that are built to be the same to the byte carry a time that says nothing.
pub(super) fn created(image: &Image) -> String {
    since(image.made())
}

/// How long ago a moment was, in words.
pub(super) fn since(time: Option<SystemTime>) -> String {
    match time {
        Some(time) if time > SystemTime::UNIX_EPOCH => format!("{} ago", age::since(time)),
        _ => "N/A".to_owned(),
    }
}

/// Names, and under each its platforms.
fn tree(images: &[(Image, Vec<String>)]) -> Result<u8> {
    let mut names: Vec<String> = images.iter().flat_map(|(_, names)| names.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let line = |image: &Image, last: bool| {
        let branch = if last { "└─" } else { "├─" };
        ui::line(&format!("{branch} {}  {}  {}", image.config.platform(), image.id.short(), size::human(image.size)))
    };
    let group = |name: &str, of: &[&Image]| {
        ui::line(name)?;
        of.iter().enumerate().try_for_each(|(at, image)| line(image, at + 1 == of.len()))
    };
    for name in names {
        let of: Vec<&Image> =
            images.iter().filter(|(_, names)| names.contains(&name)).map(|(image, _)| image).collect();
        group(&name.parse::<Reference>().map_or_else(|_| name.clone(), |name| name.familiar()), &of)?;
    }
    let nameless: Vec<&Image> = images.iter().filter(|(_, names)| names.is_empty()).map(|(image, _)| image).collect();
    if !nameless.is_empty() {
        group(NONE, &nameless)?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_docker_shows_them() {
        let whole = |name| split(name, &["docker.io/library/busybox@sha256:12".into()]);
        assert_eq!(whole("docker.io/library/busybox:latest"), ("busybox".into(), "latest".into(), "sha256:12".into()));
        assert_eq!(whole("edge:5000/app/web:1.2"), ("edge:5000/app/web".into(), "1.2".into(), NONE.into()));
    }

    #[test]
    fn a_time_that_says_nothing_is_not_shown() {
        assert_eq!(since(None), "N/A");
        assert_eq!(since(Some(SystemTime::UNIX_EPOCH)), "N/A");
        assert!(since(image::store::parse_time("2020-01-01T00:00:00Z")).ends_with(" years ago"));
    }
}
