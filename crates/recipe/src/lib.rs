//! Raw TOML to a resolved, typed recipe, with errors that point.
//!
//! A recipe file is read into a tree in which every value knows where it was written, laid over what it `extends`,
//! overlaid with `--set` arguments, checked against the schema with all errors reported at once, and turned into a
//! typed [`Recipe`] in which every default is written out. Nobody beyond this crate sees TOML.

pub mod aliases;
mod bundled;
mod check;
mod columns;
mod decimal;
mod document;
pub mod emit;
mod empty;
mod error;
mod excerpt;
mod filters;
mod hash;
mod layers;
mod lookup;
mod mixture;
mod origin;
mod paths;
mod raw;
mod resolve;
mod schema;
pub mod shell;
pub mod tools;
mod typed;

pub use bundled::bundled_name;
pub use check::refusal;
pub use columns::parse_columns;
pub use decimal::{common_divisor, lowest_terms};
pub use error::{Place, Problem, RecipeErrors, SourceText, key_name, nearest, quoted_list};
pub use hash::hash8;
pub use lookup::{Shipped, is_there, local, looks_like_recipe, shipped};
pub use origin::Origin;
pub use raw::LoraTarget;
pub use resolve::{Resolved, load, parse};
pub use schema::{SCHEMA, json_schema};
pub use typed::*;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod key_tests;
