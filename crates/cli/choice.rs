//! Selection of a recipe: `--recipe` and `--set`.

use medley_recipe::Resolved;
use medley_view::runs::{Match, find_run};
use miette::Report;

use crate::named_run;
use crate::progress::say;
use crate::screen::shown;

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
    /// The resolved recipe; its warnings are printed to standard error.
    ///
    /// # Errors
    /// All problems of the recipe.
    pub fn load(&self) -> miette::Result<Resolved> {
        load(&self.name, &self.set)
    }
}

/// The recipe of this name, or that of the run of this name, with `--set` arguments applied; its warnings are printed to
/// standard error. A `model.base` that names a run becomes the run's folder.
///
/// # Errors
/// All problems of the recipe.
pub fn load(name: &str, set: &[String]) -> miette::Result<Resolved> {
    let mut resolved = medley_recipe::load(&recipe_of(name), set)?;
    for warning in &resolved.warnings {
        eprintln!("{:?}", crate::errors::shown(&Report::new(warning.clone())));
    }
    named_run::adopt_base(&mut resolved)?;
    Ok(resolved)
}

/// The name of a recipe unchanged; if there is no such recipe but a run, the path of the run's stored recipe.
fn recipe_of(name: &str) -> String {
    if medley_recipe::is_there(name) {
        return name.to_owned();
    }
    // Whole names only: a misspelled name of a recipe must not match as the prefix of a run.
    let stored = find_run(name, Match::Whole).map(|run| run.join("recipe.toml"));
    match stored.ok().filter(|stored| stored.is_file()) {
        Some(stored) => {
            say(format!("recipe   {name} is a run: using its recipe, {}", shown(&stored)));
            stored.display().to_string()
        }
        None => name.to_owned(),
    }
}
