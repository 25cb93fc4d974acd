//! One decoder for every family: configuration, layers, LoRA, checkpoints, generation.
