//! Where the bytes of a blob can be had: from mirrors, from the registry, from the URLs of a foreign layer.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use ureq::BodyReader;
use ureq::http::Method;

use super::http::{Answer, Content, Request};
use super::source::{Ask, Source};
use super::url::Url;
use super::{Error, State};
use crate::Digest;
use crate::manifest::Descriptor;

/// Most URLs of a foreign layer that are tried.
const MAX_URLS: usize = 8;

/// A blob, and the places that may have it.
pub(super) struct Whence {
    pub(super) state: Arc<State>,
    digest: Digest,
    pub(super) size: u64,
    urls: Vec<Url>,
    /// Where the registry redirected us to, so that not every piece has to ask it again.
    direct: Mutex<Option<Url>>,
}

enum Place<'a> {
    Source(&'a Source),
    /// Gets no credentials (CVE-2020-15157).
    Elsewhere(&'a Url),
}

/// Bytes of a blob: the first, and the one after the last if not all are wanted.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: Option<u64>,
}

impl Whence {
    pub(super) fn new(state: Arc<State>, descriptor: &Descriptor) -> Whence {
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        let urls = descriptor.is_foreign().then(|| descriptor.other.get("urls")).flatten().and_then(Value::as_array);
        let urls = urls.into_iter().flatten().filter_map(|url| Url::parse(url.as_str()?).ok()).take(MAX_URLS);
        Whence { urls: urls.collect(), state, digest, size, direct: Mutex::default() }
    }

    fn get(&self, place: usize) -> Option<Place<'_>> {
        let mirrors = self.state.mirrors.len();
        match self.state.mirrors.get(place) {
            Some(mirror) => Some(Place::Source(mirror)),
            None if place == mirrors => Some(Place::Source(&self.state.registry)),
            None => self.urls.get(place.checked_sub(mirrors + 1)?).map(Place::Elsewhere),
        }
    }

    /// Whether there is a place of this number.
    pub(super) fn has(&self, place: usize) -> bool {
        self.get(place).is_some()
    }

    /// For people.
    pub(super) fn place(&self, place: usize) -> &str {
        match self.get(place) {
            Some(Place::Source(source)) => source.name(),
            Some(Place::Elsewhere(url)) => url.host(),
            None => "Nobody",
        }
    }

    /// For people.
    pub(super) fn what(&self) -> String {
        format!("blob {}", self.digest)
    }

    /// Opens these bytes; an answer without ranges is skipped up to them.
    pub(super) fn open(&self, place: usize, span: Span) -> Result<BodyReader<'static>, Error> {
        let answer = self.ask(place, span)?;
        let skip = match answer.status() {
            206 => 0,
            _ => span.from,
        };
        let mut body = answer.response.into_body().into_reader();
        let skipped = io::copy(&mut body.by_ref().take(skip), &mut io::sink()).map_err(|error| self.broken(error))?;
        if skipped < skip { Err(self.broken(io::ErrorKind::UnexpectedEof.into())) } else { Ok(body) }
    }

    /// Asks for these bytes; the answer is 200 with all bytes, or 206 with these.
    pub(super) fn ask(&self, place: usize, span: Span) -> Result<Answer, Error> {
        let range = match span {
            Span { from: 0, to: None } => None,
            Span { from, to: None } => Some(format!("bytes={from}-")),
            Span { from, to: Some(to) } => Some(format!("bytes={from}-{}", to.saturating_sub(1))),
        };
        let headers: Vec<(&str, &str)> = range.iter().map(|range| ("range", range.as_str())).collect();
        let answer = match self.get(place) {
            None => return Err(Error::NotFound { what: self.what() }),
            Some(Place::Source(source)) => match self.ask_directly(&headers) {
                Some(answer) => answer,
                None => {
                    let answer =
                        source.send(&self.state.http, &Ask::get(&format!("blobs/{}", self.digest), &headers))?;
                    let answer = source.expect(answer, &[200, 206], &self.what())?;
                    let away = answer.url.host() != source.host();
                    *self.direct() = away.then(|| answer.url.clone());
                    answer
                }
            },
            Some(Place::Elsewhere(url)) => {
                let answer = self.state.http.send(&self.plain_request(url, &headers))?;
                match answer.status() {
                    200 | 206 => answer,
                    status => {
                        let message = format!(" at {}", url.host());
                        return Err(Error::Status { status, what: self.what(), message });
                    }
                }
            }
        };
        if answer.status() == 206 && !self.is_right(&answer, span) {
            return Err(self.broken(io::Error::other("It answered with another range than asked for")));
        }
        Ok(answer)
    }

    /// Asks for a piece where the last one was; `None` if that is no longer of use. One attempt: the registry knows a
    /// better place.
    fn ask_directly(&self, headers: &[(&str, &str)]) -> Option<Answer> {
        let url = self.direct().clone()?;
        let answer = self.state.http.once(&self.plain_request(&url, headers));
        let useful = answer.ok().filter(|answer| answer.status() == 206);
        if useful.is_none() {
            *self.direct() = None;
        }
        useful
    }

    fn direct(&self) -> std::sync::MutexGuard<'_, Option<Url>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without credentials.
    fn plain_request<'a>(&self, url: &'a Url, headers: &'a [(&'a str, &'a str)]) -> Request<'a> {
        Request { method: Method::GET, url, headers, authorization: None, content: Content::None }
    }

    /// Whether a 206 answer begins at the byte asked for and is part of the blob announced (RFC 9110, section 14.4).
    fn is_right(&self, answer: &Answer, span: Span) -> bool {
        let Some((range, total)) = answer
            .header("content-range")
            .and_then(|value| value.trim().strip_prefix("bytes "))
            .and_then(|range| range.split_once('/'))
        else {
            return false;
        };
        let start = range.split('-').next().and_then(|start| start.trim().parse().ok());
        let total = total.trim();
        start == Some(span.from) && (total == "*" || total.parse() == Ok(self.size))
    }

    pub(super) fn broken(&self, source: io::Error) -> Error {
        Error::Broken { what: self.what(), source }
    }
}
