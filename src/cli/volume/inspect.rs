//! `coracle volume inspect`: all that is known of a volume.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::ui::template::Template;
use crate::cli::{Context, PARTLY, ui};
use crate::container::volumes::{self, Named};

/// Show all that is known of volumes
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print what this template makes of each instead
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// The volumes
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let format = arguments.format.as_deref();
    let template = format.filter(|format| *format != "json").map(Template::parse).transpose()?;
    let (mut found, mut code) = (Vec::new(), 0);
    for name in &arguments.names {
        match volumes::find(&context.folders, name) {
            Ok(volume) => found.push(describe(&volume)),
            Err(error) => {
                ui::error(&error);
                code = PARTLY;
            }
        }
    }
    match (template, format) {
        (Some(template), _) => found.iter().try_for_each(|value| ui::line(&template.render(value)?))?,
        (None, Some(_)) => ui::json_lines(found.iter())?,
        (None, None) => ui::json_pretty(&found)?,
    }
    Ok(code)
}

/// With Docker's names.
fn describe(volume: &Named) -> Value {
    json!({
        "CreatedAt": humantime::format_rfc3339_seconds(volume.created).to_string(),
        "Driver": "local",
        "Labels": volume.labels,
        "Mountpoint": volume.data.display().to_string(),
        "Name": volume.name,
        "Options": null,
        "Scope": "local",
    })
}
