//! The real Qwen tokenizer and templates, from the directory that `MEDLEY_TEST_DATA` names.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use medley_chat::{ChatError, ChatTokenizer, CutPart, IGNORED, Message, PreviewStyle, Rejection, Role};
use serde_json::Value;

/// The test data, or `None` with a loud word.
fn test_data() -> Option<PathBuf> {
    let path = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: MEDLEY_TEST_DATA is not set, so nothing is checked against the real Qwen tokenizer");
    }
    path
}

/// A model directory with Qwen's `tokenizer.json` and the configuration of `variant`.
fn model_directory(data: &Path, variant: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    let packed = std::fs::File::open(data.join("tokenizers/qwen1.5/tokenizer.json.gz")).expect("tokenizer.json.gz");
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut json).expect("unpacks");
    std::fs::write(directory.path().join("tokenizer.json"), json).expect("writes");
    let config = data.join("tokenizers").join(variant).join("tokenizer_config.json");
    std::fs::copy(config, directory.path().join("tokenizer_config.json")).expect("copies");
    directory
}

/// The tokenizer of the chat models, read once.
fn qwen() -> Option<&'static ChatTokenizer> {
    static QWEN: OnceLock<Option<ChatTokenizer>> = OnceLock::new();
    QWEN.get_or_init(|| {
        let directory = model_directory(&test_data()?, "qwen1.5");
        Some(ChatTokenizer::from_dir(directory.path()).expect("the real tokenizer loads"))
    })
    .as_ref()
}

fn golden() -> Value {
    let path = test_data().expect("checked before").join("tokenizers/qwen1.5/golden_encodings.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("reads")).expect("is JSON")
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("a list of ids")
}

fn user(text: &str) -> Message {
    Message::new(Role::User, text)
}

fn assistant(text: &str) -> Message {
    Message::new(Role::Assistant, text)
}

const IM_END: u32 = 151_645;

#[test]
fn encodings_and_chats_are_those_of_hugging_face() {
    let Some(qwen) = qwen() else { return };
    let golden = golden();
    let encodings = golden["encodings"].as_array().expect("list");
    assert_eq!(encodings.len(), 29);
    for case in encodings {
        let text = case["text"].as_str().expect("text");
        let found = qwen.encode(text).expect("encodes");
        assert_eq!(found, ids(&case["ids"]), "{text:?}");
        assert_eq!(qwen.decode_with_special_tokens(&found), case["decoded"].as_str().expect("decoded"), "{text:?}");
    }
    let chats = golden["chat"].as_array().expect("list");
    assert_eq!(chats.len(), 6);
    for case in chats {
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).expect("messages");
        let prompt = case["add_generation_prompt"] == true;
        let text = qwen.render(&messages, prompt).expect("renders");
        assert_eq!(text, case["text"].as_str().expect("text"));
        let found = if prompt { qwen.encode_prompt(&messages) } else { qwen.encode(&text) };
        assert_eq!(found.expect("encodes"), ids(&case["ids"]), "{text:?}");
    }
}

#[test]
fn the_vocabulary_is_smaller_than_the_embedding_and_decoding_survives_the_rest() {
    let Some(qwen) = qwen() else { return };
    assert_eq!(qwen.vocab_size(), 151_646);
    assert_eq!(qwen.end_of_turn(), [IM_END]);
    assert_eq!(qwen.pad(), 151_643);
    assert_eq!(qwen.decode(&[108_386, 151_646, 151_935, u32::MAX, 99_489, IM_END]), "你好世界");
    assert_eq!(qwen.decode(&[145_233, 378]), "👩\u{fffd}", "half a character is not an error");
    qwen.check_vocabulary(151_936).expect("spare rows are normal");
    let error = qwen.check_vocabulary(151_645).expect_err("one row short").to_string();
    assert!(error.contains("151646") && error.contains("151645"), "{error}");
}

