//! The only place that draws: data to stdout, talk to stderr.

pub(crate) mod age;
pub(crate) mod progress;
pub(crate) mod template;

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};

/// What stands in front of everything we say.
const NAME: &str = "coracle: ";

/// Prints a line of data.
pub(crate) fn line(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    finish(stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()))
}

/// Prints each row as a line of JSON.
pub(crate) fn json_lines(rows: impl Iterator<Item = impl serde::Serialize>) -> Result<()> {
    for row in rows {
        line(&serde_json::to_string(&row)?)?;
    }
    Ok(())
}

/// Prints a JSON document for people, indented as Docker does.
pub(crate) fn json_pretty(value: &impl serde::Serialize) -> Result<()> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    bytes.push(b'\n');
    data(&bytes)
}

/// Asks before something is lost; only on a terminal is there anybody to ask.
pub(crate) fn confirm(warning: &str) -> Result<bool> {
    anyhow::ensure!(
        io::stdin().is_terminal(),
        "{warning}\nNobody can be asked, since standard input is not a terminal: use --force to do it without a question"
    );
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(format!("{warning}\nAre you sure you want to continue? [y/N] ").as_bytes());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("Cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints data as it is.
pub(crate) fn data(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    finish(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Prints data that belongs on standard error.
pub(crate) fn error_data(bytes: &[u8]) -> Result<()> {
    finish(io::stderr().lock().write_all(bytes))
}

/// Says something that is no data.
pub(crate) fn say(text: &str) {
    // Whoever closed standard error does not want to know.
    let _ = io::stderr().lock().write_all(format!("{NAME}{text}\n").as_bytes());
}

/// Asks for something, on the line where it is typed.
pub(crate) fn prompt(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says what went wrong and why, as one paragraph.
pub(crate) fn error(error: &anyhow::Error) {
    say(&paragraph(error));
}

/// The chain of an error: what was tried, then why it failed. A part that its successor repeats is said once.
fn paragraph(error: &anyhow::Error) -> String {
    let parts: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut text = String::new();
    for (part, next) in parts.iter().zip(parts.iter().skip(1).map(Some).chain([None])) {
        if next.is_some_and(|next| next == part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(part);
    }
    text
}

/// A reader that has gone away has seen enough; anything else is an error.
fn finish(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("Cannot write the output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_paragraph_that_repeats_nothing() {
        let error = anyhow::anyhow!("why").context("why").context("what");
        assert_eq!(paragraph(&error), "what: why");
    }
}
