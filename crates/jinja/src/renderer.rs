//! Statements of a template at work.

use std::sync::Arc;

use super::arguments::Arguments;
use super::ast::{Loop, Macro, Statement, Target};
use super::error::Error;
use super::ops;
use super::value::{Object, Undefined, Value};

/// Expressions, statements and calls within each other.
const MAX_DEPTH: u32 = 400;

/// Bounds of a rendering, so that a template that does not end or grows is an error.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Steps: about one an operation, and one for every 64 bytes that are copied.
    pub steps: u64,
    /// Bytes written.
    pub output: usize,
}

/// What a statement does to the loop around it.
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

/// A macro with the scope that it was defined in.
pub(super) struct MacroObject {
    pub(super) node: Arc<Macro>,
    scope: usize,
}

/// A `for` loop at work, as jinja2's `LoopContext`.
pub(super) struct LoopState {
    node: Arc<Loop>,
    source: std::vec::IntoIter<Value>,
    /// False once the filter has been applied to everything in `source`.
    filters: bool,
    length: Option<usize>,
    pub(super) index: i64,
    before: Option<Value>,
    current: Option<Value>,
    /// The next item, if it was looked at already; `Some(None)` is the end.
    after: Option<Option<Value>>,
    pub(super) depth: i64,
    pub(super) changed: Option<Vec<Value>>,
    /// The scope around the loop.
    scope: usize,
}

pub(super) struct Renderer {
    scopes: Vec<Scope>,
    current: usize,
    /// Scopes below this are kept: a macro knows them.
    pinned: usize,
    out: Vec<String>,
    written: usize,
    steps: u64,
    limits: Limits,
    depth: u32,
    pub(super) namespaces: Vec<Vec<(Arc<str>, Value)>>,
    pub(super) macros: Vec<MacroObject>,
    pub(super) loops: Vec<LoopState>,
    pub(super) cyclers: Vec<(Vec<Value>, usize)>,
    pub(super) joiners: Vec<(Arc<str>, bool)>,
}

