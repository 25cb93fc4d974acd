//! Differences between the run in a folder and the requested one.

use medley_recipe::Resolved;
use medley_run::{RunDir, RunState};
use medley_trainer::Identity;

/// Which of data, base weights and recipe differ between the run in the folder and the requested one, with the settings.
pub fn what_differs(run_dir: &RunDir, resolved: &Resolved, identity: &Identity, state: &RunState) -> String {
    let parts = [("data", &state.data_hash, &identity.data), ("base weights", &state.weights_hash, &identity.weights)];
    let other = parts.into_iter().filter(|(_, found, own)| !found.is_empty() && found != own);
    let mut other: Vec<String> = other.map(|(what, ..)| format!("other {what}")).collect();
    // Both in the form that is stored with a run, with absolute paths.
    let read = |text: &str| medley_recipe::parse("recipe.toml", text, None, &[] as &[&str]).ok();
    let earlier = std::fs::read_to_string(run_dir.recipe()).ok().and_then(|text| read(&text));
    let settings = match (earlier, read(&resolved.to_toml())) {
        (Some(earlier), Some(now)) => now.recipe.deciding_differences(&earlier.recipe),
        _ => Vec::new(),
    };
    if !settings.is_empty() {
        other.push(format!("another recipe ({})", settings.join("; ")));
    }
    match other.is_empty() {
        true => "another tokenizer or chat template".to_owned(),
        false => other.join(" and "),
    }
}
