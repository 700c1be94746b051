//! Sending blobs and manifests (distribution specification, "Push").
//!
//! A small blob goes in one request. A large one, or one whose size is not known before its end, goes in chunks, each
//! of which can be sent again when the connection breaks. Some registries do not take such chunks: they get the whole
//! blob in one long request, as Docker sends it.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use ureq::http::Method;

use super::auth::Access;
use super::blob::Failures;
use super::http::{Answer, Content, Open, is_transient};
use super::source::{Ask, Target};
use super::url::{self, Url};
use super::{Client, Error};
use crate::Digest;
use crate::digest::{Algorithm, Hashing};

/// Bytes of a chunk: Amazon's registry wants 5 MiB and more. It is in memory, so that it can be sent again.
const CHUNK: usize = 8 << 20;
/// Largest chunk a registry may ask for; with a larger one it gets the whole blob in one request.
const MAX_CHUNK: usize = 32 << 20;
/// The media type of what is sent.
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

/// A blob to send.
pub struct Upload<'a> {
    /// Its bytes.
    pub source: &'a dyn Open,
    /// Its digest and size, if they are known.
    pub known: Option<(&'a Digest, u64)>,
    /// Told how many further bytes are there.
    pub advance: &'a (dyn Fn(u64) + Sync),
}

/// An upload that has begun.
struct Session {
    location: Url,
    chunk: usize,
}

/// Why chunks did not go.
enum Trouble {
    /// The registry does not want them.
    Unwanted(Error),
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Failed(error)
    }
}

