//! Which recipe a command works on.

use medley_recipe::Resolved;
use medley_view::runs::{Match, find_run};
use miette::Report;

use crate::named_run;
use crate::progress::say;

/// `--recipe` and `--set`, as every command that takes a recipe has them.
#[derive(clap::Args)]
pub struct RecipeChoice {
    /// Recipe: a file, the name of one here, in ./recipes or shipped with Medley, or a run (folder, name or hash)
    #[arg(long = "recipe", id = "recipe", value_name = "RECIPE")]
    pub name: String,
    /// Set a value of the recipe, such as mix.size=2000 (again for more)
    #[arg(long, value_name = "KEY=VALUE", requires = "recipe")]
    set: Vec<String>,
}

impl RecipeChoice {
    /// The resolved recipe; what is doubtful in it goes to standard error.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(&self) -> miette::Result<Resolved> {
        load(&self.name, &self.set)
    }
}

/// The recipe of this name, or of the run of this name, with `--set` arguments over it; what is doubtful in it goes to
/// standard error. A `model.base` that names a run becomes the run's folder.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(name: &str, set: &[String]) -> miette::Result<Resolved> {
    let mut resolved = medley_recipe::load(&recipe_of(name), set)?;
    for warning in &resolved.warnings {
        eprintln!("{:?}", crate::errors::shown(&Report::new(warning.clone())));
    }
    named_run::adopt_base(&mut resolved)?;
    Ok(resolved)
}

/// A recipe's name as it is; where there is no such recipe, but a run, the recipe that is stored with the run.
fn recipe_of(name: &str) -> String {
    if medley_recipe::is_there(name) {
        return name.to_owned();
    }
    // A whole name only: a recipe's name that is misspelled must not become the beginning of a run's.
    let stored = find_run(name, Match::Whole).map(|run| run.join("recipe.toml"));
    match stored.ok().filter(|stored| stored.is_file()) {
        Some(stored) => {
            say(format!("recipe   {name} is a run: its own recipe, {}", stored.display()));
            stored.display().to_string()
        }
        None => name.to_owned(),
    }
}
