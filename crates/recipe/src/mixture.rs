//! The mixture tree: names in a `ratio` to sources and groups.

use indexmap::IndexMap;
use medley_mixture::{Leaves, MixtureNode, MixtureRatio, Order};

use crate::decimal::{Fraction, whole_numbers};
use crate::document::{Node, NodeValue};
use crate::error::{Problem, nearest, quoted, quoted_list};
use crate::layers::entries;

/// Keys of `[mix]` that hold tables and are settings; any other table is a group.
const SETTINGS: [&str; 7] =
    ["ratio", "ratio_end", "epochs", "validation", "contamination", "near_duplicates", "filter"];

/// The tree, and the sources it names in the order of `[sources]`.
pub(crate) struct Mixture {
    pub(crate) ratio: MixtureRatio,
    /// The tree at the end of training, where shares change.
    pub(crate) ratio_end: Option<MixtureRatio>,
    /// Whether `mix.epochs` decides, and not size and ratio.
    pub(crate) by_epochs: bool,
    pub(crate) sources: Vec<String>,
}

/// Builds the tree from `[mix]` and `[sources]`. Problems are errors and warnings; without errors there is a tree.
pub(crate) fn build(root: &Node, problems: &mut Vec<Problem>) -> Option<Mixture> {
    let sources: IndexMap<&str, &Node> =
        entries(root, &["sources"]).map(|(name, node)| (name.as_str(), node)).collect();
    let groups: IndexMap<&str, &Node> = entries(root, &["mix"])
        .filter(|(name, node)| !SETTINGS.contains(&name.as_str()) && node.table().is_some())
        .map(|(name, node)| (name.as_str(), node))
        .collect();
    if sources.is_empty() {
        problems.push(
            Problem::at(&root.place, "no source: there is nothing to mix", "")
                .with_help("name at least one pool of records:\n[sources.general]\npath = \"general.jsonl\""),
        );
        return None;
    }
    let mut builder = Builder { sources, groups, used: Vec::new(), open: Vec::new(), problems };
    builder.refuse_ambiguous_names();
    let by_epochs = epochs_decide(root, builder.problems);
    let ratio = match root.get(&["mix", "ratio"]) {
        _ if by_epochs => builder.of_epochs(root),
        Some(node) => builder.group("[mix]", "ratio", node),
        None => builder.only_source(root),
    };
    let start = std::mem::take(&mut builder.used);
    let end = root.get(&["mix", "ratio_end"]).filter(|_| !by_epochs);
    let ratio_end = end.map(|node| builder.group("[mix]", "ratio_end", node));
    builder.used.extend(start);
    if let Some(node) = root.get(&["mix", if by_epochs { "epochs" } else { "ratio" }]) {
        builder.warn_of_unused(node.layer);
    }
    builder.check_order(root, end.is_some());
    let used = builder.used;
    let names = entries(root, &["sources"]).map(|(name, _)| name.clone()).filter(|name| used.contains(name)).collect();
    let ratio_end = match ratio_end {
        Some(None) => return None,
        tree => tree.flatten(),
    };
    let ratio = ratio?;
    if let (true, Some(node)) = (problems.is_empty(), root.get(&["mix", "ratio"])) {
        let shares = ratio_end.as_ref().map_or_else(|| Leaves::of(&ratio), |end| Leaves::between(&ratio, end));
        problems.extend(shares.err().map(|_| too_fine("[mix]", node)));
    }
    Some(Mixture { ratio, ratio_end, by_epochs, sources: names })
}

/// Whether `mix.epochs` decides instead of size and ratio: the setting of the later layer counts.
fn epochs_decide(root: &Node, problems: &mut Vec<Problem>) -> bool {
    let Some(epochs) = root.get(&["mix", "epochs"]) else { return false };
    let others = ["size", "ratio", "ratio_end"].map(|key| root.get(&["mix", key]));
    let mut others = others.iter().flatten();
    if let Some(other) = others.clone().find(|other| other.layer == epochs.layer) {
        let name = other.key.source.text.get(other.key.span.clone()).unwrap_or("size").to_owned();
        let message = format!("`mix.epochs` decides how much is taken, and so does `mix.{}`", name.trim());
        let problem = Problem::at(&other.key, message, "leave out one of the two");
        problems.push(problem.with_help("either `epochs`, or `size` and `ratio`"));
    }
    others.all(|other| other.layer <= epochs.layer)
}

