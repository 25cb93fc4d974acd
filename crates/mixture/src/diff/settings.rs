//! A mix's settings, key by key as the recipe writes them.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::spec::{MixSpec, MixtureRatio};

/// Every setting of `[mix]` and `[sources]` that has a value, by its key in the recipe. Of a source with several places an
/// option is written once where they agree, and by place where they do not.
pub fn settings(spec: &MixSpec) -> IndexMap<String, String> {
    let mut found = IndexMap::new();
    let Ok(Value::Object(mut table)) = serde_json::to_value(spec) else { return found };
    let sources = table.shift_remove("sources");
    for (key, value) in &table {
        flatten(&format!("mix.{key}"), value, &mut found);
    }
    for (name, source) in sources.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let mut source = source.as_object().cloned().unwrap_or_default();
        let parts = source.shift_remove("parts");
        source_parts(&format!("sources.{name}"), parts.as_ref().and_then(Value::as_array), &mut found);
        for (key, value) in &source {
            flatten(&format!("sources.{name}.{key}"), value, &mut found);
        }
    }
    found
}

fn flatten(key: &str, value: &Value, found: &mut IndexMap<String, String>) {
    if let Ok(ratio) = serde_json::from_value::<MixtureRatio>(value.clone()) {
        write_ratio(key, &ratio, found);
        return;
    }
    match value {
        Value::Null => {}
        Value::Object(table) => {
            table.iter().for_each(|(name, value)| flatten(&format!("{key}.{name}"), value, found));
        }
        other => {
            found.insert(key.to_owned(), written(other));
        }
    }
}

/// A ratio, and below it those of its groups: `mix.ratio`, `mix.medical.ratio`.
fn write_ratio(key: &str, ratio: &MixtureRatio, found: &mut IndexMap<String, String>) {
    let MixtureRatio::Group(children) = ratio else {
        if let MixtureRatio::Source(name) = ratio {
            found.insert(key.to_owned(), format!("{{ {name} = 1 }}"));
        }
        return;
    };
    let weights: Vec<String> = children.iter().map(|(weight, child)| format!("{} = {weight}", child.name)).collect();
    found.insert(key.to_owned(), format!("{{ {} }}", weights.join(", ")));
    let (table, last) = key.rsplit_once('.').unwrap_or(("mix", key));
    // All groups are tables of `[mix]`, however deep they lie.
    let table = table.split('.').next().unwrap_or("mix");
    for (_, child) in children.iter().filter(|(_, child)| matches!(child.ratio, MixtureRatio::Group(_))) {
        write_ratio(&format!("{table}.{}.{last}", child.name), &child.ratio, found);
    }
}

fn source_parts(key: &str, parts: Option<&Vec<Value>>, found: &mut IndexMap<String, String>) {
    let mut options: IndexMap<String, Vec<(String, String)>> = IndexMap::new();
    let mut paths = Vec::new();
    for part in parts.into_iter().flatten() {
        let mut part: Map<String, Value> = part.as_object().cloned().unwrap_or_default();
        let path = part.shift_remove("path").as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut own = IndexMap::new();
        part.iter().for_each(|(name, value)| flatten(name, value, &mut own));
        for (name, value) in own {
            options.entry(name).or_default().push((path.clone(), value));
        }
        paths.push(path);
    }
    let quoted: Vec<String> = paths.iter().map(|path| written(&Value::String(path.clone()))).collect();
    let path = if let [single] = quoted.as_slice() { single.clone() } else { format!("[{}]", quoted.join(", ")) };
    found.insert(format!("{key}.path"), path);
    for (name, values) in options {
        let agree = values.len() == paths.len() && values.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let value = match values.first() {
            Some((_, value)) if agree => value.clone(),
            _ => values.iter().map(|(path, value)| format!("{path}: {value}")).collect::<Vec<_>>().join("; "),
        };
        found.insert(format!("{key}.{name}"), value);
    }
}

fn written(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Columns, MixtureNode, OnShortage, SourcePart, SourceSpec, Validation};

    fn part(path: &str, licence: Option<&str>) -> SourcePart {
        SourcePart { path: path.to_owned(), licence: licence.map(str::to_owned), ..SourcePart::default() }
    }

    fn node(name: &str, ratio: MixtureRatio) -> MixtureNode {
        MixtureNode { name: name.to_owned(), ratio }
    }

    #[test]
    fn keys_are_those_of_the_recipe() {
        let leaf = |name: &str| node(name, MixtureRatio::Source(name.to_owned()));
        let medical = MixtureRatio::Group(vec![(1, leaf("tcm")), (2, leaf("western"))]);
        let columns = Columns { output: Some("answer.text".to_owned()), ..Columns::default() };
        let sources = [
            ("general", vec![part("general.jsonl", Some("MIT"))]),
            ("tcm", vec![part("a.jsonl", Some("MIT")), SourcePart { columns, ..part("b.jsonl", None) }]),
            ("western", vec![part("c.jsonl", Some("MIT")), part("d.jsonl", Some("MIT"))]),
        ];
        let spec = MixSpec {
            size: 100,
            seed: 42,
            ratio: MixtureRatio::Group(vec![(9, leaf("general")), (1, node("medical", medical))]),
            on_shortage: OnShortage::Repeat,
            validation: Validation::default(),
            sources: sources
                .into_iter()
                .map(|(name, parts)| (name.to_owned(), SourceSpec { parts, ..SourceSpec::default() }))
                .collect(),
            ..MixSpec::default()
        };
        let found = settings(&spec);
        for (key, value) in [
            ("mix.size", "100"),
            ("mix.ratio", "{ general = 9, medical = 1 }"),
            ("mix.medical.ratio", "{ tcm = 1, western = 2 }"),
            ("mix.on_shortage", "\"repeat\""),
            ("mix.validation.fraction", "0.01"),
            ("sources.general.path", "\"general.jsonl\""),
            ("sources.general.licence", "\"MIT\""),
            ("sources.tcm.path", "[\"a.jsonl\", \"b.jsonl\"]"),
            ("sources.tcm.licence", "a.jsonl: \"MIT\""),
            ("sources.tcm.columns.output", "b.jsonl: \"answer.text\""),
            ("sources.western.licence", "\"MIT\""),
        ] {
            assert_eq!(found.get(key).map(String::as_str), Some(value), "{key} in {found:#?}");
        }
        assert!(!found.contains_key("sources.general.columns.output"));
    }
}