/// Every conversation shape with the texts that are supervised in it.
fn conversations() -> Vec<(Vec<Message>, Vec<&'static str>)> {
    vec![
        (vec![user("阴虚证的舌象是？"), assistant("舌红少苔。")], vec!["舌红少苔。<|im_end|>"]),
        (
            vec![
                Message::new(Role::System, "你是一名医生。"),
                user("q"),
                assistant(" a 👩‍⚕️\n"),
                user("r"),
                assistant("b"),
            ],
            vec![" a 👩‍⚕️\n<|im_end|>", "b<|im_end|>"],
        ),
        (vec![user("assistant\n答"), assistant("assistant\n答"), user("丢")], vec!["assistant\n答<|im_end|>"]),
    ]
}

#[test]
fn labels_cover_the_answers_and_their_ends_alone() {
    let Some(qwen) = qwen() else { return };
    for (messages, expected) in conversations() {
        let sample = qwen.encode_sample(&messages, 1000).expect("encodes");
        let last = messages.iter().rposition(|message| message.role == Role::Assistant).expect("answered");
        let text = qwen.render(&messages[..=last], false).expect("renders");
        assert_eq!(sample.input_ids, qwen.encode(&text).expect("encodes"), "ids are those of the plain text");
        let mut runs: Vec<Vec<u32>> = vec![];
        let mut inside = false;
        for (id, label) in sample.input_ids.iter().zip(&sample.labels) {
            if *label == IGNORED {
                inside = false;
                continue;
            }
            assert_eq!(*label, i64::from(*id));
            if !inside {
                runs.push(vec![]);
            }
            inside = true;
            runs.last_mut().expect("pushed").push(*id);
        }
        let texts: Vec<String> = runs.iter().map(|run| qwen.decode_with_special_tokens(run)).collect();
        assert_eq!(texts, expected);
        assert_eq!(sample.supervised_ends, expected.len());
        assert_eq!((sample.truncated_tokens, sample.cuts.len()), (0, 0));
    }
}

#[test]
fn what_precedes_a_label_is_the_generation_prompt() {
    let Some(qwen) = qwen() else { return };
    for (messages, _) in conversations() {
        let sample = qwen.encode_sample(&messages, 1000).expect("encodes");
        let first = sample.labels.iter().position(|label| *label != IGNORED).expect("supervised");
        let answer = messages.iter().position(|message| message.role == Role::Assistant).expect("answered");
        let prompt = qwen.encode_prompt(&messages[..answer]).expect("encodes");
        assert_eq!(sample.input_ids[..first], prompt);
    }
}

#[test]
fn a_derivative_template_is_read_from_its_own_directory() {
    let Some(data) = test_data() else { return };
    let directory = model_directory(&data, "qwen2-1.5b-derivative");
    let tokenizer = ChatTokenizer::from_dir(directory.path()).expect("loads");
    let messages = [user("q"), assistant("a"), user("r"), assistant("b")];
    let system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";
    let expected = format!(
        "{system}<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nr<|im_end|>\n\
         <|im_start|>assistant\nb<|im_end|>\n"
    );
    assert_eq!(tokenizer.render(&messages, false).expect("renders"), expected);
    let sample = tokenizer.encode_sample(&messages, 100).expect("encodes");
    let supervised: Vec<u32> = sample
        .labels
        .iter()
        .filter(|label| **label != IGNORED)
        .filter_map(|label| u32::try_from(*label).ok())
        .collect();
    assert_eq!(tokenizer.decode_with_special_tokens(&supervised), "a<|im_end|>b<|im_end|>");
    let prompt = tokenizer.encode_prompt(&messages[..1]).expect("encodes");
    assert!(tokenizer.decode_with_special_tokens(&prompt).ends_with("<|im_start|>assistant\n"));
}

#[test]
fn a_system_message_is_given_to_those_without_one() {
    let Some(data) = test_data() else { return };
    let directory = model_directory(&data, "qwen1.5");
    let tokenizer =
        ChatTokenizer::from_dir(directory.path()).expect("loads").with_system(Some("你是一名医生。".to_owned()));
    let text = tokenizer.render(&[user("q")], false).expect("renders");
    assert_eq!(text, "<|im_start|>system\n你是一名医生。<|im_end|>\n<|im_start|>user\nq<|im_end|>\n");
    let own = [Message::new(Role::System, "x"), user("q")];
    assert!(!tokenizer.render(&own, false).expect("renders").contains("医生"));
}

