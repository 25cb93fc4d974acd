//! The mixture tree: names in a `ratio` to sources and groups.

use indexmap::IndexMap;
use medley_mixer::{MixtureNode, MixtureRatio};

use crate::document::{Node, NodeValue};
use crate::error::{Problem, nearest, quoted_list};
use crate::layers::entries;

/// Keys of `[mix]` that are settings; any other is a group.
const SETTINGS: [&str; 5] = ["size", "seed", "ratio", "on_shortage", "validation"];

/// The tree, and the sources it names in the order of `[sources]`.
pub(crate) struct Mixture {
    pub(crate) ratio: MixtureRatio,
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
    let ratio = match root.get(&["mix", "ratio"]) {
        Some(node) => builder.group("[mix]", node),
        None => builder.only_source(root),
    };
    if let Some(node) = root.get(&["mix", "ratio"]) {
        builder.warn_of_unused(node.layer);
    }
    let used = builder.used;
    let names = entries(root, &["sources"]).map(|(name, _)| name.clone()).filter(|name| used.contains(name)).collect();
    Some(Mixture { ratio: ratio?, sources: names })
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

    /// A ratio's tree; nothing where it has an error.
    fn group(&mut self, section: &str, ratio: &Node) -> Option<MixtureRatio> {
        let mut children = Vec::new();
        let mut sound = true;
        for (name, weight) in ratio.table()? {
            let child = self.child(section, name, weight);
            let NodeValue::Integer(weight) = weight.value else { return None };
            match (child, u64::try_from(weight)) {
                (Some(ratio), Ok(weight)) => children.push((weight, MixtureNode { name: name.clone(), ratio })),
                _ => sound = false,
            }
        }
        sound.then_some(MixtureRatio::Group(children))
    }

    fn child(&mut self, section: &str, name: &str, weight: &Node) -> Option<MixtureRatio> {
        if self.open.iter().any(|open| open == name) {
            let circle = format!("{} -> {name}", self.open.join(" -> "));
            self.problems.push(Problem::at(&weight.key, format!("the groups go in a circle: {circle}"), ""));
            return None;
        }
        if self.used.iter().any(|used| used == name) {
            let message = format!("`{name}` stands in the mixture twice");
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
        let Some(ratio) = group.get(&["ratio"]) else {
            let message = format!("the group `{name}` has no ratio");
            self.problems.push(Problem::at(&group.key, message, format!("[mix.{name}] needs `ratio`")));
            return None;
        };
        self.open.push(name.to_owned());
        let tree = self.group(&format!("[mix.{name}]"), ratio);
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
