//! The guest kernel's command line, built from named parts and checked once.

use std::fmt::Display;

/// Longest command line x86 Linux takes, its terminating zero included (`COMMAND_LINE_SIZE`).
pub const MAX_LENGTH: usize = 2048;

/// What cannot stand on a kernel command line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A space or a control character would end or hide a parameter.
    #[error("Kernel parameter {0:?} holds a space or a character that is not printable ASCII")]
    Character(String),
    /// See [`MAX_LENGTH`].
    #[error("Kernel command line of {0} bytes, more than the {max} x86 Linux takes", max = MAX_LENGTH - 1)]
    TooLong(usize),
}

/// A kernel command line under construction.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    /// Adds a parameter without a value, or several separated by spaces.
    pub fn flags(&mut self, flags: &str) -> &mut Self {
        self.words.extend(flags.split_ascii_whitespace().map(str::to_owned));
        self
    }

    /// Adds `name=value`.
    pub fn set(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.words.push(format!("{name}={value}"));
        self
    }

    /// The finished line, without a terminating zero.
    pub fn finish(&self) -> Result<String, Error> {
        if let Some(word) = self.words.iter().find(|word| !word.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Error::Character(word.clone()));
        }
        let line = self.words.join(" ");
        if line.len() >= MAX_LENGTH {
            return Err(Error::TooLong(line.len()));
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_order() {
        let mut line = CommandLine::default();
        line.flags("quiet  panic=-1").set("virtio_mmio.device", "4K@0xd0000000:5");
        assert_eq!(line.finish().unwrap(), "quiet panic=-1 virtio_mmio.device=4K@0xd0000000:5");
    }

    #[test]
    fn a_value_cannot_smuggle_a_parameter() {
        let mut line = CommandLine::default();
        line.set("name", "a init=/bin/sh");
        assert_eq!(line.finish(), Err(Error::Character("name=a init=/bin/sh".into())));
    }

    #[test]
    fn a_line_that_the_kernel_would_cut_is_refused() {
        let mut line = CommandLine::default();
        line.set("x", "y".repeat(MAX_LENGTH));
        assert!(matches!(line.finish(), Err(Error::TooLong(_))));
    }
}
