//! Filters, `value|name(arguments)`.

use super::arguments::{Arguments, integer, string};
use super::ast::{Expression, Kind};
use super::attributes;
use super::error::Error;
use super::json;
use super::methods;
use super::numbers;
use super::ops;
use super::printf;
use super::renderer::Renderer;
use super::sequences;
use super::tests;
use super::text;
use super::value::{Undefined, Value};

const NAMES: &str = "abs attr batch capitalize center count d default dictsort e escape filesizeformat first float \
                     forceescape format groupby indent int join last length list lower items map min max pprint \
                     random reject rejectattr replace reverse round safe select selectattr slice sort string \
                     striptags sum title trim truncate unique upper urlencode urlize wordcount wordwrap xmlattr \
                     tojson";

pub(super) fn exists(name: &str) -> bool {
    NAMES.split_ascii_whitespace().any(|known| known == name)
}

impl Renderer {
    /// A chain of filters, applied to `input` where the expression has no operand (filter and set blocks).
    pub(super) fn filtered(&mut self, expression: &Expression, input: Value) -> Result<Value, Error> {
        let Kind::Filter(inner, name, arguments) = &expression.kind else { return self.evaluate(expression) };
        let value = match inner {
            None => input,
            Some(inner) => {
                let value = if matches!(inner.kind, Kind::Filter(..)) {
                    self.nested(|renderer| renderer.filtered(inner, input))?
                } else {
                    self.operand(inner)?
                };
                let takes_undefined = matches!(&**name, "default" | "d");
                if takes_undefined { value } else { self.defined(value).map_err(|error| error.at(inner.line))? }
            }
        };
        let arguments = self.arguments(arguments)?;
        self.filter(name, &value, arguments).map_err(|error| error.at(expression.line))
    }

    fn filter(&mut self, name: &str, value: &Value, arguments: Arguments) -> Result<Value, Error> {
        self.charge(value)?;
        let result = match name {
            "map" => self.map(value, arguments),
            "select" | "reject" | "selectattr" | "rejectattr" => self.select(name, value, arguments),
            "attr" => {
                let [attribute] = arguments.bind(name, ["name"], 1)?;
                let name = string(&attribute.unwrap_or(Value::None))?;
                attribute_only(value, &name).map_or_else(|| self.attribute(value, &name), Ok)
            }
            _ => apply(name, value, &arguments),
        }?;
        self.charge(&result)?;
        Ok(result)
    }

    fn map(&mut self, value: &Value, mut arguments: Arguments) -> Result<Value, Error> {
        if !value.is_true() {
            return Ok(Value::iterator("generator", Vec::new()));
        }
        let items = ops::items(value)?;
        if arguments.positional.is_empty() {
            let [attribute, default] = arguments.bind("map", ["attribute", "default"], 1)?;
            let parts = attributes::path_parts(&attribute.unwrap_or(Value::None));
            let default = default.filter(|default| !matches!(default, Value::None));
            let get = |item: &Value| self.defined(sequences::path_or(item, &parts, default.as_ref())?);
            return Ok(Value::iterator("generator", items.iter().map(get).collect::<Result<_, _>>()?));
        }
        let filter = string(&arguments.positional.remove(0))?;
        if !exists(&filter) {
            return Err(Error::new(format!("no filter named '{filter}'")));
        }
        let mut mapped = Vec::with_capacity(items.len());
        for item in items {
            self.step(1)?;
            let again = Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
            mapped.push(self.nested(|renderer| renderer.filter(&filter, &item, again))?);
        }
        Ok(Value::iterator("generator", mapped))
    }

