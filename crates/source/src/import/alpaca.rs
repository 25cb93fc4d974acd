//! Alpaca's layout, or the columns that the recipe names: instruction, input, output, and earlier turns in `history`.

use medley_mixture::spec::Columns;
use medley_reader::Problem;

use super::columns::Column;
use super::conversation::{Parts, earlier_turns};
use super::fields::{Fields, Names};
use super::{ColumnMask, marks};

const INSTRUCTION: usize = 0;
const OUTPUT: usize = 1;
const HISTORY: usize = 4;

/// The columns by the indices above; instruction, output, input and system are the texts.
pub(super) fn columns(columns: &Columns, names: &mut Names) -> Vec<Column> {
    let mut column = |name: &Option<String>, default, always| Column::new(name.as_deref(), default, always, names);
    vec![
        column(&columns.instruction, "instruction", true),
        column(&columns.output, "output", true),
        column(&columns.input, "input", false),
        column(&columns.system, "system", false),
        column(&columns.history, "history", false),
    ]
}

/// The columns of a table by column, whose questions and answers are lists of the same length; `None` for other records.
pub(super) fn by_column(fields: &Fields, columns: &[Column]) -> Option<ColumnMask> {
    let (question, answer) = (columns[INSTRUCTION].value(fields)?, columns[OUTPUT].value(fields)?);
    marks::is_by_column(question, answer).then_some(1 << INSTRUCTION | 1 << OUTPUT)
}

/// Reads the parts; `None` where a column is missing that must be there.
pub(super) fn parts(fields: &Fields, columns: &[Column]) -> Result<(Option<Parts>, ColumnMask), Problem> {
    let mut seen = 0;
    let mut history = Vec::new();
    if let Some(value) = columns[HISTORY].value(fields) {
        seen |= 1 << HISTORY;
        history = earlier_turns(value, columns[HISTORY].name())?;
    }
    let mut texts = [const { String::new() }; 4];
    for (index, text) in texts.iter_mut().enumerate() {
        if let Some(found) = columns[index].text(fields) {
            seen |= 1 << index;
            *text = found?;
        }
    }
    let required = 1 << INSTRUCTION | 1 << OUTPUT;
    let [instruction, output, input, system] = texts;
    let parts = Parts { system, history, instruction, input, output };
    Ok(((seen & required == required).then_some(parts), seen))
}
