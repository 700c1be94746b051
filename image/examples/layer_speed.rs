//! Measures how fast a layer becomes an EROFS file: `layer_speed LAYER [FOLDER]` on a tar, gzip tar or zstd tar.
//!
//! Prints the rate in MB of tar per second and the CPU seconds of each part of the way, and of the whole.
#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Instant;

use coracle_image::digest::{Algorithm, Hashing};
use coracle_image::layer::{Base, Limits, decompress, pipelined, verify, write};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let layer = PathBuf::from(arguments.next().ok_or("usage: layer_speed LAYER [FOLDER]")?);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let output = || tempfile::tempfile_in(&folder);
    let input = || -> Result<Box<dyn Read + Send>> { Ok(Box::new(File::open(&layer)?)) };
    let sha = |input: Box<dyn Read + Send>| Hashing::new(input, Algorithm::Sha256, None);

    measure("hash of the blob", || Ok(drain(&mut sha(input()?))?))?;
    let bytes = measure("decompress", || Ok(drain(&mut decompress(input()?)?)?))?;
    let mut plain = tempfile::tempfile_in(&folder)?;
    io::copy(&mut decompress(input()?)?, &mut plain)?;
    let rewound = || -> Result<Box<dyn Read + Send>> {
        let mut again = plain.try_clone()?;
        io::Seek::rewind(&mut again)?;
        Ok(Box::new(again))
    };
    measure("hash of the tar", || Ok(drain(&mut sha(rewound()?))?))?;
    measure("tar to EROFS", || Ok(write(&mut *rewound()?, &output()?, &Limits::default(), Base::Nothing)?.tar_bytes))?;
    let written = output()?;
    measure("all, one thread", || {
        let mut tar = sha(decompress(Box::new(sha(input()?)))?);
        Ok(write(&mut tar, &written, &Limits::default(), Base::Nothing)?.tar_bytes)
    })?;
    measure("all, two threads", || {
        let tar = decompress(Box::new(sha(input()?)))?;
        pipelined(tar, |tar| {
            let mut tar = Hashing::new(tar, Algorithm::Sha256, None);
            Ok(write(&mut tar, &output()?, &Limits::default(), Base::Nothing)?.tar_bytes)
        })
    })?;
    measure("verify", || {
        verify(written.try_clone()?)?;
        Ok(bytes)
    })?;
    Ok(())
}

/// Reads to the end.
fn drain(input: &mut dyn Read) -> io::Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut sum = 0;
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(sum),
            read => sum += read as u64,
        }
    }
}

/// Does it three times and prints the best one.
fn measure(name: &str, mut work: impl FnMut() -> Result<u64>) -> Result<u64> {
    let mut best = (f64::MAX, 0.0, 0);
    for _ in 0..3 {
        let (cpu, begun) = (cpu_seconds(), Instant::now());
        let bytes = work()?;
        let seconds = begun.elapsed().as_secs_f64();
        if seconds < best.0 {
            best = (seconds, cpu_seconds() - cpu, bytes);
        }
    }
    let (seconds, cpu, bytes) = best;
    println!("{name:20} {:8.1} MB/s {seconds:7.3} s {cpu:7.3} CPU-s", bytes as f64 / 1e6 / seconds);
    Ok(bytes)
}

/// What this process has used so far.
fn cpu_seconds() -> f64 {
    // SAFETY: all zeros are a valid value of this struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is that of a struct of the right type.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
