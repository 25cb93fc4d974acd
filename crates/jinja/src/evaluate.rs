//! Evaluation of expressions.

use std::sync::Arc;

use super::arguments::{Arguments, integer, string};
use super::ast::{self, Comparison, Expression, Kind};
use super::attributes;
use super::date;
use super::error::Error;
use super::methods;
use super::ops;
use super::renderer::Renderer;
use super::tests;
use super::value::{Function, Object, Range, Undefined, Value};

/// Longest range, jinja2's `MAX_RANGE`.
const MAX_RANGE: usize = 100_000;

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "range" => Function::Range,
        "dict" => Function::Dict,
        "namespace" => Function::Namespace,
        "cycler" => Function::Cycler,
        "joiner" => Function::Joiner,
        "raise_exception" => Function::RaiseException,
        "strftime_now" => Function::StrftimeNow,
        "lipsum" => Function::Lipsum,
        _ => return None,
    })
}

impl Renderer {
    pub(super) fn evaluate(&mut self, expression: &Expression) -> Result<Value, Error> {
        let value = self.operand(expression)?;
        self.defined(value).map_err(|error| error.at(expression.line))
    }

    /// As [`evaluate`](Self::evaluate), for operands that may be undefined even under `StrictUndefined`.
    pub(super) fn operand(&mut self, expression: &Expression) -> Result<Value, Error> {
        self.nested(|renderer| renderer.expression(expression)).map_err(|error| error.at(expression.line))
    }

    fn expression(&mut self, expression: &Expression) -> Result<Value, Error> {
        match &expression.kind {
            Kind::Constant(value) => Ok(value.clone()),
            Kind::Name(name) => self.name(name),
            Kind::Attribute(inner, name) => {
                let value = self.evaluate(inner)?;
                self.attribute(&value, name)
            }
            Kind::Item(inner, key) => {
                let value = self.evaluate(inner)?;
                let key = self.evaluate(key)?;
                self.item(&value, &key)
            }
            Kind::And(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() { self.evaluate(right) } else { Ok(left) }
            }
            Kind::Or(left, right) => {
                let left = self.evaluate(left)?;
                if left.is_true() { Ok(left) } else { self.evaluate(right) }
            }
            Kind::Not(inner) => Ok(Value::Bool(!self.evaluate(inner)?.is_true())),
            Kind::Binary(operator, left, right) => {
                let left = self.evaluate(left)?;
                let right = self.evaluate(right)?;
                let value = ops::binary(*operator, &left, &right)?;
                self.charge(&value)?;
                Ok(value)
            }
            Kind::Compare(first, others) => self.compare(first, others),
            Kind::Condition { test, then, otherwise } => {
                if self.evaluate(test)?.is_true() {
                    return self.evaluate(then);
                }
                match otherwise {
                    Some(otherwise) => self.evaluate(otherwise),
                    None => Ok(Value::Undefined(Undefined::Hint(
                        "the inline if-expression evaluated to false and no else section was defined",
                    ))),
                }
            }
            Kind::Call(function, arguments) => self.call_expression(function, arguments, None),
            Kind::Filter(..) => self.filtered(expression, Value::None),
            Kind::Test(inner, name, arguments) => {
                let takes_undefined = matches!(&**name, "defined" | "undefined");
                let value = if takes_undefined { self.operand(inner) } else { self.evaluate(inner) }?;
                let arguments = self.arguments(arguments)?;
                tests::call(name, &value, &arguments).map(Value::Bool)
            }
            Kind::Negate(inner) => ops::negate(&self.evaluate(inner)?),
            Kind::Plus(inner) => ops::plus(&self.evaluate(inner)?),
            _ => self.composed(expression),
        }
    }

