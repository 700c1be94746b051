//! `--filter`: which images are meant, by name, age, label.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use image::store::{Label, PruneOptions, parse_time};
use image::{Image, Reference, Store};

use super::glob;

/// What an image must be like. One that is given several times for one key must fit one of them, as Docker has it.
#[derive(Debug, Default)]
pub(super) struct Filter {
    references: Vec<String>,
    dangling: Option<bool>,
    before: Vec<SystemTime>,
    since: Vec<SystemTime>,
    labels: Vec<Label>,
}

impl Filter {
    /// Reads `KEY=VALUE` each; images that others are compared with are looked for in `store`.
    pub(super) fn parse(texts: &[String], store: &Store) -> Result<Filter> {
        let mut filter = Filter::default();
        let made = |name: &str| {
            let image =
                store.find(name)?.with_context(|| format!("There is no image {name} to compare others with"))?;
            image.made().with_context(|| format!("The image {name} does not say when it was made"))
        };
        for text in texts {
            let (key, value) = split(text)?;
            match key {
                "reference" => filter.references.push(value.to_owned()),
                "dangling" => filter.dangling = Some(boolean(value)?),
                "before" => filter.before.push(made(value)?),
                "since" => filter.since.push(made(value)?),
                "until" => filter.before.push(until(value)?),
                "label" => filter.labels.push(Label::parse(value)),
                _ => bail!(
                    "{key:?} is not a filter for images: write reference, dangling, before, since, until or label"
                ),
            }
        }
        Ok(filter)
    }

    /// Whether the image fits, and with which of its names it does.
    pub(super) fn fits(&self, image: &Image) -> Option<Vec<String>> {
        let made = image.made();
        let fits = self.dangling.is_none_or(|dangling| dangling == image.names.is_empty())
            && self.before.iter().all(|moment| made.is_some_and(|made| made < *moment))
            && self.since.iter().all(|moment| made.is_some_and(|made| made > *moment))
            && self.labels.iter().all(|label| label.is_on(image));
        let names: Vec<String> =
            image.names.iter().filter(|name| self.references.is_empty() || self.names(name)).cloned().collect();
        let named = self.references.is_empty() || !names.is_empty();
        (fits && named).then_some(names)
    }

    fn names(&self, name: &str) -> bool {
        let Ok(name) = name.parse::<Reference>() else { return false };
        let (with_tag, without) = (name.familiar(), name.familiar_name());
        self.references.iter().any(|pattern| glob::fits(pattern, &with_tag) || glob::fits(pattern, &without))
    }
}

/// Reads the filters of `prune`: `until`, `label`, `label!`, `dangling`.
pub(super) fn prune(texts: &[String], all: bool) -> Result<PruneOptions> {
    let mut options = PruneOptions { all, ..PruneOptions::default() };
    for text in texts {
        let (key, value) = split(text)?;
        match key {
            "until" => options.until = Some(until(value)?),
            "label" => options.labels.push(Label::parse(value)),
            "label!" => options.without_labels.push(Label::parse(value)),
            "dangling" => options.all = !boolean(value)?,
            _ => bail!("{key:?} is not a filter for prune: write until, label, label! or dangling"),
        }
    }
    Ok(options)
}

/// Reads `KEY=VALUE`.
pub(super) fn split(text: &str) -> Result<(&str, &str)> {
    let (key, value) = text.split_once('=').with_context(|| format!("{text:?} is not a filter: write KEY=VALUE"))?;
    ensure!(!value.is_empty(), "The filter {key} has no value");
    Ok((key, value))
}

/// Whether the labels of a container or volume have this one.
pub(super) fn has(labels: &BTreeMap<String, String>, label: &Label) -> bool {
    labels.get(&label.key).is_some_and(|found| label.value.as_ref().is_none_or(|value| value == found))
}

/// Reads a yes or no.
pub(super) fn boolean(text: &str) -> Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => bail!("{text:?} is neither true nor false"),
    }
}

/// A moment: RFC 3339, a date, seconds since 1970, or how long ago it was (`24h`, `10m`).
pub(super) fn until(text: &str) -> Result<SystemTime> {
    let seconds = || text.parse::<u64>().ok().and_then(|s| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(s)));
    let date = || parse_time(&format!("{text}T00:00:00Z"));
    let ago = || humantime::parse_duration(text).ok().and_then(|ago| SystemTime::now().checked_sub(ago));
    parse_time(text).or_else(seconds).or_else(date).or_else(ago).with_context(|| {
        format!("{text:?} is not a time: write how long ago (24h), a date (2026-01-31) or 2026-01-31T10:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(until("1700000000").unwrap(), at(1_700_000_000));
        assert_eq!(until("2026-01-31").unwrap(), at(1_769_817_600));
        assert_eq!(until("2026-01-31T01:00:00+01:00").unwrap(), at(1_769_817_600));
        let yesterday = until("24h").unwrap();
        assert!(SystemTime::now().duration_since(yesterday).unwrap() >= Duration::from_secs(86_400));
        assert!(until("yesterday").is_err());
    }

    #[test]
    fn filters_of_prune_are_read() {
        let options = prune(&["label!=keep".into(), "label=a=b".into(), "dangling=false".into()], false).unwrap();
        assert_eq!(options.without_labels, [Label { key: "keep".into(), value: None }]);
        assert_eq!(options.labels, [Label { key: "a".into(), value: Some("b".into()) }]);
        assert!(options.all);
        assert!(prune(&["reference=x".into()], false).is_err());
        assert!(prune(&["until".into()], false).is_err());
    }
}
