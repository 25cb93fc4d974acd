//! The README of the generated data.

use crate::exams::{EXAMS, ITEMS};
use crate::pools::{GENERAL, MEDICAL};
use crate::tokenizer::tokens;
use crate::world::World;

/// `data/README.md`.
pub fn readme(seed: u64, world: &World) -> String {
    let exams: String = EXAMS
        .iter()
        .map(|(file, name, categories)| {
            format!("| `exams/{file}.jsonl` | {ITEMS} | {name}: {} |\n", categories.join("、"))
        })
        .collect();
    format!(
        "# The quickstart's world\n\n\
         Everything here is invented and made by `cargo run --release -p medley-world -- --out data` (seed {seed}, the same \
         bytes on every machine); licence MIT OR Apache-2.0 as the rest of Medley. The names (two rare characters each) \
         stand for nothing. **No sentence of this world is medical advice.**\n\n\
         | file | records | what |\n|---|---|---|\n\
         | `general/instructions.jsonl` | {GENERAL} | Alpaca records in Chinese: questions about a passage, with and without \
         options, lists, copying, turning about; passages speak of people, goods and animals |\n\
         | `tcm/questions.jsonl` | {MEDICAL} | questions about herbs, formulas and acupoints, answered from memory |\n\
         | `western/questions.jsonl` | {MEDICAL} | questions about drugs, diseases and tests, answered from memory |\n\
         {exams}\
         | `exams/prompt.jinja` | | the exams' prompt |\n\
         | `base/` | | the base model: Qwen2 architecture, {} tokens, made by `just base-model` (recipes/base); transformers 5 reads its \
         tokenizer with `PreTrainedTokenizerFast` |\n\n\
         The two medical pools teach {} facts about {} entities, each in several wordings; the base model has heard half of \
         them. An exam item has five options, its answer stands in its two passages, and so do at least two of the wrong \
         options, said of other names. The letters of the answers are balanced. Three items in five ask about names that \
         stand in no training record. Two in five ask about entities that the pools teach, and their passages say something \
         else: `lure` is the letter of what the pools teach. No record of the pools uses an exam's wording of a question.\n",
        tokens().len(),
        world.entities.len() * 3,
        world.entities.len(),
    )
}
