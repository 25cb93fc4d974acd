//! Samples over small tokenizers that are made here, one token per byte or character.

use std::collections::BTreeMap;
use std::path::Path;

use medley_chat::{ChatError, ChatTokenizer, CutPart, EncodedSample, IGNORED, Message, PreviewStyle, Rejection, Role};
use medley_files::WithHelp as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// The first revision of Qwen1.5 leaves the last turn open.
const EARLY_QWEN: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']}}{% if (loop.last and add_generation_prompt) or not loop.last %}{{ '<|im_end|>' + '\n'}}{% endif %}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const LLAMA2: &str = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns') }}{% endif %}{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";

/// A directory with `tokenizer.json` and `template`.
fn directory(mut tokenizer: Value, specials: &[&str], template: &str) -> tempfile::TempDir {
    let vocabulary = tokenizer["model"]["vocab"].as_object().expect("a vocabulary").len();
    let added: Vec<Value> = specials
        .iter()
        .enumerate()
        .map(|(place, token)| {
            json!({ "id": vocabulary + place, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true })
        })
        .collect();
    tokenizer["added_tokens"] = Value::from(added);
    let directory = tempfile::tempdir().expect("temporary directory");
    let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text).expect("writes");
    write("tokenizer.json", tokenizer.to_string());
    let config = json!({ "chat_template": template, "bos_token": specials.first(), "eos_token": specials.last() });
    write("tokenizer_config.json", config.to_string());
    directory
}

fn model(vocabulary: BTreeMap<String, usize>) -> Value {
    json!({ "type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": null })
}

/// One token per byte.
fn bytes(template: &str) -> ChatTokenizer {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let vocabulary = alphabet.into_iter().enumerate().map(|(id, character)| (character.to_string(), id)).collect();
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let tokenizer = json!({ "version": "1.0", "model": model(vocabulary), "normalizer": null,
        "pre_tokenizer": byte_level, "decoder": byte_level, "post_processor": byte_level });
    load(directory(tokenizer, &["<|im_start|>", "<|im_end|>"], template).path())
}

/// One token per character, words begun by `▁`, as SentencePiece does.
fn pieces(template: &str) -> ChatTokenizer {
    let characters = "▁[]/INSTabcdefq".chars();
    let vocabulary: BTreeMap<String, usize> = characters
        .map(|character| character.to_string())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .enumerate()
        .map(|(id, character)| (character, id))
        .collect();
    let normalizer = json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" },
        { "type": "Replace", "pattern": { "String": " " }, "content": "▁" }] });
    let decoder = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "Fuse" }] });
    let tokenizer = json!({ "version": "1.0", "model": model(vocabulary), "normalizer": normalizer,
        "pre_tokenizer": null, "decoder": decoder, "post_processor": null });
    load(directory(tokenizer, &["<s>", "</s>"], template).path())
}

fn load(directory: &Path) -> ChatTokenizer {
    ChatTokenizer::from_dir(directory).expect("loads")
}

/// The texts of the runs of supervised tokens.
fn learned(tokenizer: &ChatTokenizer, sample: &EncodedSample) -> Vec<String> {
    let mut runs: Vec<Vec<u32>> = vec![vec![]];
    for (id, label) in sample.input_ids.iter().zip(&sample.labels) {
        match (*label, runs.last_mut()) {
            (IGNORED, Some(run)) if !run.is_empty() => runs.push(vec![]),
            (IGNORED, _) => {}
            (_, Some(run)) => run.push(*id),
            (_, None) => unreachable!("begun with a run"),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs.iter().map(|run| tokenizer.decode_with_special_tokens(run)).collect()
}

fn conversation(turns: &[String]) -> Vec<Message> {
    let role = |place: usize| if place.is_multiple_of(2) { Role::User } else { Role::Assistant };
    turns.iter().enumerate().map(|(place, text)| Message::new(role(place), text)).collect()
}

/// Text that a template and a tokenizer may stumble over.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("药".to_owned()),
        Just("👩‍⚕️".to_owned()),
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        Just("assistant\n".to_owned()),
        Just("user".to_owned()),
        Just("{{ x }}".to_owned()),
        "[a-z]{1,5}",
    ];
    proptest::collection::vec(part, 1..12).prop_map(|parts| parts.concat())
}

fn turns() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec((text(), "[a-z药]", text()), 1..4).prop_map(|pairs| {
        // An answer of white space alone would be left out.
        pairs.into_iter().flat_map(|(user, letter, answer)| [user, answer + &letter]).collect()
    })
}

