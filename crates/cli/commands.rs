//! Help grouped by task, shell completions and manual pages, generated from the definition of the arguments.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use miette::{IntoDiagnostic, WrapErr};

use crate::Medley;

/// Commands grouped by task, for the help; every visible command is in exactly one group.
const TASKS: [(&str, &[&str]); 5] = [
    ("Run a recipe", &["train", "plan", "recipe"]),
    ("Data", &["mix", "preview"]),
    ("Models", &["exam", "chat"]),
    ("Results", &["runs", "report"]),
    ("This machine", &["selftest", "completions", "man"]),
];

/// The definition of `medley`, whose help lists the commands by task.
pub fn definition() -> Command {
    let command = Medley::command();
    let groups: String = TASKS.iter().map(|(task, names)| group(&command, task, names)).collect();
    command
        .help_template(format!(
            "{{about}}\n\n{{usage-heading}} {{usage}}\n{groups}\nOptions:\n{{options}}{{after-help}}"
        ))
        .after_help("`medley COMMAND --help` explains a command and its options.")
}

fn group(command: &Command, task: &str, names: &[&str]) -> String {
    let line = |name: &&str| {
        let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
        format!("  {name:<12} {}\n", about.unwrap_or_default())
    };
    format!("\n{task}:\n{}", names.iter().map(line).collect::<String>())
}

/// Arguments of `medley completions`.
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// Shell to generate the script for
    shell: Shell,
}

/// Writes a completion script to standard output.
///
/// # Errors
/// None; the signature is that of all commands.
pub fn completions(args: &CompletionsArgs) -> miette::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition(), "medley", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

/// Arguments of `medley man`.
#[derive(clap::Args)]
pub struct ManArgs {
    /// Output folder for medley.1, medley-train.1, …
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

/// Writes a manual page for `medley` and each of its commands.
///
/// # Errors
/// When the folder cannot be written.
pub fn man(args: &ManArgs) -> miette::Result<()> {
    write_pages(&args.out).into_diagnostic().wrap_err_with(|| format!("{}: cannot be written", args.out.display()))
}

fn write_pages(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(definition(), folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let mut named: Vec<&str> = TASKS.iter().flat_map(|(_, names)| *names).copied().collect();
        let command = Medley::command();
        let mut defined: Vec<&str> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name).collect();
        named.sort_unstable();
        defined.sort_unstable();
        assert_eq!(named, defined);
        let help = definition().render_help().to_string();
        for command in command.get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && help.contains(&about), "{}", command.get_name());
        }
    }

    #[test]
    fn every_shell_has_a_script_and_every_command_a_page() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut definition(), "medley", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains("selftest") && script.contains("--recipe"), "{shell}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        write_pages(folder.path()).expect("pages");
        let page = std::fs::read_to_string(folder.path().join("medley-train.1")).expect("a page");
        assert!(page.contains("resume"), "{page}");
    }
}
