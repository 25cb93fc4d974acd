//! `train`: the same as `medley train`.

fn main() -> std::process::ExitCode {
    medley::train()
}
