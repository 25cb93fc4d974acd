//! The binary as a user runs it, from one end to the other.

mod end_of_turn;
mod errors;
mod interrupted;
#[cfg(unix)]
mod lost_terminal;
mod mix_lineage;
mod mix_out;
mod mix_pages;
mod mix_shards;
mod models;
mod quickstart;
mod real_data;
mod recipe_import;
mod runs;
mod runs_continued;
mod runs_named;
mod screen;
mod support;
#[cfg(feature = "wgpu")]
mod wgpu;