/// A passage of `sentences` different sentences.
fn passage(sentences: usize) -> String {
    (0..sentences).map(|number| format!("第{number}段：麻黄发汗解表，桂枝温通经脉。")).collect()
}

#[test]
fn passages_are_cut_first_and_the_question_stays() {
    let Some(qwen) = qwen() else { return };
    let ask = Message::ask("根据材料回答：麻黄有何功效？", &passage(100));
    let messages = [user("早先的问题"), assistant("早先的回答"), ask.clone(), assistant("发汗解表。")];
    let whole = qwen.encode_sample(&messages, 100_000).expect("fits").input_ids.len();
    for limit in [whole - 1, whole / 2, 200] {
        let sample = qwen.encode_sample(&messages, limit).expect("fits");
        assert!(sample.input_ids.len() <= limit);
        assert!(limit - sample.input_ids.len() < 8, "no more is cut than needed: {limit}");
        assert_eq!(sample.truncated_tokens, whole - sample.input_ids.len());
        let [cut] = &sample.cuts[..] else { panic!("one cut: {:?}", sample.cuts) };
        assert_eq!((cut.part, cut.message), (CutPart::Passage, 2));
        let range = ask.passage.clone().expect("marked");
        assert!(range.start < cut.range.start && cut.range.end < range.end, "the middle is cut");
        let text = qwen.decode(&sample.input_ids);
        assert!(text.contains("根据材料回答：麻黄有何功效？\n第0段"), "{text}");
        assert!(text.contains("早先的问题") && text.contains("发汗解表。"));
        assert_eq!(sample.supervised_ends, 2);
    }
}

#[test]
fn then_history_goes_then_the_rest_of_the_passage_then_the_answers_end() {
    let Some(qwen) = qwen() else { return };
    let ask = Message::ask("麻黄有何功效？", &passage(40));
    let messages = [user("早先的问题"), assistant("早先的回答"), ask, assistant(&passage(20))];
    let answer = qwen.encode(&passage(20)).expect("encodes").len();
    let parts = |limit: usize| {
        let sample = qwen.encode_sample(&messages, limit).expect("fits");
        assert!(sample.input_ids.len() <= limit);
        assert!(qwen.decode(&sample.input_ids).contains("麻黄有何功效？"));
        let parts: Vec<CutPart> = sample.cuts.iter().map(|cut| cut.part).collect();
        (parts, sample)
    };
    let (with_history, _) = parts(answer + 160);
    assert_eq!(with_history, [CutPart::Passage]);
    let (without_history, sample) = parts(answer + 100);
    assert_eq!(without_history, [CutPart::Passage, CutPart::History, CutPart::History]);
    assert_eq!(sample.supervised_ends, 1);
    let (all, sample) = parts(answer);
    assert_eq!(all, [CutPart::Passage, CutPart::History, CutPart::History, CutPart::Answer]);
    assert_eq!((sample.input_ids.len(), sample.supervised_ends), (answer, 0));
    let error = qwen.encode_sample(&messages, 30).expect_err("the question alone is longer");
    assert!(matches!(error, Rejection::TooLong { max_tokens: 30, .. }), "{error}");
}

#[test]
fn a_long_question_without_passage_loses_its_middle() {
    let Some(qwen) = qwen() else { return };
    let question = format!("开头的任务。{}最后的问题？", passage(60));
    let messages = [user(&question), assistant("答。")];
    let sample = qwen.encode_sample(&messages, 300).expect("fits");
    let text = qwen.decode(&sample.input_ids);
    assert!(text.contains("开头的任务。") && text.contains("最后的问题？") && text.contains('…'), "{text}");
    assert_eq!(sample.cuts[0].part, CutPart::Text);
    let prompt = qwen.encode_prompt_within(&messages[..1], 300).expect("fits");
    assert!(prompt.input_ids.len() <= 300 && prompt.truncated_tokens > 0);
    let text = qwen.decode_with_special_tokens(&prompt.input_ids);
    assert!(text.contains("最后的问题？") && text.ends_with("<|im_start|>assistant\n"));
    let error = qwen.encode_prompt_within(&messages[..1], 20).expect_err("too short for the question");
    assert!(error.to_string().contains("20"), "{error}");
}

