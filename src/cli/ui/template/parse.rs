//! From the text of a template to its parts.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Expression),
    Set(String, Expression),
    /// Conditions with what follows from them, and what else.
    If(Vec<(Expression, Vec<Node>)>, Vec<Node>),
    With(Expression, Vec<Node>, Vec<Node>),
    Range(Range),
}

/// `{{range $key, $value := list}}`
#[derive(Debug)]
pub(super) struct Range {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) list: Expression,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// Something that has a value.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Literal(Value),
    /// `.`, or with a name `$name`; `$` alone is the whole.
    Place(Option<String>),
    Field(Box<Expression>, String),
    Call(String, Vec<Expression>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Field(String),
    /// A field right behind a value, whose field it is.
    Chained(String),
    Dot,
    Variable(String),
    Text(String),
    Number(i64),
    Pipe,
    Open,
    Close,
    Assign,
    Comma,
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>> {
    let mut pieces = pieces(text)?.into_iter();
    let (nodes, end) = block(&mut pieces)?;
    ensure!(end.is_empty(), "{{{{{}}}}} has nothing to end", word(&end).unwrap_or_default());
    Ok(nodes)
}

/// Texts and actions, one after the other.
fn pieces(mut text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut trim = false;
    while let Some((before, after)) = text.split_once("{{") {
        let before = if trim { before.trim_start() } else { before };
        let (before, after) = match after.strip_prefix("- ") {
            Some(rest) => (before.trim_end(), rest),
            None => (before, after),
        };
        pieces.push(Piece::Text(before.to_owned()));
        let (action, rest) = action(after)?;
        let (action, trimmed) = match action.strip_suffix(" -") {
            Some(action) => (action, true),
            None => (action, false),
        };
        trim = trimmed;
        if !action.trim_start().starts_with("/*") {
            pieces.push(Piece::Action(tokens(action)?));
        }
        text = rest;
    }
    pieces.push(Piece::Text(if trim { text.trim_start() } else { text }.to_owned()));
    Ok(pieces)
}

/// What stands before the next `}}` that is not in a text, and what after it.
fn action(text: &str) -> Result<(&str, &str)> {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(character),
            (None, '}') if text.get(at..).is_some_and(|rest| rest.starts_with("}}")) => {
                return Ok((text.get(..at).unwrap_or_default(), text.get(at + 2..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    bail!("A {{{{ is not closed by }}}}")
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    let mut spaced = true;
    while let Some(first) = rest.chars().next() {
        let name = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let take = |text: &str| text.get(..name(text)).unwrap_or_default().to_owned();
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        let (token, length) = match first {
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            ':' if after.starts_with('=') => (Token::Assign, 2),
            '=' => (Token::Assign, 1),
            '.' if name(after) == 0 => (Token::Dot, 1),
            '.' => {
                let behind = matches!(
                    tokens.last(),
                    Some(Token::Field(_) | Token::Chained(_) | Token::Variable(_) | Token::Close)
                );
                let token = if behind && !spaced { Token::Chained } else { Token::Field };
                (token(take(after)), 1 + name(after))
            }
            '$' => (Token::Variable(take(after)), 1 + name(after)),
            '"' => {
                let mut end = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let text = end.next().context("A text is not closed")?.context("A text is wrong")?;
                (Token::Text(text), end.byte_offset())
            }
            '`' => {
                let (text, _) = after.split_once('`').context("A text is not closed")?;
                (Token::Text(text.to_owned()), text.len() + 2)
            }
            '-' | '0'..='9' => {
                let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()) + 1;
                let number = rest.get(..digits).unwrap_or_default();
                (Token::Number(number.parse().with_context(|| format!("{number:?} is no number"))?), digits)
            }
            _ if name(rest) > 0 => (Token::Word(take(rest)), name(rest)),
            other => bail!("{other:?} is not understood"),
        };
        tokens.push(token);
        let next = rest.get(length..).unwrap_or_default();
        rest = next.trim_start();
        spaced = next.len() > rest.len();
    }
    Ok(tokens)
}

/// The parts up to an `end` or `else`, and the tokens of that; none at the end of the template.
fn block(pieces: &mut dyn Iterator<Item = Piece>) -> Result<(Vec<Node>, Vec<Token>)> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        match word(&tokens) {
            Some("end" | "else") => return Ok((nodes, tokens)),
            Some("if") => nodes.push(condition(rest(&tokens), pieces)?),
            Some("with") => {
                let value = expression(rest(&tokens))?;
                let (body, otherwise) = bodies(pieces)?;
                nodes.push(Node::With(value, body, otherwise));
            }
            Some("range") => nodes.push(range(rest(&tokens), pieces)?),
            _ => nodes.push(match tokens.as_slice() {
                [Token::Variable(name), Token::Assign, value @ ..] => Node::Set(name.clone(), expression(value)?),
                tokens => Node::Print(expression(tokens)?),
            }),
        }
    }
    Ok((nodes, Vec::new()))
}

fn condition(tokens: &[Token], pieces: &mut dyn Iterator<Item = Piece>) -> Result<Node> {
    let mut cases = Vec::new();
    let mut tokens = tokens.to_vec();
    loop {
        let test = expression(&tokens)?;
        let (body, end) = block(pieces)?;
        cases.push((test, body));
        match (word(&end), word(rest(&end))) {
            (Some("end"), _) => return Ok(Node::If(cases, Vec::new())),
            (Some("else"), Some("if")) => tokens = rest(rest(&end)).to_vec(),
            (Some("else"), None) => {
                let (otherwise, end) = block(pieces)?;
                ensure!(word(&end) == Some("end"), "An {{{{else}}}} has no {{{{end}}}}");
                return Ok(Node::If(cases, otherwise));
            }
            _ => bail!("An {{{{if}}}} has no {{{{end}}}}"),
        }
    }
}

fn range(tokens: &[Token], pieces: &mut dyn Iterator<Item = Piece>) -> Result<Node> {
    let (key, value, list) = match tokens {
        [Token::Variable(key), Token::Comma, Token::Variable(value), Token::Assign, list @ ..] => {
            (Some(key.clone()), Some(value.clone()), list)
        }
        [Token::Variable(value), Token::Assign, list @ ..] => (None, Some(value.clone()), list),
        list => (None, None, list),
    };
    let list = expression(list)?;
    let (body, otherwise) = bodies(pieces)?;
    Ok(Node::Range(Range { key, value, list, body, otherwise }))
}

/// What follows, and what follows an `else`.
fn bodies(pieces: &mut dyn Iterator<Item = Piece>) -> Result<(Vec<Node>, Vec<Node>)> {
    let (body, end) = block(pieces)?;
    let (otherwise, end) = if word(&end) == Some("else") { block(pieces)? } else { (Vec::new(), end) };
    ensure!(word(&end) == Some("end"), "A {{{{range}}}} or {{{{with}}}} has no {{{{end}}}}");
    Ok((body, otherwise))
}

fn expression(tokens: &[Token]) -> Result<Expression> {
    let mut value: Option<Expression> = None;
    let mut depth = 0usize;
    let stages = tokens.split(|token| {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Pipe
    });
    for stage in stages {
        value = Some(call(stage, value)?);
    }
    value.context("Nothing stands between {{ and }}")
}

/// A function with its arguments, the value of the stage before as the last; or a value alone.
fn call(tokens: &[Token], last: Option<Expression>) -> Result<Expression> {
    if let Some(name) = word(tokens).filter(|name| !matches!(*name, "true" | "false" | "nil")) {
        let mut arguments = terms(rest(tokens))?;
        arguments.extend(last);
        return Ok(Expression::Call(name.to_owned(), arguments));
    }
    let mut terms = terms(tokens)?;
    ensure!(last.is_none(), "After a | a function must follow");
    let value = terms.pop().context("A value is missing")?;
    ensure!(terms.is_empty(), "Two values stand side by side without a function");
    Ok(value)
}

fn terms(tokens: &[Token]) -> Result<Vec<Expression>> {
    let mut terms: Vec<Expression> = Vec::new();
    let mut position = 0;
    while let Some(token) = tokens.get(position) {
        position += 1;
        let term = match token {
            Token::Field(name) => Expression::Field(Box::new(Expression::Place(None)), name.clone()),
            // `$x.Name`, `(index . 0).Name`
            Token::Chained(name) => {
                let of = terms.pop().context("A field is in the wrong place")?;
                Expression::Field(Box::new(of), name.clone())
            }
            Token::Dot => Expression::Place(None),
            Token::Variable(name) => Expression::Place(Some(name.clone())),
            Token::Text(text) => Expression::Literal(text.clone().into()),
            Token::Number(number) => Expression::Literal((*number).into()),
            Token::Word(word) => match word.as_str() {
                "true" => Expression::Literal(true.into()),
                "false" => Expression::Literal(false.into()),
                "nil" => Expression::Literal(Value::Null),
                function => Expression::Call(function.to_owned(), Vec::new()),
            },
            Token::Open => {
                let mut depth = 1usize;
                let inner = tokens.get(position..).unwrap_or_default().iter().take_while(|token| {
                    match token {
                        Token::Open => depth += 1,
                        Token::Close => depth -= 1,
                        _ => {}
                    }
                    depth > 0
                });
                let inner: Vec<Token> = inner.cloned().collect();
                position += inner.len() + 1;
                ensure!(position <= tokens.len(), "A ( is not closed");
                expression(&inner)?
            }
            other => bail!("{other:?} is in the wrong place"),
        };
        terms.push(term);
    }
    Ok(terms)
}

fn word(tokens: &[Token]) -> Option<&str> {
    if let Some(Token::Word(word)) = tokens.first() { Some(word) } else { None }
}

fn rest(tokens: &[Token]) -> &[Token] {
    tokens.get(1..).unwrap_or_default()
}
