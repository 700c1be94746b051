//! `coracle ps`: the containers of this host.

mod filter;

use std::collections::HashMap;
use std::time::SystemTime;

use anyhow::Result;
use config::size;
use serde::Serialize;
use serde_json::Value;

use self::filter::Filter;
use super::ui::age;
use super::ui::template::{self, Column, Form};
use super::{Context, system, ui};
use crate::container::catalogue::{self, Container};
use crate::container::id;
use crate::container::record::{State, Status};

/// Longest command shown, quotes not counted.
const COMMAND: usize = 20;

/// List containers
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only those that fit: name, id, status, ancestor, label, exited, before, since or volume = VALUE
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Only so many, the newest first, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// Only the newest one, whether it runs or not
    #[arg(short, long)]
    latest: bool,
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// Also how much room each takes
    #[arg(short, long)]
    size: bool,
    /// Do not cut ids and commands off
    #[arg(long)]
    no_trunc: bool,
    /// table, json, a template, or `table` and a template
    #[arg(long, value_name = "FORM", default_value = "table", conflicts_with = "quiet")]
    format: String,
}

/// One line, with Docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    command: String,
    created_at: String,
    #[serde(rename = "ID")]
    id: String,
    image: String,
    labels: String,
    local_volumes: String,
    mounts: String,
    names: String,
    networks: String,
    ports: String,
    running_for: String,
    size: String,
    state: Status,
    status: String,
}

const HEADS: [Column; 6] = [
    ("CREATED AT", "CreatedAt"),
    ("LABELS", "Labels"),
    ("LOCAL VOLUMES", "LocalVolumes"),
    ("MOUNTS", "Mounts"),
    ("NETWORKS", "Networks"),
    ("SIZE", "Size"),
];

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let form = Form::parse(&arguments.format)?;
    let filter = Filter::parse(&arguments.filter, context)?;
    let last = if arguments.latest { Some(1) } else { arguments.last };
    let all = arguments.all || last.is_some() || filter.means_all();
    let mut containers = catalogue::all(&context.folders)?;
    containers.retain(|container| (all || container.state.status == Status::Running) && filter.fits(container));
    containers.truncate(last.unwrap_or(usize::MAX));
    if arguments.quiet {
        return containers.iter().try_for_each(|one| ui::line(shown(&one.record.id, arguments.no_trunc))).map(|()| 0);
    }
    let sized = arguments.size || arguments.format.contains(".Size");
    let sizes = if sized { sizes(context, &containers)? } else { HashMap::new() };
    let rows = containers.iter().map(|container| {
        let size = sizes.get(&container.record.id).cloned().unwrap_or_default();
        serde_json::to_value(row(container, arguments.no_trunc, size))
    });
    let rows: Vec<Value> = rows.collect::<Result<_, _>>()?;
    let mut columns: Vec<Column> = vec![
        ("CONTAINER ID", "ID"),
        ("IMAGE", "Image"),
        ("COMMAND", "Command"),
        ("CREATED", "RunningFor"),
        ("STATUS", "Status"),
        ("PORTS", "Ports"),
        ("NAMES", "Names"),
    ];
    if arguments.size {
        columns.push(("SIZE", "Size"));
    }
    template::print(&form, &rows, &columns, &HEADS)?;
    Ok(0)
}

/// What each container takes for itself, and together with its image.
fn sizes(context: &Context, containers: &[Container]) -> Result<HashMap<String, String>> {
    let images: HashMap<String, u64> =
        context.store()?.images()?.into_iter().map(|image| (image.id.to_string(), image.size)).collect();
    let size = |container: &Container| {
        let record = &container.record;
        let (upper, _) = catalogue::writable(&catalogue::folder(&context.folders, &record.id));
        let own = system::used(&upper);
        let whole = own.saturating_add(images.get(&record.image_id).copied().unwrap_or_default());
        (record.id.clone(), format!("{} (virtual {})", size::human(own), size::human(whole)))
    };
    Ok(containers.iter().map(size).collect())
}

fn row(container: &Container, whole: bool, size: String) -> Row {
    let Container { record, state } = container;
    let mounts = record.volumes.iter().map(|volume| match &volume.name {
        Some(name) => name.clone(),
        None => volume.source.display().to_string(),
    });
    Row {
        command: command(&record.process.arguments, whole),
        created_at: humantime::format_rfc3339_seconds(record.created).to_string(),
        id: shown(&record.id, whole).to_owned(),
        image: record.image.clone(),
        labels: record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        local_volumes: record.volumes.iter().filter(|volume| volume.name.is_some()).count().to_string(),
        mounts: mounts.collect::<Vec<_>>().join(","),
        names: record.name.clone(),
        networks: String::new(),
        ports: String::new(),
        running_for: format!("{} ago", age::since(record.created)),
        size,
        state: state.status,
        status: status(state),
    }
}

fn shown(id: &str, whole: bool) -> &str {
    if whole { id } else { id::short(id) }
}

fn status(state: &State) -> String {
    let since = |time: Option<SystemTime>| age::since(time.unwrap_or_else(SystemTime::now));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", since(state.started)),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished)),
    }
}

fn command(arguments: &[String], whole: bool) -> String {
    let command = arguments.join(" ");
    let shown = if whole || command.chars().count() <= COMMAND {
        command
    } else {
        command.chars().take(COMMAND - 1).chain(['…']).collect()
    };
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut_off() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(command(&words("sleep 60"), false), r#""sleep 60""#);
        assert_eq!(command(&words("sh -c echo one; echo two"), false), r#""sh -c echo one; ech…""#);
        assert_eq!(command(&words("sh -c echo one; echo two"), true), r#""sh -c echo one; echo two""#);
    }

    #[test]
    fn a_status_says_how_it_goes() {
        assert_eq!(status(&State::created()), "Created");
        assert_eq!(status(&State::running(1)), "Up Less than a second");
        let exited = State::running(1).exited(137, "killed".into());
        assert_eq!(status(&exited), "Exited (137) Less than a second ago");
    }
}
