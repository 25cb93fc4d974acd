//! Raw TOML to a resolved, typed recipe, with errors that point.

mod typed;

pub use typed::*;
