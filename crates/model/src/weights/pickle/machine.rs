//! A stack machine for the pickles that hold a dictionary of tensors, and for nothing else.

use std::collections::HashMap;
use std::rc::Rc;

use safetensors::tensor::Dtype;

/// A tensor as the pickle describes it.
pub(super) struct Described {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) offset: usize,
    /// Name of its storage in the archive.
    pub(super) storage: String,
}

/// What can be on the stack. Clones share: a pickle may refer to a value as often as it likes.
#[derive(Clone)]
enum Value {
    /// `None`, a boolean or a float: nothing that is read depends on them.
    Other,
    Integer(i64),
    Text(Rc<str>),
    /// Items, and how many tuples they nest: what is nested without end would be dropped by as deep a recursion.
    Tuple(Rc<[Value]>, usize),
    /// An empty list; lists with items are refused.
    List,
    Dictionary(Vec<(Value, Value)>),
    Global(Global),
    Storage(Dtype, Rc<str>),
    Tensor(Rc<Described>),
    /// A dictionary that is referred to again, which a dictionary of tensors never is.
    Again,
}

/// The classes and functions that may be named.
#[derive(Clone, Copy, PartialEq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageOf(Dtype),
}

impl Global {
    fn named(module: &str, name: &str) -> Result<Self, String> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "FloatStorage") => Self::StorageOf(Dtype::F32),
            ("torch", "HalfStorage") => Self::StorageOf(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::StorageOf(Dtype::BF16),
            ("torch", "DoubleStorage") => Self::StorageOf(Dtype::F64),
            _ => return Err(format!("it asks for {module}.{name}, which is not run")),
        })
    }
}

/// Tuples inside each other: a tensor's arguments hold its shape.
const DEEPEST: usize = 3;

impl Value {
    fn tuple(items: Vec<Self>) -> Result<Self, String> {
        let items: Rc<[Self]> = items.into_iter().map(Self::inside).collect();
        let nested = items.iter().map(|item| if let Self::Tuple(_, depth) = item { *depth } else { 0 }).max();
        match nested.unwrap_or(0) + 1 {
            depth if depth > DEEPEST => Err(damaged()),
            depth => Ok(Self::Tuple(items, depth)),
        }
    }

    /// As an item of another value: of dictionaries nothing but their being there is of use.
    fn inside(self) -> Self {
        if matches!(self, Self::Dictionary(_) | Self::List) { Self::Other } else { self }
    }
}

