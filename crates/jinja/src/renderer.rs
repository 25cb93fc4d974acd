//! Execution of statements: scopes, output, macros.

use std::sync::Arc;

use super::arguments::Arguments;
use super::ast::{Macro, Statement, Target};
use super::error::Error;
use super::loops::LoopState;
use super::ops;
use super::value::{Object, Undefined, Value};

/// Maximum depth of nested expressions, statements and calls.
const MAX_DEPTH: u32 = 400;

/// Bounds of a rendering: a template that does not terminate or grows without limit is an error.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps: about one per operation, and one per 64 bytes copied.
    pub steps: u64,
    /// Bytes written.
    pub output: usize,
}

/// Control flow after a statement.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

struct Scope {
    parent: Option<usize>,
    variables: Vec<(Arc<str>, Value)>,
}

/// A macro and the scope of its definition.
pub(super) struct MacroObject {
    pub(super) node: Arc<Macro>,
    scope: usize,
}

pub(super) struct Renderer {
    scopes: Vec<Scope>,
    pub(super) current: usize,
    /// Number of scopes that macros may refer to: these are never freed.
    pinned: usize,
    out: Vec<String>,
    written: usize,
    steps: u64,
    limits: Limits,
    strict_undefined: bool,
    depth: u32,
    pub(super) namespaces: Vec<Vec<(Arc<str>, Value)>>,
    pub(super) macros: Vec<MacroObject>,
    pub(super) loops: Vec<LoopState>,
    pub(super) cyclers: Vec<(Vec<Value>, usize)>,
    pub(super) joiners: Vec<(Arc<str>, bool)>,
}

impl Renderer {
    pub(super) fn new(variables: Vec<(Arc<str>, Value)>, limits: Limits, strict_undefined: bool) -> Self {
        Self {
            scopes: vec![Scope { parent: None, variables }],
            current: 0,
            pinned: 0,
            out: vec![String::new()],
            written: 0,
            steps: 0,
            limits,
            strict_undefined,
            depth: 0,
            namespaces: Vec::new(),
            macros: Vec::new(),
            loops: Vec::new(),
            cyclers: Vec::new(),
            joiners: Vec::new(),
        }
    }

    pub(super) fn render(mut self, statements: &[Statement]) -> Result<String, Error> {
        let flow = self.run(statements)?;
        Self::expect_no_jump(flow)?;
        Ok(self.out.pop().unwrap_or_default())
    }

