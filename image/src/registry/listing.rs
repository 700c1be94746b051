//! Lists that a registry gives page by page: tags, and what refers to an image.

use serde::Deserialize;
use ureq::http::Method;

use super::http::{Answer, Content};
use super::source::{Ask, Target};
use super::url::{self, Url};
use super::{Client, Error, read_limited};
use crate::Digest;
use crate::manifest::{Descriptor, Document, Index, MAX_MANIFEST, media, nullable};
use crate::name::is_tag;

/// Entries asked for at once, as other clients do.
const PAGE: usize = 1000;
/// Most pages followed, and with them the longest list: a registry could invent new ones for ever.
const MAX_PAGES: usize = 1000;
/// Most entries taken: no repository that people use has as many.
const MAX_ENTRIES: usize = 200_000;

#[derive(Deserialize)]
struct Tags {
    #[serde(default, deserialize_with = "nullable")]
    tags: Vec<String>,
}

impl Client {
    /// All tags of the repository, in the registry's order (distribution specification, "Listing Tags"). What is no
    /// tag is left out.
    pub fn tags(&self) -> Result<Vec<String>, Error> {
        let what = format!("list of tags of {}", self.state.registry.name());
        let mut tags = Vec::new();
        self.pages(&format!("tags/list?n={PAGE}"), &what, |answer| {
            let page: Option<Tags> = serde_json::from_slice(&read_limited(answer.response, MAX_MANIFEST, &what)?).ok();
            let page = page.ok_or_else(|| Error::Nonsense { what: what.clone() })?;
            tags.extend(page.tags.into_iter().filter(|tag| is_tag(tag)));
            Ok(tags.len())
        })?;
        Ok(tags)
    }

