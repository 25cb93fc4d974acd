//! One small file per model family: how its `config.json` and tensor names map to the one decoder.

pub(crate) mod qwen2;