proptest! {
    #[test]
    fn answers_with_their_ends_are_learned_and_ids_are_those_of_the_whole_text(turns in turns()) {
        for (template, tail) in [(CHATML, "\n"), (EARLY_QWEN, "")] {
            let tokenizer = bytes(template);
            let messages = conversation(&turns);
            let sample = tokenizer.encode_sample(&messages, usize::MAX).expect("encodes");
            let expected: Vec<String> =
                turns.iter().skip(1).step_by(2).map(|answer| format!("{answer}<|im_end|>")).collect();
            prop_assert_eq!(learned(&tokenizer, &sample), expected);
            prop_assert_eq!(sample.supervised_ends, turns.len() / 2);
            let whole: String = messages.iter()
                .map(|message| format!("<|im_start|>{}\n{}<|im_end|>\n", message.role.as_str(), message.content))
                .collect();
            let whole = format!("{}{tail}", whole.strip_suffix('\n').expect("ends so"));
            prop_assert_eq!(&sample.input_ids, &tokenizer.encode(&whole).expect("encodes"));
            // What comes before the first learned token is what the model is asked to go on from.
            let first = sample.labels.iter().position(|label| *label != IGNORED).expect("learned");
            prop_assert_eq!(&sample.input_ids[..first], tokenizer.encode_prompt(&messages[..1]).expect("encodes"));
        }
    }

    #[test]
    fn a_cut_sample_fits_and_keeps_question_and_answer(
        turns in turns(),
        question in "[a-z]{1,20}",
        passage in "[a-z药 ]{1,400}",
        limit in 60_usize..600,
    ) {
        let tokenizer = bytes(CHATML);
        let mut messages = conversation(&turns);
        messages.extend([Message::ask(&question, &passage), Message::new(Role::Assistant, "the answer")]);
        let whole = tokenizer.encode_sample(&messages, usize::MAX).expect("encodes").input_ids.len();
        match tokenizer.encode_sample(&messages, limit) {
            Ok(sample) => {
                prop_assert!(sample.input_ids.len() <= limit);
                prop_assert_eq!(sample.labels.len(), sample.input_ids.len());
                prop_assert_eq!(sample.truncated_tokens, whole - sample.input_ids.len());
                prop_assert_eq!(sample.truncated_tokens > 0, !sample.cuts.is_empty());
                let text = tokenizer.decode_with_special_tokens(&sample.input_ids);
                prop_assert!(text.contains(&format!("<|im_start|>user\n{question}\n")), "{}", text);
                let last = learned(&tokenizer, &sample).pop().unwrap_or_default();
                prop_assert!("the answer<|im_end|>".starts_with(&last) && !last.is_empty(), "{:?}", last);
            }
            Err(rejection) => {
                let TooLong { prompt_tokens, max_tokens } = rejection else { panic!("{rejection}") };
                prop_assert!(max_tokens == limit && prompt_tokens + 16 > limit, "{}", rejection);
            }
        }
    }
}

use Rejection::TooLong;

/// A dialogue of `turns` short turns.
fn dialogue(turns: usize) -> Vec<Message> {
    conversation(&(0..turns).map(|number| format!("turn {number}")).collect::<Vec<_>>())
}

#[test]
fn encoding_a_long_dialogue_takes_linear_time() {
    let style = PreviewStyle { colour: false, width: 100, cut_width: 40 };
    let tokenizer = bytes(CHATML);
    let messages = dialogue(20_000);
    for limit in [usize::MAX, 4000] {
        let begun = std::time::Instant::now();
        let preview = tokenizer.preview(&messages, limit, style).expect("fits");
        let ends = preview.sample.supervised_ends;
        assert!(if limit == usize::MAX { ends == 10_000 } else { ends > 10 }, "{ends}");
        // Quadratic time would be minutes.
        assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    }
}

#[test]
fn no_more_of_a_long_history_is_dropped_than_needed() {
    let tokenizer = bytes(CHATML);
    for turns in [40, 100, 300] {
        let messages = dialogue(turns);
        for limit in [120, 333, 1000, 2222, 4000] {
            let whole = tokenizer.encode_sample(&messages, usize::MAX).expect("encodes").input_ids.len();
            let sample = tokenizer.encode_sample(&messages, limit).expect("fits");
            assert!(sample.input_ids.len() <= limit);
            let dropped = sample.cuts.len();
            assert!(sample.cuts.iter().all(|cut| cut.part == CutPart::History));
            assert_eq!(
                sample.input_ids,
                tokenizer.encode_sample(&messages[dropped..], usize::MAX).expect("encodes").input_ids
            );
            assert_eq!(dropped == 0, whole <= limit);
            if dropped > 0 {
                let less =
                    tokenizer.encode_sample(&messages[dropped - 2..], usize::MAX).expect("encodes").input_ids.len();
                assert!(less > limit, "{turns} turns, limit {limit}: {less}");
            }
        }
    }
}