    /// Charges `cost` steps.
    pub(super) fn step(&mut self, cost: usize) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(cost as u64);
        if self.steps > self.limits.steps {
            let limit = self.limits.steps;
            return Err(Error::bound(format!("the template does not end: stopped after {limit} steps")));
        }
        Ok(())
    }

    /// Refuses an undefined value under `StrictUndefined`.
    pub(super) fn defined(&self, value: Value) -> Result<Value, Error> {
        match value {
            Value::Undefined(undefined) if self.strict_undefined && undefined.is_mistake() => Err(undefined.error()),
            _ => Ok(value),
        }
    }

    pub(super) fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::bound(format!("recursion is deeper than {MAX_DEPTH} levels")));
        }
        self.step(1)?;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), Error> {
        self.written = self.written.saturating_add(text.len());
        if self.written > self.limits.output {
            let limit = self.limits.output;
            return Err(Error::bound(format!("the template's output grows beyond {limit} bytes")));
        }
        if let Some(out) = self.out.last_mut() {
            out.push_str(text);
        }
        Ok(())
    }

    /// Redirects the output of `inside` into a string.
    pub(super) fn captured(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<Flow, Error>,
    ) -> Result<(String, Flow), Error> {
        self.out.push(String::new());
        let flow = inside(self)?;
        Ok((self.out.pop().unwrap_or_default(), flow))
    }

    /// Runs `inside` in a new scope below `parent`.
    pub(super) fn scoped<T>(
        &mut self,
        parent: usize,
        inside: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (outer, place) = (self.current, self.scopes.len());
        self.scopes.push(Scope { parent: Some(parent), variables: Vec::new() });
        self.current = place;
        let result = inside(self)?;
        self.current = outer;
        if self.pinned <= place {
            self.scopes.truncate(place);
        }
        Ok(result)
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Value> {
        let mut scope = Some(self.current);
        while let Some(here) = scope.and_then(|place| self.scopes.get(place)) {
            if let Some((_, value)) = here.variables.iter().find(|(known, _)| **known == *name) {
                return Some(value);
            }
            scope = here.parent;
        }
        None
    }

    pub(super) fn set(&mut self, name: &Arc<str>, value: Value) {
        let variables = &mut self.scopes[self.current].variables;
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => variables.push((name.clone(), value)),
        }
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Result<(), Error> {
        match target {
            Target::Name(name) => {
                self.set(name, value);
                Ok(())
            }
            Target::Attribute(name, attribute) => {
                let Some(Value::Object(Object::Namespace, place)) = self.variable(name) else {
                    return Err(Error::new(format!("cannot assign an attribute of '{name}', which is no namespace")));
                };
                let place = *place;
                self.set_in_namespace(place, attribute, value)
            }
            Target::Tuple(targets) => {
                let items = ops::items(&value)?;
                if items.len() != targets.len() {
                    return Err(Error::new(format!("{} values for {} names", items.len(), targets.len())));
                }
                targets.iter().zip(items).try_for_each(|(target, item)| self.assign(target, item))
            }
        }
    }

    pub(super) fn set_in_namespace(&mut self, place: usize, name: &Arc<str>, value: Value) -> Result<(), Error> {
        if name.starts_with('_') {
            return Err(Error::new(format!("a namespace cannot hold '{name}', which begins with an underscore")));
        }
        let attributes = &mut self.namespaces[place];
        match attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => attributes.push((name.clone(), value)),
        }
        Ok(())
    }

    pub(super) fn run(&mut self, statements: &[Statement]) -> Result<Flow, Error> {
        for statement in statements {
            let flow = self.nested(|renderer| renderer.statement(statement))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    pub(super) fn expect_no_jump(flow: Flow) -> Result<(), Error> {
        if flow == Flow::Next { Ok(()) } else { Err(Error::new("`break` or `continue` outside a loop")) }
    }

    fn statement(&mut self, statement: &Statement) -> Result<Flow, Error> {
        match statement {
            Statement::Data(text) => self.write(text)?,
            Statement::Emit(expression) => {
                let value = self.evaluate(expression)?;
                let text = value.text().map_err(|error| error.at(expression.line))?;
                self.write(&text).map_err(|error| error.at(expression.line))?;
            }
            Statement::Set(target, expression) => {
                let value = self.evaluate(expression)?;
                self.assign(target, value).map_err(|error| error.at(expression.line))?;
            }
            Statement::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.evaluate(test)?.is_true() {
                        return self.run(body);
                    }
                }
                return self.run(otherwise);
            }
            Statement::For(node) => self.for_statement(node)?,
            Statement::Macro(node) => {
                let value = self.define(node);
                if let Some(name) = &node.name {
                    self.set(name, value);
                }
            }
            Statement::Break => return Ok(Flow::Break),
            Statement::Continue => return Ok(Flow::Continue),
            Statement::Generation(body) => {
                let flow = self.scoped(self.current, |renderer| renderer.run(body))?;
                Self::expect_no_jump(flow)?;
            }
            Statement::Block(body) => {
                let flow = self.scoped(0, |renderer| renderer.run(body))?;
                Self::expect_no_jump(flow)?;
            }
            _ => return self.capturing(statement),
        }
        Ok(Flow::Next)
    }

    /// Statements that capture the output of their body.
    fn capturing(&mut self, statement: &Statement) -> Result<Flow, Error> {
        match statement {
            Statement::SetBlock { target, filter, body, line } => {
                let run = |renderer: &mut Self| renderer.scoped(renderer.current, |renderer| renderer.run(body));
                let (text, flow) = self.captured(run)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = match filter {
                    Some(filter) => self.filtered(filter, Value::from(text))?,
                    None => Value::from(text),
                };
                self.assign(target, value).map_err(|error| error.at(*line))?;
            }
            Statement::FilterBlock { filter, body } => {
                let run = |renderer: &mut Self| renderer.scoped(renderer.current, |renderer| renderer.run(body));
                let (text, flow) = self.captured(run)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filtered(filter, Value::from(text))?;
                let text = value.text().map_err(|error| error.at(filter.line))?;
                self.write(&text)?;
            }
            Statement::CallBlock { call, body } => {
                let caller = self.define(body);
                let value = self.call_with_caller(call, caller)?;
                let text = value.text().map_err(|error| error.at(call.line))?;
                self.write(&text)?;
            }
            Statement::With { bindings, body } => {
                let values: Vec<Value> =
                    bindings.iter().map(|(_, value)| self.evaluate(value)).collect::<Result<_, _>>()?;
                return self.scoped(self.current, |renderer| {
                    for ((target, _), value) in bindings.iter().zip(values) {
                        renderer.assign(target, value)?;
                    }
                    renderer.run(body)
                });
            }
            _ => {}
        }
        Ok(Flow::Next)
    }

    fn define(&mut self, node: &Arc<Macro>) -> Value {
        self.pinned = self.scopes.len();
        self.macros.push(MacroObject { node: node.clone(), scope: self.current });
        Value::Object(Object::Macro, self.macros.len() - 1)
    }

    /// Calls a macro and returns its output.
    pub(super) fn call_macro(&mut self, place: usize, arguments: Arguments) -> Result<Value, Error> {
        let (node, scope) = (self.macros[place].node.clone(), self.macros[place].scope);
        let name = node.name.clone().unwrap_or_else(|| "caller".into());
        let (text, flow) = self.nested(|renderer| {
            renderer.captured(|renderer| {
                renderer.scoped(scope, |renderer| {
                    renderer.bind(&node, &name, arguments)?;
                    renderer.run(&node.body)
                })
            })
        })?;
        Self::expect_no_jump(flow)?;
        Ok(Value::from(text))
    }

    fn bind(&mut self, node: &Macro, name: &str, arguments: Arguments) -> Result<(), Error> {
        let Arguments { positional, mut named } = arguments;
        let mut positional = positional.into_iter();
        let mut missing = Vec::new();
        let mut explicit_caller = false;
        for (parameter, default) in &node.parameters {
            explicit_caller |= **parameter == *"caller";
            let value = positional.next().or_else(|| {
                let given = named.iter().position(|(known, _)| known == parameter)?;
                Some(named.remove(given).1)
            });
            match value {
                Some(value) => self.set(parameter, value),
                None => missing.push((parameter, default)),
            }
        }
        if node.uses_caller && !explicit_caller {
            let given = named.iter().position(|(known, _)| **known == *"caller");
            let caller = given.map(|place| named.remove(place).1);
            let none = Value::Undefined(Undefined::Hint("No caller defined"));
            self.set(&"caller".into(), caller.filter(|caller| !matches!(caller, Value::None)).unwrap_or(none));
        }
        if node.uses_keyword_rest {
            let pairs = named.into_iter().map(|(name, value)| (Value::Text(name), value)).collect();
            let rest = Value::dict(pairs)?;
            self.set(&"kwargs".into(), rest);
        } else if let Some((unknown, _)) = named.first() {
            return Err(Error::new(format!("macro '{name}' takes no keyword argument '{unknown}'")));
        }
        let rest: Vec<Value> = positional.collect();
        if node.uses_rest {
            self.set(&"varargs".into(), Value::tuple(rest)?);
        } else if !rest.is_empty() {
            let most = node.parameters.len();
            return Err(Error::new(format!("macro '{name}' takes not more than {most} argument(s)")));
        }
        for (parameter, default) in missing {
            let value = match default {
                Some(default) => self.evaluate(default)?,
                None => Value::Undefined(Undefined::Parameter(parameter.clone())),
            };
            self.set(parameter, value);
        }
        Ok(())
    }
}
