//! A stack machine for pickles of a dictionary of tensors, restricted to the opcodes and globals that these need.

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

/// A value on the stack. Clones share memory, because a pickle may refer to a value any number of times.
#[derive(Clone)]
enum Value {
    /// `None`, a boolean or a float, on which no tensor depends.
    Other,
    Integer(i64),
    Text(Rc<str>),
    /// Items and nesting depth. The depth is limited because dropping nested tuples recurses.
    Tuple(Rc<[Value]>, usize),
    /// An empty list; lists with items are refused.
    List,
    Dictionary(Vec<(Value, Value)>),
    Global(Global),
    Storage(Dtype, Rc<str>),
    Tensor(Rc<Described>),
    /// A second reference to a dictionary or a tensor, which a dictionary of tensors does not have.
    Again,
}

/// The allow-list of classes and functions.
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
            _ => return Err(format!("it refers to {module}.{name}, which is not allowed")),
        })
    }
}

/// Deepest nesting of tuples. A tensor needs 2: its shape inside the arguments of its constructor.
const DEEPEST: usize = 3;

impl Value {
    fn tuple(items: Vec<Self>) -> Result<Self, String> {
        let items: Rc<[Self]> = items.into_iter().map(Self::into_item).collect();
        let nested = items.iter().map(|item| if let Self::Tuple(_, depth) = item { *depth } else { 0 }).max();
        match nested.unwrap_or(0) + 1 {
            depth if depth > DEEPEST => Err(damaged()),
            depth => Ok(Self::Tuple(items, depth)),
        }
    }

    /// As an item of another value: the content of nested dictionaries and lists is dropped, which limits the depth of values.
    fn into_item(self) -> Self {
        if matches!(self, Self::Dictionary(_) | Self::List) { Self::Other } else { self }
    }
}

/// Names and tensors of the dictionary that the pickle builds.
pub(super) fn run(pickle: &[u8]) -> Result<Vec<(String, Described)>, String> {
    let mut machine = Machine { rest: pickle, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    while !machine.step()? {}
    let Some(Value::Dictionary(items)) = machine.stack.pop() else {
        return Err("it is not a dictionary of tensors".to_owned());
    };
    drop(machine);
    let tensor = |(key, value): (Value, Value)| match (key, value) {
        (Value::Text(name), Value::Tensor(tensor)) => {
            let tensor = Rc::try_unwrap(tensor).map_err(|_| format!("another entry refers to the tensor {name}"))?;
            Ok((name.to_string(), tensor))
        }
        (Value::Text(name), _) => Err(format!("its entry {name} is not a tensor")),
        _ => Err("it has a key that is not a string".to_owned()),
    };
    items.into_iter().map(tensor).collect()
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack at the marks.
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
                self.dictionary()?.push((key.into_item(), value.into_item()));
            }
            b'u' => {
                let mut items = self.marked()?.into_iter();
                while let Some(key) = items.next() {
                    let value = items.next().ok_or_else(damaged)?;
                    self.dictionary()?.push((key.into_item(), value.into_item()));
                }
            }
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => drop(self.pop()?), // state of a dictionary: its `_metadata`
            other => return Err(format!("its pickle has the opcode {other:#04x}, which is not allowed")),
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

    /// `BININT1` and `BININT2` are unsigned, `BININT` with four bytes is signed.
    fn integer<const N: usize>(&mut self) -> Result<(), String> {
        let bytes = self.take::<N>()?;
        let mut wide = [0; 4];
        wide[..N].copy_from_slice(&bytes);
        self.stack.push(Value::Integer(i32::from_le_bytes(wide).into()));
        Ok(())
    }

    /// `LONG1`: a length byte and a signed integer, of which up to eight bytes are read.
    fn long(&mut self) -> Result<(), String> {
        let [length] = self.take::<1>()?;
        let (bytes, rest) = self.rest.split_at_checked(length.into()).ok_or_else(damaged)?;
        self.rest = rest;
        if bytes.len() > 8 {
            return Err(damaged());
        }
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [sign; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Integer(i64::from_le_bytes(wide)));
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
            Value::Dictionary(_) | Value::Tensor(_) => Value::Again,
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
    "its pickle is damaged, or not that of a dictionary of tensors".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pickle_that_runs_code_is_refused_by_name() {
        for (pickle, expected) in [
            (&b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."[..], "posix.system"),
            (b"\x80\x02cbuiltins\neval\n.", "builtins.eval"),
            (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "opcode 0x8c"),
            (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "its entry a is not a tensor"),
            (b"\x80\x02].", "not a dictionary"),
            (b"\x80\x02}", "damaged"),
        ] {
            let problem = run(pickle).err().expect("it is refused");
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
    }

    #[test]
    fn long_integers_are_signed_and_little_endian() {
        let read = |bytes: &[u8]| {
            let mut machine = Machine { rest: bytes, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
            machine.long().ok()?;
            match machine.stack.pop() {
                Some(Value::Integer(value)) => Some(value),
                _ => None,
            }
        };
        assert_eq!(read(&[0]), Some(0));
        assert_eq!(read(&[1, 0xff]), Some(-1));
        assert_eq!(read(&[2, 0xff, 0]), Some(255));
        assert_eq!(read(&[8, 0, 0, 0, 0, 0, 0, 0, 0x80]), Some(i64::MIN));
        assert_eq!(read(&[9, 0, 0, 0, 0, 0, 0, 0, 0x80, 0]), None, "beyond 64 bits");
        assert_eq!(read(&[2, 1]), None, "cut off");
    }

    #[test]
    fn values_that_refer_to_each_other_take_no_more_memory() {
        // Each tuple refers twice to the one before: 2^60 leaves if references were copied.
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
