//! Raw TOML to a resolved, typed recipe, with errors that point.
//!
//! A recipe file is read into a tree in which every value knows where it was written, laid over what it `extends`,
//! overlaid with `--set` arguments, checked against the schema with all errors reported at once, and turned into a
//! typed [`Recipe`] in which every default is written out. Nobody beyond this crate sees TOML.

mod aliases;
mod bundled;
mod check;
mod columns;
mod decimal;
mod document;
mod emit;
mod empty;
mod error;
mod excerpt;
mod filters;
mod hash;
mod import;
mod layers;
mod lookup;
mod mixture;
mod origin;
mod paths;
mod raw;
mod resolve;
mod schema;
pub mod shell;
mod typed;

pub use bundled::bundled_name;
pub use columns::parse_columns;
pub use decimal::lowest_terms;
pub use error::{Problem, RecipeErrors};
pub use hash::hash8;
pub use import::{Fate, ImportOptions, Imported, Note, import};
pub use lookup::{Shipped, is_there, local, looks_like_recipe, shipped};
pub use origin::Origin;
pub use resolve::{Resolved, load, parse};
pub use schema::json_schema;
pub use typed::*;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod key_tests;
