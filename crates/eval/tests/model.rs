//! A real decoder sits an exam: small random weights, so the score means nothing, but every step is the real one.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use medley_chat::ChatTokenizer;
use medley_eval::{EvalError, ExamReport, ModelSolver, Papers, PromptTemplate, Sitting, fit_context, load_papers, sit};
use medley_mixture::SourcePart;
use medley_model::{Decoder, DeviceRequest, device};
use medley_recipe::{AnswerForm, Book, ExamSpec};
use serde_json::json;

const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + \
                             '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' \
                             }}{% endif %}";

/// Papers of two exams, their passages of very different lengths.
fn write_papers(folder: &Path) {
    let mut lines = String::new();
    for number in 0..11_usize {
        let passage = format!("药{number}归肝经。").repeat(1 + 5 * (number % 4));
        let item = json!({
            "id": format!("item-{number}"), "exam": if number % 2 == 0 { "nursing" } else { "physician" },
            "kind": "single", "question": format!("药{number}归何经？"), "options": ["脾经", "肝经", "心经"],
            "answer": ["B"], "passages": [passage],
        });
        lines += &format!("{item}\n");
    }
    std::fs::write(folder.join("papers.jsonl"), lines).expect("written");
}

/// A tokenizer of one token a character.
fn write_tokenizer(folder: &Path) -> usize {
    let template = include_str!("../templates/zh.txt.jinja");
    let papers = std::fs::read_to_string(folder.join("papers.jsonl")).expect("written before");
    let letters: BTreeSet<char> =
        (template.to_owned() + &papers + CHAT_TEMPLATE + "system user assistant\n").chars().collect();
    let mut words = vec!["<unk>".to_owned(), "<|im_start|>".to_owned(), "<|im_end|>".to_owned()];
    words.extend(letters.into_iter().map(String::from));
    let vocabulary: serde_json::Map<_, _> =
        words.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect();
    let special = |id: usize, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<|im_start|>"), special(2, "<|im_end|>")],
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": false},
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    });
    let config = json!({"chat_template": CHAT_TEMPLATE, "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"});
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("written");
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).expect("written");
    words.len()
}

fn write_init(folder: &Path, vocab_size: usize, context: usize) {
    let config = json!({
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "vocab_size": vocab_size,
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": context, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "medley_init": {"std": 0.5},
    });
    std::fs::write(folder.join("init.json"), config.to_string()).expect("written");
}

fn spec(batch_size: usize, answer: AnswerForm) -> ExamSpec {
    ExamSpec {
        papers: Vec::new(),
        prompt: "zh".to_owned(),
        answer,
        books: vec![Book::Open, Book::Closed],
        max_prompt_tokens: 4096,
        max_new_tokens: 6,
        batch_size,
        keep_prompts: false,
    }
}

fn paper(path: &str) -> SourcePart {
    SourcePart { path: path.to_owned(), ..SourcePart::default() }
}

struct Candidate {
    model: Decoder,
    tokenizer: ChatTokenizer,
}

impl Candidate {
    fn new(folder: &Path) -> Self {
        let device = device::select(DeviceRequest::Cpu).expect("there is a CPU").device;
        let model = Decoder::init_from_file(&folder.join("init.json"), 7, &device, DType::F32).expect("fresh weights");
        let tokenizer = ChatTokenizer::from_dir(folder).expect("a tokenizer");
        Self { model, tokenizer }
    }