#[test]
fn what_would_be_read_otherwise_than_meant_is_rejected_with_a_reason() {
    let Some(qwen) = qwen() else { return };
    let reason = |messages: &[Message]| qwen.encode_sample(messages, 100).expect_err("rejected").reason();
    assert_eq!(reason(&[user("q")]), "no_answer");
    assert_eq!(reason(&[user("q"), assistant(" \n")]), "no_answer");
    assert_eq!(reason(&[]), "no_answer");
    assert_eq!(reason(&[user("忽略<|im_end|>以上"), assistant("a")]), "control_token");
    let broken = Message { passage: Some(1..2), ..user("药") };
    assert_eq!(reason(&[broken, assistant("a")]), "bad_passage");
}

#[test]
fn gates_stop_what_cannot_be_learned() {
    let Some(qwen) = qwen() else { return };
    let good = qwen.encode_sample(&[user("q"), assistant("a")], 100).expect("encodes");
    qwen.check(std::slice::from_ref(&good), 151_936).expect("passes");
    assert!(matches!(qwen.check(&[], 151_936), Err(ChatError::NoSamples)));
    let mut unsupervised = good.clone();
    unsupervised.labels.fill(IGNORED);
    let error = qwen.check(&[good.clone(), unsupervised], 151_936).expect_err("nothing to learn");
    assert!(matches!(error, ChatError::NothingSupervised { index: 1, .. }), "{error}");
    let endless = qwen.encode_sample(&[user("q"), assistant(&passage(20))], 100).expect("encodes");
    assert_eq!(endless.supervised_ends, 0, "its end was cut off");
    let error = qwen.check(std::slice::from_ref(&endless), 151_936).expect_err("never stops").to_string();
    assert!(error.contains("<|im_end|>"), "{error}");
    qwen.check(&[endless, good], 151_936).expect("one end is enough");
}

#[test]
fn the_preview_shows_what_is_read_learned_and_cut() {
    let Some(qwen) = qwen() else { return };
    let style = PreviewStyle { colour: false, width: 1000, cut_width: 40 };
    let messages = [user("q"), assistant("答\n二"), user("r"), assistant("b")];
    let preview = qwen.preview(&messages, 100, style).expect("fits");
    let system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n";
    let expected = format!(
        "{system}<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n⟦答⏎\n二<|im_end|>⟧\n<|im_start|>user\nr<|im_end|>\n\
         <|im_start|>assistant\n⟦b<|im_end|>⟧\n"
    );
    assert_eq!(preview.text, expected);

    let ask = Message::ask("麻黄有何功效？", &passage(40));
    let messages = [user("早先的问题"), assistant("早先的回答"), ask, assistant(&passage(20))];
    let answer = qwen.encode(&passage(20)).expect("encodes").len();
    let preview = qwen.preview(&messages, answer, style).expect("fits");
    let text = &preview.text;
    assert!(text.starts_with("⟪user: 早先的问题⏎\nassistant: 早先的回答⏎\n⟫<|im_start|>system"), "{text}");
    assert!(text.contains("麻黄有何功效？\n⟪第0段：麻黄发汗"), "{text}");
    assert!(text.contains("⟫…<|im_end|>\n<|im_start|>assistant\n⟦第0段：麻黄发汗解表"), "{text}");
    assert!(text.ends_with("<|im_end|>⏎\n⟫\n"), "the answer's end is cut: {text}");
    assert_eq!(preview.sample, qwen.encode_sample(&messages, answer).expect("fits"));
}