    fn select(&mut self, name: &str, value: &Value, mut arguments: Arguments) -> Result<Value, Error> {
        if !value.is_true() {
            return Ok(Value::iterator("generator", Vec::new()));
        }
        let parts = if name.ends_with("attr") {
            if arguments.positional.is_empty() {
                return Err(Error::new("Missing parameter for attribute name"));
            }
            attributes::path_parts(&arguments.positional.remove(0))
        } else {
            Vec::new()
        };
        let test = if arguments.positional.is_empty() { None } else { Some(string(&arguments.positional.remove(0))?) };
        if let Some(unknown) = test.as_ref().filter(|test| !tests::exists(test)) {
            return Err(Error::new(format!("no test named '{unknown}'")));
        }
        let wanted = name.starts_with("select");
        let mut selected = Vec::new();
        for item in ops::items(value)? {
            self.step(1)?;
            let examined = attributes::path(&item, &parts)?;
            let passes = match &test {
                Some(test) => tests::call(test, &examined, &arguments)?,
                None => examined.is_true(),
            };
            if passes == wanted {
                selected.push(item);
            }
        }
        Ok(Value::iterator("generator", selected))
    }
}

/// The `attr` filter looks up attributes and never keys: undefined where the value's type has no such attribute.
fn attribute_only(value: &Value, name: &str) -> Option<Value> {
    let plain = !matches!(value, Value::Object(..) | Value::Undefined(_));
    let known = attributes::is_method(value, name) || attributes::is_known(value, name);
    (plain && !known).then(|| Value::Undefined(Undefined::Attribute(value.type_name(), name.into())))
}

/// Filters that do not call back into the renderer.
fn apply(name: &str, value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    match name {
        "capitalize" | "lower" | "upper" | "title" | "trim" | "center" | "wordcount" | "string" | "replace"
        | "indent" | "truncate" | "format" | "urlencode" => text_filter(name, value, arguments),
        "abs" | "int" | "float" | "round" | "filesizeformat" => numbers::apply(name, value, arguments),
        "default" | "d" => {
            let [default, boolean] = arguments.bind(name, ["default_value", "boolean"], 0)?;
            let missing = matches!(value, Value::Undefined(_))
                || (boolean.is_some_and(|boolean| boolean.is_true()) && !value.is_true());
            Ok(if missing { default.unwrap_or_else(|| Value::from("")) } else { value.clone() })
        }
        "tojson" => json::dumps(value, arguments).map(Value::from),
        "e" | "escape" | "forceescape" => {
            arguments.none(name)?;
            if let (Value::Markup(_), false) = (value, name == "forceescape") {
                return Ok(value.clone());
            }
            Ok(Value::Markup(escape(&value.text()?).into()))
        }
        "safe" => {
            arguments.none(name)?;
            Ok(Value::Markup(value.text()?.into()))
        }
        "pprint" | "random" | "striptags" | "urlize" | "wordwrap" | "xmlattr" => {
            Err(Error::unsupported(format_args!("the filter `{name}`")))
        }
        _ => sequences::apply(name, value, arguments),
    }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('>', "&gt;").replace('<', "&lt;");
    text.replace('\'', "&#39;").replace('"', "&#34;")
}

fn text_filter(name: &str, value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    if let Value::Markup(_) = value {
        if name == "string" {
            return Ok(value.clone());
        }
        return Err(Error::unsupported(format_args!("the filter `{name}` on escaped text")));
    }
    match name {
        "indent" => return indent(value, arguments),
        "truncate" => return truncate(value, arguments),
        _ => {}
    }
    let text = value.text()?;
    match name {
        "trim" => {
            let [characters] = arguments.bind(name, ["chars"], 0)?;
            return methods::strip(&text, "strip", characters.as_ref()).map(Value::from);
        }
        "center" => {
            let [width] = arguments.bind(name, ["width"], 0)?;
            let width = width.unwrap_or(Value::Int(80));
            let arguments = Arguments { positional: vec![width], named: Vec::new() };
            return methods::call(&Value::from(&*text), "center", &arguments);
        }
        "replace" => {
            let [old, new, most] = arguments.bind(name, ["old", "new", "count"], 2)?;
            let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
            let most = match most {
                None | Some(Value::None) => None,
                Some(most) => usize::try_from(integer(&most)?).ok(),
            };
            return methods::replace(&text, &old.text()?, &new.text()?, most).map(Value::from);
        }
        "format" => {
            if !arguments.named.is_empty() && !arguments.positional.is_empty() {
                return Err(Error::new("can't handle positional and keyword arguments at the same time"));
            }
            let given = if arguments.named.is_empty() {
                Value::tuple(arguments.positional.clone())?
            } else {
                let pairs = arguments.named.iter().map(|(name, value)| (Value::Text(name.clone()), value.clone()));
                Value::dict(pairs.collect())?
            };
            return printf::printf(&text, &given).map(Value::from);
        }
        _ => arguments.none(name)?,
    }
    Ok(match name {
        "capitalize" => Value::from(text::capitalize(&text)),
        "lower" => Value::from(text.to_lowercase()),
        "upper" => Value::from(text.to_uppercase()),
        "title" => Value::from(title(&text)),
        "wordcount" => Value::Int(i64::try_from(words(&text)).unwrap_or(i64::MAX)),
        "urlencode" => urlencode(value, &text)?,
        _ if matches!(value, Value::Text(_)) => value.clone(),
        _ => Value::from(&*text),
    })
}

