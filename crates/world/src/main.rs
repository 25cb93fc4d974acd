//! Makes the invented world of the quickstart.
//!
//! `make-world --out data` writes what the repository ships: three pools of training data and six exams.
//! `make-world --base-corpus DIR` writes what the base model is made of: the stages of its corpus, its configuration
//! and its tokenizer. `make-world --bench-pools DIR` writes five million records for the benchmark of the mixer. The same
//! seed always gives the same bytes.

mod bench_pools;
mod corpus;
mod exams;
mod knowledge;
mod lexicon;
mod pools;
mod random;
mod reading;
mod readme;
mod tokenizer;
mod world;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};

use lexicon::Pool;
use reading::Turn;
use world::{Names, World};

/// Makes the invented world of the quickstart.
#[derive(Parser)]
struct Args {
    /// Write the training pools and the exams into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write the base model's corpus, configuration and tokenizer into this folder.
    #[arg(long)]
    base_corpus: Option<PathBuf>,
    /// Write pools for the benchmark of the mixer into this folder.
    #[arg(long)]
    bench_pools: Option<PathBuf>,
    /// Records of the pools for the benchmark, some 600 bytes each.
    #[arg(long, default_value_t = 5_000_000)]
    records: usize,
    /// Another seed is another world.
    #[arg(long, default_value_t = 20_240_611)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.out.is_none() && args.base_corpus.is_none() && args.bench_pools.is_none() {
        eprintln!("nothing to do: give --out DIR, --base-corpus DIR, --bench-pools DIR or several of them");
        return ExitCode::FAILURE;
    }
    match write_all(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_all(args: &Args) -> io::Result<()> {
    let names = Names::new(args.seed);
    let world = World::new(args.seed, &names);
    args.out.iter().try_for_each(|folder| write_data(folder, args.seed, &names, &world))?;
    args.base_corpus.iter().try_for_each(|folder| write_corpus(folder, args.seed, &names, &world))?;
    args.bench_pools.iter().try_for_each(|folder| bench_pools::write(folder, args.seed, args.records))
}

fn write_data(folder: &Path, seed: u64, names: &Names, world: &World) -> io::Result<()> {
    let alpaca = |turns: Vec<Turn>| {
        turns.into_iter().map(|turn| json!({"instruction": turn.user, "input": "", "output": turn.assistant})).collect()
    };
    write_lines(&folder.join("general/instructions.jsonl"), alpaca(pools::general(seed, names)))?;
    write_lines(&folder.join("tcm/questions.jsonl"), alpaca(pools::medical(seed, Pool::Tcm, world)))?;
    write_lines(&folder.join("western/questions.jsonl"), alpaca(pools::medical(seed, Pool::Western, world)))?;
    write(&folder.join("README.md"), &readme::readme(seed, world))?;
    write(&folder.join("exams/prompt.jinja"), &exams::prompt_template())?;
    (0..exams::EXAMS.len()).try_for_each(|exam| {
        let path = folder.join("exams").join(exams::EXAMS[exam].0).with_extension("jsonl");
        write_lines(&path, exams::items(seed, exam, names, world))
    })
}

fn write_corpus(folder: &Path, seed: u64, names: &Names, world: &World) -> io::Result<()> {
    for (number, (name, _)) in corpus::STAGES.iter().enumerate() {
        let chats = corpus::stage(seed, number, names, world);
        let lines = chats.iter().map(|turns| json!({"messages": messages(turns)})).collect();
        write_lines(&folder.join(name).with_extension("jsonl"), lines)?;
    }
    write_json(&folder.join("init/config.json"), &tokenizer::model_config())?;
    write_json(&folder.join("init/tokenizer.json"), &tokenizer::tokenizer())?;
    write_json(&folder.join("init/tokenizer_config.json"), &tokenizer::tokenizer_config())?;
    write_json(&folder.join("init/generation_config.json"), &tokenizer::generation_config())
}

fn messages(turns: &[Turn]) -> Vec<Value> {
    let both = |turn: &Turn| {
        [json!({"role": "user", "content": turn.user}), json!({"role": "assistant", "content": turn.assistant})]
    };
    turns.iter().flat_map(both).collect()
}

fn write_lines(path: &Path, records: Vec<Value>) -> io::Result<()> {
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    write(path, &text)
}

fn write_json(path: &Path, value: &Value) -> io::Result<()> {
    write(path, &format!("{value:#}\n"))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use medley_chat::{ChatTokenizer, Message, Role};

    const SEED: u64 = 20_240_611;

    fn made() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names = Names::new(SEED);
        let world = World::new(SEED, &names);
        write_data(&folder.path().join("data"), SEED, &names, &world).expect("written");
        write_corpus(&folder.path().join("base"), SEED, &names, &world).expect("written");
        folder
    }

    #[test]
    fn the_repository_ships_what_the_generator_writes() {
        let folder = made();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
        let exams = exams::EXAMS.iter().map(|(file, _, _)| format!("exams/{file}.jsonl"));
        let others = ["README.md", "general/instructions.jsonl", "tcm/questions.jsonl", "western/questions.jsonl"];
        for file in exams.chain(others.map(str::to_owned)).chain(["exams/prompt.jinja".to_owned()]) {
            let wanted = fs::read_to_string(folder.path().join("data").join(&file)).expect("made");
            let found = fs::read_to_string(shipped.join(&file)).unwrap_or_default();
            assert!(wanted == found, "data/{file} is not what `make-world --out data` writes: run it");
        }
    }

    #[test]
    fn the_tokenizer_knows_every_word_and_gives_the_text_back() {
        let folder = made();
        let tokenizer = ChatTokenizer::from_dir(&folder.path().join("base/init")).expect("a tokenizer");
        assert_eq!(tokenizer.vocab_size(), tokenizer::tokens().len());
        let files = ["general/instructions.jsonl", "tcm/questions.jsonl", "western/questions.jsonl"];
        for file in files {
            let text = fs::read_to_string(folder.path().join("data").join(file)).expect("made");
            for line in text.lines() {
                let record: Value = serde_json::from_str(line).expect("JSON");
                let messages = [(Role::User, "instruction"), (Role::Assistant, "output")]
                    .map(|(role, key)| Message::new(role, record[key].as_str().expect("text")));
                let sample = tokenizer.encode_sample(&messages, 256).expect("fits");
                assert!(!sample.input_ids.contains(&0), "a word is unknown: {line}");
                let back = tokenizer.decode_with_special_tokens(&sample.input_ids);
                assert_eq!(back, tokenizer.render(&messages, false).expect("renders"));
            }
        }
        assert_eq!(tokenizer.decode(&tokenizer.encode("芷澜x归入肝经").expect("encodes")), "芷澜归入肝经");
    }
}
