//! Rows as JSON: Dremel's levels become lists, objects and nulls again.

use super::Broken;
use super::pages::{Column, Value};
use super::schema::{Kind, Leaf, Meaning, Node};

/// Writes what the node holds in this row (or in this element of a list).
pub(super) fn node(out: &mut Vec<u8>, node: &Node, columns: &mut [Option<Column>]) -> Result<(), Broken> {
    match &node.kind {
        Kind::Leaf => {
            let (found, leaf) = column(columns, node.leaves.start)?.take()?;
            value(out, found, leaf)
        }
        Kind::List(element) => list(out, node, element, columns),
        _ if level(columns, node)?.1 < node.defined => absent(out, node, columns),
        Kind::WrappedList(list) => wrapped(out, list, columns),
        Kind::Fields(fields) => object(out, fields, columns),
    }
}

fn column(columns: &mut [Option<Column>], index: usize) -> Result<&mut Column, Broken> {
    columns.get_mut(index).and_then(Option::as_mut).ok_or(Broken::EndsEarly)
}

/// The levels of the entry that the node's first leaf stands at.
fn level(columns: &mut [Option<Column>], node: &Node) -> Result<(u32, u32), Broken> {
    column(columns, node.leaves.start)?.peek()?.ok_or(Broken::EndsEarly)
}

/// Null: each leaf below has one entry that says so.
fn absent(out: &mut Vec<u8>, node: &Node, columns: &mut [Option<Column>]) -> Result<(), Broken> {
    skip(node, columns)?;
    out.extend(b"null");
    Ok(())
}

fn skip(node: &Node, columns: &mut [Option<Column>]) -> Result<(), Broken> {
    node.leaves.clone().try_for_each(|leaf| column(columns, leaf)?.take().map(drop))
}

fn object(out: &mut Vec<u8>, fields: &[Node], columns: &mut [Option<Column>]) -> Result<(), Broken> {
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(out, &field.name);
        out.push(b':');
        node(out, field, columns)?;
    }
    out.push(b'}');
    Ok(())
}

/// The elements of a repeated node: the first is there if the entry is defined, further ones begin at its level.
fn list(out: &mut Vec<u8>, list: &Node, element: &Node, columns: &mut [Option<Column>]) -> Result<(), Broken> {
    out.push(b'[');
    if level(columns, list)?.1 < list.defined {
        skip(list, columns)?;
    } else {
        loop {
            node(out, element, columns)?;
            match column(columns, list.leaves.start)?.peek()? {
                Some((repetition, _)) if repetition == list.repeated => out.push(b','),
                _ => break,
            }
        }
    }
    out.push(b']');
    Ok(())
}

/// A list in a group of its own: of three levels (the element inside a group of one field), or of two in old files.
fn wrapped(out: &mut Vec<u8>, repeated: &Node, columns: &mut [Option<Column>]) -> Result<(), Broken> {
    let Kind::List(group) = &repeated.kind else { return Err(Broken::Metadata("has a broken list")) };
    match &group.kind {
        Kind::Fields(fields) if fields.len() == 1 && group.name != "array" && !group.name.ends_with("_tuple") => {
            list(out, repeated, &fields[0], columns)
        }
        _ => list(out, repeated, group, columns),
    }
}

fn value(out: &mut Vec<u8>, value: Option<Value<'_>>, leaf: &Leaf) -> Result<(), Broken> {
    let Some(value) = value else {
        out.extend(b"null");
        return Ok(());
    };
    match (value, leaf.meaning) {
        (Value::Bool(value), _) => out.extend(if value { &b"true"[..] } else { b"false" }),
        (Value::Integer(number), Meaning::Unsigned) => out.extend((number as u64).to_string().bytes()),
        (Value::Integer(number), Meaning::Decimal(scale)) => decimal(out, number, scale),
        (Value::Integer(number), _) => out.extend(number.to_string().bytes()),
        (Value::Float(number), _) => out.extend(serde_json::Value::from(number).to_string().bytes()),
        (Value::Bytes(bytes), meaning) => match std::str::from_utf8(bytes) {
            Ok(found) if !matches!(meaning, Meaning::Decimal(_)) => text(out, found),
            Err(_) if meaning == Meaning::Text => return Err(Broken::Text(leaf.path.clone())),
            // Binary data is no text that could be trained on.
            _ => out.extend(b"null"),
        },
    }
    Ok(())
}

/// A number of `scale` digits after the point.
fn decimal(out: &mut Vec<u8>, number: i64, scale: u32) {
    let scale = scale as usize;
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if number < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    out.extend(format!("{sign}{whole}{point}{fraction}").bytes());
}

/// A JSON string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}
