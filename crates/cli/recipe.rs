//! `medley recipe`: show, import, list and describe recipes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use console::{Style, Term, measure_text_width};
use indexmap::IndexMap;
use medley_files::atomic;
use medley_import::{Fate, ImportOptions, Note};
use medley_recipe::{Shipped, json_schema, load, shipped};
use medley_view::wrapped;
use miette::{IntoDiagnostic, MietteDiagnostic};

use crate::{choice, progress, screen};

/// Arguments of `medley recipe`.
#[derive(Args)]
pub struct RecipeArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a recipe with every default written out, and where each value came from
    Show(ShowArgs),
    /// Convert a file of LLaMA-Factory, Axolotl, torchtune or TRL to a recipe: data and training settings
    Import(ImportArgs),
    /// List the recipes here, in ./recipes and shipped with Medley
    List,
    /// Print the JSON schema of recipes, for editors
    Schema,
}

#[derive(Args)]
struct ShowArgs {
    /// A file, or the name of a recipe here, in ./recipes or shipped with Medley
    #[arg(value_name = "RECIPE")]
    name: String,
    /// Set a value of the recipe, such as train.learning_rate=2e-4 (again for more)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the typed recipe as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ImportArgs {
    /// LLaMA-Factory's dataset_info.json, or a YAML or JSON file of LLaMA-Factory, Axolotl, torchtune or TRL
    file: PathBuf,
    /// Where the file's relative paths start [default: its folder for dataset_info.json, else here, then its folder]
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Only these sets, by name
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long, requires = "out")]
    force: bool,
}

/// Shows, imports, lists or describes.
pub fn run(args: RecipeArgs) -> miette::Result<()> {
    match args.command {
        Command::Show(args) => show(&args),
        Command::Import(args) => import(&args),
        Command::List => list(),
        Command::Schema => {
            println!("{}", medley_chat::escaped(&serde_json::to_string_pretty(&json_schema()).into_diagnostic()?));
            Ok(())
        }
    }
}

fn show(args: &ShowArgs) -> miette::Result<()> {
    let resolved = choice::load(&args.name, &args.set)?;
    if args.json {
        println!("{}", medley_chat::escaped(&serde_json::to_string_pretty(&resolved.recipe).into_diagnostic()?));
    } else {
        print!("{}", colour_comments(&medley_chat::escaped(&resolved.show())));
    }
    Ok(())
}

fn import(args: &ImportArgs) -> miette::Result<()> {
    if let Some(out) = args.out.as_deref().filter(|out| out.exists() && !args.force) {
        let hint = "--force overwrites it";
        return Err(MietteDiagnostic::new(format!("{} already exists", out.display())).with_help(hint).into());
    }
    let folder = args.out.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    let recipe_folder = folder.unwrap_or(Path::new("."));
    let options = ImportOptions { base: args.base.as_deref(), only: &args.only, recipe_folder };
    let imported = medley_import::import(&args.file, &options)?;
    say_notes(&imported.notes);
    let Some(out) = &args.out else {
        print!("{}", medley_chat::escaped(&imported.toml));
        return Ok(());
    };
    std::fs::create_dir_all(recipe_folder).into_diagnostic()?;
    atomic::write_file(out, imported.toml.as_bytes())
        .map_err(|error| MietteDiagnostic::new(format!("{} cannot be written: {error}", out.display())))?;
    let sources = if imported.sources == 1 { "source" } else { "sources" };
    let (count, tool, out) = (imported.sources, imported.tool, out.display());
    progress::say_wrapped(
        format!("wrote {count} {sources} of {tool} to {out}; see it with `medley recipe show {out}`"),
        2,
    );
    Ok(())
}

