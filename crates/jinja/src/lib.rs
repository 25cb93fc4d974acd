//! A jinja2 engine with transformers' environment: the immutable sandbox, loop controls, `{% generation %}`,
//! `raise_exception`, `strftime_now` and transformers' `tojson`.
//!
//! Values and operators have Python's semantics. Features that are not implemented (integers beyond 64 bits, `include`,
//! filters such as `urlize`) are errors, never a different text. Every rendering terminates: steps, output, nesting and
//! the size of values are bounded.

mod arguments;
mod ast;
mod attributes;
mod date;
mod error;
mod evaluate;
mod expressions;
mod filters;
mod format;
mod json;
mod lexer;
mod loops;
mod methods;
mod names;
mod numbers;
mod ops;
mod parser;
mod printf;
mod renderer;
mod sequences;
mod tests;
mod text;
mod value;

use std::sync::Arc;

pub use error::Error;
pub use renderer::Limits;
pub use value::Value;

/// Settings of jinja2's environment.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `trim_blocks` and `lstrip_blocks`: a block tag takes the spaces before it on its line and the line break after it.
    pub trim_blocks: bool,
    /// `StrictUndefined`: using an undefined value is an error, except in `is defined`, `is undefined` and `default`.
    pub strict_undefined: bool,
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    statements: Vec<ast::Statement>,
    options: Options,
}

impl Template {
    /// # Errors
    /// A syntax error, an unknown filter or test, or nesting beyond the bounds.
    pub fn compile(source: &str, options: Options) -> Result<Self, Error> {
        let statements = parser::parse(lexer::tokenize(source, options.trim_blocks)?)?;
        Ok(Self { statements, options })
    }

    /// Renders the template with `variables`.
    ///
    /// # Errors
    /// `raise_exception`, whatever Python would raise, and exceeded bounds.
    pub fn render(&self, variables: Vec<(Arc<str>, Value)>, limits: Limits) -> Result<String, Error> {
        renderer::Renderer::new(variables, limits, self.options.strict_undefined).render(&self.statements)
    }
}

impl Value {
    /// A list of messages: far below the bounds of nesting and size.
    pub fn from_items(items: Vec<Self>) -> Self {
        Self::list(items).unwrap_or(Self::None)
    }

    /// A message.
    pub fn from_pairs(pairs: Vec<(&str, Self)>) -> Self {
        Self::dict(pairs.into_iter().map(|(key, value)| (Self::from(key), value)).collect()).unwrap_or(Self::None)
    }

    /// A value from JSON.
    ///
    /// # Errors
    /// Nesting or size beyond the bounds, and integers beyond 64 bits.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, Error> {
        use serde_json::Value as Json;
        Ok(match json {
            Json::Null => Self::None,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64().filter(|_| number.is_f64())) {
                (Some(integer), _) => Self::Int(integer),
                (None, Some(float)) => Self::Float(float),
                (None, None) => return Err(Error::unsupported("an integer beyond 64 bits")),
            },
            Json::String(text) => Self::from(text.as_str()),
            Json::Array(items) => Self::list(items.iter().map(Self::from_json).collect::<Result<_, _>>()?)?,
            Json::Object(fields) => {
                let pair = |(key, value): (&String, &Json)| Ok((Self::from(key.as_str()), Self::from_json(value)?));
                Self::dict(fields.iter().map(pair).collect::<Result<_, Error>>()?)?
            }
        })
    }
}
