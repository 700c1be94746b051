//! Decompression of a layer by what its first bytes say; media types are known to lie.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

use super::Error;

/// Read size for compressed input: large enough that system calls do not count, small enough for a cache.
const BUFFER: usize = 128 << 10;
/// Largest zstd window, as a power of two. 128 MiB is what the `zstd` program itself accepts unless told otherwise,
/// and bounds the memory of the decoder.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// What a gzip member begins with.
static GZIP: [u8; 2] = [0x1f, 0x8b];
/// Length of the longest magic number looked for.
const MAGIC: usize = 6;

type Input<'a> = BufReader<Box<dyn Read + Send + 'a>>;

/// Decompresses by the content's magic number, not by its media type: gzip (RFC 1952, of several members too), zstd
/// (RFC 8878, of several frames too, skippable ones included), and plain tar as it is.
///
/// Whoever reads the result to its end has read `input` to its end. As `gunzip` does, whatever follows the last gzip
/// member and does not begin one is ignored. Input that is cut is an error of kind `UnexpectedEof` when read.
pub fn decompress<'a>(mut input: Box<dyn Read + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>, Error> {
    let mut magic = Vec::with_capacity(MAGIC);
    input.by_ref().take(MAGIC as u64).read_to_end(&mut magic).map_err(Error::Start)?;
    let format = Format::of(&magic)?;
    let whole: Box<dyn Read + Send + 'a> = Box::new(Cursor::new(magic).chain(input));
    Ok(match format {
        Format::Plain => whole,
        Format::Gzip => Box::new(Gzip { state: State::Between(BufReader::with_capacity(BUFFER, whole)) }),
        Format::Zstd => {
            let input = BufReader::with_capacity(BUFFER, whole);
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(Error::Decompressor)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(Error::Decompressor)?;
            Box::new(decoder)
        }
    })
}

enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    fn of(magic: &[u8]) -> Result<Format, Error> {
        Ok(match magic {
            [first, second, ..] if [*first, *second] == GZIP => Format::Gzip,
            // A frame, or a skippable one in front of it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => return Err(Error::Compression("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(Error::Compression("xz")),
            _ => Format::Plain,
        })
    }
}

/// Reads gzip member after member.
struct Gzip<'a> {
    state: State<'a>,
}

enum State<'a> {
    Between(Input<'a>),
    /// The first byte of the member was read to see that it is one.
    Member(Box<GzDecoder<Chain<&'static [u8], Input<'a>>>>),
    /// After the last member, or after an error.
    Over,
}

impl Read for Gzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let State::Member(decoder) = &mut self.state {
                match decoder.read(buffer)? {
                    0 => {}
                    read => return Ok(read),
                }
            }
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(0),
                State::Member(decoder) => State::Between(decoder.into_inner().into_inner().1),
                State::Between(mut input) => {
                    if begins_member(&mut input)? {
                        State::Member(Box::new(GzDecoder::new(GZIP[..1].chain(input))))
                    } else {
                        io::copy(&mut input, &mut io::sink())?;
                        State::Over
                    }
                }
            };
        }
    }
}

/// Reads one byte, and tells whether it and the one after it begin a gzip member.
fn begins_member(input: &mut Input<'_>) -> io::Result<bool> {
    for (count, expected) in GZIP.iter().enumerate() {
        if input.fill_buf()?.first() != Some(expected) {
            return Ok(false);
        }
        if count == 0 {
            input.consume(1);
        }
    }
    Ok(true)
}

#[cfg(test)]
#[path = "decompress_test.rs"]
mod tests;