/// Number of runs of letters, digits and underscores.
fn words(text: &str) -> usize {
    let mut inside = false;
    let mut count = 0;
    for character in text.chars() {
        let is_word = character == '_' || text::is_alphanumeric(character);
        count += usize::from(is_word && !inside);
        inside = is_word;
    }
    count
}

/// jinja2's `title`: a word begins after white space, `-`, and opening brackets.
fn title(text: &str) -> String {
    let breaks = |character: char| matches!(character, '-' | '(' | '{' | '[' | '<') || text::is_space(character);
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let separates = breaks(first);
        let end = rest.find(|character| breaks(character) != separates).unwrap_or(rest.len());
        result.push_str(&rest[..first.len_utf8()].to_uppercase());
        result.push_str(&rest[first.len_utf8()..end].to_lowercase());
        rest = &rest[end..];
    }
    result
}

fn urlencode(value: &Value, text: &str) -> Result<Value, Error> {
    if !matches!(value, Value::Text(_) | Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_)) {
        return Err(Error::unsupported(format_args!("`urlencode` of a {}", value.type_name())));
    }
    let encode = |byte: u8| match byte {
        b'/' | b'_' | b'.' | b'-' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    Ok(Value::from(text.bytes().map(encode).collect::<String>()))
}

fn indent(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"], 0)?;
    let indention = match width {
        Some(Value::Text(indention)) => indention.to_string(),
        Some(width) => {
            let width = usize::try_from(integer(&width)?).unwrap_or(0);
            if width > 10_000 {
                return ops::too_long();
            }
            " ".repeat(width)
        }
        None => " ".repeat(4),
    };
    let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let (first, blank) = (is_true(first), is_true(blank));
    let text = format!("{}\n", string(value)?);
    let lines = text::split_lines(&text, false);
    if lines.len().saturating_mul(indention.len()).saturating_add(text.len()) > ops::MAX_LENGTH {
        return ops::too_long();
    }
    let mut result = String::new();
    for (number, line) in lines.into_iter().enumerate() {
        if number > 0 {
            result.push('\n');
        }
        if (number == 0 && first) || (number > 0 && (blank || !line.is_empty())) {
            result.push_str(&indention);
        }
        result.push_str(line);
    }
    Ok(Value::from(result))
}

fn truncate(value: &Value, arguments: &Arguments) -> Result<Value, Error> {
    let names = ["length", "killwords", "end", "leeway"];
    let [length, kill, end, leeway] = arguments.bind("truncate", names, 0)?;
    let length = length.as_ref().map_or(Ok(255), integer)?;
    let end = end.as_ref().map_or_else(|| Ok("...".into()), string)?;
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        Some(leeway) => integer(&leeway)?,
    };
    let end_length = i64::try_from(end.chars().count()).unwrap_or(i64::MAX);
    if length < end_length || leeway < 0 {
        return Err(Error::new(format!("expected length >= {end_length} and leeway >= 0")));
    }
    let count = i64::try_from(ops::length(value)?).unwrap_or(i64::MAX);
    if count <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let kept = usize::try_from(length - end_length).unwrap_or(0);
    let text: String = string(value)?.chars().take(kept).collect();
    let kill = kill.is_some_and(|kill| kill.is_true());
    let text = if kill { text.as_str() } else { text.rsplit_once(' ').map_or(text.as_str(), |(before, _)| before) };
    Ok(Value::from(format!("{text}{end}")))
}
