//! A model's own chat template, rendered as transformers renders it, and plain text templates.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{ChatError, Rejection};
use crate::message::{Message, Role};
use medley_jinja::{Error, Limits, Options, Template, Value};

/// Maximum steps of a rendering, and the additional ones per message.
const STEPS: u64 = 5_000_000;
const STEPS_PER_MESSAGE: u64 = 20_000;

/// Maximum output of a rendering in bytes, and the additional bytes per byte of the messages.
const OUTPUT: usize = 16 << 20;
const OUTPUT_PER_BYTE: usize = 64;

/// A compiled chat template.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    template: Template,
    source: String,
    /// Variables of every rendering, beside the messages.
    variables: Vec<(Arc<str>, Value)>,
}

/// Messages as template values, converted once for many renderings.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    values: Vec<Value>,
    /// The role of every message.
    roles: Vec<&'static str>,
    /// Length of every message in bytes.
    bytes: Vec<usize>,
}

fn turn(role: &str, content: &str) -> Value {
    Value::from_pairs(vec![("role", Value::from(role)), ("content", Value::from(content))])
}

impl Turns {
    /// Role and content; templates do not see passages.
    pub(crate) fn new(messages: &[Message]) -> Self {
        Self {
            values: messages.iter().map(|message| turn(message.role.as_str(), &message.content)).collect(),
            roles: messages.iter().map(|message| message.role.as_str()).collect(),
            bytes: messages.iter().map(|message| message.content.len()).collect(),
        }
    }

    /// The first `head` turns followed by `rest`.
    pub(crate) fn part(&self, head: usize, rest: Range<usize>) -> Self {
        fn part<T: Clone>(all: &[T], head: usize, rest: Range<usize>) -> Vec<T> {
            all[..head].iter().chain(&all[rest]).cloned().collect()
        }
        Self {
            values: part(&self.values, head, rest.clone()),
            roles: part(&self.roles, head, rest.clone()),
            bytes: part(&self.bytes, head, rest),
        }
    }

    /// A copy in which `content` replaces the content of each of `places`.
    pub(crate) fn with_contents(&self, places: &[usize], content: impl Fn(usize) -> String) -> Self {
        let mut turns = self.clone();
        for place in places {
            turns.values[*place] = turn(turns.roles[*place], &content(*place));
        }
        turns
    }
}

impl ChatTemplate {
    /// Compiles `source`. `special_tokens` are the tokenizer's own by variable name (`bos_token`, ...); as in transformers,
    /// the others are undefined.
    ///
    /// # Errors
    /// The template's syntax error, with its line.
    pub(crate) fn new(source: &str, special_tokens: &[(&str, String)]) -> Result<Self, String> {
        let options = Options { trim_blocks: true, strict_undefined: false };
        let template = Template::compile(source, options).map_err(|error| error.to_string())?;
        let tokens = special_tokens.iter().map(|(name, token)| ((*name).into(), Value::from(token.as_str())));
        // transformers always passes both, `None` by default.
        let none = ["tools", "documents"].map(|name| (name.into(), Value::None));
        Ok(Self { template, source: source.to_owned(), variables: tokens.chain(none).collect() })
    }

    /// The template's source.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as text; `generation_prompt` appends the header of the assistant's next turn.
    pub(crate) fn render(&self, messages: &[Message], generation_prompt: bool) -> Result<String, Rejection> {
        self.render_turns(&Turns::new(messages), generation_prompt)
    }

    /// As [`render`](Self::render), for converted messages.
    pub(crate) fn render_turns(&self, turns: &Turns, generation_prompt: bool) -> Result<String, Rejection> {
        let refused = |error: Error| Rejection::TemplateRefused { message: error.to_string() };
        self.run(turns, generation_prompt).map_err(refused)
    }

