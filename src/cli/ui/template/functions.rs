//! The functions of templates: Go's own, and those that Docker adds.

use std::cmp::Ordering;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::evaluate::{is_true, print};

pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value> {
    let wrong = || format!("{name} has wrong arguments");
    let text = |position: usize| arguments.get(position).and_then(Value::as_str).with_context(wrong);
    Ok(match (name, arguments) {
        ("json", [value]) => serde_json::to_string(value)?.into(),
        ("index", [value, keys @ ..]) => index(value, keys)?,
        ("len", [value]) => match value {
            Value::Null => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            other => bail!("{other} has no length"),
        }
        .into(),
        ("join", [Value::Array(items), Value::String(by)]) => {
            items.iter().map(print).collect::<Vec<_>>().join(by).into()
        }
        ("join", [Value::Null, _]) => "".into(),
        ("split", [_, _]) => text(0)?.split(text(1)?).map(Value::from).collect(),
        ("upper", [value]) => print(value).to_uppercase().into(),
        ("lower", [value]) => print(value).to_lowercase().into(),
        ("title", [value]) => title(&print(value)).into(),
        ("truncate", [value, Value::Number(length)]) => {
            let most = usize::try_from(length.as_u64().with_context(wrong)?).unwrap_or(usize::MAX);
            print(value).chars().take(most).collect::<String>().into()
        }
        ("print", values) => values.iter().map(print).collect::<Vec<_>>().join(" ").into(),
        ("println", values) => format!("{}\n", values.iter().map(print).collect::<Vec<_>>().join(" ")).into(),
        ("printf", [Value::String(format), values @ ..]) => printf(format, values).into(),
        ("not", [value]) => (!is_true(value)).into(),
        ("and", [first, rest @ ..]) => rest.iter().fold(first, |one, two| if is_true(one) { two } else { one }).clone(),
        ("or", [first, rest @ ..]) => rest.iter().fold(first, |one, two| if is_true(one) { one } else { two }).clone(),
        ("eq", [one, others @ ..]) if !others.is_empty() => others.contains(one).into(),
        ("ne", [one, other]) => (one != other).into(),
        ("lt", [one, other]) => (compare(one, other)? == Ordering::Less).into(),
        ("le", [one, other]) => (compare(one, other)? != Ordering::Greater).into(),
        ("gt", [one, other]) => (compare(one, other)? == Ordering::Greater).into(),
        ("ge", [one, other]) => (compare(one, other)? != Ordering::Less).into(),
        (
            "json" | "index" | "len" | "join" | "split" | "upper" | "lower" | "title" | "truncate" | "printf" | "not"
            | "and" | "or" | "eq" | "ne" | "lt" | "le" | "gt" | "ge",
            _,
        ) => bail!(wrong()),
        _ => bail!("There is no function {name}"),
    })
}

fn index(value: &Value, keys: &[Value]) -> Result<Value> {
    let mut value = value;
    for key in keys {
        value = match (value, key) {
            (Value::Array(items), Value::Number(at)) => {
                let found = at.as_u64().and_then(|at| items.get(usize::try_from(at).ok()?));
                found.with_context(|| format!("There is no element {at}: the list has {}", items.len()))?
            }
            (Value::Object(fields), Value::String(key)) => fields.get(key).unwrap_or(&Value::Null),
            (Value::Null, _) => &Value::Null,
            (other, key) => bail!("{other} cannot be indexed by {key}"),
        };
    }
    Ok(value.clone())
}

fn compare(one: &Value, other: &Value) -> Result<Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => Ok(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => {
            let order = one.as_f64().zip(other.as_f64()).and_then(|(one, other)| one.partial_cmp(&other));
            order.context("These numbers cannot be compared")
        }
        _ => bail!("{one} and {other} cannot be compared"),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .flat_map(|c| {
            let upper = std::mem::replace(&mut start, c.is_whitespace());
            if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect()
}

/// `%s`, `%d`, `%v` and `%q`; widths with them (`%-10s`).
fn printf(format: &str, values: &[Value]) -> String {
    let mut values = values.iter();
    let mut output = String::new();
    let mut rest = format.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '%' {
            output.push(character);
            continue;
        }
        let left = rest.next_if_eq(&'-').is_some();
        let mut width = 0usize;
        while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
            width = width.saturating_mul(10).saturating_add(digit as usize).min(1000);
            rest.next();
        }
        let text = match rest.next() {
            Some('%') => "%".to_owned(),
            Some('q') => format!("{:?}", values.next().map(print).unwrap_or_default()),
            Some('s' | 'd' | 'v') => values.next().map(print).unwrap_or_default(),
            other => format!("%!{}", other.map(String::from).unwrap_or_default()),
        };
        output.push_str(&if left { format!("{text:<width$}") } else { format!("{text:>width$}") });
    }
    output
}
