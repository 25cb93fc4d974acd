//! A Parquet file's columns: the schema's tree and its leaves.

use super::Broken;
use super::thrift::Thrift;

/// How a leaf's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Boolean,
    Int32,
    Int64,
    Float,
    Double,
    Bytes,
    /// Of this many bytes; 96-bit times are 12.
    Fixed(usize),
}

/// What a leaf's values mean, as far as JSON can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Plain,
    Text,
    Unsigned,
    /// Digits after the point.
    Decimal(u32),
}

/// A column that holds values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Names from the root, joined by dots.
    pub path: String,
    pub physical: Physical,
    pub meaning: Meaning,
    /// Definition level of a value that is there.
    pub defined: u32,
    /// Repetition level of the innermost list.
    pub repeated: u32,
}

/// A node of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub name: String,
    pub kind: Kind,
    /// Definition level at which it is there; for a list, at which it has an element.
    pub defined: u32,
    /// For a list, the repetition level of its further elements.
    pub repeated: u32,
    /// Its leaves, by their indices.
    pub leaves: std::ops::Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Leaf,
    Fields(Vec<Node>),
    /// Any number of the node inside.
    List(Box<Node>),
    /// A list in the layout that wraps it in a group of its own.
    WrappedList(Box<Node>),
}

const DEEPEST: u32 = 32;

/// The root's columns and all leaves of the schema in a file's metadata.
pub(super) fn read(elements: &[Thrift]) -> Result<(Vec<Node>, Vec<Leaf>), Broken> {
    let mut builder = Builder { elements, at: 1, leaves: Vec::new() };
    let root = elements.first().ok_or(Broken::Metadata("has no schema"))?;
    let count = root.length(5).unwrap_or_default();
    let columns = builder.children(count, "", Levels { defined: 0, repeated: 0, depth: 0 })?;
    Ok((columns, builder.leaves))
}

#[derive(Clone, Copy)]
struct Levels {
    defined: u32,
    repeated: u32,
    depth: u32,
}

struct Builder<'a> {
    elements: &'a [Thrift],
    at: usize,
    leaves: Vec<Leaf>,
}

impl Builder<'_> {
    fn children(&mut self, count: u64, path: &str, levels: Levels) -> Result<Vec<Node>, Broken> {
        if count > (self.elements.len() - self.at) as u64 || levels.depth > DEEPEST {
            return Err(Broken::Metadata("has a broken schema"));
        }
        (0..count).map(|_| self.node(path, levels)).collect()
    }

    fn node(&mut self, parent: &str, levels: Levels) -> Result<Node, Broken> {
        let element = self.elements.get(self.at).ok_or(Broken::Metadata("has a broken schema"))?;
        self.at += 1;
        let name = element.text(4).ok_or(Broken::Metadata("has a column without a name"))?.to_owned();
        let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
        let repetition = element.integer(3).unwrap_or_default();
        let levels = Levels {
            defined: levels.defined + u32::from(repetition != 0),
            repeated: levels.repeated + u32::from(repetition == 2),
            depth: levels.depth + 1,
        };
        let start = self.leaves.len();
        let kind = match element.length(5).filter(|count| *count > 0) {
            None => {
                let leaf = leaf(element, path, levels)?;
                self.leaves.push(leaf);
                Kind::Leaf
            }
            Some(count) => {
                let children = self.children(count, &path, levels)?;
                let is_list =
                    element.integer(6) == Some(3) || element.field(10).is_some_and(|kind| kind.field(3).is_some());
                group(children, is_list)
            }
        };
        let Levels { defined, repeated, .. } = levels;
        let node = Node { name, kind, defined, repeated, leaves: start..self.leaves.len() };
        if repetition == 2 {
            let (name, leaves) = (node.name.clone(), node.leaves.clone());
            return Ok(Node { name, kind: Kind::List(Box::new(node)), defined, repeated, leaves });
        }
        Ok(node)
    }
}

/// A group's kind. A group marked as a list wraps a repeated group that wraps (or, in old files, is) the element.
fn group(mut children: Vec<Node>, is_list: bool) -> Kind {
    let wraps = is_list && children.len() == 1 && matches!(children[0].kind, Kind::List(_));
    match children.pop() {
        Some(list) if wraps => Kind::WrappedList(Box::new(list)),
        last => {
            children.extend(last);
            Kind::Fields(children)
        }
    }
}

fn leaf(element: &Thrift, path: String, levels: Levels) -> Result<Leaf, Broken> {
    let width = element.length(2).unwrap_or_default() as usize;
    let physical = match element.integer(1) {
        Some(0) => Physical::Boolean,
        Some(1) => Physical::Int32,
        Some(2) => Physical::Int64,
        Some(3) => Physical::Fixed(12),
        Some(4) => Physical::Float,
        Some(5) => Physical::Double,
        Some(6) => Physical::Bytes,
        Some(7) if width <= 1 << 16 => Physical::Fixed(width),
        _ => return Err(Broken::Metadata("has a column of an unknown type")),
    };
    let logical = |id: i16| element.field(10).is_some_and(|kind| kind.field(id).is_some());
    let meaning = match element.integer(6) {
        Some(0 | 4 | 19) => Meaning::Text,
        Some(5) => Meaning::Decimal(element.length(7).unwrap_or_default().min(64) as u32),
        Some(11..=14) => Meaning::Unsigned,
        _ if logical(1) || logical(4) || logical(12) => Meaning::Text,
        _ => Meaning::Plain,
    };
    Ok(Leaf { path, physical, meaning, defined: levels.defined, repeated: levels.repeated })
}