    /// Refuses a template that exceeds the bounds on a minimal conversation: it does not terminate, or grows without limit.
    pub(crate) fn check_bounds(&self) -> Result<(), String> {
        let conversation = [Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")];
        match self.run(&Turns::new(&conversation), false) {
            Err(error) if error.is_bound() => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    fn run(&self, turns: &Turns, generation_prompt: bool) -> Result<String, Error> {
        let limits = limits(turns.values.len(), turns.bytes.iter().sum());
        let mut variables = vec![
            ("messages".into(), Value::from_items(turns.values.clone())),
            ("add_generation_prompt".into(), Value::from(generation_prompt)),
        ];
        variables.extend(self.variables.iter().cloned());
        self.template.render(variables, limits)
    }
}

fn limits(messages: usize, bytes: usize) -> Limits {
    Limits {
        steps: STEPS + STEPS_PER_MESSAGE * messages as u64 + bytes as u64,
        output: OUTPUT + OUTPUT_PER_BYTE * bytes,
    }
}

/// A Jinja template of plain text: jinja2's default white space (no `trim_blocks`) and `StrictUndefined`.
#[derive(Debug)]
pub struct TextTemplate {
    template: Template,
}

impl TextTemplate {
    /// Compiles `source`.
    ///
    /// # Errors
    /// [`ChatError::Template`] with the line.
    pub fn new(source: &str) -> Result<Self, ChatError> {
        let options = Options { trim_blocks: false, strict_undefined: true };
        let template = Template::compile(source, options).map_err(template_error)?;
        Ok(Self { template })
    }

    /// Renders the template with the fields of `variables`.
    ///
    /// # Errors
    /// [`ChatError::Template`] with the line: an undefined variable or attribute, an operation that Python refuses, a
    /// rendering beyond the bounds, or `variables` that are not an object.
    pub fn render(&self, variables: &impl Serialize) -> Result<String, ChatError> {
        let serde_json::Value::Object(fields) = serde_json::to_value(variables).map_err(template_error)? else {
            return Err(ChatError::Template("the variables are not an object".to_owned()));
        };
        let variable = |(name, value): (&String, &serde_json::Value)| {
            Ok((Arc::from(name.as_str()), Value::from_json(value).map_err(template_error)?))
        };
        let variables = fields.iter().map(variable).collect::<Result<_, ChatError>>()?;
        let bytes = fields.values().map(text_bytes).sum();
        self.template.render(variables, limits(0, bytes)).map_err(template_error)
    }
}

fn template_error(error: impl std::fmt::Display) -> ChatError {
    ChatError::Template(error.to_string())
}

/// Length of all texts within a value.
fn text_bytes(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len(),
        serde_json::Value::Array(items) => items.iter().map(text_bytes).sum(),
        serde_json::Value::Object(fields) => fields.values().map(text_bytes).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, Rejection> {
        let specials = [("bos_token", "<s>".to_owned()), ("eos_token", "</s>".to_owned())];
        ChatTemplate::new(source, &specials).expect("compiles").render(messages, false)
    }

    #[test]
    fn blocks_are_trimmed_and_pythons_methods_work() {
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
    fn raise_exception_is_reported_verbatim() {
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
    fn a_template_that_does_not_terminate_or_grows_is_an_error() {
        let long = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
        let nested = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
        let chain = "1".to_owned() + &"+1".repeat(100_000);
        for (source, expected) in [
            (long.to_owned(), "the template does not end"),
            (
                "{% set n = namespace(s='xx') %}{% for a in range(99999) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
                    .to_owned(),
                "grows beyond",
            ),
            (
                "{% set n = namespace(s='x' * 1000000) %}{% for a in range(99999) %}{{ n.s }}{% endfor %}".to_owned(),
                "output grows beyond",
            ),
            ("{{ 'x' * 99999999999 }}".to_owned(), "grows beyond"),
            ("{{ ['x' * 1000000] * 1000000 }}".to_owned(), "grows beyond"),
            ("{{ ('x' * 60000000)|list }}".to_owned(), "grows beyond"),
            (
                "{% set n = namespace(l=[1]) %}{% for a in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l == n.l }}"
                    .to_owned(),
                "grows beyond",
            ),
            ("{{ dict(range(100000)|batch(2)) }}".to_owned(), "keys that are not text"),
            ("{{ '%.70000f' % 1.5 }}".to_owned(), "width"),
            ("{{ '{:.70000f}'.format(1.5) }}".to_owned(), "width"),
            ("{{ '%999999999d' % 1 }}".to_owned(), "width"),
            ("{{ [[1]]|tojson(indent='x' * 1001) }}".to_owned(), "indent is beyond"),
            ("{{ [[1]]|tojson(indent=1001) }}".to_owned(), "indent is beyond"),
            ("{{ '%(a)65000d' * 1000000 % {'a': 1} }}".to_owned(), "grows beyond"),
            ("{{ ('{0:65000}' * 1000000).format(1) }}".to_owned(), "grows beyond"),
            ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(), "recursion is deeper"),
            ("{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}".to_owned(), "deeper"),
            ("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned(), "recursion is deeper"),
            (
                "{% set n = namespace(l=[]) %}{% for a in range(99999) %}{% set n.l = [n.l] %}{% endfor %}".to_owned(),
                "nested deeper",
            ),
            (
                "{% set n = namespace(l=[1]) %}{% for a in range(99999) %}{% set n.l = n.l + n.l %}{% endfor %}"
                    .to_owned(),
                "grows beyond",
            ),
            (format!("{{{{ {nested} }}}}"), "nested deeper"),
            (format!("{{{{ {chain} }}}}"), "deeper"),
            ("{% if 1 %}".repeat(5000), "nested deeper"),
            ("{{ not ".to_owned() + &"not ".repeat(5000) + "1 }}", "nested deeper"),
            ("{{ [1]|map('map', 'map', 'map')|list }}".to_owned(), "line 1"),
        ] {
            let error = ChatTemplate::new(&source, &[])
                .and_then(|template| template.render(&[], false).map_err(|error| error.to_string()))
                .expect_err(&source[..source.len().min(80)]);
            assert!(error.contains(expected), "{}: {error}", &source[..source.len().min(80)]);
        }
        let template = ChatTemplate::new(long, &[]).expect("compiles");
        assert!(template.check_bounds().is_err());
        assert_eq!(ChatTemplate::new("{{ missing.x }}", &[]).expect("compiles").check_bounds(), Ok(()));
    }

    #[test]
    fn numbers_are_formatted_up_to_the_largest_width() {
        let text = render("{{ ('%.65535f' % 1.5)|length }} {{ ('%65535.65534e' % 1.5)|length }}", &[]);
        assert_eq!(text, Ok("65537 65540".into()));
    }

    #[test]
    fn a_search_from_beyond_the_end_finds_nothing() {
        let error = render("{{ [1, 2].index(1, 9) }}", &[]).expect_err("not found").to_string();
        assert!(error.contains("the value is not in the list (line 1"), "{error}");
        assert!(render("{{ (1, 2).index(1, 1, 0) }}", &[]).is_err());
        assert_eq!(render("{{ [1, 2, 1].index(1, 1, 9) }}", &[]), Ok("2".into()));
    }

    #[test]
    fn a_text_template_keeps_white_space_and_refuses_what_is_undefined() {
        let text = |source: &str| {
            let variables = serde_json::json!({"a": "x", "list": [{"b": 1, "c": 0.5}], "none": null, "empty": []});
            TextTemplate::new(source)
                .and_then(|template| template.render(&variables))
                .map_err(|error| error.to_string())
        };
        let source = "{% for item in list %}\n  {{ item.b }} {{ item.c }}\n  {% endfor %}\n{# note #}\n{{ a.upper() }}{{ none }}\n";
        assert_eq!(text(source), Ok("\n  1 0.5\n  \n\nXNone".into()));
        let defined = "{{ z is defined }}{{ z is undefined }}{{ z|default('d') }}{{ list[0].z|default(1) }}{{ 'y' if false }}{{ empty|first }}";
        assert_eq!(text(defined), Ok("FalseTrued1".into()));
        for (source, expected) in [
            ("a\n{{ z }}", "'z' is undefined (line 2 of the template)"),
            ("{% if z %}x{% endif %}", "'z' is undefined"),
            ("{% for x in z %}{% endfor %}", "'z' is undefined"),
            ("{{ z|upper }}", "'z' is undefined"),
            ("{{ list[0].z }}", "has no attribute 'z'"),
            ("{{ list[0]|attr('z')|upper }}", "has no attribute 'z'"),
            ("{{ list|map(attribute='z')|join }}", "has no attribute 'z'"),
            ("{{ list[3] }}", "has no such element"),
            ("{{ z == 1 }}", "'z' is undefined"),
            ("{% if %}", "syntax error"),
        ] {
            let error = text(source).expect_err(source);
            assert!(error.contains(expected), "{source}: {error}");
        }
        let template = TextTemplate::new("x").expect("compiles");
        assert!(template.render(&[1]).is_err());
        assert!(template.render(&serde_json::json!({"a": u64::MAX})).is_err());
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = ChatTemplate::new("a\n{% for x %}", &[]).expect_err("no such syntax");
        assert!(error.contains("line 2"), "{error}");
    }
}