impl Renderer {
    pub(super) fn new(variables: Vec<(Arc<str>, Value)>, limits: Limits) -> Self {
        Self {
            scopes: vec![Scope { parent: None, variables }],
            current: 0,
            pinned: 0,
            out: vec![String::new()],
            written: 0,
            steps: 0,
            limits,
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

    /// Counts `cost` steps.
    pub(super) fn step(&mut self, cost: usize) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(cost as u64);
        if self.steps > self.limits.steps {
            let limit = self.limits.steps;
            return Err(Error::bound(format!("the template does not end: stopped after {limit} steps")));
        }
        Ok(())
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

    /// What `inside` writes, apart.
    pub(super) fn captured(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<Flow, Error>,
    ) -> Result<(String, Flow), Error> {
        self.out.push(String::new());
        let flow = inside(self)?;
        Ok((self.out.pop().unwrap_or_default(), flow))
    }

    /// Runs `inside` in a new scope within `parent`.
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

    fn run(&mut self, statements: &[Statement]) -> Result<Flow, Error> {
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

    /// The statements that use what their body writes.
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

    /// Calls a macro: what its body writes.
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

    fn for_statement(&mut self, node: &Arc<Loop>) -> Result<(), Error> {
        let items = self.evaluate(&node.items)?;
        if !node.recursive {
            return self.for_loop(node, &items, 0, self.current);
        }
        let scope = self.current;
        let (text, _) = self.captured(|renderer| {
            renderer.for_loop(node, &items, 0, scope)?;
            Ok(Flow::Next)
        })?;
        self.write(&text)
    }

    /// `loop(items)` of a recursive loop: what the loop writes over `items`.
    pub(super) fn recurse(&mut self, place: usize, items: &Value) -> Result<Value, Error> {
        let state = &self.loops[place];
        let (node, scope, depth) = (state.node.clone(), state.scope, state.depth);
        if !node.recursive {
            return Err(Error::new("The loop must have the 'recursive' marker to be called recursively."));
        }
        let (text, _) = self.nested(|renderer| {
            renderer.captured(|renderer| {
                renderer.for_loop(&node, items, depth + 1, scope)?;
                Ok(Flow::Next)
            })
        })?;
        Ok(Value::from(text))
    }

    fn for_loop(&mut self, node: &Arc<Loop>, items: &Value, depth: i64, scope: usize) -> Result<(), Error> {
        let length = ops::length(items).ok().filter(|_| node.test.is_none());
        let source = ops::items(items).map_err(|error| error.at(node.line))?;
        self.step(source.len() / 16)?;
        let place = self.loops.len();
        self.loops.push(LoopState {
            node: node.clone(),
            source: source.into_iter(),
            filters: node.test.is_some(),
            length,
            index: -1,
            before: None,
            current: None,
            after: None,
            depth,
            changed: None,
            scope,
        });
        let mut nothing_completed = true;
        while let Some(item) = self.advance(place)? {
            let flow = self.scoped(scope, |renderer| {
                renderer.set(&"loop".into(), Value::Object(Object::Loop, place));
                renderer.assign(&node.target, item).map_err(|error| error.at(node.line))?;
                renderer.run(&node.body)
            })?;
            match flow {
                Flow::Break => break,
                // As jinja2 compiles it, a body that was left early does not count for `else`.
                Flow::Continue => {}
                Flow::Next => nothing_completed = false,
            }
        }
        let state = &mut self.loops[place];
        state.source = Vec::new().into_iter();
        (state.before, state.current, state.changed) = (None, None, None);
        if nothing_completed && !node.otherwise.is_empty() {
            let flow = self.scoped(scope, |renderer| renderer.run(&node.otherwise))?;
            Self::expect_no_jump(flow)?;
        }
        Ok(())
    }

    /// The next item that the loop's condition lets through.
    fn pull(&mut self, place: usize) -> Result<Option<Value>, Error> {
        loop {
            let state = &mut self.loops[place];
            let Some(item) = state.source.next() else { return Ok(None) };
            let (node, scope, filters) = (state.node.clone(), state.scope, state.filters);
            let Some(test) = node.test.as_ref().filter(|_| filters) else { return Ok(Some(item)) };
            let passes = self.scoped(scope, |renderer| {
                renderer.assign(&node.target, item.clone())?;
                renderer.evaluate(test)
            })?;
            if passes.is_true() {
                return Ok(Some(item));
            }
        }
    }

    fn advance(&mut self, place: usize) -> Result<Option<Value>, Error> {
        let next = match self.loops[place].after.take() {
            Some(after) => after,
            None => self.pull(place)?,
        };
        let state = &mut self.loops[place];
        if let Some(item) = &next {
            state.index += 1;
            state.before = state.current.replace(item.clone());
        }
        Ok(next)
    }

    fn following(&mut self, place: usize) -> Result<Option<Value>, Error> {
        if self.loops[place].after.is_none() {
            let next = self.pull(place)?;
            self.loops[place].after = Some(next);
        }
        Ok(self.loops[place].after.clone().flatten())
    }

    pub(super) fn loop_length(&mut self, place: usize) -> Result<i64, Error> {
        if self.loops[place].length.is_none() {
            let mut rest = Vec::new();
            while let Some(item) = self.pull(place)? {
                rest.push(item);
            }
            let state = &mut self.loops[place];
            let seen = usize::try_from(state.index + 1).unwrap_or(0);
            let ahead = usize::from(matches!(state.after, Some(Some(_))));
            state.length = Some(rest.len() + seen + ahead);
            state.source = rest.into_iter();
            state.filters = false;
        }
        Ok(self.loops[place].length.and_then(|length| i64::try_from(length).ok()).unwrap_or(0))
    }

    /// An attribute of `loop`.
    pub(super) fn loop_attribute(&mut self, place: usize, name: &str) -> Result<Option<Value>, Error> {
        let index = self.loops[place].index;
        Ok(Some(match name {
            "index" => Value::Int(index + 1),
            "index0" => Value::Int(index),
            "revindex" => Value::Int(self.loop_length(place)? - index),
            "revindex0" => Value::Int(self.loop_length(place)? - index - 1),
            "first" => Value::Bool(index == 0),
            "last" => Value::Bool(self.following(place)?.is_none()),
            "length" => Value::Int(self.loop_length(place)?),
            "depth" => Value::Int(self.loops[place].depth + 1),
            "depth0" => Value::Int(self.loops[place].depth),
            "previtem" => {
                let before = if index == 0 { None } else { self.loops[place].before.clone() };
                before.unwrap_or(Value::Undefined(Undefined::Hint("there is no previous item")))
            }
            "nextitem" => {
                let after = self.following(place)?;
                after.unwrap_or(Value::Undefined(Undefined::Hint("there is no next item")))
            }
            _ => return Ok(None),
        }))
    }
}
