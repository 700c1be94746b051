//! `coracle volume ls`: the volumes of this host.

use anyhow::{Result, bail};
use image::store::Label;
use serde_json::{Value, json};

use crate::cli::ui::template::{self, Column, Form};
use crate::cli::{Context, filter, ui};
use crate::container::volumes::{self, Named};

/// List volumes
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only those that fit: name, label, dangling or driver = VALUE
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print only names
    #[arg(short, long)]
    quiet: bool,
    /// table, json, a template, or `table` and a template
    #[arg(long, value_name = "FORM", default_value = "table", conflicts_with = "quiet")]
    format: String,
}

/// Which volumes are meant. Of several values of one key one must fit; of labels, all.
#[derive(Debug, Default)]
struct Filter {
    names: Vec<String>,
    labels: Vec<Label>,
    drivers: Vec<String>,
    dangling: Option<bool>,
}

impl Filter {
    fn parse(texts: &[String]) -> Result<Filter> {
        let mut read = Filter::default();
        for text in texts {
            let (key, value) = filter::split(text)?;
            match key {
                "name" => read.names.push(value.to_owned()),
                "label" => read.labels.push(Label::parse(value)),
                "driver" => read.drivers.push(value.to_owned()),
                "dangling" => read.dangling = Some(filter::boolean(value)?),
                _ => bail!("{key:?} is not a filter for volumes: write name, label, dangling or driver"),
            }
        }
        Ok(read)
    }

    fn fits(&self, volume: &Named, used: bool) -> bool {
        (self.names.is_empty() || self.names.iter().any(|name| volume.name.contains(name.as_str())))
            && (self.drivers.is_empty() || self.drivers.iter().any(|driver| driver == "local"))
            && self.labels.iter().all(|label| filter::has(&volume.labels, label))
            && self.dangling.is_none_or(|dangling| dangling != used)
    }
}

const HEADS: [Column; 4] = [("LABELS", "Labels"), ("MOUNTPOINT", "Mountpoint"), ("SCOPE", "Scope"), ("SIZE", "Size")];

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let form = Form::parse(&arguments.format)?;
    let filter = Filter::parse(&arguments.filter)?;
    let users = volumes::users(&context.folders)?;
    let mut found = volumes::all(&context.folders)?;
    found.retain(|volume| filter.fits(volume, users.contains_key(&volume.name)));
    if arguments.quiet {
        return found.iter().try_for_each(|volume| ui::line(&volume.name)).map(|()| 0);
    }
    let rows: Vec<Value> = found.iter().map(row).collect();
    template::print(&form, &rows, &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")], &HEADS)?;
    Ok(0)
}

/// With Docker's names.
fn row(volume: &Named) -> Value {
    let labels: Vec<String> = volume.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Driver": "local",
        "Labels": labels.join(","),
        "Mountpoint": volume.data.display().to_string(),
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn volumes_are_picked_as_docker_picks_them() {
        let volume = Named {
            name: "web-data".into(),
            data: "/v/web-data/_data".into(),
            created: SystemTime::UNIX_EPOCH,
            labels: [("tier".to_owned(), "front".to_owned())].into(),
        };
        let fits = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Filter::parse(&texts).unwrap().fits(&volume, true)
        };
        assert!(fits(&[]));
        assert!(fits(&["name=data", "name=other", "label=tier=front", "driver=local", "dangling=false"]));
        for text in ["name=other", "label=tier=back", "driver=nfs", "dangling=true"] {
            assert!(!fits(&[text]), "{text}");
        }
        assert!(Filter::parse(&["colour=red".into()]).is_err());
    }
}
