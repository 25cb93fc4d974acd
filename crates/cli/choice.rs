//! Which recipe a command works on.

use medley_recipe::Resolved;
use miette::Report;

/// `--recipe` and `--set`, as every command that takes a recipe has them.
#[derive(clap::Args)]
pub struct RecipeChoice {
    /// Recipe: a file, or the name of one here, in ./recipes or shipped with Medley
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

/// The recipe of this name with `--set` arguments over it; what is doubtful in it goes to standard error.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(name: &str, set: &[String]) -> miette::Result<Resolved> {
    let resolved = medley_recipe::load(name, set)?;
    for warning in &resolved.warnings {
        eprintln!("{:?}", Report::new(warning.clone()));
    }
    Ok(resolved)
}
