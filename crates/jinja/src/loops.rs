//! Execution of `for` loops, and the attributes of `loop`.

use std::sync::Arc;

use super::ast::Loop;
use super::error::Error;
use super::ops;
use super::renderer::{Flow, Renderer};
use super::value::{Object, Undefined, Value};

/// State of a running `for` loop, jinja2's `LoopContext`.
pub(super) struct LoopState {
    node: Arc<Loop>,
    source: std::vec::IntoIter<Value>,
    /// Whether the items of `source` have yet to pass the loop's `if`.
    filters: bool,
    length: Option<usize>,
    pub(super) index: i64,
    before: Option<Value>,
    current: Option<Value>,
    /// The next item if it was peeked at; `Some(None)` at the end.
    after: Option<Option<Value>>,
    pub(super) depth: i64,
    pub(super) changed: Option<Vec<Value>>,
    /// The scope around the loop.
    scope: usize,
}

impl Renderer {
    pub(super) fn for_statement(&mut self, node: &Arc<Loop>) -> Result<(), Error> {
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

    /// `loop(items)` of a recursive loop: the output of the loop over `items`.
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
                // As jinja2 compiles it, an iteration left by `continue` does not suppress `else`.
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

    /// The next item that passes the loop's `if`.
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