    fn sit(&self, papers: &Papers, spec: &ExamSpec, limit: Option<usize>, out: &Path) -> ExamReport {
        self.try_sit(papers, spec, limit, out).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_sit(
        &self,
        papers: &Papers,
        spec: &ExamSpec,
        limit: Option<usize>,
        out: &Path,
    ) -> Result<ExamReport, EvalError> {
        let spec = fit_context(spec, self.model.config.max_position_embeddings).expect("there is room");
        let template = PromptTemplate::load("zh", Path::new(".")).expect("built in");
        let sitting = Sitting {
            papers,
            spec: &spec,
            template: &template,
            codec: &self.tokenizer,
            model: "random".to_owned(),
            model_hash: "random".to_owned(),
            device: "cpu".to_owned(),
            exchange_passages: false,
            limit,
            progress: &|_, _, _| {},
        };
        sit(&mut ModelSolver::new(&self.model, &self.tokenizer), &sitting, out)
    }
}

fn answers(out: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(out.join("open").join("answers.jsonl")).expect("answers");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn answers_do_not_depend_on_the_batch() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    write_papers(path);
    let words = write_tokenizer(path);
    // A context in which the longest passages do not fit; more rows than tokens, as Qwen has.
    write_init(path, words + 9, 180);
    let candidate = Candidate::new(path);
    let papers = load_papers(&[paper("papers.jsonl")], path, None).expect("good papers");
    let alone = candidate.sit(&papers, &spec(1, AnswerForm::Letter), None, &path.join("alone"));
    let batched = candidate.sit(&papers, &spec(4, AnswerForm::Letter), None, &path.join("batched"));
    assert_eq!(alone, batched);
    assert_eq!(answers(&path.join("alone")), answers(&path.join("batched")));
    let open = alone.book(Book::Open).expect("asked");
    assert!(open.truncated_prompts > 0 && open.truncated_prompts < 11, "{}", open.truncated_prompts);
    assert_eq!(alone.book(Book::Closed).expect("asked").truncated_prompts, 0);
    assert_eq!(alone.inputs.max_prompt_tokens, 174);
    let different: BTreeSet<String> = answers(&path.join("alone"))
        .iter()
        .skip(1)
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|record| record.get("answer").and_then(|answer| answer.as_str()).map(str::to_owned))
        .collect();
    assert!(different.len() > 1, "a model that answers every prompt alike proves nothing: {different:?}");
}

#[test]
fn an_exam_on_a_model_with_logits_that_are_not_finite_writes_no_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    write_papers(path);
    let words = write_tokenizer(path);
    write_init(path, words, 180);
    let mut candidate = Candidate::new(path);
    // Finite weights whose products overflow.
    let down = &mut candidate.model.layers[0].mlp.down_proj.weight;
    *down = down.clone().mul_scalar(1e38);
    let papers = load_papers(&[paper("papers.jsonl")], path, None).expect("good papers");
    let out = path.join("exam");
    let error = candidate.try_sit(&papers, &spec(4, AnswerForm::Letter), None, &out).expect_err("nothing to grade");
    assert!(error.to_string().contains("its logits are not finite"), "{error}");
    assert!(!out.join("report.json").exists());
}

#[test]
fn real_items_with_the_real_tokenizer() {
    let Some(data) = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from) else {
        eprintln!("SKIPPED: set MEDLEY_TEST_DATA to the folder of real data to run this test");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let source = data.join("tokenizers").join("qwen1.5");
    let packed = std::fs::File::open(source.join("tokenizer.json.gz")).expect("the tokenizer");
    let mut tokenizer = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut tokenizer).expect("unpacked");
    std::fs::write(path.join("tokenizer.json"), tokenizer).expect("written");
    std::fs::copy(source.join("tokenizer_config.json"), path.join("tokenizer_config.json")).expect("copied");
    write_init(path, 151_936, 2048);
    let candidate = Candidate::new(path);
    let papers = load_papers(&[paper("exams/cmb_exam_labelled.jsonl.gz")], &data, None).expect("real items");
    let report = candidate.sit(&papers, &spec(3, AnswerForm::Letter), Some(6), &path.join("exam"));
    let exams: Vec<&str> = report.guess.exams.iter().map(|exam| exam.exam.as_str()).collect();
    assert_eq!(exams, medley_run::report::EXAMS);
    assert_eq!(report.inputs.papers[0].items, 1158);
    assert!(report.guess.average.value > 0.0 && report.guess.average.value < 0.25);
    assert_eq!(report.books.len(), 2);
}