/// Every note once, with the sets it concerns.
fn say_notes(notes: &[Note]) {
    const SHOWN: usize = 3;
    let mut groups: IndexMap<(Fate, &str, &str), Vec<&Note>> = IndexMap::new();
    for note in notes {
        // The same option of another set may have another value.
        let option = note.what.split(':').next().unwrap_or_default();
        let option = if note.fate == Fate::LeftOut { "" } else { option };
        groups.entry((note.fate, option, note.why.as_str())).or_default().push(note);
    }
    for ((fate, option, why), notes) in groups {
        let what = match notes.as_slice() {
            [only] => format!("{} ", only.what),
            _ if option.is_empty() => String::new(),
            _ => format!("`{}` ", option.trim_matches('`')),
        };
        let place = |note: &&Note| {
            let set = note.set.as_ref().map(|set| format!("`{set}`, ")).unwrap_or_default();
            format!("{set}{}:{}", note.file, note.line)
        };
        let mut places = notes.iter().take(SHOWN).map(place).collect::<Vec<_>>().join("; ");
        if notes.len() > SHOWN {
            places = format!("{places} and {} more", notes.len() - SHOWN);
        }
        progress::say_wrapped(format!("{}: {what}({places}): {why}", fate.as_str()), 2);
    }
}

/// Dims the comments that name origins, if the terminal has colours.
fn colour_comments(text: &str) -> String {
    let quiet = Style::new().dim();
    let mut coloured = String::new();
    for line in text.lines() {
        match line.rsplit_once("  # ") {
            Some((setting, origin)) => {
                let _ = writeln!(coloured, "{setting}  {}", quiet.apply_to(format!("# {origin}")));
            }
            None => {
                let _ = writeln!(coloured, "{line}");
            }
        }
    }
    coloured
}

/// Recipes here and in `./recipes`, then the shipped ones, each by the name that `--recipe` takes.
fn list() -> miette::Result<()> {
    let here: Vec<(String, Option<String>)> =
        medley_recipe::local().into_iter().filter_map(|path| entry(&path)).collect();
    // In the source tree local and shipped recipes are the same files.
    let is_here = |recipe: &Shipped| {
        let here = std::fs::read_to_string(Path::new("recipes").join(recipe.name));
        here.is_ok_and(|text| text == recipe.text)
    };
    let shipped: Vec<(String, Option<String>)> = shipped()
        .filter(|recipe| recipe.name.contains('/') || !is_here(recipe))
        .map(|recipe| {
            let resolved = load(&format!("shipped:{}", recipe.name), &[] as &[&str])?;
            // A local recipe of the same name takes precedence.
            let is_hidden = here.iter().any(|(name, _)| name.trim_start_matches("recipes/") == recipe.name);
            let name = if is_hidden { format!("shipped:{}", recipe.name) } else { recipe.name.to_owned() };
            Ok((name, resolved.recipe.description))
        })
        .collect::<Result<_, medley_recipe::RecipeErrors>>()?;
    let width = here.iter().chain(&shipped).map(|(name, _)| measure_text_width(name)).max().unwrap_or_default();
    let sections = [("Here:", here), ("Shipped with Medley:", shipped)];
    let headed = sections.iter().all(|(_, recipes)| !recipes.is_empty());
    for (heading, recipes) in sections {
        if headed {
            println!("{heading}");
        }
        for (name, description) in recipes {
            let gap = " ".repeat(width - measure_text_width(&name) + 2);
            let description = beside(&description.unwrap_or_default(), width + 2);
            println!("{}", format!("{name}{gap}{description}").trim_end());
        }
    }
    Ok(())
}

/// A description behind `indent` columns, wrapped on a terminal; elsewhere every recipe has one line.
fn beside(description: &str, indent: usize) -> String {
    if !Term::stdout().is_term() {
        return description.to_owned();
    }
    // A long name leaves no room for lines beside it.
    let room = screen::style().width.saturating_sub(indent).max(40);
    wrapped(description, room, 0).replace('\n', &format!("\n{}", " ".repeat(indent)))
}

/// Name and description of a local recipe, or its first problem; `None` for other TOML files, such as `Cargo.toml`.
fn entry(path: &Path) -> Option<(String, Option<String>)> {
    let name = path.to_string_lossy().replace('\\', "/");
    match load(&name, &[] as &[&str]) {
        Ok(resolved) => Some((name, resolved.recipe.description)),
        Err(_) if !medley_recipe::looks_like_recipe(path) => None,
        Err(errors) => Some((name, Some(format!("({})", first_problem(&errors))))),
    }
}

fn first_problem(errors: &medley_recipe::RecipeErrors) -> String {
    errors.problems().first().map_or_else(|| errors.to_string(), |problem| problem.message().to_owned())
}
