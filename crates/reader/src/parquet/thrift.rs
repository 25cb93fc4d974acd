//! Thrift's compact protocol, as far as Parquet's metadata needs it: bytes to a tree of fields.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

use super::Broken;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Thrift {
    Bool(bool),
    Integer(i64),
    Binary(Vec<u8>),
    List(Vec<Thrift>),
    Struct(Vec<(i16, Thrift)>),
    /// A double or a map: Parquet's metadata has none that matter.
    Other,
}

impl Thrift {
    /// The field `id` of a struct.
    pub fn field(&self, id: i16) -> Option<&Self> {
        let Self::Struct(fields) = self else { return None };
        fields.iter().find(|(known, _)| *known == id).map(|(_, value)| value)
    }

    /// The integer field `id`.
    pub fn integer(&self, id: i16) -> Option<i64> {
        match self.field(id)? {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The integer field `id`, a length or a position.
    pub fn length(&self, id: i16) -> Option<u64> {
        u64::try_from(self.integer(id)?).ok()
    }

    pub fn bool(&self, id: i16) -> Option<bool> {
        match self.field(id)? {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text field `id`.
    pub fn text(&self, id: i16) -> Option<&str> {
        match self.field(id)? {
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The list field `id`, empty where there is none.
    pub fn list(&self, id: i16) -> &[Self] {
        match self.field(id) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }
}

/// Nothing in Parquet nests deeper.
const DEEPEST: usize = 16;

/// Reads the struct that `bytes` begins with and says how long it is.
pub(super) fn read_struct(bytes: &[u8]) -> Result<(Thrift, usize), Broken> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.fields(0)?;
    Ok((value, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Broken> {
        let byte = *self.bytes.get(self.at).ok_or(Broken::EndsEarly)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let (value, length) = super::varint(&self.bytes[self.at..])?;
        self.at += length;
        Ok(value)
    }

    fn zigzag(&mut self) -> Result<i64, Broken> {
        self.varint().map(super::unzigzag)
    }

    fn fields(&mut self, depth: usize) -> Result<Thrift, Broken> {
        if depth > DEEPEST {
            return Err(Broken::Metadata("nests too deep"));
        }
        let mut fields = Vec::new();
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Thrift::Struct(fields));
            }
            id = match head >> 4 {
                0 => self.zigzag()? as i16,
                delta => id.wrapping_add(delta.into()),
            };
            let value = match head & 0x0f {
                1 => Thrift::Bool(true),
                2 => Thrift::Bool(false),
                kind => self.value(kind, depth)?,
            };
            fields.push((id, value));
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Thrift, Broken> {
        match kind {
            // In a list a truth value is a byte.
            1 | 2 => self.byte().map(|byte| Thrift::Bool(byte == 1)),
            3 => self.byte().map(|byte| Thrift::Integer(i64::from(byte as i8))),
            4..=6 => self.zigzag().map(Thrift::Integer),
            7 => self.skip(8).map(|()| Thrift::Other),
            8 => {
                let length = self.varint()?;
                let start = self.at;
                self.skip(length)?;
                Ok(Thrift::Binary(self.bytes[start..self.at].to_vec()))
            }
            9 | 10 => self.list(depth),
            11 => self.map(depth),
            12 => self.fields(depth + 1),
            _ => Err(Broken::Metadata("has a field of an unknown type")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Thrift, Broken> {
        let head = self.byte()?;
        let length = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        self.check_count(length)?;
        let items = (0..length).map(|_| self.value(head & 0x0f, depth + 1)).collect::<Result<_, _>>();
        items.map(Thrift::List)
    }

    fn map(&mut self, depth: usize) -> Result<Thrift, Broken> {
        let length = self.varint()?;
        self.check_count(length)?;
        if length > 0 {
            let kinds = self.byte()?;
            for _ in 0..length {
                self.value(kinds >> 4, depth + 1)?;
                self.value(kinds & 0x0f, depth + 1)?;
            }
        }
        Ok(Thrift::Other)
    }

    /// Every item takes a byte at least.
    fn check_count(&self, count: u64) -> Result<(), Broken> {
        if count > (self.bytes.len() - self.at) as u64 { Err(Broken::EndsEarly) } else { Ok(()) }
    }

    fn skip(&mut self, length: u64) -> Result<(), Broken> {
        self.check_count(length)?;
        self.at += length as usize;
        Ok(())
    }
}
