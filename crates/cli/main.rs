//! `medley`: mix, fine-tune, examine.

fn main() -> std::process::ExitCode {
    medley::medley()
}
