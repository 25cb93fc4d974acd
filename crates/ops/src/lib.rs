//! Differentiable operations of our own with their plain twins.
