//! The fields of a record that somebody asks for; the rest is checked but not built.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use medley_reader::{Problem, RawRecord, without_nan};

/// The names of fields that are looked at, each with its index.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    /// Indices of the names of each length.
    by_length: Vec<Vec<usize>>,
    /// Capitals make no difference.
    any_case: bool,
}

impl Names {
    /// Names that are found in capitals too.
    pub fn in_any_case(names: &[&str]) -> Self {
        let mut wanted = Self { any_case: true, ..Self::default() };
        for name in names {
            wanted.add(name);
        }
        wanted
    }

    /// Names that are added from now on share the last bit of [`Fields::mask`].
    pub fn share_last_bit(&mut self) {
        self.names.resize(self.names.len().max(LAST_BIT), String::new());
    }

    /// The index of `name`, which is wanted from now on.
    pub fn add(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.iter().position(|known| known == name) {
            return index;
        }
        let index = self.names.len();
        self.names.push(name.to_owned());
        self.by_length.resize_with(self.by_length.len().max(name.len() + 1), Vec::new);
        self.by_length[name.len()].push(index);
        index
    }

    /// The index of `name` if it is wanted.
    pub fn find(&self, name: &str) -> Option<usize> {
        let same = |index: &&usize| {
            let wanted = &self.names[**index];
            wanted == name || (self.any_case && wanted.eq_ignore_ascii_case(name))
        };
        self.by_length.get(name.len())?.iter().find(same).copied()
    }
}

/// Bit of the mask that all further fields share.
pub(super) const LAST_BIT: usize = 127;

/// A record's wanted fields.
#[derive(Debug, Default)]
pub(super) struct Fields {
    values: Vec<(usize, Value)>,
    /// Bits by index; all from 127 on share the last.
    pub mask: u128,
    /// A field that stands in the record twice.
    twice: Option<usize>,
}

impl Fields {
    /// The wanted fields of a record. The rest of it is checked to be JSON.
    pub fn read(record: RawRecord<'_>, names: &Names) -> Result<Self, Problem> {
        let fields = match record {
            RawRecord::Json(bytes) => {
                let text = text(bytes)?;
                let again = |error| without_nan(text).map_or(Err(error), |text| parse(&text, names));
                parse(text, names).or_else(again).map_err(|error| invalid(&error))?
            }
            RawRecord::Row(bytes, table) => {
                let mut fields = Self::default();
                let row = table.fields(bytes)?;
                for (name, text) in table.columns.iter().zip(row) {
                    if let Some(index) = names.find(name) {
                        fields.add(index, Value::String(text.into_owned()));
                    }
                }
                fields
            }
        };
        match fields.twice {
            None => Ok(fields),
            Some(index) => Err(Problem::new(
                format!("`{}` stands in the record twice", names.names[index]),
                "which of the two is meant is not known: rename or remove one",
            )),
        }
    }

    fn add(&mut self, index: usize, value: Value) {
        if self.get(index).is_some() {
            self.twice = Some(index);
        }
        self.mask |= 1u128 << index.min(LAST_BIT);
        self.values.push((index, value));
    }

    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.iter().find(|(known, _)| *known == index).map(|(_, value)| value)
    }
}

/// Every key of a record, in its order, with its value; a table's columns hold texts.
pub(super) fn entries(record: RawRecord<'_>) -> Vec<(String, Value)> {
    match record {
        RawRecord::Row(_, table) => {
            table.columns.iter().map(|name| (name.clone(), Value::String(String::new()))).collect()
        }
        RawRecord::Json(bytes) => {
            let record = serde_json::from_slice::<serde_json::Map<String, Value>>(bytes);
            record.map(|record| record.into_iter().collect()).unwrap_or_default()
        }
    }
}

/// A whole record; of a table, its columns as texts.
pub fn whole(record: RawRecord<'_>) -> Result<Map<String, Value>, Problem> {
    let hint = "which of the two is meant is not known: rename or remove one";
    let mut fields = Map::new();
    let mut twice = None;
    match record {
        RawRecord::Json(bytes) => {
            let text = text(bytes)?;
            let again = |error| without_nan(text).map_or(Err(error), |text| serde_json::from_str::<Pairs>(&text));
            let Pairs(pairs) = serde_json::from_str(text).or_else(again).map_err(|error| invalid(&error))?;
            for (key, value) in pairs {
                if fields.insert(key.clone(), value).is_some() {
                    twice.get_or_insert(key);
                }
            }
        }
        RawRecord::Row(bytes, table) => {
            let row = table.fields(bytes)?;
            let values = row.into_iter().map(|text| Value::String(text.into_owned()));
            fields.extend(table.columns.iter().cloned().zip(values));
        }
    }
    twice.map_or(Ok(fields), |key| Err(Problem::new(format!("`{key}` stands in the record twice"), hint)))
}

/// The fields of an object, in its order, those that stand there twice included.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = object.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    simdutf8::compat::from_utf8(bytes).map_err(|error| medley_reader::not_utf8(bytes, error.valid_up_to()))
}

pub(super) fn invalid(error: &serde_json::Error) -> Problem {
    let hint = if error.is_eof() {
        "the record ends early: the file is truncated, or its objects span lines without being in an array"
    } else if error.is_data() {
        "a record is a JSON object"
    } else {
        "mend the JSON; a source is a JSON array of objects or JSON Lines (one object a line)"
    };
    Problem::new(format!("not valid JSON: {error}"), hint)
}

fn parse(text: &str, names: &Names) -> serde_json::Result<Fields> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = Wanted(names).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(fields)
}

struct Wanted<'a>(&'a Names);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Fields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(index) = object.next_key_seed(Key(self.0))? {
            match index {
                Some(index) => fields.add(index, object.next_value()?),
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// The index of a wanted key.
struct Key<'a>(&'a Names);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.find(key))
    }
}
