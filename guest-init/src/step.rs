//! Named steps: a failure says which one it was and why.

use std::error::Error;
use std::fmt::Write;

use config::wire::{StartError, StartErrorKind};

/// Gives `result` the name of the step it came from; `name` continues the sentence "Cannot ...".
pub fn step<T>(name: &str, result: Result<T, impl Error>) -> Result<T, StartError> {
    result.map_err(|error| setup_error(&format!("Cannot {name}"), &error))
}

/// A [`StartErrorKind::Setup`] error of `what` followed by `error` and everything that caused it.
pub(crate) fn setup_error(what: &str, error: &dyn Error) -> StartError {
    let mut message = what.to_owned();
    let mut cause = Some(error);
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(message, ": {error}");
        cause = error.source();
    }
    StartError { kind: StartErrorKind::Setup, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[derive(Debug, thiserror::Error)]
    #[error("Mount {0}")]
    struct Outer(&'static str, #[source] Errno);

    #[test]
    fn a_failure_names_its_step_and_every_cause() {
        let error = step("mount the root", Err::<(), _>(Outer("root", Errno::ENODEV))).unwrap_err();
        assert_eq!(error.message, "Cannot mount the root: Mount root: ENODEV: No such device");
        assert_eq!(error.kind, StartErrorKind::Setup);
    }

    #[test]
    fn a_step_that_works_hands_on_its_result() {
        assert_eq!(step("count", Ok::<_, Errno>(3)), Ok(3));
    }
}
