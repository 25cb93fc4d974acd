//! Chat templates, rendered as transformers renders them: jinja2 in its immutable sandbox, with `trim_blocks` and
//! `lstrip_blocks`, loop controls, `{% generation %}`, `raise_exception`, `strftime_now` and transformers' `tojson`.
//!
//! Values and operators are Python's. What Python or jinja2 may do and this engine does not (an integer beyond 64 bits,
//! `include`, a filter such as `urlize`) is an error, never another text. A rendering ends: steps, output, nesting and
//! the size of every value are bounded.

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
mod methods;
mod ops;
mod parser;
mod renderer;
mod sequences;
mod tests;
mod text;
mod value;

use std::sync::Arc;

pub use error::Error;
pub use renderer::Limits;
pub use value::Value;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    statements: Vec<ast::Statement>,
}

impl Template {
    /// # Errors
    /// A syntax error, a name of a filter or test that does not exist, or nesting beyond the bounds.
    pub fn compile(source: &str) -> Result<Self, Error> {
        let statements = parser::parse(lexer::tokenize(source)?)?;
        Ok(Self { statements })
    }

    /// The text that the template writes with `variables`.
    ///
    /// # Errors
    /// The template's own refusal, what Python would raise, and bounds that are exceeded.
    pub fn render(&self, variables: Vec<(Arc<str>, Value)>, limits: Limits) -> Result<String, Error> {
        renderer::Renderer::new(variables, limits).render(&self.statements)
    }
}

impl Value {
    /// A list for a template; at most one level of nesting below.
    pub fn from_items(items: Vec<Self>) -> Self {
        Self::list(items).unwrap_or(Self::None)
    }

    /// A mapping for a template.
    pub fn from_pairs(pairs: Vec<(&str, Self)>) -> Self {
        Self::dict(pairs.into_iter().map(|(key, value)| (Self::from(key), value)).collect()).unwrap_or(Self::None)
    }
}