    fn composed(&mut self, expression: &Expression) -> Result<Value, Error> {
        match &expression.kind {
            Kind::List(items) => Value::list(self.all(items)?),
            Kind::Tuple(items) => Value::tuple(self.all(items)?),
            Kind::Dict(pairs) => {
                let mut evaluated = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    evaluated.push((self.evaluate(key)?, self.evaluate(value)?));
                }
                Value::dict(evaluated)
            }
            Kind::Concatenate(parts) => {
                let values = self.all(parts)?;
                if values.iter().any(|value| matches!(value, Value::Markup(_))) {
                    return Err(Error::unsupported("`~` with escaped text"));
                }
                let texts = values.iter().map(Value::text).collect::<Result<Vec<_>, _>>()?;
                let value = methods::joined("", texts.iter().map(AsRef::as_ref)).map(Value::from)?;
                self.charge(&value)?;
                Ok(value)
            }
            Kind::Slice(inner, bounds) => {
                let value = self.evaluate(inner)?;
                let mut parts = [const { None }; 3];
                for (part, bound) in parts.iter_mut().zip(bounds) {
                    *part = match bound {
                        Some(bound) => Some(self.evaluate(bound)?),
                        None => None,
                    };
                }
                let Some(sliced) = ops::slice(&value, parts)? else {
                    // jinja2 folds constants at compile time, where a `TypeError` gives an undefined value.
                    return if expression.is_constant() {
                        Ok(Value::Undefined(Undefined::Element(value.type_name())))
                    } else {
                        Err(Error::new(format!("'{}' object cannot be sliced so", value.type_name())))
                    };
                };
                self.charge(&sliced)?;
                Ok(sliced)
            }
            _ => Ok(Value::None),
        }
    }

    fn all(&mut self, expressions: &[Expression]) -> Result<Vec<Value>, Error> {
        expressions.iter().map(|expression| self.evaluate(expression)).collect()
    }

    /// Charges the steps of copying `value`.
    pub(super) fn charge(&mut self, value: &Value) -> Result<(), Error> {
        match value {
            Value::Text(text) => self.step(text.len() / 64),
            Value::List(items) | Value::Tuple(items) => self.step(items.items.len() / 4),
            Value::Dict(dict) => self.step(dict.pairs.len() / 4),
            _ => Ok(()),
        }
    }

    /// Charges the steps of a comparison, which descends into nested values.
    fn charge_comparison(&mut self, value: &Value) -> Result<(), Error> {
        self.charge(value)?;
        self.step(value.nodes() / 16)
    }

    /// Charges the steps of a key's lookup, a linear search.
    fn charge_lookup(&mut self, value: &Value) -> Result<(), Error> {
        match value {
            Value::Dict(dict) => self.step(dict.pairs.len() / 16),
            _ => Ok(()),
        }
    }

    fn name(&self, name: &Arc<str>) -> Result<Value, Error> {
        if let Some(value) = self.variable(name) {
            return Ok(value.clone());
        }
        if &**name == "self" {
            return Err(Error::unsupported("`self`"));
        }
        Ok(function(name).map_or_else(|| Value::Undefined(Undefined::Name(name.clone())), Value::Function))
    }

    fn compare(&mut self, first: &Expression, others: &[(Comparison, Expression)]) -> Result<Value, Error> {
        let mut left = self.evaluate(first)?;
        for (comparison, other) in others {
            let right = self.evaluate(other)?;
            if !self.holds(*comparison, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn holds(&mut self, comparison: Comparison, left: &Value, right: &Value) -> Result<bool, Error> {
        self.charge_comparison(left)?;
        self.charge_comparison(right)?;
        Ok(match comparison {
            Comparison::Equal => left.equals(right),
            Comparison::NotEqual => !left.equals(right),
            Comparison::In => ops::contains(right, left)?,
            Comparison::NotIn => !ops::contains(right, left)?,
            Comparison::Less => left.order(right)?.is_some_and(std::cmp::Ordering::is_lt),
            Comparison::LessEqual => left.order(right)?.is_some_and(std::cmp::Ordering::is_le),
            Comparison::Greater => left.order(right)?.is_some_and(std::cmp::Ordering::is_gt),
            Comparison::GreaterEqual => left.order(right)?.is_some_and(std::cmp::Ordering::is_ge),
        })
    }

    /// `value.name`.
    pub(super) fn attribute(&mut self, value: &Value, name: &Arc<str>) -> Result<Value, Error> {
        let Value::Object(object, place) = *value else {
            self.charge_lookup(value)?;
            return attributes::attribute(value, name);
        };
        let found = match (object, &**name) {
            (Object::Namespace, _) => {
                let known = self.namespaces[place].iter().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone())
            }
            (Object::Loop, "cycle" | "changed") | (Object::Cycler, "next" | "reset") => {
                Some(Value::Method(Arc::new((value.clone(), name.clone()))))
            }
            (Object::Loop, _) => self.loop_attribute(place, name)?,
            (Object::Cycler, "current") => {
                let (items, next) = &self.cyclers[place];
                items.get(*next).cloned()
            }
            (Object::Cycler, "items" | "pos") | (Object::Joiner, "sep" | "used") => {
                return Err(Error::unsupported(format_args!("`{name}` of a {}", value.type_name())));
            }
            (Object::Macro, "name") => self.macros[place].node.name.clone().map(Value::Text),
            (Object::Macro, "arguments" | "caller" | "catch_kwargs" | "catch_varargs" | "explicit_caller") => {
                return Err(Error::unsupported(format_args!("`{name}` of a macro")));
            }
            _ => None,
        };
        Ok(found.unwrap_or_else(|| Value::Undefined(Undefined::Attribute(value.type_name(), name.clone()))))
    }

    /// `value[key]`.
    fn item(&mut self, value: &Value, key: &Value) -> Result<Value, Error> {
        match (value, key) {
            (Value::Object(..), Value::Text(name)) => self.attribute(value, name),
            (Value::Object(..), _) => Ok(Value::Undefined(Undefined::Element(value.type_name()))),
            _ => {
                self.charge_lookup(value)?;
                attributes::item(value, key)
            }
        }
    }

    pub(super) fn arguments(&mut self, arguments: &ast::Arguments) -> Result<Arguments, Error> {
        let mut evaluated = Arguments { positional: self.all(&arguments.positional)?, named: Vec::new() };
        for (name, value) in &arguments.keyword {
            evaluated.named.push((name.clone(), self.evaluate(value)?));
        }
        if let Some(rest) = &arguments.rest {
            let rest = self.evaluate(rest)?;
            evaluated.positional.extend(ops::items(&rest)?);
        }
        if let Some(rest) = &arguments.keyword_rest {
            let Value::Dict(dict) = self.evaluate(rest)? else {
                return Err(Error::new("what follows ** must be a dict"));
            };
            for (key, value) in &dict.pairs {
                evaluated.named.push((string(key)?, value.clone()));
            }
        }
        let mut names: Vec<&Arc<str>> = evaluated.named.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::new("a keyword argument is given twice"));
        }
        Ok(evaluated)
    }

    pub(super) fn call_with_caller(&mut self, call: &Expression, caller: Value) -> Result<Value, Error> {
        let Kind::Call(function, arguments) = &call.kind else { return Err(Error::new("expected call")) };
        self.call_expression(function, arguments, Some(caller)).map_err(|error| error.at(call.line))
    }

    fn call_expression(
        &mut self,
        function: &Expression,
        arguments: &ast::Arguments,
        caller: Option<Value>,
    ) -> Result<Value, Error> {
        let called = if let Kind::Attribute(inner, name) = &function.kind {
            let value = self.evaluate(inner)?;
            // Calls a method of a plain value without allocating a bound method.
            if caller.is_none() && attributes::is_method(&value, name) {
                let arguments = self.arguments(arguments)?;
                self.charge(&value)?;
                let result = methods::call(&value, name, &arguments)?;
                self.charge(&result)?;
                return Ok(result);
            }
            self.attribute(&value, name)?
        } else {
            self.evaluate(function)?
        };
        let mut arguments = self.arguments(arguments)?;
        arguments.named.extend(caller.map(|caller| ("caller".into(), caller)));
        self.call(&called, arguments)
    }

    fn call(&mut self, called: &Value, arguments: Arguments) -> Result<Value, Error> {
        match called {
            Value::Undefined(undefined) => Err(undefined.error()),
            Value::Function(function) => self.call_function(*function, &arguments),
            Value::Object(Object::Macro, place) => self.call_macro(*place, arguments),
            Value::Object(Object::Joiner, place) => {
                arguments.none("joiner")?;
                let (separator, used) = &mut self.joiners[*place];
                let text: Arc<str> = if *used { separator.clone() } else { "".into() };
                *used = true;
                Ok(Value::Text(text))
            }
            Value::Object(Object::Loop, place) => {
                let [items] = arguments.bind("loop", ["iterable"], 1)?;
                self.recurse(*place, &items.unwrap_or(Value::None))
            }
            Value::Method(bound) => match &bound.0 {
                Value::Object(object, place) => self.call_object_method(*object, *place, &bound.1, arguments),
                value => methods::call(value, &bound.1, &arguments),
            },
            _ => Err(Error::new(format!("'{}' object is not callable", called.type_name()))),
        }
    }

    fn call_object_method(
        &mut self,
        object: Object,
        place: usize,
        name: &str,
        arguments: Arguments,
    ) -> Result<Value, Error> {
        if object == Object::Cycler {
            arguments.none(name)?;
            let (items, next) = &mut self.cyclers[place];
            let value = items.get(*next).cloned().unwrap_or(Value::None);
            *next = if name == "reset" { 0 } else { (*next + 1) % items.len() };
            return Ok(if name == "reset" { Value::None } else { value });
        }
        if !arguments.named.is_empty() {
            return Err(Error::new(format!("{name}() takes no keyword arguments")));
        }
        let values = arguments.positional;
        let state = &mut self.loops[place];
        if name == "cycle" {
            if values.is_empty() {
                return Err(Error::new("no items for cycling given"));
            }
            let index = usize::try_from(state.index).unwrap_or(0) % values.len();
            return Ok(values[index].clone());
        }
        let same = state.changed.as_ref().is_some_and(|known| {
            known.len() == values.len() && known.iter().zip(&values).all(|(known, value)| known.equals(value))
        });
        if !same {
            state.changed = Some(values);
        }
        Ok(Value::Bool(!same))
    }

    fn call_function(&mut self, function: Function, arguments: &Arguments) -> Result<Value, Error> {
        match function {
            Function::Range => range(arguments),
            Function::Dict => {
                let dict = Value::dict(dict_pairs(arguments)?)?;
                self.charge(&dict)?;
                Ok(dict)
            }
            Function::Namespace => {
                let pairs = dict_pairs(arguments)?;
                self.namespaces.push(Vec::new());
                let place = self.namespaces.len() - 1;
                for (name, value) in pairs {
                    self.set_in_namespace(place, &string(&name)?, value)?;
                }
                Ok(Value::Object(Object::Namespace, place))
            }
            Function::Cycler => {
                if arguments.positional.is_empty() || !arguments.named.is_empty() {
                    return Err(Error::new("at least one item has to be provided"));
                }
                self.cyclers.push((arguments.positional.clone(), 0));
                Ok(Value::Object(Object::Cycler, self.cyclers.len() - 1))
            }
            Function::Joiner => {
                let [separator] = arguments.bind("joiner", ["sep"], 0)?;
                self.joiners.push((separator.as_ref().map_or_else(|| Ok(", ".into()), string)?, false));
                Ok(Value::Object(Object::Joiner, self.joiners.len() - 1))
            }
            Function::RaiseException => {
                let [message] = arguments.bind("raise_exception", ["message"], 1)?;
                Err(Error::raised(message.unwrap_or(Value::None).text()?))
            }
            Function::StrftimeNow => {
                let [format] = arguments.bind("strftime_now", ["format"], 1)?;
                date::strftime_now(&string(&format.unwrap_or(Value::None))?).map(Value::from)
            }
            Function::Lipsum => Err(Error::unsupported("lipsum")),
        }
    }
}

