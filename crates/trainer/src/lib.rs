//! Full and LoRA fine-tuning: batching, step, recompute, optimizers, checkpoints.
