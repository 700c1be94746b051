//! `coracle history`: how an image was made, newest step first.

use anyhow::{Context as _, Result};
use config::size;
use image::store::parse_time;
use image::{Image, Store};
use serde::Serialize;

use super::images::since;
use super::ui::template::{self, Column, Form};
use super::{Context, ui};

/// Longest command shown.
const COMMAND: usize = 45;
/// What Docker writes in place of the ids of steps, which have none.
const MISSING: &str = "<missing>";

/// Show how an image was made
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Do not cut ids and commands off
    #[arg(long)]
    no_trunc: bool,
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    /// Sizes and times for people; false for numbers and RFC 3339
    #[arg(short = 'H', long, num_args = 0..=1, default_value = "true", default_missing_value = "true",
        require_equals = true, action = clap::ArgAction::Set)]
    human: bool,
    /// Form of the output: table, json, or a template
    #[arg(long, value_name = "FORM", default_value = "table", conflicts_with = "quiet")]
    format: String,
    /// The image
    image: String,
}

/// One line, with Docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    comment: String,
    created_at: String,
    created_by: String,
    created_since: String,
    #[serde(rename = "ID")]
    id: String,
    size: String,
}

const COLUMNS: [Column; 5] = [
    ("IMAGE", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
];

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let store = context.store()?;
    let form = Form::parse(&arguments.format)?;
    let name = &arguments.image;
    let image = store.find(name)?.with_context(|| format!("There is no image {name} here"))?;
    let mut rows = rows(&store, &image, arguments);
    rows.reverse();
    if let Some(newest) = rows.first_mut() {
        newest.id = super::images::id(&image, arguments.no_trunc);
    }
    if arguments.quiet {
        rows.iter().try_for_each(|row| ui::line(&row.id))?;
        return Ok(0);
    }
    let rows: Result<Vec<_>, _> = rows.iter().map(serde_json::to_value).collect();
    template::print(&form, &rows?, &COLUMNS, &[("CREATED AT", "CreatedAt")])?;
    Ok(0)
}

/// Oldest first.
fn rows(store: &Store, image: &Image, arguments: &Arguments) -> Vec<Row> {
    let mut sizes = store.layer_sizes(image).into_iter();
    let human = |bytes: u64| if arguments.human { size::human(bytes) } else { bytes.to_string() };
    let row = |created: Option<&str>, command: &str, comment: &str, bytes: u64| {
        let words = since(created.and_then(parse_time));
        let created = created.unwrap_or_default().to_owned();
        Row {
            comment: comment.to_owned(),
            created_since: if arguments.human { words } else { created.clone() },
            created_at: created,
            created_by: cut(command, arguments.no_trunc),
            id: MISSING.to_owned(),
            size: human(bytes),
        }
    };
    let mut rows = Vec::new();
    for step in &image.config.history {
        let bytes = if step.empty_layer { 0 } else { sizes.next().unwrap_or_default() };
        rows.push(row(step.created.as_deref(), &step.created_by, &step.comment, bytes));
    }
    // Not every maker tells how it came to all layers.
    rows.extend(sizes.map(|bytes| row(None, "", "", bytes)));
    rows
}

fn cut(command: &str, whole: bool) -> String {
    // Control characters would draw on the terminal.
    let plain: String = command.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if whole || plain.chars().count() <= COMMAND {
        return plain;
    }
    plain.chars().take(COMMAND - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_cut_and_cannot_draw() {
        assert_eq!(cut("RUN\tx\u{1b}[2J", false), "RUN x [2J");
        assert_eq!(cut(&"x".repeat(60), false).chars().count(), COMMAND);
        assert_eq!(cut(&"x".repeat(60), true).len(), 60);
    }
}