    /// What refers to the manifest `subject`: signatures, attestations and the like, of one type if `artifact_type` is
    /// given (distribution specification, "Listing Referrers"). Registries without that list have it under a tag.
    pub fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let what = format!("list of referrers to {}@{subject}", self.state.registry.name());
        let query = artifact_type.map(|kind| format!("?{}", url::form(&[("artifactType", kind)])));
        let path = format!("referrers/{subject}{}", query.unwrap_or_default());
        let mut found: Vec<Descriptor> = Vec::new();
        let listed = self.pages(&path, &what, |answer| {
            let bytes = read_limited(answer.response, MAX_MANIFEST, &what)?;
            let index = Index::parse(&bytes).ok_or_else(|| Error::Nonsense { what: what.clone() })?;
            found.extend(index.manifests);
            Ok(found.len())
        });
        match listed {
            Ok(()) => {}
            // 404 is what the specification has for a registry without the list; others say other things.
            Err(
                Error::NotFound { .. } | Error::Status { status: 400 | 405 | 406 | 501, .. } | Error::Nonsense { .. },
            ) => {
                found = self.tagged_referrers(subject)?.manifests;
            }
            Err(error) => return Err(error),
        }
        // A registry need not have looked at the type.
        found.retain(|entry| artifact_type.is_none_or(|wanted| entry.artifact_type() == Some(wanted)));
        Ok(found)
    }

    /// The index under the tag for registries that cannot list referrers.
    fn tagged_referrers(&self, subject: &Digest) -> Result<Index, Error> {
        let tag = fallback_tag(subject);
        match self.document(&format!("referrers {tag}"), &tag, None) {
            Ok((bytes, _)) => Index::parse(&bytes).ok_or_else(|| Error::Nonsense { what: format!("index {tag}") }),
            Err(Error::NotFound { .. }) => Ok(Index::default()),
            Err(error) => Err(error),
        }
    }

    /// Sends a manifest or index, to be known by `target`, a tag or its digest.
    pub fn put_manifest(&self, target: &str, bytes: &[u8], media_type: &str) -> Result<Digest, Error> {
        let (registry, path) = (&self.state.registry, format!("manifests/{target}"));
        let what = format!("manifest {}:{target}", registry.name());
        let headers = [("content-type", media_type)];
        let ask = Ask { headers: &headers, ..Ask::write(Method::PUT, Target::Path(&path), Content::Bytes(bytes)) };
        let answer = registry.expect(registry.send(&self.state.http, &ask)?, &[200, 201, 202], &what)?;
        let knows_subjects = answer.header("oci-subject").is_some();
        let theirs: Option<Digest> = answer.header("docker-content-digest").and_then(|digest| digest.parse().ok());
        answer.discard();
        let digest = target.parse().unwrap_or_else(|_| Digest::of(bytes));
        if let Some(actual) = theirs
            && actual.algorithm() == digest.algorithm()
            && actual != digest
        {
            return Err(Error::Digest(crate::digest::Error::Mismatch { expected: digest, actual }));
        }
        let subject = Subject::of(bytes);
        if let Some(Subject { subject: Some(subject), .. }) = &subject
            && !knows_subjects
        {
            self.note_referrer(
                &subject.digest,
                Descriptor::new(media_type, digest.clone(), bytes.len() as u64),
                bytes,
            )?;
        }
        Ok(digest)
    }

    /// Adds a referrer to the index under the tag. Two who do so at once may lose one: the specification has no way
    /// around that.
    fn note_referrer(&self, subject: &Digest, mut entry: Descriptor, bytes: &[u8]) -> Result<(), Error> {
        let mut index = self.tagged_referrers(subject)?;
        if index.manifests.iter().any(|known| known.digest == entry.digest) {
            return Ok(());
        }
        if let Ok(Document::Manifest(manifest)) = Document::parse(bytes, Some(&entry.media_type)) {
            let kind =
                manifest.other.get("artifactType").and_then(|kind| kind.as_str()).filter(|kind| !kind.is_empty());
            let kind = kind.unwrap_or(&manifest.config.media_type);
            entry.other.insert("artifactType".to_owned(), kind.into());
        }
        entry.annotations = Subject::of(bytes).map(|subject| subject.annotations).unwrap_or_default();
        index.manifests.push(entry);
        let what = "index of referrers".to_owned();
        let bytes = serde_json::to_vec(&index).map_err(|_| Error::Nonsense { what })?;
        self.put_manifest(&fallback_tag(subject), &bytes, media::INDEX).map(|_| ())
    }

    /// GETs a list page by page; `take` says how many entries there are by now.
    fn pages(&self, path: &str, what: &str, mut take: impl FnMut(Answer) -> Result<usize, Error>) -> Result<(), Error> {
        let registry = &self.state.registry;
        let accept = [("accept", "application/json, application/vnd.oci.image.index.v1+json")];
        let mut next: Option<Url> = None;
        for _ in 0..MAX_PAGES {
            let target = next.as_ref().map_or(Target::Path(path), Target::Url);
            let answer = registry.send(&self.state.http, &Ask { target, ..Ask::get(path, &accept) })?;
            let answer = registry.expect(answer, &[200], what)?;
            let link = answer.header("link").and_then(next_page).map(|link| answer.url.join(link)).transpose()?;
            let count = take(answer)?;
            match link {
                None => return Ok(()),
                Some(_) if count > MAX_ENTRIES => break,
                Some(link) => next = Some(link),
            }
        }
        Err(Error::TooLong { what: what.to_owned() })
    }
}

/// The tag that stands for a list of referrers (distribution specification, "Referrers Tag Schema").
fn fallback_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm().name(), hex.get(..64).unwrap_or(hex))
}

/// What a manifest or an index says of what it is about.
#[derive(Deserialize)]
struct Subject {
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "nullable")]
    annotations: std::collections::BTreeMap<String, String>,
}

impl Subject {
    fn of(bytes: &[u8]) -> Option<Subject> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The target of the `next` link of a Link header (RFC 8288).
fn next_page(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| {
            parameter
                .trim()
                .split_once('=')
                .is_some_and(|(name, value)| name == "rel" && value.trim_matches('"') == "next")
        };
        parameters.split(';').any(is_next).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(next_page("</v2/a/tags/list?n=2&last=b>; rel=\"next\""), Some("/v2/a/tags/list?n=2&last=b"));
        assert_eq!(next_page("<x>; rel=prev, <y>; title=\"t\"; rel=next"), Some("y"));
        assert_eq!(next_page("<x>; rel=\"last\""), None);
        assert_eq!(next_page("x; rel=next"), None);
    }

    #[test]
    fn the_tag_of_a_list_of_referrers_is_a_tag() {
        for digest in [format!("sha256:{}", "a".repeat(64)), format!("sha512:{}", "b".repeat(128))] {
            let tag = fallback_tag(&digest.parse().unwrap());
            assert!(is_tag(&tag) && tag.len() == 71, "{tag}");
        }
    }
}
