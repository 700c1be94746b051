//! `coracle container prune`: removes the containers that do not run.

use std::time::SystemTime;

use anyhow::{Result, bail};
use config::size;
use image::store::Label;

use crate::cli::{Context, PARTLY, filter, system, ui};
use crate::container::catalogue;
use crate::container::record::{Record, Status};

/// Remove the containers that do not run
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only those that fit: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Which containers are meant.
#[derive(Debug, Default)]
struct Filter {
    until: Option<SystemTime>,
    labels: Vec<Label>,
    without: Vec<Label>,
}

impl Filter {
    fn parse(texts: &[String]) -> Result<Filter> {
        let mut read = Filter::default();
        for text in texts {
            let (key, value) = filter::split(text)?;
            match key {
                "until" => read.until = Some(filter::until(value)?),
                "label" => read.labels.push(Label::parse(value)),
                "label!" => read.without.push(Label::parse(value)),
                _ => bail!("{key:?} is not a filter for container prune: write until, label or label!"),
            }
        }
        Ok(read)
    }

    fn fits(&self, record: &Record) -> bool {
        self.until.is_none_or(|until| record.created < until)
            && self.labels.iter().all(|label| filter::has(&record.labels, label))
            && !self.without.iter().any(|label| filter::has(&record.labels, label))
    }
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let filter = Filter::parse(&arguments.filter)?;
    if !arguments.force && !ui::confirm("WARNING! This will remove all containers that do not run.")? {
        return Ok(0);
    }
    let (mut code, mut bytes) = (0, 0u64);
    let mut removed = Vec::new();
    for container in catalogue::all(&context.folders)? {
        let record = container.record;
        // One that is just being started is left alone, as the lock would have it.
        let idle = container.state.status != Status::Running && !catalogue::is_alive(&context.folders, &record.id)?;
        if !idle || !filter.fits(&record) {
            continue;
        }
        let size = system::used(&catalogue::folder(&context.folders, &record.id));
        match catalogue::remove(&context.folders, &record) {
            Ok(()) => {
                bytes = bytes.saturating_add(size);
                removed.push(record.id);
            }
            Err(error) => {
                ui::error(&error);
                code = PARTLY;
            }
        }
    }
    if !removed.is_empty() {
        ui::line("Deleted Containers:")?;
        removed.iter().try_for_each(|id| ui::line(id))?;
        ui::line("")?;
    }
    ui::line(&format!("Total reclaimed space: {}", size::human(bytes)))?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let filter = Filter::parse(&["until=24h".into(), "label=a=b".into(), "label!=keep".into()]).unwrap();
        assert!(filter.until.is_some());
        assert_eq!(filter.labels, [Label { key: "a".into(), value: Some("b".into()) }]);
        assert_eq!(filter.without, [Label { key: "keep".into(), value: None }]);
        assert!(Filter::parse(&["status=exited".into()]).is_err());
    }
}
