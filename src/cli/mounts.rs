//! `-v`, `--mount` and `--volumes-from`: what of the host a container is to see.

use anyhow::{Result, bail, ensure};
use config::Folders;

use crate::container::catalogue;
use crate::container::volume::{self, Request, Volume};

/// Reads `-v` and `--mount`, and looks whether what has to be there is.
pub(super) fn parse(volumes: &[String], mounts: &[String]) -> Result<Vec<Request>> {
    let volumes = volumes.iter().map(|text| Request::parse(text));
    let requests: Vec<Request> =
        volumes.chain(mounts.iter().map(|text| Request::parse_mount(text))).collect::<Result<_>>()?;
    requests.iter().try_for_each(Request::check)?;
    Ok(requests)
}

/// The volumes of other containers, `NAME[:ro|:rw]` each.
pub(super) fn of_others(folders: &Folders, texts: &[String]) -> Result<Vec<Volume>> {
    let mut volumes = Vec::new();
    for text in texts {
        let (name, read_only) = match text.split_once(':') {
            None => (text.as_str(), false),
            Some((name, "rw" | "z" | "Z")) => (name, false),
            Some((name, "ro")) => (name, true),
            Some((_, mode)) => bail!("The mode {mode:?} of --volumes-from {text} is not known; ro and rw are"),
        };
        let theirs = catalogue::find(folders, name)?.record.volumes;
        volumes.extend(theirs.into_iter().map(|one| Volume { read_only: one.read_only || read_only, ..one }));
    }
    Ok(volumes)
}

/// All volumes of the container. One that was asked for itself goes before another container's at the same place.
pub(super) fn resolve(folders: &Folders, requests: Vec<Request>, others: Vec<Volume>) -> Result<Vec<Volume>> {
    ensure!(
        requests.len().saturating_add(others.len()) <= volume::MOST,
        "A container can have {} volumes at most",
        volume::MOST
    );
    let mut volumes: Vec<Volume> =
        requests.into_iter().map(|request| request.resolve(folders)).collect::<Result<_>>()?;
    for other in others {
        if volumes.iter().all(|volume| volume.target != other.target) {
            volumes.push(other);
        }
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_itself_goes_before_what_others_have() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(Some(folder.path().join("root")), Some(folder.path().join("run")));
        let other = |target: &str| Volume {
            name: Some("theirs".into()),
            source: "/theirs".into(),
            target: target.into(),
            read_only: true,
        };
        let requests = parse(&["ours:/a".into()], &["source=mounted,target=/b".into()]).unwrap();
        let volumes = resolve(&folders, requests, vec![other("/a"), other("/c"), other("/c")]).unwrap();
        let seen: Vec<(&str, &str)> =
            volumes.iter().map(|one| (one.name.as_deref().unwrap(), one.target.as_str())).collect();
        assert_eq!(seen, [("ours", "/a"), ("mounted", "/b"), ("theirs", "/c")]);
    }

    #[test]
    fn what_has_to_be_there_is_missed_before_anything_is_made() {
        let error = parse(&["/nowhere/at/all:/a".into()], &[]).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at/all"), "{error:#}");
    }
}
