//! CSV as RFC 4180 has it: quoted fields may hold commas, line breaks and doubled quotes.

/// The rows of a table that are not empty, with the line each begins at. `Err` is the line of a quoted field that has no
/// end or is followed by text.
pub(crate) fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let (mut line, mut start) = (1, 1);
    let mut rest = text;
    while !rest.is_empty() {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).ok_or(line)?,
            None => {
                let end = rest.find([',', '\r', '\n']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        line += field.matches('\n').count();
        row.push(field);
        if let Some(next) = after.strip_prefix(',') {
            rest = next;
            if rest.is_empty() {
                row.push(String::new());
            }
            continue;
        }
        // "\r\n" and "\n" end a row; a lone "\r" does as well.
        let next = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\r', '\n']));
        rest = next.or_else(|| after.is_empty().then_some("")).ok_or(line)?;
        line += 1;
        push_row(&mut rows, start, &mut row);
        start = line;
    }
    push_row(&mut rows, start, &mut row);
    Ok(rows)
}

/// A field up to its closing quote, and what follows the quote.
fn quoted_field(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}

fn push_row(rows: &mut Vec<(usize, Vec<String>)>, start: usize, row: &mut Vec<String>) {
    let row = std::mem::take(row);
    if row.iter().any(|field| !field.is_empty()) {
        rows.push((start, row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Vec<(usize, Vec<String>)> {
        rows(text).expect("a table")
    }

    fn row(line: usize, fields: &[&str]) -> (usize, Vec<String>) {
        (line, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn quotes_line_breaks_and_empty_fields() {
        assert_eq!(
            plain("a,b\r\n\"x, \"\"y\"\"\n二\",\n\n,z"),
            [row(1, &["a", "b"]), row(2, &["x, \"y\"\n二", ""]), row(5, &["", "z"])]
        );
        assert_eq!(plain("a,b,"), [row(1, &["a", "b", ""])]);
        assert_eq!(plain("\"a\"\n"), [row(1, &["a"])]);
        assert_eq!(plain(""), []);
    }

    #[test]
    fn unfinished_quotes_are_told_by_line() {
        assert_eq!(rows("a\n\"b"), Err(2));
        assert_eq!(rows("a\n\"b\"c,d"), Err(2));
    }
}
