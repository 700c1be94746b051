//! `coracle`: runs every container in a microVM of its own.

mod cli;
mod container;
mod embedded;

use std::process::ExitCode;

use config::stages;

use crate::container::process::{MICROVM, MONITOR};

fn main() -> ExitCode {
    stages::open();
    let arguments: Vec<_> = std::env::args_os().collect();
    let words: Vec<&str> = arguments.iter().skip(1).take(3).filter_map(|word| word.to_str()).collect();
    let result = match words.as_slice() {
        [MONITOR, _, id] => container::monitor::main(id).map(|()| 0),
        [MICROVM, ..] => container::microvm::main().map(|()| 0),
        _ => return cli::main(arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            cli::ui::error(&error);
            ExitCode::from(cli::FAILED)
        }
    }
}
