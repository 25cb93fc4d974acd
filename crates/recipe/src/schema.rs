//! The JSON schema of a recipe file, made from the raw types.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::Value;

use crate::raw::RawRecipe;

/// The schema that recipes are checked with, made once.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(json_schema);

/// The JSON schema (draft 7, no references) that editors check and complete recipes with.
pub fn json_schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<RawRecipe>();
    RecursiveTransform(without_null).transform(&mut schema);
    RecursiveTransform(closed).transform(&mut schema);
    schema.to_value()
}

/// TOML has no null: an optional setting is one that is left out.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Object(defaults)) = object.get_mut("default") {
        defaults.retain(|_, value| !value.is_null());
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// An unknown key is an error, in the editor too; what is missing may be in a base.
fn closed(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("required");
    object.remove("format");
    if object.contains_key("properties") {
        object.entry("additionalProperties").or_insert(Value::Bool(false));
    }
}
