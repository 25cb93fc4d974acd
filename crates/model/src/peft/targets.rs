//! Modules of the base model that have an adapter, by PEFT's rules (`check_target_module_exists`).

use fancy_regex::Regex;

use super::{HEAD, TABLE};
use crate::config::DecoderConfig;
use crate::projection::Module;

/// A Python regular expression over module paths.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Matches the whole path (`re.fullmatch`).
    pub(super) fn whole(text: &str) -> Result<Self, String> {
        Self::new(text, format!("^(?:{text})$"))
    }

    /// Matches the last components of the path.
    pub(super) fn end_of_path(text: &str) -> Result<Self, String> {
        Self::new(text, format!(r"^(?:.*\.)?(?:{text})$"))
    }

    /// Matches the path of a module and those of the modules inside it.
    fn module_or_inside(text: &str) -> Result<Self, String> {
        Self::new(text, format!(r"^(?:|.*\.)(?:{text})(?:$|\..*)"))
    }

    fn new(text: &str, whole: String) -> Result<Self, String> {
        let regex = Regex::new(&whole)
            .map_err(|error| format!("has \"{text}\", which is not a valid regular expression: {error}"))?;
        Ok(Self(regex))
    }

    /// Also false where the search exceeds its backtracking limit: the module's tensors are then refused as unexpected, not ignored.
    pub(super) fn matches(&self, path: &str) -> bool {
        self.0.is_match(path).unwrap_or(false)
    }
}

/// A set of modules as the settings name it.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// Every projection of the layers.
    AllLinear,
    /// The last components of paths.
    List(Vec<String>),
    /// A regular expression for whole paths.
    Pattern(Pattern),
}

impl Names {
    fn has(&self, path: &str) -> bool {
        match self {
            Self::AllLinear => Module::ALL.iter().any(|module| ends_with(path, module.name())),
            Self::List(names) => names.iter().any(|name| ends_with(path, name)),
            Self::Pattern(pattern) => pattern.matches(path),
        }
    }
}

/// Whether a path is `name` or ends in `.name`.
pub(super) fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// `layers_to_transform` and `layers_pattern`.
#[derive(Clone, Debug)]
pub(super) struct LayerChoice {
    layers: Vec<usize>,
    /// Each captures a layer's number.
    patterns: Vec<Regex>,
}

impl LayerChoice {
    pub(super) fn new(layers: Vec<usize>, patterns: &[String]) -> Result<Self, String> {
        let any = [r"^.*?\.[^.]*\.(\d+)\.".to_owned()];
        let named: Vec<String> = patterns.iter().map(|name| format!(r"^(?:|.*?\.)(?:{name})\.(\d+)\.")).collect();
        let texts = if named.is_empty() { &any[..] } else { &named };
        let compiled: Result<Vec<Regex>, _> = texts.iter().map(|text| Regex::new(text)).collect();
        Ok(Self { layers, patterns: compiled.map_err(|error| format!("cannot be used: {error}"))? })
    }

    fn has(&self, path: &str) -> bool {
        let number = self.patterns.iter().find_map(|pattern| {
            let captures = pattern.captures(path).ok().flatten()?;
            captures.get(captures.len() - 1)?.as_str().parse().ok()
        });
        number.is_some_and(|number: usize| self.layers.contains(&number))
    }
}

/// The modules with an adapter.
#[derive(Clone, Debug)]
pub(super) struct Targets {
    included: Names,
    excluded: Option<Names>,
    layers: Option<LayerChoice>,
    saved: Vec<Pattern>,
}

impl Targets {
    pub(super) fn new(
        included: Names,
        excluded: Option<Names>,
        layers: Option<LayerChoice>,
        saved: &[String],
    ) -> Result<Self, String> {
        let saved = saved.iter().map(|name| Pattern::module_or_inside(name)).collect::<Result<_, _>>()?;
        Ok(Self { included, excluded, layers, saved })
    }

