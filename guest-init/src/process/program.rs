//! Which file a command is, and what to say when it cannot be executed.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use config::wire::{StartError, StartErrorKind};
use nix::errno::Errno;

use super::execution_error;

/// As much of a program as is read to find its interpreter: a script's first line ends within 256 bytes
/// (`BINPRM_BUF_SIZE`), and a linker puts the name of the dynamic loader right behind the headers.
const HEAD: u64 = 4096;

/// Everything `execve` needs, ready before there is a process that needs it.
#[derive(Debug)]
pub struct Command {
    /// The files to try, in this order.
    pub candidates: Vec<CString>,
    /// Program and arguments.
    pub arguments: Vec<CString>,
    /// `NAME=VALUE` each.
    pub environment: Vec<CString>,
    /// The working directory.
    pub directory: CString,
}

/// Why none of the candidates was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecFailure {
    /// None is there.
    NotFound,
    /// The candidate of this number is there, and its interpreter is not.
    NoInterpreter(usize),
    /// The candidate of this number is there, and cannot be executed.
    Refused(usize, Errno),
}

/// The files that may be meant by `name`: itself if it has a slash, else one in each folder of `search_path`.
pub fn candidates(name: &str, search_path: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let in_folder = |folder| match folder {
        "" => format!("./{name}"),
        folder => format!("{folder}/{name}"),
    };
    search_path.split(':').map(in_folder).collect()
}

impl ExecFailure {
    /// The failure in words, and the class that decides the exit code.
    pub fn explain(self, command: &Command) -> StartError {
        let name = command.arguments.first().map(|name| name.to_string_lossy()).unwrap_or_default();
        match self {
            ExecFailure::NotFound if name.contains('/') => {
                let why = format!("stat {name}: no such file or directory");
                execution_error(StartErrorKind::NotFound, &name, &why)
            }
            ExecFailure::NotFound => {
                execution_error(StartErrorKind::NotFound, &name, "executable file not found in $PATH")
            }
            ExecFailure::NoInterpreter(number) => {
                let interpreter = command.candidates.get(number).and_then(|path| interpreter(path));
                let interpreter =
                    interpreter.map_or("its interpreter".to_owned(), |path| format!("its interpreter {path}"));
                execution_error(StartErrorKind::NotFound, &name, &format!("{interpreter}: no such file or directory"))
            }
            ExecFailure::Refused(number, Errno::EACCES) => {
                let folder = command.candidates.get(number).is_some_and(|path| as_path(path).is_dir());
                let why = if folder { "is a directory" } else { "permission denied" };
                execution_error(StartErrorKind::NotExecutable, &name, why)
            }
            ExecFailure::Refused(_, Errno::ENOEXEC) => {
                execution_error(StartErrorKind::NotExecutable, &name, "exec format error")
            }
            ExecFailure::Refused(_, error) => {
                execution_error(StartErrorKind::NotExecutable, &name, &error.desc().to_lowercase())
            }
        }
    }
}

fn as_path(path: &CStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))
}

/// The interpreter the program at `path` asks for, as far as that can be told.
fn interpreter(path: &CStr) -> Option<String> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(as_path(path)).ok()?;
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    let name = script_interpreter(&head).or_else(|| loader(&head))?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// The name after `#!` (execve(2), "Interpreter scripts").
fn script_interpreter(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let ends_name = |byte: &u8| byte.is_ascii_whitespace() && *byte != b'\r';
    // A carriage return is part of the name to the kernel, and often just what is wrong with it.
    let name = line.trim_ascii_start().split(ends_name).next()?;
    (!name.is_empty()).then_some(name)
}

/// The content of the PT_INTERP segment of a 64-bit program (ELF specification, "Program Header").
fn loader(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u64 = 3;
    let field = |offset: usize, length: usize| {
        let bytes = head.get(offset..offset.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0u64, |value, &byte| (value << 8) | u64::from(byte)))
    };
    head.strip_prefix(b"\x7fELF\x02\x01")?;
    let table = usize::try_from(field(32, 8)?).ok()?;
    let size = usize::try_from(field(54, 2)?).ok()?;
    let count = usize::try_from(field(56, 2)?).ok()?;
    let entries = (0..count).map_while(|number| table.checked_add(size.checked_mul(number)?));
    let mut entries = entries.take_while(|&entry| entry < head.len());
    let entry = entries.find(|&entry| field(entry, 4) == Some(PT_INTERP))?;
    let start = usize::try_from(field(entry.checked_add(8)?, 8)?).ok()?;
    let length = usize::try_from(field(entry.checked_add(32)?, 8)?).ok()?;
    let name = head.get(start..start.checked_add(length)?)?;
    name.split(|&byte| byte == 0).next().filter(|name| !name.is_empty())
}

#[cfg(test)]
#[path = "program_test.rs"]
mod tests;
