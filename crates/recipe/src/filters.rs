//! The filters of a recipe: `[mix.filter]` for every source, `[sources.X.filter]` for one, and a part's own.

use medley_mixture::{FilterProblem, FilterSpec};

use crate::document::{Node, NodeValue};
use crate::error::Problem;
use crate::layers::entries;

/// Reports what is wrong inside well-typed filters: expressions, conditions, bounds.
pub(crate) fn check(root: &Node, problems: &mut Vec<Problem>) {
    for filter in tables(root) {
        // One by one, as a setting of the wrong type is reported elsewhere and hides nothing here.
        for (key, node) in filter.table().into_iter().flatten() {
            let alone = serde_json::json!({ key: node.to_json() });
            let Ok(spec) = serde_json::from_value::<FilterSpec>(alone) else { continue };
            for FilterProblem { path, problem, hint } in spec.problems() {
                let place = at(filter, &path).unwrap_or(node);
                problems.push(Problem::at(&place.place, problem, "").with_help(hint));
            }
        }
    }
}

/// Every filter's table.
fn tables(root: &Node) -> Vec<&Node> {
    let mut tables: Vec<&Node> = root.get(&["mix", "filter"]).into_iter().collect();
    for (_, source) in entries(root, &["sources"]) {
        tables.extend(source.get(&["filter"]));
        if let Some(NodeValue::Array(parts)) = source.get(&["path"]).map(|path| &path.value) {
            tables.extend(parts.iter().filter_map(|part| part.get(&["filter"])));
        }
    }
    tables
}

/// The value below a path of keys and list indices.
fn at<'a>(node: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, key| match &node.value {
        NodeValue::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => node.get(&[key]),
    })
}

/// Place of a setting of a part's filter: in the part, in its source, or for every source.
pub(crate) fn setting<'a>(root: &'a Node, source: &str, index: &str, keys: &[&str]) -> Option<&'a Node> {
    let source = root.get(&["sources", source])?;
    let part = match &source.get(&["path"])?.value {
        NodeValue::Array(parts) => index.parse::<usize>().ok().and_then(|index| parts.get(index)),
        _ => None,
    };
    let own = [part.and_then(|part| part.get(&["filter"])), source.get(&["filter"]), root.get(&["mix", "filter"])];
    // A setting is taken as a whole, so the first that has its first key has it.
    let (first, rest) = keys.split_first()?;
    let setting = own.into_iter().flatten().find_map(|filter| filter.get(&[first]))?;
    Some(setting.get(rest).unwrap_or(setting))
}
