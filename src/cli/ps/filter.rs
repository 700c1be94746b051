//! `ps --filter`: which containers are meant.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use image::store::Label;

use crate::cli::{Context, filter};
use crate::container::catalogue::{self, Container};
use crate::container::record::Status;

/// States that Docker knows. Those that no container of ours is ever in fit none.
const STATES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];

/// What a container must be like. Of several values of one key one must fit; of labels, all.
#[derive(Debug, Default)]
pub(super) struct Filter {
    names: Vec<String>,
    ids: Vec<String>,
    states: Vec<String>,
    ancestors: Vec<Ancestor>,
    labels: Vec<Label>,
    codes: Vec<u8>,
    before: Vec<SystemTime>,
    since: Vec<SystemTime>,
    volumes: Vec<String>,
}

/// An image that a container is made from, or that its image is made from.
#[derive(Debug)]
struct Ancestor {
    /// As it was written.
    name: String,
    /// The image's id and the keys of its layers, if it is here.
    image: Option<(String, Vec<String>)>,
}

impl Filter {
    /// Reads `KEY=VALUE` each.
    pub(super) fn parse(texts: &[String], context: &Context) -> Result<Filter> {
        let mut read = Filter::default();
        let made = |name: &str| catalogue::find(&context.folders, name).map(|container| container.record.created);
        for text in texts {
            let (key, value) = filter::split(text)?;
            match key {
                "name" => read.names.push(value.to_owned()),
                "id" => read.ids.push(value.to_owned()),
                "status" if STATES.contains(&value) => read.states.push(value.to_owned()),
                "status" => bail!("{value:?} is not a status: write {}", STATES.join(", ")),
                "ancestor" => read.ancestors.push(Ancestor::find(value, context)?),
                "label" => read.labels.push(Label::parse(value)),
                "exited" => read.codes.push(value.parse().with_context(|| format!("{value:?} is not an exit code"))?),
                "before" => read.before.push(made(value)?),
                "since" => read.since.push(made(value)?),
                "volume" => read.volumes.push(value.to_owned()),
                _ => bail!(
                    "{key:?} is not a filter for containers: write name, id, status, ancestor, label, exited, before, \
                     since or volume"
                ),
            }
        }
        Ok(read)
    }

    /// Whether containers that do not run are meant too, although nobody said -a.
    pub(super) fn means_all(&self) -> bool {
        !(self.states.is_empty() && self.before.is_empty() && self.since.is_empty())
    }

    /// Whether the container fits.
    pub(super) fn fits(&self, container: &Container) -> bool {
        let Container { record, state } = container;
        let over = state.status == Status::Exited && state.started.is_some();
        let is_called = |pattern: &String| fits_name(pattern, &record.name);
        let comes_from = |ancestor: &Ancestor| ancestor.is_of(container);
        let sees = |volume: &String| {
            let known = |one: &crate::container::volume::Volume| {
                one.name.as_ref() == Some(volume) || one.target == *volume || one.source == Path::new(volume)
            };
            record.volumes.iter().any(known)
        };
        any(&self.names, is_called)
            && any(&self.ids, |id| record.id.starts_with(id.as_str()))
            && any(&self.states, |status| word(state.status) == status)
            && any(&self.ancestors, comes_from)
            && self.labels.iter().all(|label| filter::has(&record.labels, label))
            && any(&self.codes, |code| over && *code == state.exit_code)
            && any(&self.before, |moment| record.created < *moment)
            && any(&self.since, |moment| record.created > *moment)
            && any(&self.volumes, sees)
    }
}

impl Ancestor {
    fn find(name: &str, context: &Context) -> Result<Ancestor> {
        let found = context.store()?.find(name).ok().flatten();
        let image = found.map(|image| (image.id.to_string(), image.layers.iter().map(ToString::to_string).collect()));
        Ok(Ancestor { name: name.to_owned(), image })
    }

    fn is_of(&self, container: &Container) -> bool {
        let record = &container.record;
        let image = self.image.as_ref();
        let made = |(id, layers): &(String, Vec<String>)| {
            *id == record.image_id || (!layers.is_empty() && record.layers.starts_with(layers))
        };
        record.image == self.name || image.is_some_and(made)
    }
}

/// Nothing asked for fits everything.
fn any<T>(asked: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    asked.is_empty() || asked.iter().any(fits)
}

/// A part of a name fits, as in Docker; `^` and `$` bind it to the beginning and the end, and a slash in front is one
/// that `inspect` shows.
fn fits_name(pattern: &str, name: &str) -> bool {
    let (start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (end, rest) = rest.strip_suffix('$').map_or((false, rest), |rest| (true, rest));
    let (start, rest) = rest.strip_prefix('/').map_or((start, rest), |rest| (true, rest));
    match (start, end) {
        (true, true) => name == rest,
        (true, false) => name.starts_with(rest),
        (false, true) => name.ends_with(rest),
        (false, false) => name.contains(rest),
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Exited => "exited",
    }
}

#[cfg(test)]
#[path = "filter_test.rs"]
mod tests;
