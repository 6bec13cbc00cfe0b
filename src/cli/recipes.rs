//! Owns the recipes: named sets of flags for `client`, each chosen by measuring; any flag overrides.
//!
//! Those for `letters/` were chosen by cross-validation inside its training files (`benches/recipes.py`).

/// A named set of flags.
#[derive(Debug)]
pub(super) struct Recipe {
    /// As users write it.
    pub(super) name: &'static str,
    /// One line of help.
    pub(super) about: &'static str,
    /// What it stands for, as `client` takes it after the directory.
    pub(super) args: &'static str,
}

/// All recipes. To add one, add its row.
pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "seed",
        about: "the original system's example: full-batch descent on raw features",
        args: "3 75 24 0.0001",
    },
    Recipe {
        name: "letters-fast",
        about: "below 5% error on letters/ in a fraction of a second",
        args: "8 2 256 0.02 --optimizer adam --batch-size 64 --schedule one-cycle --standardize \
               --replicas-per-round 2",
    },
    Recipe {
        name: "letters-best",
        about: "the lowest error on letters/ that takes seconds",
        args: "25 2 256,256 0.01 --optimizer adamw --weight-decay 0.05 --batch-size 64 --schedule one-cycle \
               --label-smoothing 0.1 --standardize --replicas-per-round 2",
    },
];

/// Finds a recipe.
pub(super) fn find(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}

/// The recipes with what they stand for, for the help.
pub(super) fn described() -> String {
    let line = |recipe: &Recipe| format!("  {:<14}{}\n{:16}{}\n", recipe.name, recipe.about, "", recipe.args);
    format!("Recipes:\n{}", RECIPES.iter().map(line).collect::<String>())
}