struct Builder<'a> {
    sources: IndexMap<&'a str, &'a Node>,
    groups: IndexMap<&'a str, &'a Node>,
    /// Sources and groups that the tree has named.
    used: Vec<String>,
    /// Groups from the root to here.
    open: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

/// Exact shares need a common denominator of at most 64 bits.
fn too_fine(section: &str, ratio: &Node) -> Problem {
    let message = format!("the common denominator of the ratio of {section} exceeds 64 bits");
    Problem::at(&ratio.place, message, "too fine").with_help("use fewer decimal places, or smaller whole numbers")
}

impl Builder<'_> {
    fn refuse_ambiguous_names(&mut self) {
        for (name, node) in &self.groups {
            if self.sources.contains_key(name) {
                let message = format!("`{name}` is a source and a group");
                self.problems.push(Problem::at(&node.key, message, format!("[sources.{name}] has the same name")));
            }
        }
    }

    fn only_source(&mut self, root: &Node) -> Option<MixtureRatio> {
        if let [name] = self.sources.keys().copied().collect::<Vec<_>>()[..] {
            self.used.push(name.to_owned());
            let source = MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
            return Some(MixtureRatio::Group(vec![(1, source)]));
        }
        let place = root.get(&["mix"]).map_or(&root.place, |mix| &mix.key);
        let weights = self.sources.keys().map(|name| format!("{name} = 1")).collect::<Vec<_>>().join(", ");
        let message = "`mix.ratio` is missing, and there are several sources";
        self.problems.push(Problem::at(place, message, format!("hint: ratio = {{ {weights} }}")));
        None
    }

    /// The sources that `mix.epochs` names.
    fn of_epochs(&mut self, root: &Node) -> Option<MixtureRatio> {
        let mut children = Vec::new();
        for (name, node) in entries(root, &["mix", "epochs"]) {
            if !self.sources.contains_key(name.as_str()) {
                let message = format!("`mix.epochs` names `{name}`, which is no source");
                let help = format!("sources: {}", quoted_list(self.sources.keys().copied()));
                self.problems.push(Problem::at(&node.key, message, "epochs are given by source").with_help(help));
                return None;
            }
            self.used.push(name.clone());
            children.push((1, MixtureNode { name: name.clone(), ratio: MixtureRatio::Source(name.clone()) }));
        }
        Some(MixtureRatio::Group(children))
    }

    /// Refuses orders of training that cannot be.
    fn check_order(&mut self, root: &Node, changes: bool) {
        let Some(node) = root.get(&["mix", "order"]) else { return self.check_changing(root, changes) };
        let Some(text) = node.string() else { return };
        let label = match Order::parse(text) {
            Some(Order::Last(name)) if self.used.contains(&name) => None,
            Some(Order::Last(name)) => Some(format!("`{name}` is no source or group of the mixture")),
            Some(_) => None,
            None => Some("not one of them".to_owned()),
        };
        if let Some(label) = label {
            let text = quoted(text);
            let message = format!(
                "`mix.order` is {text}; expected \"shuffled\", \"sequential\", \"interleaved\" or \"NAME-last\""
            );
            let help = format!("NAME is one of {}", quoted_list(self.used.iter().map(String::as_str)));
            self.problems.push(Problem::at(&node.place, message, label).with_help(help));
        } else if changes && text != "shuffled" {
            let message = "`mix.ratio_end` decides the order: shares change along the training";
            self.problems.push(Problem::at(&node.place, message, "leave out one of the two"));
        }
        self.check_changing(root, changes);
    }

    /// Shares that change over training need all of it in one pass.
    fn check_changing(&mut self, root: &Node, changes: bool) {
        let Some(epochs) = root.get(&["train", "epochs"]).filter(|_| changes) else { return };
        if !matches!(epochs.value, NodeValue::Integer(1)) {
            let message = "`mix.ratio_end` changes the shares over one pass, and `train.epochs` asks for several";
            let help = "make `mix.size` larger instead; `mix.on_shortage = \"repeat\"` lets records come again";
            self.problems.push(Problem::at(&epochs.place, message, "hint: epochs = 1").with_help(help));
        }
    }

    /// A ratio's tree; nothing where it has an error. `key` is `ratio`, or `ratio_end` where a group has that.
    fn group(&mut self, section: &str, key: &str, ratio: &Node) -> Option<MixtureRatio> {
        let mut children = Vec::new();
        let mut fractions = Vec::new();
        let entries = ratio.table()?;
        for (name, weight) in entries {
            let child = self.child(section, key, name, weight);
            let fraction = match weight.value {
                NodeValue::Integer(weight) => {
                    u64::try_from(weight).ok().filter(|weight| *weight > 0).map(Fraction::whole)
                }
                NodeValue::Float(value) => {
                    let fraction = Fraction::parse(weight.written());
                    // The schema check reports weights that are not positive and finite.
                    if fraction.is_none() && value.is_finite() && value > 0.0 {
                        self.problems.push(too_fine(section, weight));
                    }
                    fraction
                }
                _ => return None,
            };
            children.extend(child.map(|ratio| MixtureNode { name: name.clone(), ratio }));
            fractions.extend(fraction);
        }
        if children.len() < entries.len() || fractions.len() < entries.len() {
            return None;
        }
        let Some(weights) = whole_numbers(&fractions) else {
            self.problems.push(too_fine(section, ratio));
            return None;
        };
        Some(MixtureRatio::Group(weights.into_iter().zip(children).collect()))
    }

    fn child(&mut self, section: &str, key: &str, name: &str, weight: &Node) -> Option<MixtureRatio> {
        if self.open.iter().any(|open| open == name) {
            let circle = format!("{} -> {name}", self.open.join(" -> "));
            self.problems.push(Problem::at(&weight.key, format!("the groups go in a circle: {circle}"), ""));
            return None;
        }
        if self.used.iter().any(|used| used == name) {
            let message = format!("`{name}` is in the mixture twice");
            self.problems.push(Problem::at(&weight.key, message, "a source or group has one place in the tree"));
            return None;
        }
        self.used.push(name.to_owned());
        if self.sources.contains_key(name) {
            return Some(MixtureRatio::Source(name.to_owned()));
        }
        let Some(group) = self.groups.get(name).copied() else {
            self.unknown(section, name, weight);
            return None;
        };
        let Some(ratio) = group.get(&[key]).or_else(|| group.get(&["ratio"])) else {
            let message = format!("the group `{name}` has no ratio");
            self.problems.push(Problem::at(&group.key, message, format!("[mix.{name}] needs `ratio`")));
            return None;
        };
        self.open.push(name.to_owned());
        let tree = self.group(&format!("[mix.{name}]"), key, ratio);
        self.open.pop();
        tree
    }

    fn unknown(&mut self, section: &str, name: &str, weight: &Node) {
        let known: Vec<&str> = self.sources.keys().chain(self.groups.keys()).copied().collect();
        let label = match nearest(name, known.iter().copied()) {
            Some(near) => format!("hint: did you mean `{near}`?"),
            None => format!("hint: describe it in [sources.{name}] or [mix.{name}]"),
        };
        let message = format!("the ratio of {section} names `{name}`, which is neither a source nor a group");
        let help = format!("sources and groups: {}", quoted_list(known));
        self.problems.push(Problem::at(&weight.key, message, label).with_help(help));
    }

    /// A source that the file with the ratio (or a later one) describes, and nobody uses, was forgotten; one that a
    /// base describes was left out on purpose.
    fn warn_of_unused(&mut self, layer: usize) {
        let kinds = [(&self.sources, "source"), (&self.groups, "group")];
        for (nodes, kind) in kinds {
            for (name, node) in nodes.iter().filter(|(_, node)| node.layer >= layer && !node.key.source.is_set) {
                if !self.used.iter().any(|used| used == name) {
                    let message = format!("the {kind} `{name}` is in no ratio and is not used");
                    self.problems.push(Problem::at(&node.key, message, "not used").warning());
                }
            }
        }
    }
}
