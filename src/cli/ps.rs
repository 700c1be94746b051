//! `coracle ps`: the containers of this host.

use std::time::SystemTime;

use anyhow::Result;
use serde::Serialize;

use super::ui::{age, table};
use super::{Context, Format, ui};
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
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// Do not cut ids and commands off
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
    #[serde(rename = "ID")]
    id: String,
    image: String,
    command: String,
    created_at: String,
    running_for: String,
    ports: String,
    state: Status,
    status: String,
    names: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let mut containers = catalogue::all(&context.folders)?;
    containers.retain(|container| arguments.all || container.state.status == Status::Running);
    if arguments.quiet {
        for Container { record, .. } in &containers {
            ui::line(shown(&record.id, arguments.no_trunc))?;
        }
        return Ok(0);
    }
    let rows = containers.into_iter().map(|container| row(container, arguments.no_trunc));
    if arguments.format == Format::Json {
        ui::json_lines(rows)?;
        return Ok(0);
    }
    let cells = |row: Row| [row.id, row.image, row.command, row.running_for, row.status, row.ports, row.names];
    let rows: Vec<_> = rows.map(cells).collect();
    table::print(["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"], &rows)?;
    Ok(0)
}

fn row(container: Container, whole: bool) -> Row {
    let Container { record, state } = container;
    Row {
        id: shown(&record.id, whole).to_owned(),
        command: command(&record.process.arguments, whole),
        created_at: humantime::format_rfc3339_seconds(record.created).to_string(),
        running_for: format!("{} ago", age::since(record.created)),
        ports: String::new(),
        state: state.status,
        status: status(&state),
        image: record.image,
        names: record.name,
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
        assert_eq!(status(&State::running()), "Up Less than a second");
        let exited = State::running().exited(137, "killed".into());
        assert_eq!(status(&exited), "Exited (137) Less than a second ago");
    }
}