/// The dictionary that the pickle builds: names and tensors.
pub(super) fn run(pickle: &[u8]) -> Result<Vec<(String, Described)>, String> {
    let mut machine = Machine { rest: pickle, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    while !machine.step()? {}
    let Some(Value::Dictionary(items)) = machine.stack.pop() else {
        return Err("it is no dictionary of tensors".to_owned());
    };
    drop(machine);
    let tensor = |(key, value): (Value, Value)| match (key, value) {
        (Value::Text(name), Value::Tensor(tensor)) => {
            let tensor = Rc::try_unwrap(tensor).map_err(|_| format!("{name} is there twice"))?;
            Ok((name.to_string(), tensor))
        }
        (Value::Text(name), _) => Err(format!("its entry {name} is no tensor")),
        _ => Err("it has a key that is no text".to_owned()),
    };
    items.into_iter().map(tensor).collect()
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack where a mark was set.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine<'_> {
    /// Runs one opcode; true at the end.
    fn step(&mut self) -> Result<bool, String> {
        let [opcode] = self.take::<1>()?;
        match opcode {
            0x80 => drop(self.take::<1>()?),                        // protocol
            b'.' => return Ok(true),                                // stop
            b'(' => self.marks.push(self.stack.len()),              // mark
            b'}' => self.stack.push(Value::Dictionary(Vec::new())), // empty dictionary
            b']' => self.stack.push(Value::List),                   // empty list
            b')' => self.stack.push(Value::tuple(Vec::new())?),     // empty tuple
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),    // None, True, False
            b'G' => {
                self.take::<8>()?; // float
                self.stack.push(Value::Other);
            }
            b'K' => self.integer::<1>()?,
            b'M' => self.integer::<2>()?,
            b'J' => self.integer::<4>()?,
            0x8a => self.long()?,
            b'X' => self.text()?,
            b'c' => self.global()?,
            b'q' | b'r' => self.remember(opcode)?,
            b'h' | b'j' => self.recall(opcode)?,
            b't' => {
                let items = self.marked()?;
                self.stack.push(Value::tuple(items)?);
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.stack.len().checked_sub(count).ok_or_else(damaged)?;
                let items = self.stack.split_off(start);
                self.stack.push(Value::tuple(items)?);
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.dictionary()?.push((key.inside(), value.inside()));
            }
            b'u' => {
                let mut items = self.marked()?.into_iter();
                while let Some(key) = items.next() {
                    let value = items.next().ok_or_else(damaged)?;
                    self.dictionary()?.push((key.inside(), value.inside()));
                }
            }
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => drop(self.pop()?), // state of a dictionary: its `_metadata`
            other => {
                return Err(format!("its pickle has the opcode {other:#04x}, which no dictionary of tensors needs"));
            }
        }
        Ok(false)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn pop(&mut self) -> Result<Value, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(damaged());
        }
        self.stack.pop().ok_or_else(damaged)
    }

    /// Everything above the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or_else(damaged)?;
        Ok(self.stack.split_off(mark))
    }

    fn dictionary(&mut self) -> Result<&mut Vec<(Value, Value)>, String> {
        match self.stack.last_mut() {
            Some(Value::Dictionary(items)) => Ok(items),
            _ => Err(damaged()),
        }
    }

    /// Unsigned with one or two bytes, signed with four.
    fn integer<const N: usize>(&mut self) -> Result<(), String> {
        let bytes = self.take::<N>()?;
        let mut wide = [0; 4];
        wide[..N].copy_from_slice(&bytes);
        self.stack.push(Value::Integer(i32::from_le_bytes(wide).into()));
        Ok(())
    }

    /// A signed integer of up to eight bytes.
    fn long(&mut self) -> Result<(), String> {
        let [length] = self.take::<1>()?;
        let mut value = 0i64;
        for place in 0..length {
            let [byte] = self.take::<1>()?;
            if place < 8 {
                value |= i64::from(byte) << (8 * place);
            } else if byte != 0 {
                return Err(damaged());
            }
        }
        self.stack.push(Value::Integer(value));
        Ok(())
    }

    fn text(&mut self) -> Result<(), String> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (text, rest) = self.rest.split_at_checked(length).ok_or_else(damaged)?;
        self.rest = rest;
        self.stack.push(Value::Text(std::str::from_utf8(text).map_err(|_| damaged())?.into()));
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        self.stack.push(Value::Global(Global::named(&module, &name)?));
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(damaged)?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        String::from_utf8(line.to_vec()).map_err(|_| damaged())
    }

    fn place(&mut self, long: bool) -> Result<u32, String> {
        Ok(if long { u32::from_le_bytes(self.take()?) } else { self.take::<1>()?[0].into() })
    }

    fn remember(&mut self, opcode: u8) -> Result<(), String> {
        let place = self.place(opcode == b'r')?;
        let value = match self.stack.last().ok_or_else(damaged)? {
            Value::Dictionary(_) => Value::Again,
            // A tensor is one entry's own.
            Value::Tensor(_) => Value::Again,
            value => value.clone(),
        };
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Result<(), String> {
        let place = self.place(opcode == b'j')?;
        let value = self.memo.get(&place).cloned().ok_or_else(damaged)?;
        self.stack.push(value);
        Ok(())
    }

    /// `("storage", type, key, device, elements)`.
    fn storage(&mut self) -> Result<(), String> {
        let Value::Tuple(id, _) = self.pop()? else { return Err(damaged()) };
        let [_, Value::Global(Global::StorageOf(dtype)), Value::Text(key), ..] = &*id else { return Err(damaged()) };
        self.stack.push(Value::Storage(*dtype, key.clone()));
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let (Value::Tuple(arguments, _), Value::Global(callee)) = (arguments, callee) else { return Err(damaged()) };
        let value = match (callee, &*arguments) {
            (Global::OrderedDict, []) => Value::Dictionary(Vec::new()),
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => tensor.clone(),
            (
                Global::RebuildTensor,
                [
                    Value::Storage(dtype, key),
                    Value::Integer(offset),
                    Value::Tuple(shape, _),
                    Value::Tuple(strides, _),
                    ..,
                ],
            ) => Value::Tensor(Rc::new(Described {
                dtype: *dtype,
                shape: sizes(shape)?,
                strides: sizes(strides)?,
                offset: usize::try_from(*offset).map_err(|_| damaged())?,
                storage: key.to_string(),
            })),
            _ => return Err(damaged()),
        };
        self.stack.push(value);
        Ok(())
    }
}

fn sizes(values: &[Value]) -> Result<Vec<usize>, String> {
    let size = |value: &Value| match value {
        Value::Integer(size) => usize::try_from(*size).map_err(|_| damaged()),
        _ => Err(damaged()),
    };
    values.iter().map(size).collect()
}

fn damaged() -> String {
    "its pickle is damaged, or not of a dictionary of tensors".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pickle_that_runs_code_is_refused_by_name() {
        for (pickle, told) in [
            (&b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."[..], "posix.system"),
            (b"\x80\x02cbuiltins\neval\n.", "builtins.eval"),
            (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "opcode 0x8c"),
            (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "its entry a is no tensor"),
            (b"\x80\x02].", "no dictionary"),
            (b"\x80\x02}", "damaged"),
        ] {
            let problem = run(pickle).err().expect("it is refused");
            assert!(problem.contains(told), "{told}: {problem}");
        }
    }

    #[test]
    fn values_that_refer_to_each_other_take_no_more_memory() {
        // Each tuple holds the one before twice: 2^60 leaves for whoever copies.
        let mut pickle = b"\x80\x02)q\x00".to_vec();
        for _ in 0..60 {
            pickle.extend_from_slice(b"h\x00h\x00\x86q\x00");
        }
        pickle.push(b'.');
        assert!(run(&pickle).is_err());
        let deep = [&b"\x80\x02)"[..], &[0x85; 1 << 20], b"."].concat();
        assert!(run(&deep).is_err());
        let deep = [&b"\x80\x02"[..], &b"}K\x01".repeat(1 << 20), &b"}"[..], &[b's'; 1 << 20], b"."].concat();
        assert!(run(&deep).is_err());
    }
}