impl Client {
    /// Whether the registry has a blob.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let (registry, path) = (&self.state.registry, format!("blobs/{digest}"));
        let ask = Ask::write(Method::HEAD, Target::Path(&path), Content::None);
        match registry.expect(registry.send(&self.state.http, &ask)?, &[200], "blob") {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks the registry to take a blob from one of its other repositories; whether it did.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<bool, Error> {
        let path = format!("blobs/uploads/?{}", url::form(&[("mount", digest.as_str()), ("from", from)]));
        let ask = Ask { access: Access::Mount(from), ..Ask::write(Method::POST, Target::Path(&path), EMPTY) };
        let answer = self.state.registry.send(&self.state.http, &ask)?;
        let mounted = answer.status() == 201;
        if answer.status() == 202 {
            // It has begun an upload instead, which somebody has to end.
            if let Some(location) = answer.header("location").and_then(|location| answer.url.join(location).ok()) {
                answer.discard();
                self.cancel(&location);
            }
        }
        Ok(mounted)
    }

    /// Sends a blob; its digest and size.
    pub fn upload(&self, upload: &Upload<'_>) -> Result<(Digest, u64), Error> {
        match self.in_chunks(upload) {
            Ok(sent) => Ok(sent),
            Err(Trouble::Failed(error)) => Err(error),
            Err(Trouble::Unwanted(error)) => {
                log::info!("{} takes no chunks: {error}", self.state.registry.host());
                self.in_one(upload)
            }
        }
    }

    fn begin(&self) -> Result<Session, Error> {
        let ask = Ask::write(Method::POST, Target::Path("blobs/uploads/"), EMPTY);
        let answer = self.state.registry.send(&self.state.http, &ask)?;
        let answer = self.state.registry.expect(answer, &[202], "an upload")?;
        let least = answer.header("oci-chunk-min-length").and_then(|least| least.trim().parse().ok()).unwrap_or(0);
        let location = location(&answer)?.ok_or_else(|| Error::Address(String::new()))?;
        answer.discard();
        Ok(Session { location, chunk: CHUNK.max(least) })
    }

    fn in_chunks(&self, upload: &Upload<'_>) -> Result<(Digest, u64), Trouble> {
        let mut session = self.begin()?;
        if session.chunk > MAX_CHUNK {
            self.cancel(&session.location);
            return Err(Trouble::Unwanted(Error::Broken {
                what: "an upload".into(),
                source: io::Error::other(format!("It wants chunks of {} bytes", session.chunk)),
            }));
        }
        let algorithm = upload.known.map_or(Algorithm::Sha256, |(digest, _)| digest.algorithm());
        let mut input =
            Hashing::new(upload.source.open().map_err(local)?, algorithm, upload.known.map(|(_, size)| size));
        let mut sent = 0;
        let result = loop {
            let expected = upload.known.and_then(|(_, size)| usize::try_from(size.saturating_sub(sent)).ok());
            let mut chunk = Vec::with_capacity(session.chunk.min(expected.unwrap_or(session.chunk).saturating_add(1)));
            input.by_ref().take(session.chunk as u64).read_to_end(&mut chunk).map_err(local)?;
            let last = chunk.len() < session.chunk;
            if last {
                let finished = finish(input, upload);
                break finished.and_then(|(digest, size)| {
                    // A blob of one chunk goes with the request that ends the upload.
                    let content = if sent == 0 { Content::Bytes(&chunk) } else { EMPTY };
                    if sent > 0 && !chunk.is_empty() {
                        self.chunk(&mut session, sent, &chunk)?;
                    }
                    self.end(&session, &digest, content)?;
                    (upload.advance)(chunk.len() as u64);
                    Ok((digest, size))
                });
            }
            if let Err(trouble) = self.chunk(&mut session, sent, &chunk) {
                break Err(trouble);
            }
            (upload.advance)(chunk.len() as u64);
            sent = sent.saturating_add(chunk.len() as u64);
        };
        if result.is_err() {
            self.cancel(&session.location);
        }
        result
    }

    /// Sends one chunk that begins at `start`, again and again if need be.
    fn chunk(&self, session: &mut Session, start: u64, chunk: &[u8]) -> Result<(), Trouble> {
        let end = start.saturating_add(chunk.len() as u64);
        let mut from = start;
        let mut failures = Failures::since(start);
        while from < end {
            let rest = usize::try_from(from.saturating_sub(start)).ok().and_then(|skip| chunk.get(skip..));
            let rest = rest.unwrap_or_default();
            let range = format!("{from}-{}", end.saturating_sub(1));
            let headers = [BYTES, ("content-range", range.as_str())];
            let target = session.location.clone();
            let ask =
                Ask { headers: &headers, ..Ask::write(Method::PATCH, Target::Url(&target), Content::Bytes(rest)) };
            let failure = match self.state.registry.send(&self.state.http, &ask) {
                Ok(answer) if matches!(answer.status(), 200..=204) => {
                    session.location = location(&answer)?.unwrap_or(target);
                    // What does not say how much it took has taken all.
                    let now = answer.header("range").and_then(taken).unwrap_or(end).min(end);
                    answer.discard();
                    if now > from {
                        from = now;
                        continue;
                    }
                    let what = "an upload".to_owned();
                    Error::Broken { what, source: io::Error::other("The registry took nothing of a chunk") }
                }
                Ok(answer) => {
                    let refused = matches!(answer.status(), 400 | 404 | 405 | 411 | 413 | 415 | 416 | 501);
                    let out_of_step = answer.status() == 416;
                    match self.state.registry.expect(answer, &[], "a chunk of an upload") {
                        Err(error) if refused && from == 0 => return Err(Trouble::Unwanted(error)),
                        Err(error) if out_of_step => error,
                        Err(error) => return Err(Trouble::Failed(error)),
                        Ok(_) => return Ok(()),
                    }
                }
                Err(Error::Unreachable { host, source }) if is_transient(&source) => {
                    Error::Unreachable { host, source }
                }
                Err(error) => return Err(Trouble::Failed(error)),
            };
            let Some(pause) = self.state.http.retry().pause(failures.note(from)) else { return Err(failure.into()) };
            log::warn!("An upload to {} broke off at {from} bytes: {failure}", self.state.registry.host());
            std::thread::sleep(pause);
            from = match self.offset(session)? {
                Some(offset) if (start..=end).contains(&offset) => offset,
                _ => return Err(Trouble::Failed(failure)),
            };
        }
        Ok(())
    }

    /// How much of an upload the registry has.
    fn offset(&self, session: &mut Session) -> Result<Option<u64>, Error> {
        let target = session.location.clone();
        let ask = Ask::write(Method::GET, Target::Url(&target), Content::None);
        let answer = self.state.registry.send(&self.state.http, &ask)?;
        let answer = self.state.registry.expect(answer, &[200, 204], "an upload")?;
        session.location = location(&answer)?.unwrap_or(target);
        Ok(answer.header("range").map_or(Some(0), taken))
    }

    /// Sends all in one request, of which the registry is told the length only if it is known.
    fn in_one(&self, upload: &Upload<'_>) -> Result<(Digest, u64), Error> {
        let mut session = self.begin()?;
        let size = upload.known.map(|(_, size)| size);
        let source = Reporting { source: upload.source, at_end: Arc::default() };
        let target = session.location.clone();
        let content = Content::Stream(&source, size);
        let ask = Ask { headers: &[BYTES], ..Ask::write(Method::PATCH, Target::Url(&target), content) };
        let answer = self.state.registry.send(&self.state.http, &ask)?;
        let answer = self.state.registry.expect(answer, &[200, 201, 202, 204], "a blob")?;
        session.location = location(&answer)?.unwrap_or(target);
        answer.discard();
        let hashed = source.at_end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (digest, size) = match upload.known {
            // With a length, the end is not looked for. The registry compares the digest.
            Some((digest, size)) => (digest.clone(), size),
            None => hashed.ok_or_else(|| local(io::ErrorKind::UnexpectedEof.into()))?,
        };
        self.end(&session, &digest, EMPTY)?;
        (upload.advance)(size);
        Ok((digest, size))
    }

    /// Says what the digest of all that was sent is.
    fn end(&self, session: &Session, digest: &Digest, content: Content<'_>) -> Result<(), Error> {
        let target = session.location.with_query(&[("digest", digest.as_str())]);
        let ask = Ask { headers: &[BYTES], ..Ask::write(Method::PUT, Target::Url(&target), content) };
        let answer = self.state.registry.send(&self.state.http, &ask)?;
        match self.state.registry.expect(answer, &[201, 204], &format!("blob {digest}")) {
            Ok(answer) => {
                answer.discard();
                Ok(())
            }
            // The answer to an earlier try may have been lost.
            Err(Error::NotFound { .. }) if self.has_blob(digest)? => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives an upload up. If that fails the registry forgets it after a while by itself.
    fn cancel(&self, location: &Url) {
        let ask = Ask::write(Method::DELETE, Target::Url(location), Content::None);
        match self.state.registry.send(&self.state.http, &ask) {
            Ok(answer) => answer.discard(),
            Err(error) => log::debug!("An upload was not given up: {error}"),
        }
    }
}

/// A request with a body of no bytes.
const EMPTY: Content<'static> = Content::Bytes(&[]);

fn finish(input: Hashing<Box<dyn Read + '_>>, upload: &Upload<'_>) -> Result<(Digest, u64), Trouble> {
    let (digest, size) = input.finish();
    check(upload, &digest)?;
    Ok((digest, size))
}

/// What is sent under a digest has it.
fn check(upload: &Upload<'_>, actual: &Digest) -> Result<(), Error> {
    match upload.known {
        Some((expected, _)) if expected != actual => {
            let (expected, actual) = (expected.clone(), actual.clone());
            Err(Error::Local(io::Error::other(crate::digest::Error::Mismatch { expected, actual })))
        }
        _ => Ok(()),
    }
}

fn local(source: io::Error) -> Error {
    Error::Local(source)
}

/// Where an answer says to go on; it may be relative, and has a query that belongs to it.
fn location(answer: &Answer) -> Result<Option<Url>, Error> {
    answer.header("location").map(|location| answer.url.join(location)).transpose()
}

/// The number of bytes that `0-N` stands for. Registries write `0-0` for none at all, too: nobody sends one byte.
fn taken(range: &str) -> Option<u64> {
    let (first, last) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    match (first.parse().ok()?, last.parse().ok()?) {
        (0u64, 0u64) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

/// What was hashed last is what was sent last.
type AtEnd = Arc<Mutex<Option<(Digest, u64)>>>;

/// Opens readers that leave digest and size behind.
struct Reporting<'a> {
    source: &'a dyn Open,
    at_end: AtEnd,
}

impl Open for Reporting<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        let input = Hashing::new(self.source.open()?, Algorithm::Sha256, None);
        Ok(Box::new(Reported { input: Some(input), at_end: self.at_end.clone() }))
    }
}

/// Leaves digest and size behind when it has been read to its end.
struct Reported<'a> {
    input: Option<Hashing<Box<dyn Read + 'a>>>,
    at_end: AtEnd,
}

impl Read for Reported<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.as_mut().map_or(Ok(0), |input| input.read(buffer))?;
        if read == 0
            && !buffer.is_empty()
            && let Some(input) = self.input.take()
        {
            *self.at_end.lock().unwrap_or_else(PoisonError::into_inner) = Some(input.finish());
        }
        Ok(read)
    }
}
