//! From the parts of a template and a value to text.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::functions;
use super::parse::{Expression, Node, Range};

struct State<'a> {
    whole: &'a Value,
    variables: HashMap<String, Value>,
    output: String,
}

pub(super) fn render(nodes: &[Node], value: &Value) -> Result<String> {
    let mut state = State { whole: value, variables: HashMap::new(), output: String::new() };
    state.nodes(nodes, value)?;
    Ok(state.output)
}

impl State<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<()> {
        for node in nodes {
            match node {
                Node::Text(text) => self.output.push_str(text),
                Node::Print(expression) => {
                    let value = self.value(expression, dot)?;
                    self.output.push_str(&print(&value));
                }
                Node::Set(name, expression) => {
                    let value = self.value(expression, dot)?;
                    self.variables.insert(name.clone(), value);
                }
                Node::If(cases, otherwise) => self.condition(cases, otherwise, dot)?,
                Node::With(expression, body, otherwise) => {
                    let value = self.value(expression, dot)?;
                    if is_true(&value) { self.nodes(body, &value)? } else { self.nodes(otherwise, dot)? }
                }
                Node::Range(range) => self.range(range, dot)?,
            }
        }
        Ok(())
    }

    fn condition(&mut self, cases: &[(Expression, Vec<Node>)], otherwise: &[Node], dot: &Value) -> Result<()> {
        for (test, body) in cases {
            if is_true(&self.value(test, dot)?) {
                return self.nodes(body, dot);
            }
        }
        self.nodes(otherwise, dot)
    }

    fn range(&mut self, range: &Range, dot: &Value) -> Result<()> {
        let list: Vec<(Value, Value)> = match self.value(&range.list, dot)? {
            Value::Null => Vec::new(),
            Value::Array(items) => items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect(),
            Value::Object(fields) => fields.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            other => bail!("range goes over lists and maps, not over {other}"),
        };
        if list.is_empty() {
            return self.nodes(&range.otherwise, dot);
        }
        for (key, value) in list {
            for (name, value) in [(&range.key, &key), (&range.value, &value)] {
                self.variables.extend(name.clone().map(|name| (name, value.clone())));
            }
            self.nodes(&range.body, &value)?;
        }
        Ok(())
    }

    fn value(&self, expression: &Expression, dot: &Value) -> Result<Value> {
        match expression {
            Expression::Literal(value) => Ok(value.clone()),
            Expression::Place(None) => Ok(dot.clone()),
            Expression::Place(Some(name)) if name.is_empty() => Ok(self.whole.clone()),
            Expression::Place(Some(name)) => {
                self.variables.get(name).cloned().with_context(|| format!("There is no variable ${name}"))
            }
            Expression::Field(of, name) => {
                let of_value = self.value(of, dot)?;
                match &of_value {
                    Value::Object(fields) => match fields.get(name) {
                        Some(value) => Ok(value.clone()),
                        None if of_value == *self.whole => {
                            let known: Vec<&str> = fields.keys().map(String::as_str).collect();
                            bail!("There is no field {name}; there are {}", known.join(", "))
                        }
                        None => Ok(Value::Null),
                    },
                    Value::Null => Ok(Value::Null),
                    other => bail!("{other} has no fields, so no {name}"),
                }
            }
            Expression::Call(name, arguments) => {
                let values: Result<Vec<Value>> = arguments.iter().map(|argument| self.value(argument, dot)).collect();
                functions::call(name, &values?)
            }
        }
    }
}

/// What counts as false in Go's templates: nothing, zero, and what is empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A value as Go prints it.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{}", print(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}
