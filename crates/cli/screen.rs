//! The terminal that output goes to: its width, whether it has colours, and how paths are shown.

use std::path::{Component, Path, PathBuf};

use console::Term;
use medley_recipe::bundled_name;
use medley_view::TextStyle;

/// Narrowest width that text is laid out for.
const NARROWEST: u16 = 40;

/// Decides once, for both streams, whether colours are written: by `NO_COLOR`, `CLICOLOR_FORCE` and `CLICOLOR`, in this
/// order, else on terminals (<https://no-color.org>, <http://bixense.com/clicolors>).
pub fn choose_colours() {
    let decide = |terminal: &Term| colours(|name| std::env::var(name).ok(), terminal.is_term());
    console::set_colors_enabled(decide(&Term::stdout()));
    console::set_colors_enabled_stderr(decide(&Term::stderr()));
}

fn colours(variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    is_terminal && set("CLICOLOR").is_none_or(|value| value != "0") && set("TERM").is_none_or(|value| value != "dumb")
}

/// Layout of text on standard output: a terminal's width, 100 columns elsewhere.
pub fn style() -> TextStyle {
    let screen = Term::stdout();
    let width = if screen.is_term() { usize::from(screen.size().1.max(NARROWEST)) } else { TextStyle::PLAIN.width };
    TextStyle { width, colour: console::colors_enabled() }
}

/// A path relative to the working directory where it lies below it; absolute ones are shown without `..`.
pub fn relative(path: &Path) -> PathBuf {
    let climbs = path.is_absolute() && path.components().any(|part| part == Component::ParentDir);
    let path = if climbs { path.canonicalize().unwrap_or_else(|_| path.to_path_buf()) } else { path.to_path_buf() };
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(inside) if inside.as_os_str().is_empty() => PathBuf::from("."),
        Ok(inside) => inside.to_path_buf(),
        Err(_) => path,
    }
}

/// [`relative`] as text; the bundled files, which are unpacked into a cache folder, by their names.
pub fn shown(path: &Path) -> String {
    match bundled_name(path) {
        Some(name) => format!("bundled: {name}"),
        None => relative(path).display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_conventions() {
        let decide = |set: &[(&str, &str)], terminal| {
            colours(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()), terminal)
        };
        for (set, terminal, expected) in [
            (&[][..], true, true),
            (&[], false, false),
            (&[("NO_COLOR", "1")], true, false),
            (&[("NO_COLOR", "")], true, true),
            (&[("CLICOLOR", "0")], true, false),
            (&[("CLICOLOR", "1")], false, false),
            (&[("CLICOLOR_FORCE", "1")], false, true),
            (&[("CLICOLOR_FORCE", "0")], false, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
            (&[("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0")], false, true),
            (&[("TERM", "dumb")], true, false),
        ] {
            assert_eq!(decide(set, terminal), expected, "{set:?}, {terminal}");
        }
    }
}
