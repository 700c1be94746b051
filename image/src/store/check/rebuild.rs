//! The file of a layer, made once more from its blob: to compare, or to put it in the place of a damaged one.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use super::super::{Error, Store, Temp, place_keys};
use crate::Digest;
use crate::digest::Hashing;
use crate::layer::{self, Base, Limits, Stack};
use crate::manifest::{ImageConfig, Manifest};

/// Read at once when two files are compared.
const BUFFER: usize = 256 << 10;

/// The file of a layer that was made again.
pub(super) struct Rebuilt {
    pub(super) key: Digest,
    pub(super) temp: Temp,
}

impl Store {
    /// Makes the file of the layer at `position` again; `keys` are those of the files there are. `None` if its blob is
    /// not what it should be.
    pub(super) fn rebuild(
        &self,
        manifest: &Manifest,
        config: &ImageConfig,
        keys: &[Digest],
        position: usize,
    ) -> Result<Option<Rebuilt>, Error> {
        let layer = manifest.layers.get(position).zip(config.rootfs.diff_ids.get(position));
        let (Some((layer, diff_id)), Some(_)) = (layer, keys.get(position)) else { return Ok(None) };
        let path = self.blob(&layer.digest);
        let blob = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::file("open", &path))?,
        };
        let temp = self.temp()?;
        let mut hashing = Hashing::new(&blob, layer.digest.algorithm(), Some(layer.size));
        let unpacked = unpack(&mut hashing, diff_id, temp.file(), Base::Unknown);
        let sound = hashing.drain().is_ok() && hashing.verify(&layer.digest).is_ok();
        match unpacked {
            Ok(false) if sound => Ok(Some(Rebuilt { key: diff_id.clone(), temp })),
            Ok(true) if sound => self.rebuild_in_place(&blob, config, keys, position),
            // A full disk does not speak against the blob.
            Err(error) if sound => Err(Error::Rebuild { layer: diff_id.clone(), source: error }),
            _ => Ok(None),
        }
    }

    /// The same for a layer that depends on those below it; `None` if one of them is not what it should be.
    fn rebuild_in_place(
        &self,
        mut blob: &File,
        config: &ImageConfig,
        keys: &[Digest],
        position: usize,
    ) -> Result<Option<Rebuilt>, Error> {
        let diff_ids = &config.rootfs.diff_ids;
        let below: io::Result<Vec<File>> = keys.iter().take(position).map(|key| File::open(self.layer(key))).collect();
        let Some(below) = below.ok().and_then(|files| Stack::open(files).ok()) else { return Ok(None) };
        let (Some(key), Some(diff_id)) = (place_keys(diff_ids).into_iter().nth(position), diff_ids.get(position))
        else {
            return Ok(None);
        };
        let temp = self.temp()?;
        let base = if position == 0 { Base::Nothing } else { Base::Layers(&below) };
        let unpacked =
            blob.rewind().map_err(layer::Error::Start).and_then(|()| unpack(&mut blob, diff_id, temp.file(), base));
        unpacked.map_err(|source| Error::Rebuild { layer: diff_id.clone(), source })?;
        Ok(Some(Rebuilt { key, temp }))
    }

    /// Whether the file of the layer at `position` is what its blob unpacks to, to the byte.
    pub(super) fn is_what_the_blob_unpacks_to(
        &self,
        manifest: &Manifest,
        config: &ImageConfig,
        keys: &[Digest],
        position: usize,
    ) -> Result<bool, Error> {
        let Some(rebuilt) = self.rebuild(manifest, config, keys, position)? else { return Ok(false) };
        let Some(key) = keys.get(position) else { return Ok(false) };
        let path = self.layer(key);
        let fail = || Error::file("read", &path);
        let found = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result.map_err(fail())?,
        };
        let mut made = rebuilt.temp.file();
        made.rewind().map_err(fail())?;
        Ok(rebuilt.key == *key && same(made, found).map_err(fail())?)
    }
}

/// Tells whether the layer depends on what is below it.
fn unpack(blob: &mut (dyn Read + Send), diff_id: &Digest, output: &File, base: Base<'_>) -> Result<bool, layer::Error> {
    let tar = layer::decompress(Box::new(blob))?;
    let mut hashing = Hashing::new(tar, diff_id.algorithm(), None);
    let depends = layer::write(&mut hashing, output, &Limits::default(), base)?.depends;
    hashing.drain().map_err(layer::Error::Start)?;
    hashing.verify(diff_id).map(|_| depends).map_err(|error| layer::Error::Start(io::Error::other(error)))
}

fn same(one: impl Read, other: impl Read) -> io::Result<bool> {
    let (mut one, mut other) = (BufReader::with_capacity(BUFFER, one), BufReader::with_capacity(BUFFER, other));
    loop {
        use io::BufRead;
        let (mine, theirs) = (one.fill_buf()?, other.fill_buf()?);
        let length = mine.len().min(theirs.len());
        if length == 0 {
            return Ok(mine.is_empty() && theirs.is_empty());
        }
        if mine.get(..length) != theirs.get(..length) {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}
