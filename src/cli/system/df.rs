//! `coracle system df`: how much room everything takes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use config::size;
use image::store::Usage;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::images::split;
use crate::cli::in_use::in_use;
use crate::cli::ui::template::{self, Column, Form};
use crate::cli::{Context, ui};
use crate::container::catalogue::{self, Container};
use crate::container::id;
use crate::container::record::Status;

/// Show how much room images, containers and volumes take
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Each image, container and volume
    #[arg(short, long)]
    verbose: bool,
    /// Form of the output: table, json, or a template
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: String,
}

/// One line, with Docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "Type")]
    kind: &'static str,
    total_count: String,
    active: String,
    size: String,
    reclaimable: String,
}

const COLUMNS: [Column; 5] =
    [("TYPE", "Type"), ("TOTAL", "TotalCount"), ("ACTIVE", "Active"), ("SIZE", "Size"), ("RECLAIMABLE", "Reclaimable")];

/// A container or volume, and its bytes.
struct Taken {
    name: String,
    bytes: u64,
    active: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let form = Form::parse(&arguments.format)?;
    let usage = context.store()?.usage()?;
    let all = catalogue::all(&context.folders)?;
    let containers: Vec<Taken> = all.iter().map(|container| container_size(context, container)).collect();
    let volumes = volumes(context, &all);
    if arguments.verbose {
        return verbose(&form, context, &usage, &containers, &volumes);
    }
    let in_use = in_use(&context.folders).map_err(anyhow::Error::from_boxed)?;
    let active = usage.images.iter().filter(|image| in_use.user_of(&image.image).is_some());
    let (mut needed, mut count): (u64, usize) = (0, 0);
    for image in active {
        needed = needed.saturating_add(image.bytes);
        count = count.saturating_add(1);
    }
    // Layers shared by images in use are counted more than once, so this is what is free at least.
    let free = usage.bytes.saturating_sub(needed);
    let mut rows = vec![row("Images", usage.images.len(), count, usage.bytes, free)];
    for (kind, taken) in [("Containers", &containers), ("Local Volumes", &volumes)] {
        let sum = |active: Option<bool>| {
            let of = taken.iter().filter(|one| active.is_none_or(|active| one.active == active));
            of.fold(0, |sum: u64, one| sum.saturating_add(one.bytes))
        };
        let active = taken.iter().filter(|one| one.active).count();
        rows.push(row(kind, taken.len(), active, sum(None), sum(Some(false))));
    }
    let partial = usage.partial.saturating_add(usage.temporary);
    rows.push(row("Partial Downloads", usage.partials, 0, partial, usage.partial));
    let rows: Result<Vec<Value>, _> = rows.iter().map(serde_json::to_value).collect();
    template::print(&form, &rows?, &COLUMNS, &[])?;
    Ok(0)
}

fn row(kind: &'static str, total: usize, active: usize, bytes: u64, free: u64) -> Row {
    let percent = match bytes {
        0 => String::new(),
        bytes => format!(" ({}%)", u128::from(free) * 100 / u128::from(bytes)),
    };
    Row {
        kind,
        total_count: total.to_string(),
        active: active.to_string(),
        size: size::human(bytes),
        reclaimable: format!("{}{percent}", size::human(free)),
    }
}

fn container_size(context: &Context, container: &Container) -> Taken {
    let folder = catalogue::folder(&context.folders, &container.record.id);
    let name = format!("{} ({})", container.record.name, id::short(&container.record.id));
    Taken { name, bytes: used(&folder), active: container.state.status == Status::Running }
}

fn volumes(context: &Context, containers: &[Container]) -> Vec<Taken> {
    let folder = context.folders.volumes();
    let mounted: HashSet<&Path> = containers
        .iter()
        .flat_map(|container| &container.record.volumes)
        .map(|volume| volume.source.as_path())
        .collect();
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut volumes: Vec<Taken> = entries
        .flatten()
        .map(|entry| {
            let active = mounted.iter().any(|path| path.starts_with(entry.path()));
            Taken { name: entry.file_name().to_string_lossy().into_owned(), bytes: used(&entry.path()), active }
        })
        .collect();
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    volumes
}

/// Bytes of all files below a folder; those that vanish meanwhile do not count.
pub(in crate::cli) fn used(folder: &Path) -> u64 {
    let mut sum: u64 = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                sum = sum.saturating_add(metadata.blocks().saturating_mul(512));
            }
        }
    }
    sum
}

fn verbose(form: &Form, context: &Context, usage: &Usage, containers: &[Taken], volumes: &[Taken]) -> Result<u8> {
    let in_use = in_use(&context.folders).map_err(anyhow::Error::from_boxed)?;
    let mut images = Vec::new();
    for used in &usage.images {
        let none = ["<none>".to_owned()];
        let names = if used.image.names.is_empty() { none.as_slice() } else { &used.image.names };
        for name in names {
            let (repository, tag, _) = split(name, &[]);
            images.push(json!({
                "Repository": repository,
                "Tag": tag,
                "ID": used.image.id.short(),
                "CreatedSince": crate::cli::images::created(&used.image),
                "Size": size::human(used.bytes),
                "SharedSize": size::human(used.shared),
                "UniqueSize": size::human(used.bytes.saturating_sub(used.shared)),
                "Containers": usize::from(in_use.user_of(&used.image).is_some()).to_string(),
            }));
        }
    }
    let rows = |taken: &[Taken]| -> Vec<Value> {
        let row = |one: &Taken| json!({ "Name": one.name, "Size": size::human(one.bytes), "Active": one.active });
        taken.iter().map(row).collect()
    };
    let (containers, volumes) = (rows(containers), rows(volumes));
    if let Form::Json = form {
        let document = json!({ "Images": images, "Containers": containers, "Volumes": volumes });
        return ui::json_lines(std::iter::once(document)).map(|()| 0);
    }
    if let Form::Lines(template) | Form::Columns(template) = form {
        let document = json!({ "Images": images, "Containers": containers, "Volumes": volumes });
        return ui::line(&template.render(&document)?).map(|()| 0);
    }
    let columns: [Column; 8] = [
        ("REPOSITORY", "Repository"),
        ("TAG", "Tag"),
        ("IMAGE ID", "ID"),
        ("CREATED", "CreatedSince"),
        ("SIZE", "Size"),
        ("SHARED SIZE", "SharedSize"),
        ("UNIQUE SIZE", "UniqueSize"),
        ("CONTAINERS", "Containers"),
    ];
    ui::line("Images space usage:\n")?;
    template::print(form, &images, &columns, &[])?;
    for (what, rows) in [("Containers", &containers), ("Local Volumes", &volumes)] {
        ui::line(&format!("\n{what} space usage:\n"))?;
        template::print(form, rows, &[("NAME", "Name"), ("SIZE", "Size"), ("ACTIVE", "Active")], &[])?;
    }
    Ok(0)
}
