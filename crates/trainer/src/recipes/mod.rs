//! The two ways to fine-tune, each told from top to bottom.

pub mod full;
pub mod lora;
