//! The environment of a container's process: the image's, with `--env-file` and `-e` over it.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// Where programs are looked for when an image does not say, as Docker has it.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest `--env-file`: Linux passes at most 2 MiB of arguments and environment together.
const MAX_FILE: u64 = 2 << 20;

/// How a variable of our own environment is looked up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Sets `NAME=VALUE` in `environment`, in the place of an older value if there is one.
pub(crate) fn set(environment: &mut Vec<String>, variable: String) {
    let name = variable.split('=').next().unwrap_or_default();
    let same = |other: &&mut String| other.split('=').next() == Some(name);
    match environment.iter_mut().find(same) {
        Some(other) => *other = variable,
        None => environment.push(variable),
    }
}

/// What every process gets, before the image and the user have their say.
pub(crate) fn defaults(hostname: &str, terminal: bool) -> Vec<String> {
    let mut environment = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if terminal {
        environment.push("TERM=xterm".to_owned());
    }
    environment
}

/// Reads `-e NAME=VALUE`, or `-e NAME`, which takes our own value; `None` where we have none.
pub(crate) fn parse(text: &str, lookup: Lookup) -> Result<Option<String>> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    ensure!(!name.is_empty() && !text.contains('\0'), "{text:?} is not a variable: write NAME=VALUE, or NAME alone");
    match value {
        Some(_) => Ok(Some(text.to_owned())),
        None => match lookup(name).map(OsString::into_string) {
            Some(Ok(value)) => Ok(Some(format!("{name}={value}"))),
            Some(Err(_)) => bail!("The variable {name} of our own environment is not UTF-8"),
            None => Ok(None),
        },
    }
}

/// Reads an `--env-file`: a variable a line as with `-e`, nothing quoted; empty lines and lines with # in front count
/// for nothing.
pub(crate) fn read_file(path: &Path, lookup: Lookup) -> Result<Vec<String>> {
    let tried = || format!("Cannot read the environment file {}", path.display());
    let length = std::fs::metadata(path).with_context(tried)?.len();
    ensure!(length <= MAX_FILE, "The environment file {} is larger than 2 MiB", path.display());
    parse_lines(&std::fs::read_to_string(path).with_context(tried)?, lookup).with_context(tried)
}

fn parse_lines(text: &str, lookup: Lookup) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let variable = parse(line, lookup).with_context(|| format!("Line {number} is wrong"))?;
        variables.extend(variable);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(name: &str) -> Option<OsString> {
        (name == "HOME").then(|| "/root".into())
    }

    #[test]
    fn a_later_value_takes_the_place_of_an_earlier_one() {
        let mut environment = vec!["A=1".to_owned(), "AB=2".to_owned()];
        set(&mut environment, "A=3=4".to_owned());
        set(&mut environment, "C=5".to_owned());
        assert_eq!(environment, ["A=3=4", "AB=2", "C=5"]);
    }

    #[test]
    fn a_name_alone_takes_our_own_value() {
        assert_eq!(parse("A=b=c", &ours).unwrap().as_deref(), Some("A=b=c"));
        assert_eq!(parse("A=", &ours).unwrap().as_deref(), Some("A="));
        assert_eq!(parse("HOME", &ours).unwrap().as_deref(), Some("HOME=/root"));
        assert_eq!(parse("ABSENT", &ours).unwrap(), None);
        assert!(parse("=x", &ours).is_err());
        assert!(parse("", &ours).is_err());
    }

    #[test]
    fn a_file_has_a_variable_a_line() {
        let text = "# comment\nA=1\n\n  B='2'\nHOME\nABSENT\r\nC=3 # kept\n";
        assert_eq!(parse_lines(text, &ours).unwrap(), ["A=1", "B='2'", "HOME=/root", "C=3 # kept"]);
        let error = format!("{:#}", parse_lines("A=1\n=2", &ours).unwrap_err());
        assert!(error.contains("Line 2"), "{error}");
    }
}
