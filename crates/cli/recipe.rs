//! `medley recipe`: show, list and describe recipes.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use console::{Style, measure_text_width};
use medley_recipe::{json_schema, load, shipped};
use miette::IntoDiagnostic;

use crate::choice;

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
    /// List the recipes that Medley carries
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

/// Shows, lists or describes.
pub fn run(args: RecipeArgs) -> miette::Result<()> {
    match args.command {
        Command::Show(args) => show(&args),
        Command::List => list(),
        Command::Schema => {
            println!("{}", serde_json::to_string_pretty(&json_schema()).into_diagnostic()?);
            Ok(())
        }
    }
}

fn show(args: &ShowArgs) -> miette::Result<()> {
    let resolved = choice::load(&args.name, &args.set)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&resolved.recipe).into_diagnostic()?);
    } else {
        print!("{}", colour_comments(&resolved.show()));
    }
    Ok(())
}

/// Origins are told in a quieter colour where the terminal has colours.
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

fn list() -> miette::Result<()> {
    let width = shipped().map(|recipe| measure_text_width(recipe.name)).max().unwrap_or_default();
    for recipe in shipped() {
        let resolved = load(&format!("shipped:{}", recipe.name), &[] as &[&str])?;
        println!("{:width$}  {}", recipe.name, resolved.recipe.description.unwrap_or_default());
    }
    Ok(())
}
