//! A model's own chat template, rendered the way Hugging Face renders it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::error::Rejection;
use crate::message::Message;

const NAME: &str = "chat_template";

/// A compiled chat template.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl ChatTemplate {
    /// Compiles `source`.
    ///
    /// # Errors
    /// The template's syntax error, with its line.
    pub(crate) fn new(source: &str, bos: Option<String>, eos: Option<String>) -> Result<Self, String> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| describe(&error))?);
        // Hugging Face renders text, never HTML.
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(|error| describe(&error))?;
        Ok(Self { environment, source: source.to_owned(), bos_token: bos, eos_token: eos })
    }

    /// The template as the model's directory has it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as text; with `generation_prompt` the header of the turn that the model is to write is added.
    pub(crate) fn render(&self, messages: &[Message], generation_prompt: bool) -> Result<String, Rejection> {
        // A message's passage is ours alone.
        let turn = |message: &Message| {
            Value::from_pairs([("role", message.role.as_str()), ("content", message.content.as_str())])
        };
        let turns: Value = messages.iter().map(turn).collect();
        let refused = |error: &Error| Rejection::TemplateRefused { message: describe(error) };
        let template = self.environment.get_template(NAME).map_err(|error| refused(&error))?;
        template
            .render(context! {
                messages => turns,
                add_generation_prompt => generation_prompt,
                bos_token => self.bos_token.as_deref().unwrap_or_default(),
                eos_token => self.eos_token.as_deref().unwrap_or_default(),
            })
            .map_err(|error| refused(&error))
    }
}

/// `{% generation %}` marks the assistant's words for transformers and renders nothing; the jinja here does not know it.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}").map(|end| end + 2) else { break };
        let tag = &rest[start..start + length];
        let name = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+', ' ', '\t', '\n']);
        text.push_str(&rest[..start]);
        match name {
            "generation" => text.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => text.push_str(&tag.replace("endgeneration", "endif")),
            _ => text.push_str(tag),
        }
        rest = &rest[start + length..];
    }
    text + rest
}

/// What the template or its renderer says, on one line.
fn describe(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match (error.kind(), error.line()) {
        // The template's own words need no line.
        (ErrorKind::InvalidOperation, _) | (_, None) => detail,
        (kind, Some(line)) => format!("{kind}: {detail} (line {line} of the template)"),
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Templates that write today's date get this one, so that a run resumed tomorrow, and its exam, see the same tokens:
/// the date that Llama's templates fall back to.
const DATE: [(char, &str); 11] = [
    ('d', "26"),
    ('e', "26"),
    ('m', "07"),
    ('y', "24"),
    ('Y', "2024"),
    ('b', "Jul"),
    ('B', "July"),
    ('a', "Fri"),
    ('A', "Friday"),
    ('j', "208"),
    ('%', "%"),
];

fn strftime_now(format: String) -> Result<String, Error> {
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let code = characters.by_ref().find(|code| *code != '-').unwrap_or('%');
        match (DATE.iter().find(|(known, _)| *known == code), code) {
            (Some((_, value)), _) => text.push_str(value),
            (None, 'H' | 'I' | 'M' | 'S') => text.push_str("00"),
            _ => {
                let message = format!("strftime_now does not know %{code} in {format:?}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        }
    }
    Ok(text)
}

/// `tojson` as transformers defines it: Python's separators, nothing escaped for HTML.
fn to_json(value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent);
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter)),
    };
    let failed = |error: String| Error::new(ErrorKind::BadSerialization, error);
    written.map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

/// `json.dumps`: a space after every comma and colon.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Role;

    fn render(source: &str, messages: &[Message]) -> Result<String, Rejection> {
        ChatTemplate::new(source, Some("<s>".into()), Some("</s>".into())).expect("compiles").render(messages, false)
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_known() {
        let source = "{% for m in messages %}\n    {% if m['content'].startswith('药') %}\n{{ m.content.strip() }}|\n    {% endif %}\n{% endfor %}\n{{ bos_token }}{{ eos_token }}";
        let messages = [Message::new(Role::User, "药 \n"), Message::new(Role::User, "x")];
        assert_eq!(render(source, &messages), Ok("药|\n<s></s>".into()));
    }

    #[test]
    fn loop_controls_and_slices_work() {
        let source =
            "{% for m in messages[1:] %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}";
        let messages = ["a", "b", "c"].map(|text| Message::new(Role::User, text));
        assert_eq!(render(source, &messages), Ok("b".into()));
    }

    #[test]
    fn a_refusal_is_told_in_the_templates_words() {
        let source =
            "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}";
        let error = render(source, &[Message::new(Role::System, "x")]).expect_err("refused");
        assert_eq!(error.to_string(), "the chat template refuses the conversation: System role not supported");
        assert_eq!(error.reason(), "template_refused");
    }

    #[test]
    fn json_is_pythons_and_html_is_left_alone() {
        let source = "{{ messages[0].content|tojson }} {{ {'a': [1, 2], 'b': '<'}|tojson }} {{ messages[0].content }}";
        let text = render(source, &[Message::new(Role::User, "\"<b>中")]);
        assert_eq!(text, Ok("\"\\\"<b>中\" {\"a\": [1, 2], \"b\": \"<\"} \"<b>中".into()));
    }

    #[test]
    fn the_date_is_fixed_and_unknown_codes_are_refused() {
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}", &[]), Ok("26 Jul 2024".into()));
        assert_eq!(render("{{ strftime_now('%-d %B, %A %%') }}", &[]), Ok("26 July, Friday %".into()));
        assert!(render("{{ strftime_now('%Q') }}", &[]).is_err());
    }

    #[test]
    fn generation_tags_render_nothing() {
        let source = "{% for m in messages %}{%- generation -%}\n{{ m.content }}{% endgeneration %}{% endfor %}";
        assert_eq!(render(source, &[Message::new(Role::Assistant, "答")]), Ok("答".into()));
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = ChatTemplate::new("a\n{% for x %}", None, None).expect_err("no such syntax");
        assert!(error.contains("line 2"), "{error}");
    }
}