#[test]
fn long_turns_of_a_long_dialogue_are_shortened_first() {
    let tokenizer = bytes(CHATML);
    let long = |number: usize| {
        if number.is_multiple_of(2) { format!("{number} {}", "x".repeat(90 + number % 7)) } else { "a".to_owned() }
    };
    let messages = conversation(&(0..400).map(long).collect::<Vec<_>>());
    let whole = tokenizer.encode_sample(&messages, usize::MAX).expect("encodes").input_ids.len();
    let least = whole - 200 * 28;
    for limit in [whole - 1, whole - 700, whole - 3000, least] {
        let sample = tokenizer.encode_sample(&messages, limit).expect("fits");
        assert!(
            sample.input_ids.len() <= limit && sample.input_ids.len() + 8 > limit,
            "{} of {limit}",
            sample.input_ids.len()
        );
        assert!(sample.cuts.iter().all(|cut| cut.part == CutPart::Text));
        // All but the last of them are cut down to the margin.
        let cut: Vec<usize> = sample.cuts.iter().map(|cut| cut.tokens).collect();
        assert!(cut[..cut.len() - 1].windows(2).all(|pair| pair[0] >= pair[1]), "the longest first: {cut:?}");
    }
}

#[test]
fn tokens_that_carry_their_space_are_learned_from_the_first_on() {
    let tokenizer = pieces(LLAMA2);
    let messages = conversation(&["q".to_owned(), "ab".to_owned(), "c".to_owned(), " d e\n".to_owned()]);
    let sample = tokenizer.encode_sample(&messages, 100).expect("encodes");
    assert_eq!(learned(&tokenizer, &sample), [" ab </s>", " d e </s>"]);
    assert_eq!(tokenizer.decode_with_special_tokens(tokenizer.end_of_turn()), "</s>");
}

#[test]
fn an_unlearned_answer_is_read_and_not_learned() {
    let tokenizer = pieces(LLAMA2);
    let mut messages = conversation(&["q", "ab", "c", "d e"].map(str::to_owned));
    let whole = tokenizer.encode_sample(&messages, 100).expect("encodes");
    messages[1].unlearned = true;
    let sample = tokenizer.encode_sample(&messages, 100).expect("encodes");
    assert_eq!(sample.input_ids, whole.input_ids);
    assert_eq!(learned(&tokenizer, &sample), [" d e </s>"]);
    messages[3].unlearned = true;
    assert_eq!(tokenizer.encode_sample(&messages, 100), Err(Rejection::NoAnswer));
    messages[1].unlearned = false;
    let first = tokenizer.encode_sample(&messages, 100).expect("encodes");
    assert_eq!(learned(&tokenizer, &first), [" ab </s>"]);
    assert!(first.input_ids.len() < whole.input_ids.len(), "what follows the last learned answer is left out");
}

#[test]
fn a_template_that_refuses_a_system_turn_says_so_itself() {
    let tokenizer = pieces(LLAMA2).with_system(Some("q".to_owned()));
    let error = tokenizer.encode_sample(&conversation(&["q".to_owned(), "a".to_owned()]), 100).expect_err("refused");
    assert_eq!(error.to_string(), "the chat template refuses the conversation: no system turns");
}

#[test]
fn a_template_without_end_of_turn_is_caught_by_the_gate() {
    let template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}";
    let tokenizer = bytes(template);
    let sample = tokenizer.encode_sample(&conversation(&["q".to_owned(), "a".to_owned()]), 100).expect("encodes");
    assert_eq!(learned(&tokenizer, &sample), ["a"]);
    let error = tokenizer.check(&[sample], 1000).expect_err("never stops");
    assert!(matches!(&error, ChatError::EndOfTurnNeverSupervised { tokens } if tokens == "<|im_end|>"), "{error}");
}

#[test]
fn a_broken_directory_is_named_with_file_and_key() {
    let error = |directory: &Path| ChatTokenizer::from_dir(directory).expect_err("broken").with_help();
    let empty = tempfile::tempdir().expect("temporary directory");
    let message = error(empty.path());
    assert!(message.contains("tokenizer.json: no such file") && message.contains("save_pretrained"), "{message}");
    std::fs::write(empty.path().join("tokenizer.json"), "{\"version\"").expect("writes");
    assert!(error(empty.path()).contains("tokenizer.json: not a tokenizer"), "{}", error(empty.path()));

    let good = json!({ "version": "1.0", "model": model(BTreeMap::from([("a".to_owned(), 0)])), "normalizer": null,
        "pre_tokenizer": null, "decoder": null, "post_processor": null });
    let directory = directory(good, &["<s>", "</s>"], "{% for %}");
    assert!(error(directory.path()).contains("tokenizer_config.json: `chat_template`: syntax error"));
    let config = json!({ "chat_template": "x", "eos_token": "<eos>" }).to_string();
    std::fs::write(directory.path().join("tokenizer_config.json"), config).expect("writes");
    let message = error(directory.path());
    assert!(message.contains("`eos_token` is \"<eos>\"") && message.contains("tokenizer.json"), "{message}");
}
