//! Compressing plain layers while they are sent.

use std::io::{self, BufReader, Read};
use std::str::FromStr;

use flate2::bufread::GzEncoder;

use crate::manifest::media;

/// Read size for the plain tar.
const BUFFER: usize = 128 << 10;
/// What the `gzip` program does by default, a fair price on every link.
const GZIP_LEVEL: u32 = 6;
/// What the `zstd` program does by default.
const ZSTD_LEVEL: i32 = 3;
/// Docker's plain layer.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// What becomes of layers that are plain tar. Those that are compressed stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// What everything understands.
    #[default]
    Gzip,
    /// Smaller and faster; not understood by clients of before 2019.
    Zstd,
    /// They stay plain.
    None,
}

impl FromStr for Compression {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Compression, Self::Err> {
        match text {
            "gzip" => Ok(Compression::Gzip),
            "zstd" => Ok(Compression::Zstd),
            "none" => Ok(Compression::None),
            _ => Err("write gzip, zstd or none"),
        }
    }
}

/// The media type that a layer gets by being compressed, and how that is done; `None` if it stays as it is.
pub(super) fn target(media_type: &str, compression: Compression) -> Option<(String, Compression)> {
    let suffix = match compression {
        Compression::None => return None,
        Compression::Gzip => "+gzip",
        Compression::Zstd => "+zstd",
    };
    match media_type {
        media::LAYER => Some((format!("{}{suffix}", media::LAYER), compression)),
        DOCKER_LAYER if compression == Compression::Gzip => Some((format!("{DOCKER_LAYER}.gzip"), compression)),
        // It comes with the whole manifest's becoming one of the other format.
        DOCKER_LAYER => Some((format!("{}{suffix}", media::LAYER), compression)),
        _ => None,
    }
}

/// What a layer type of Docker's is called in OCI manifests.
pub(super) fn as_oci(media_type: &str) -> String {
    match media_type.strip_prefix(DOCKER_LAYER) {
        Some("") => media::LAYER.to_owned(),
        Some(".gzip") => format!("{}+gzip", media::LAYER),
        _ => media_type.to_owned(),
    }
}

/// The bytes of `plain`, compressed. Always the same for the same bytes: no time is noted.
pub(super) fn reader<'a>(compression: Compression, plain: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let plain = BufReader::with_capacity(BUFFER, plain);
    Ok(match compression {
        Compression::Gzip => Box::new(GzEncoder::new(plain, flate2::Compression::new(GZIP_LEVEL))),
        Compression::Zstd => Box::new(zstd::stream::read::Encoder::with_buffer(plain, ZSTD_LEVEL)?),
        Compression::None => Box::new(plain),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_layers_are_compressed() {
        let kind = |media_type: &str, how| target(media_type, how).map(|(media_type, _)| media_type);
        assert_eq!(kind(media::LAYER, Compression::Gzip).unwrap(), format!("{}+gzip", media::LAYER));
        assert_eq!(kind(DOCKER_LAYER, Compression::Gzip).unwrap(), format!("{DOCKER_LAYER}.gzip"));
        assert_eq!(kind(DOCKER_LAYER, Compression::Zstd).unwrap(), format!("{}+zstd", media::LAYER));
        assert_eq!(kind(media::LAYER, Compression::None), None);
        for compressed in [format!("{}+gzip", media::LAYER), format!("{DOCKER_LAYER}.gzip"), "other".to_owned()] {
            assert_eq!(kind(&compressed, Compression::Zstd), None);
        }
    }

    #[test]
    fn what_is_compressed_unpacks_to_what_it_was_and_is_the_same_each_time() {
        let plain: Vec<u8> = (0..300_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for how in [Compression::Gzip, Compression::Zstd, Compression::None] {
            let compressed = || {
                let mut bytes = Vec::new();
                reader(how, plain.as_slice()).unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            };
            let bytes = compressed();
            assert_eq!(bytes, compressed());
            let mut back = Vec::new();
            crate::layer::decompress(Box::new(bytes.as_slice())).unwrap().read_to_end(&mut back).unwrap();
            assert_eq!(back, plain);
            assert!(how == Compression::None || bytes.len() < plain.len());
        }
    }
}
