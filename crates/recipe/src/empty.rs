//! Refuses empty paths, which would resolve to the recipe's own folder.

use crate::document::{Node, NodeValue};
use crate::error::Problem;
use crate::layers::entries;
use crate::resolve::papers;

/// Reports empty paths of sources, exam papers and keyword lists, each by its key.
pub(crate) fn check(root: &Node, problems: &mut Vec<Problem>) {
    for (name, source) in entries(root, &["sources"]) {
        keywords(&format!("sources.{name}.filter"), source.get(&["filter"]), problems);
        let Some(NodeValue::Array(parts)) = source.get(&["path"]).map(|path| &path.value) else { continue };
        for (index, part) in parts.iter().enumerate() {
            keywords(&format!("sources.{name}.path.{index}.filter"), part.get(&["filter"]), problems);
        }
        nonempty_list(&format!("sources.{name}.path"), parts, source.get(&["path"]), problems);
    }
    keywords("mix.filter", root.get(&["mix", "filter"]), problems);
    for (path, paper) in papers(root) {
        text(&path, Some(paper), problems);
        text(&format!("{path}.path"), paper.get(&["path"]), problems);
    }
}

fn keywords(path: &str, filter: Option<&Node>, problems: &mut Vec<Problem>) {
    let list = filter.and_then(|filter| filter.get(&["keywords", "list"]));
    text(&format!("{path}.keywords.list"), list, problems);
}

fn nonempty_list(path: &str, items: &[Node], list: Option<&Node>, problems: &mut Vec<Problem>) {
    if let Some(list) = list.filter(|_| items.is_empty()) {
        problems.push(Problem::at(&list.place, format!("`{path}` is empty"), "name at least one"));
    }
}

fn text(path: &str, node: Option<&Node>, problems: &mut Vec<Problem>) {
    if let Some(node) = node.filter(|node| node.string().is_some_and(|text| text.trim().is_empty())) {
        let problem = Problem::at(&node.place, format!("`{path}` is empty"), "write a path, or leave it out");
        problems.push(problem.with_help("an empty path would mean the recipe's own folder"));
    }
}
