//! `--format`: the part of Go's templates that people use with Docker.
//!
//! Fields (`.Config.Env`), `json`, `index`, `len`, `join`, `split`, `upper`, `lower`, `title`, `print`, `println`,
//! `printf`, `truncate`, comparisons, pipes, variables, `if`, `with`, `range`, comments and `{{-` `-}}`.

mod evaluate;
mod functions;
mod parse;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use parse::Node;

/// A template, parsed.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

impl Template {
    /// Reads a template; `\t` and `\n` in it stand for what they stand for elsewhere.
    pub(crate) fn parse(text: &str) -> Result<Template> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let nodes = parse::parse(&text).with_context(|| format!("The template {text:?} is wrong"))?;
        Ok(Template { nodes })
    }

    /// What it makes of `value`. A field of `value` itself that is not there is an error, since it was misspelt.
    pub(crate) fn render(&self, value: &Value) -> Result<String> {
        evaluate::render(&self.nodes, value).context("The template cannot be filled in")
    }
}

/// What `--format` asks for.
#[derive(Debug)]
pub(crate) enum Form {
    /// A table for people.
    Table,
    /// One JSON object a line.
    Json,
    /// A line for each row.
    Lines(Template),
    /// A table of other columns.
    Columns(Template),
}

impl Form {
    /// Reads `table`, `json`, a template, or `table` and a template.
    pub(crate) fn parse(text: &str) -> Result<Form> {
        Ok(match text.split_once(char::is_whitespace) {
            _ if text == "table" => Form::Table,
            _ if text == "json" => Form::Json,
            _ if text.is_empty() => bail!("The format is empty: write table, json or a template"),
            Some(("table", template)) => Form::Columns(Template::parse(template.trim_start())?),
            _ => Form::Lines(Template::parse(text)?),
        })
    }
}

/// A column: what stands above it, and the field that stands in it.
pub(crate) type Column = (&'static str, &'static str);

/// Prints rows, each an object, in the form asked for. `columns` are those of the table; `heads` what stands above other
/// fields if they are asked for.
pub(crate) fn print(form: &Form, rows: &[Value], columns: &[Column], heads: &[Column]) -> Result<()> {
    match form {
        Form::Json => super::json_lines(rows.iter()),
        Form::Lines(template) => rows.iter().try_for_each(|row| super::line(&template.render(row)?)),
        Form::Table => {
            let cell = |row: &Value, field: &str| evaluate::print(row.get(field).unwrap_or(&Value::Null));
            let line = |row: &Value| columns.iter().map(|(_, field)| cell(row, field)).collect();
            let head = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
            let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows.iter().map(line)).collect();
            super::data(align(&lines).as_bytes())
        }
        Form::Columns(template) => {
            let named = |field: &str| {
                let known = columns.iter().chain(heads).find(|(_, known)| *known == field);
                known.map_or_else(|| field.to_uppercase(), |(head, _)| (*head).to_owned())
            };
            // Rows of one kind have the same fields.
            let fields = rows.first().and_then(Value::as_object).map(|row| row.keys().cloned().collect::<Vec<_>>());
            let known = || columns.iter().chain(heads).map(|(_, field)| (*field).to_owned()).collect();
            let fields: Vec<String> = fields.unwrap_or_else(known);
            let head = fields.into_iter().map(|field| (field.clone(), Value::String(named(&field)))).collect();
            let rendered: Result<Vec<String>> =
                std::iter::once(&Value::Object(head)).chain(rows).map(|row| template.render(row)).collect();
            let cells = |line: String| line.split('\t').map(str::to_owned).collect();
            let lines: Vec<Vec<String>> = rendered?.into_iter().map(cells).collect();
            super::data(align(&lines).as_bytes())
        }
    }
}

/// Spaces between two columns, as Docker has them.
const GAP: usize = 3;

fn align(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()).saturating_add(GAP)));
        }
        text.push_str(line.trim_end_matches(' '));
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[path = "template_test.rs"]
mod tests;
