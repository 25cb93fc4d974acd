//! The fields of a record that an importer reads. Values of other fields are checked to be JSON, and not built.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use medley_reader::{Problem, RawRecord, without_nan};

/// Names of the fields that an importer reads, each with its index.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    /// Indices of the names in each bucket (see [`bucket`]), in the order in which they were added.
    buckets: Vec<Vec<usize>>,
    /// Names are compared case-insensitively.
    any_case: bool,
}

/// Last bytes that a bucket distinguishes: the low five bits, equal for a letter's two cases.
const LAST_BYTES: usize = 32;

/// The bucket of a name, by its length and its last byte. Most of the ~300 names are columns of options (`option_a`, `option_b`,
/// …), which share everything but the last byte: without it, every unknown key of eight letters would be compared with 50 names.
fn bucket(name: &str) -> usize {
    let last = name.as_bytes().last().map_or(0, |byte| usize::from(*byte) % LAST_BYTES);
    name.len() * LAST_BYTES + last
}

impl Names {
    /// Names that are compared case-insensitively.
    pub fn in_any_case(names: &[&str]) -> Self {
        let mut wanted = Self { any_case: true, ..Self::default() };
        for name in names {
            wanted.add(name);
        }
        wanted
    }

    /// All names added after this call share the last bit of [`Fields::mask`].
    pub fn share_last_bit(&mut self) {
        self.names.resize(self.names.len().max(LAST_BIT), String::new());
    }

    /// Adds `name`, unless it is there, and returns its index.
    pub fn add(&mut self, name: &str) -> usize {
        if let Some(index) = self.names.iter().position(|known| known == name) {
            return index;
        }
        let index = self.names.len();
        self.names.push(name.to_owned());
        let bucket = bucket(name);
        self.buckets.resize_with(self.buckets.len().max(bucket + 1), Vec::new);
        self.buckets[bucket].push(index);
        index
    }

    /// The index of `name`; `None` for a field that is not read.
    pub fn find(&self, name: &str) -> Option<usize> {
        let same = |index: &&usize| {
            let wanted = &self.names[**index];
            wanted == name || (self.any_case && wanted.eq_ignore_ascii_case(name))
        };
        self.buckets.get(bucket(name))?.iter().find(same).copied()
    }
}

/// Bit of the mask for all fields with an index of 127 or more.
pub(super) const LAST_BIT: usize = 127;

/// The fields of a record that have one of the names.
#[derive(Debug, Default)]
pub(super) struct Fields {
    values: Vec<(usize, Value)>,
    /// A bit for each index; those from [`LAST_BIT`] on share one.
    pub mask: u128,
    /// The last field that the record has more than once.
    repeated: Option<usize>,
    /// A key that an object inside a field has more than once.
    repeated_inside: Option<String>,
}

impl Fields {
    /// Reads the fields with one of `names`.
    pub fn read(record: RawRecord<'_>, names: &Names) -> Result<Self, Problem> {
        let fields = Self::parse(record, names)?;
        fields.repeated.map_or(Ok(()), |index| Err(repeated_key(&names.names[index])))?;
        fields.repeated_inside.as_deref().map_or(Ok(()), |key| Err(repeated_inside(key)))?;
        Ok(fields)
    }

    /// Like [`Fields::read`], for a record that may have a field more than once (see [`Fields::has_repeated_key`]).
    pub fn parse(record: RawRecord<'_>, names: &Names) -> Result<Self, Problem> {
        Ok(match record {
            RawRecord::Json(bytes) => deserialized(bytes, |text| parse(text, names))?,
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
        })
    }

    /// Whether the record has one of the fields more than once.
    pub fn has_repeated_key(&self) -> bool {
        self.repeated.is_some() || self.repeated_inside.is_some()
    }

    fn add(&mut self, index: usize, value: Value) {
        if self.get(index).is_some() {
            self.repeated = Some(index);
        }
        self.mask |= 1u128 << index.min(LAST_BIT);
        self.values.push((index, value));
    }

    pub fn get(&self, index: usize) -> Option<&Value> {
        self.values.iter().find(|(known, _)| *known == index).map(|(_, value)| value)
    }
}

/// All keys of a record with their values, in the record's order, for hints: empty for invalid JSON, and without the texts of a
/// table's row.
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

/// All fields of a record, in its order; those of a table are texts.
pub fn all_fields(record: RawRecord<'_>) -> Result<Map<String, Value>, Problem> {
    let mut fields = Map::new();
    match record {
        RawRecord::Json(bytes) => {
            let Pairs { pairs, repeated_inside: inside } = deserialized(bytes, |text| serde_json::from_str(text))?;
            for (key, value) in pairs {
                if fields.contains_key(&key) {
                    return Err(repeated_key(&key));
                }
                fields.insert(key, value);
            }
            inside.as_deref().map_or(Ok(()), |key| Err(repeated_inside(key)))?;
        }
        RawRecord::Row(bytes, table) => {
            let row = table.fields(bytes)?;
            let values = row.into_iter().map(|text| Value::String(text.into_owned()));
            fields.extend(table.columns.iter().cloned().zip(values));
        }
    }
    Ok(fields)
}

/// A record with two values under one key.
fn repeated_key(key: &str) -> Problem {
    let hint = "which of the two is meant is not known: rename or remove one";
    Problem::new(format!("`{key}` appears twice in the record"), hint)
}

/// A record with an object inside that has two values under one key.
fn repeated_inside(key: &str) -> Problem {
    let hint = "which of the two is meant is not known: rename or remove one";
    Problem::new(format!("`{key}` appears twice in one object of the record"), hint)
}

/// Parses a record, and a second time with `null` for Python's `NaN` and `Infinity` where that fails.
fn deserialized<T>(bytes: &[u8], parse: impl Fn(&str) -> serde_json::Result<T>) -> Result<T, Problem> {
    let text = text(bytes)?;
    let again = |error| without_nan(text).map_or(Err(error), |text| parse(&text));
    parse(text).or_else(again).map_err(|error| invalid(&error))
}

/// A JSON value of which objects keep the last of repeated keys, one of which is put into the slot.
struct Recording<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Recording<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Recording<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Recording(self.0))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            let value = object.next_value_seed(Recording(self.0))?;
            match fields.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    *self.0 = Some(entry.key().clone());
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

/// The fields of an object in its order, repeated keys included.
#[derive(Default)]
struct Pairs {
    pairs: Vec<(String, Value)>,
    /// A key that an object inside a field has more than once.
    repeated_inside: Option<String>,
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Pairs, A::Error> {
                let mut fields = Pairs::default();
                while let Some(key) = object.next_key()? {
                    fields.pairs.push((key, object.next_value_seed(Recording(&mut fields.repeated_inside))?));
                }
                Ok(fields)
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
                Some(index) => {
                    let value = object.next_value_seed(Recording(&mut fields.repeated_inside))?;
                    fields.add(index, value);
                }
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// Deserializes a key to its index; `None` for one that is not read.
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