    /// Whether the module of that path (`model.layers.0.self_attn.q_proj`) has an adapter.
    pub(super) fn has(&self, path: &str) -> bool {
        let excluded = self.excluded.as_ref().is_some_and(|names| names.has(path));
        if excluded || self.saved.iter().any(|pattern| pattern.matches(path)) || !self.included.has(path) {
            return false;
        }
        // PEFT does not apply the layer filter to modules that are named by their whole path.
        let by_path = matches!(&self.included, Names::List(names) if names.iter().any(|name| name == path));
        by_path || self.layers.as_ref().is_none_or(|layers| layers.has(path))
    }
}

/// A module of the decoder that can have an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The embedding.
    Table,
    /// The head.
    Head,
    /// A projection of a layer.
    Projection(usize, Module),
}

impl Place {
    /// Every module in the order of the forward pass, with its path and its weight's `[out, in]`.
    pub(super) fn all(config: &DecoderConfig) -> Vec<(Self, String, [usize; 2])> {
        let table = [config.vocab_size, config.hidden_size];
        let mut all = vec![(Self::Table, TABLE.to_owned(), table)];
        for layer in 0..config.num_hidden_layers {
            let projection =
                |module: Module| (Self::Projection(layer, module), module.path(layer), module.shape(config));
            all.extend(Module::ALL.map(projection));
        }
        all.push((Self::Head, HEAD.to_owned(), table));
        all
    }

    /// Whether the base model has a bias there.
    pub(super) fn has_bias(self, config: &DecoderConfig) -> bool {
        matches!(self, Self::Projection(_, module) if module.has_bias(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Names {
        Names::List(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn targets_are_names_ends_paths_or_patterns() {
        let plain = |names| Targets::new(names, None, None, &[]).expect("sound");
        let (first, second) = ("model.layers.0.self_attn.q_proj", "model.layers.11.self_attn.q_proj");
        for names in [list(&["q_proj"]), list(&["self_attn.q_proj"]), list(&[first]), Names::AllLinear] {
            assert!(plain(names.clone()).has(first), "{names:?}");
        }
        assert!(!plain(list(&["proj"])).has(first), "a suffix that is no path component");
        assert!(!plain(list(&[first])).has(second));
        assert!(!plain(Names::AllLinear).has("lm_head"));
        let pattern = Pattern::whole(r".*layers\.(?!0\.)\d+\..*[qv]_proj").expect("look-ahead");
        assert!(!plain(Names::Pattern(pattern.clone())).has(first) && plain(Names::Pattern(pattern)).has(second));
        assert!(Pattern::whole("(").is_err());
        assert!(
            !plain(Names::Pattern(Pattern::whole("q_proj").expect("sound"))).has(first),
            "the whole path is matched"
        );
    }

    #[test]
    fn layers_exclusions_and_saved_modules_leave_modules_out() {
        let layers = |numbers: &[usize], patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
            Some(LayerChoice::new(numbers.to_vec(), &patterns).expect("sound"))
        };
        let (first, second) = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj");
        for choice in [layers(&[1], &[]), layers(&[1], &["layers"]), layers(&[1, 7], &["h", "layers"])] {
            let targets = Targets::new(list(&["q_proj"]), None, choice, &[]).expect("sound");
            assert!(!targets.has(first) && targets.has(second));
        }
        let whole = Targets::new(list(&[first]), None, layers(&[1], &[]), &[]).expect("sound");
        assert!(whole.has(first), "the layer filter does not apply to a whole path");
        let without =
            Targets::new(list(&["q_proj"]), Some(list(&["layers.0.self_attn.q_proj"])), None, &[]).expect("sound");
        assert!(!without.has(first) && without.has(second));
        let saved = Targets::new(list(&["q_proj", "lm_head"]), None, None, &["lm_head".to_owned()]).expect("sound");
        assert!(!saved.has("lm_head") && saved.has(first));
    }
}
