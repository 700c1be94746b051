//! `coracle images`: what is in the store.

use std::time::SystemTime;

use anyhow::Result;
use config::size;
use image::{Image, Reference};
use serde::Serialize;

use super::ui::{age, table};
use super::{Context, Format, ui};

/// What Docker writes where there is nothing.
const NONE: &str = "<none>";

/// List images
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// Do not cut ids off
    #[arg(long)]
    no_trunc: bool,
    /// Form of the output
    #[arg(long, value_name = "FORM", default_value = "table", conflicts_with = "quiet")]
    format: Format,
}

/// One line, with Docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    repository: String,
    tag: String,
    #[serde(rename = "ID")]
    id: String,
    created_at: String,
    created_since: String,
    size: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let mut images = context.store()?.images()?;
    images.reverse();
    if arguments.quiet {
        for image in images {
            ui::line(&id(&image, arguments.no_trunc))?;
        }
        return Ok(0);
    }
    let rows = images.iter().flat_map(|image| rows(image, arguments.no_trunc));
    if arguments.format == Format::Json {
        ui::json_lines(rows)?;
        return Ok(0);
    }
    let rows: Vec<_> = rows.map(|row| [row.repository, row.tag, row.id, row.created_since, row.size]).collect();
    table::print(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"], &rows)?;
    Ok(0)
}

fn rows(image: &Image, whole: bool) -> Vec<Row> {
    let row = |(repository, tag)| Row {
        repository,
        tag,
        id: id(image, whole),
        created_at: image.created.clone().unwrap_or_default(),
        created_since: created(image.created.as_deref()),
        size: size::human(image.size),
    };
    if image.names.is_empty() {
        return vec![row((NONE.to_owned(), NONE.to_owned()))];
    }
    image.names.iter().map(|name| row(split(name))).collect()
}

fn split(name: &str) -> (String, String) {
    match name.parse::<Reference>() {
        Ok(name) => (name.familiar_name(), name.tag().unwrap_or(NONE).to_owned()),
        Err(_) => (name.to_owned(), NONE.to_owned()),
    }
}

fn id(image: &Image, whole: bool) -> String {
    if whole { image.id.to_string() } else { image.id.short().to_owned() }
}

/// How long ago; images that are built to be the same to the byte carry a time that says nothing.
fn created(time: Option<&str>) -> String {
    match time.map(humantime::parse_rfc3339_weak) {
        Some(Ok(time)) if time > SystemTime::UNIX_EPOCH => format!("{} ago", age::since(time)),
        _ => "N/A".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_docker_shows_them() {
        assert_eq!(split("docker.io/library/busybox:latest"), ("busybox".into(), "latest".into()));
        assert_eq!(split("edge:5000/app/web:1.2"), ("edge:5000/app/web".into(), "1.2".into()));
    }

    #[test]
    fn a_time_that_says_nothing_is_not_shown() {
        assert_eq!(created(None), "N/A");
        assert_eq!(created(Some("1970-01-01T00:00:00Z")), "N/A");
        assert!(created(Some("2020-01-01T00:00:00Z")).ends_with(" years ago"));
    }
}
