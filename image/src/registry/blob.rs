//! A blob on its way in: a reader that goes on where it stopped when the connection breaks.

use std::io::{self, Read};

use ureq::http::Response;
use ureq::{Body, BodyReader};

use super::{Client, Error};
use crate::Digest;

/// Progress after which earlier failures are forgotten: a slow link may break often, a hostile registry must not
/// keep us for ever.
const FORGIVEN_AFTER: u64 = 1 << 20;

/// The bytes of a blob. They are not verified here: whoever reads them hashes them.
pub struct Blob<'a> {
    client: &'a Client,
    digest: Digest,
    size: u64,
    position: u64,
    /// `None` when the last one broke.
    body: Option<BodyReader<'static>>,
    failures: u32,
    last_failure: u64,
}

impl<'a> Blob<'a> {
    pub(super) fn open(client: &'a Client, digest: &Digest, size: u64, position: u64) -> Result<Blob<'a>, Error> {
        let mut blob =
            Blob { client, digest: digest.clone(), size, position, body: None, failures: 0, last_failure: 0 };
        blob.reopen()?;
        Ok(blob)
    }

    /// Asks for the rest; a registry that does not know ranges sends all, of which the known part is skipped.
    fn reopen(&mut self) -> Result<(), Error> {
        let broken = |source| Error::Broken { what: format!("blob {}", self.digest), source };
        let response = request(self.client, &self.digest, self.position)?;
        let skip = match response.status().as_u16() {
            206 if starts_at(&response, self.position) => 0,
            200 => self.position,
            _ => return Err(broken(io::Error::other("It answered with another range than asked for"))),
        };
        let mut body = response.into_body().into_reader();
        let skipped = io::copy(&mut body.by_ref().take(skip), &mut io::sink()).map_err(broken)?;
        if skipped < skip {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        self.body = Some(body);
        Ok(())
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let failure = match self.body.as_mut().map_or(Ok(0), |body| body.read(buffer)) {
                Ok(0) if self.position < self.size && !buffer.is_empty() => io::ErrorKind::UnexpectedEof.into(),
                Ok(read) => {
                    self.position = self.position.saturating_add(read as u64);
                    return Ok(read);
                }
                // All that was announced has come; how the connection ends after that does not matter.
                Err(_) if self.position == self.size => return Ok(0),
                Err(error) => error,
            };
            if self.position.saturating_sub(self.last_failure) >= FORGIVEN_AFTER {
                self.failures = 0;
            }
            self.body = None;
            self.last_failure = self.position;
            self.failures = self.failures.saturating_add(1);
            let Some(pause) = self.client.http.retry().pause(self.failures) else { return Err(failure) };
            log::warn!("Blob {} broke off at {} of {} bytes: {failure}", self.digest, self.position, self.size);
            std::thread::sleep(pause);
            match self.reopen() {
                // A failure counts at the next turn, which finds no body.
                Ok(()) | Err(Error::Broken { .. }) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

fn request(client: &Client, digest: &Digest, from: u64) -> Result<Response<Body>, Error> {
    let range = format!("bytes={from}-");
    let headers: &[(&str, &str)] = if from > 0 { &[("range", &range)] } else { &[] };
    client.get(&format!("blobs/{digest}"), headers, &format!("blob {digest}"))
}

/// Whether a 206 answer begins at the byte asked for (RFC 9110, section 14.4).
fn starts_at(response: &Response<Body>, position: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")).and_then(|range| range.split('-').next());
    start.and_then(|start| start.trim().parse().ok()) == Some(position)
}
