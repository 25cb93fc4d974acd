//! Call arguments, bound to parameters by position and name.

use std::sync::Arc;

use super::error::Error;
use super::value::Value;

/// Arguments of a function, method, filter or test.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Arc<str>, Value)>,
}

impl Arguments {
    /// The values of the parameters `names`, of which the first `required` must be given. A name that begins with `/` is
    /// positional-only.
    pub(super) fn bind<const N: usize>(
        &self,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> Result<[Option<Value>; N], Error> {
        if self.positional.len() > N {
            return Err(Error::new(format!(
                "{function}() takes at most {N} arguments ({} given)",
                self.positional.len()
            )));
        }
        let mut values = [const { None }; N];
        for (value, given) in values.iter_mut().zip(&self.positional) {
            *value = Some(given.clone());
        }
        for (name, given) in &self.named {
            let place = names.iter().position(|known| **known == **name);
            match place.map(|place| &mut values[place]) {
                Some(value @ None) => *value = Some(given.clone()),
                Some(Some(_)) => {
                    return Err(Error::new(format!("{function}() got multiple values for argument '{name}'")));
                }
                None => return Err(Error::new(format!("{function}() has no argument '{name}'"))),
            }
        }
        if let Some(missing) = values.iter().take(required).position(Option::is_none) {
            let name = names[missing].trim_start_matches('/');
            return Err(Error::new(format!("{function}() is missing its argument '{name}'")));
        }
        Ok(values)
    }

    pub(super) fn none(&self, function: &str) -> Result<(), Error> {
        self.bind::<0>(function, [], 0).map(|_| ())
    }
}

pub(super) fn integer(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Undefined(undefined) => Err(undefined.error()),
        _ => value
            .as_int()
            .ok_or_else(|| Error::new(format!("'{}' object cannot be interpreted as an integer", value.type_name()))),
    }
}

pub(super) fn string(value: &Value) -> Result<Arc<str>, Error> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Undefined(undefined) => Err(undefined.error()),
        _ => Err(Error::new(format!("a string is needed, not '{}'", value.type_name()))),
    }
}