fn range(arguments: &Arguments) -> Result<Value, Error> {
    let [first, second, step] = arguments.bind("range", ["/start", "/stop", "/step"], 1)?;
    let first = first.as_ref().map_or(Ok(0), integer)?;
    let (start, stop) = match &second {
        Some(second) => (first, integer(second)?),
        None => (0, first),
    };
    let step = step.as_ref().map_or(Ok(1), integer)?;
    if step == 0 {
        return Err(Error::new("range() arg 3 must not be zero"));
    }
    let range = Range { start, stop, step };
    if range.len() > MAX_RANGE {
        return Err(Error::new(format!("Range too big. The sandbox blocks ranges larger than {MAX_RANGE}.")));
    }
    Ok(Value::Range(range))
}

/// The pairs of `dict(mapping or pairs, **named)`.
fn dict_pairs(arguments: &Arguments) -> Result<Vec<(Value, Value)>, Error> {
    let mut pairs = Vec::new();
    match arguments.positional.as_slice() {
        [] => {}
        [Value::Dict(dict)] => pairs.clone_from(&dict.pairs),
        [Value::Undefined(undefined)] => return Err(undefined.error()),
        [items] => {
            for pair in ops::items(items)? {
                let pair = ops::items(&pair)?;
                let [key, value] = pair.as_slice() else { return Err(Error::new("dict() wants pairs")) };
                pairs.push((key.clone(), value.clone()));
            }
        }
        _ => return Err(Error::new("dict() takes at most 1 argument")),
    }
    pairs.extend(arguments.named.iter().map(|(name, value)| (Value::Text(name.clone()), value.clone())));
    Ok(pairs)
}
