//! `extends` and `--set`: several texts laid over one another.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::document::{self, Node, NodeValue};
use crate::error::{Problem, RecipeErrors, SourceText, nearest};
use crate::lookup::{self, Found};

/// The merged tree and what it was made from.
pub(crate) struct Layered {
    /// Every setting, the last word on each.
    pub(crate) root: Node,
    /// The recipe that was asked for (not its bases, not the `--set`s).
    pub(crate) recipe: Arc<SourceText>,
}

/// Reads the recipe, the ones it extends and the `--set` arguments, and lays them over one another.
pub(crate) fn read<S: AsRef<str>>(found: Found, sets: &[S]) -> Result<Layered, RecipeErrors> {
    let subject = found.text.name.clone();
    let mut problems = Vec::new();
    let recipe = Arc::clone(&found.text);
    let mut chain = Vec::new();
    collect_chain(found, &mut chain, &mut problems);
    let base_count = chain.len();
    let mut layers = Vec::new();
    for (layer, found) in chain.iter().rev().enumerate() {
        match document::parse(&found.text, layer) {
            Ok(root) => layers.push(root),
            Err(found_problems) => problems.extend(found_problems),
        }
    }
    for (index, set) in sets.iter().enumerate() {
        match parse_set(set.as_ref(), base_count + index) {
            Ok(root) => layers.push(root),
            Err(found_problems) => problems.extend(found_problems),
        }
    }
    if !problems.is_empty() {
        return Err(RecipeErrors::of_recipe(&subject, problems));
    }
    let mut layers = layers.into_iter();
    let Some(mut root) = layers.next() else {
        return Err(RecipeErrors::of_recipe(&subject, vec![Problem::nowhere(format!("{subject} is empty"), None)]));
    };
    for layer in layers {
        merge(&mut root, layer, false);
    }
    Ok(Layered { root, recipe })
}

/// Follows `extends` from the recipe to its deepest base.
fn collect_chain(recipe: Found, chain: &mut Vec<Found>, problems: &mut Vec<Problem>) {
    let mut next = Some(recipe);
    while let Some(found) = next {
        let text = Arc::clone(&found.text);
        chain.push(found);
        let parsed = document::parse(&text, 0).ok();
        let extends = parsed.as_ref().and_then(|root| root.get(&["extends"]));
        next = extends.and_then(|node| match follow(node, chain) {
            Ok(found) => found,
            Err(problem) => {
                problems.push(*problem);
                None
            }
        });
    }
}

/// The base that an `extends` names; nothing where it is no string, which the schema reports.
fn follow(node: &Node, chain: &[Found]) -> Result<Option<Found>, Box<Problem>> {
    let Some(name) = node.string() else { return Ok(None) };
    let found = lookup::find_base(name, &node.place.source).map_err(|error| {
        let near = nearest(name, lookup::shipped_names()).filter(|_| error.is_nowhere());
        let label = near.map_or_else(|| "not found".to_owned(), |near| format!("hint: did you mean `{near}`?"));
        let label = if error.is_nowhere() { label } else { "not a recipe".to_owned() };
        let problem = Problem::at(&node.place, format!("`extends` names `{name}`, {error}"), label);
        Box::new(match error.help() {
            Some(help) => problem.with_help(help),
            None => problem,
        })
    })?;
    if let Some(start) = chain.iter().position(|link| link.identity == found.identity) {
        let mut names: Vec<_> = chain[start..].iter().map(|link| link.text.name.as_str()).collect();
        names.push(&found.text.name);
        let circle = names.join(" -> ");
        return Err(Box::new(Problem::at(
            &node.place,
            format!("`extends` goes in a circle: {circle}"),
            "closes the circle",
        )));
    }
    Ok(Some(found))
}

/// Tables that are replaced as a whole.
const WHOLE: [&str; 3] = ["ratio", "ratio_end", "epochs"];

/// Lays `over` over `base`: tables are merged, everything else is replaced, and so is a `ratio`.
fn merge(base: &mut Node, over: Node, is_ratio: bool) {
    let amends_ratio = is_ratio && over.key.source.is_set && writes_below_ratio(&over.key.source.text);
    match (&mut base.value, over.value) {
        (NodeValue::Table(base_entries), NodeValue::Table(over_entries)) if !is_ratio || amends_ratio => {
            for (key, node) in over_entries {
                match base_entries.get_mut(&key) {
                    Some(existing) => merge(existing, node, WHOLE.contains(&key.as_str())),
                    None => {
                        base_entries.insert(key, node);
                    }
                }
            }
            if !over.place.source.is_set {
                (base.place, base.key, base.layer) = (over.place, over.key, over.layer);
            }
        }
        (base_value, over_value) => {
            *base_value = over_value;
            (base.place, base.key, base.layer) = (over.place, over.key, over.layer);
        }
    }
}

/// Whether a `--set` names one weight (`mix.ratio.general=9`) rather than a whole ratio.
fn writes_below_ratio(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, _)| {
        let mut keys = key.split('.').map(str::trim).peekable();
        keys.any(|key| WHOLE.contains(&key)) && keys.peek().is_some()
    })
}

/// Reads `key.path=value`: a TOML value, or a bare word as a string.
fn parse_set(argument: &str, layer: usize) -> Result<Node, Vec<Problem>> {
    let name = format!("--set {argument}");
    let source =
        |text: String| Arc::new(SourceText { name: name.clone(), text, folder: None, shipped: None, is_set: true });
    let Some((key, value)) = argument.split_once('=') else {
        let written = document_place(&source(argument.to_owned()));
        let help = "--set takes KEY=VALUE, for example --set train.learning_rate=2e-4";
        return Err(vec![Problem::at(&written, "this --set has no `=`", "").with_help(help)]);
    };
    let as_written = document::parse(&source(argument.to_owned()), layer);
    let value = value.trim();
    if as_written.is_ok() || value.is_empty() || value.starts_with(['"', '\'', '[', '{']) {
        return as_written;
    }
    let quoted = toml::Value::String(value.to_owned()).to_string();
    document::parse(&source(format!("{key}={quoted}")), layer).map_err(|_| match as_written {
        Err(problems) => problems,
        Ok(_) => Vec::new(),
    })
}

fn document_place(source: &Arc<SourceText>) -> crate::error::Place {
    crate::error::Place { source: Arc::clone(source), span: 0..source.text.len() }
}

/// The entries of a table that may be missing.
pub(crate) fn entries<'a>(root: &'a Node, path: &[&str]) -> impl Iterator<Item = (&'a String, &'a Node)> {
    root.get(path).and_then(Node::table).into_iter().flat_map(IndexMap::iter)
}
