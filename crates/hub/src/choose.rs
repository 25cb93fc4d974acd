//! Which files of a repository are fetched.

use super::HubError;
use super::remote_file::RemoteFile;
use crate::DatasetRequest;
use crate::data_files::{MODEL_DESCRIPTIONS, is_data_file, is_description, matches_file, one_family};

/// An adapter's weights as older versions of PEFT write them, fetched only without `adapter_model.safetensors`.
const ADAPTER_PICKLE: &str = "adapter_model.bin";

/// Files of a model beside [`MODEL_DESCRIPTIONS`] and its weights.
const MODEL_FILES: [&str; 8] = [
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "qwen.tiktoken",
    "adapter_model.safetensors",
    ADAPTER_PICKLE,
    "model.safetensors.index.json",
];

/// The files of a data set that are asked for.
pub(super) fn data_files(
    request: &DatasetRequest<'_>,
    all: &[RemoteFile],
    readme: Option<&str>,
) -> Result<Vec<RemoteFile>, HubError> {
    let no_files = |(problem, hint): (String, String)| HubError::NoFiles {
        kind: "data set",
        id: request.id.to_owned(),
        problem,
        files: all.iter().map(|file| file.name.clone()).collect(),
        hint,
    };
    let names: Vec<&str> = all.iter().map(|file| file.name.as_str()).collect();
    let Some(text) = request.files else {
        let is_data = |name: &&&str| is_data_file(name) && !is_description(name) && !name.starts_with('.');
        let data: Vec<&str> = names.iter().filter(is_data).copied().collect();
        let chosen = request.part().files(&names, &data, readme).map_err(no_files)?;
        let chosen = named(all, &one_family(&chosen));
        let hint = "say which of its files to take: `files = \"*.txt\"`".to_owned();
        let none = |hint| no_files(("it has no JSON, JSON Lines, CSV, TSV or Parquet file".to_owned(), hint));
        return if chosen.is_empty() { Err(none(hint)) } else { Ok(chosen) };
    };
    let pattern = glob::Pattern::new(text)
        .map_err(|error| no_files((format!("`files = {text:?}` is not a glob ({error})"), "mend it".to_owned())))?;
    let fitting: Vec<&str> = names.iter().filter(|name| matches_file(&pattern, name)).copied().collect();
    if fitting.is_empty() {
        let hint = "a glob is matched with a file's whole path or its name".to_owned();
        return Err(no_files((format!("no file matches `files = {text:?}`"), hint)));
    }
    let chosen = request.part().files(&fitting, &fitting, readme).map_err(no_files)?;
    Ok(named(all, &chosen))
}

fn named(all: &[RemoteFile], names: &[&str]) -> Vec<RemoteFile> {
    all.iter().filter(|file| names.contains(&file.name.as_str())).cloned().collect()
}

/// Whether a file belongs to a model: one of its files beside the weights, or an additional chat template.
fn belongs_to_model(name: &str) -> bool {
    let template = name
        .strip_prefix("additional_chat_templates/")
        .is_some_and(|rest| rest.ends_with(".jinja") && !rest.contains('/'));
    template || MODEL_DESCRIPTIONS.contains(&name) || MODEL_FILES.contains(&name)
}

/// The files that a model is loaded from.
pub(super) fn model_files(id: &str, all: &[RemoteFile]) -> Result<Vec<RemoteFile>, HubError> {
    let has = |name: &str| all.iter().any(|file| file.name == name);
    let no_files = |problem: &str, hint: &str| HubError::NoFiles {
        kind: "model",
        id: id.to_owned(),
        problem: problem.to_owned(),
        files: all.iter().map(|file| file.name.clone()).collect(),
        hint: hint.to_owned(),
    };
    let whole = has("model.safetensors");
    let is_weight = |name: &str| {
        let shard = name.starts_with("model-") && name.ends_with(".safetensors");
        // The same weights must not come twice.
        if whole { name == "model.safetensors" } else { shard }
    };
    let chosen: Vec<RemoteFile> = all
        .iter()
        .filter(|file| belongs_to_model(&file.name) || is_weight(&file.name))
        .filter(|file| !(whole && file.name == "model.safetensors.index.json"))
        .filter(|file| !(has("adapter_model.safetensors") && file.name == ADAPTER_PICKLE))
        .cloned()
        .collect();
    let adapter = has("adapter_config.json") && (has("adapter_model.safetensors") || has(ADAPTER_PICKLE));
    if !has("config.json") && !adapter {
        return Err(no_files("it has no `config.json`", "name a model in Hugging Face's layout"));
    }
    if adapter || chosen.iter().any(|file| is_weight(&file.name)) {
        return Ok(chosen);
    }
    Err(no_files(
        "it has no weights as safetensors",
        "look for a revision with them, or save them with transformers: `model.save_pretrained(…)`",
    ))
}

/// The files that a tokenizer is loaded from.
pub(super) fn tokenizer_files(id: &str, all: &[RemoteFile]) -> Result<Vec<RemoteFile>, HubError> {
    let is_weight = |name: &str| name.contains(".safetensors") || name == ADAPTER_PICKLE;
    let wanted = |file: &&RemoteFile| belongs_to_model(&file.name) && !is_weight(&file.name);
    let chosen: Vec<RemoteFile> = all.iter().filter(wanted).cloned().collect();
    if chosen.iter().any(|file| file.name == "tokenizer.json") {
        return Ok(chosen);
    }
    Err(HubError::NoFiles {
        kind: "model",
        id: id.to_owned(),
        problem: "it has no `tokenizer.json`".to_owned(),
        files: all.iter().map(|file| file.name.clone()).collect(),
        hint: "look for a revision with it, or save it with transformers: `tokenizer.save_pretrained(…)`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use medley_files::WithHelp as _;

    use super::*;

    fn files(names: &[&str]) -> Vec<RemoteFile> {
        names.iter().map(|name| RemoteFile::named((*name).to_owned())).collect()
    }

    fn names(chosen: &[RemoteFile]) -> Vec<&str> {
        chosen.iter().map(|file| file.name.as_str()).collect()
    }

    fn asked(all: &[RemoteFile], files: Option<&str>) -> Result<Vec<RemoteFile>, HubError> {
        data_files(&DatasetRequest { id: "o/n", files, ..DatasetRequest::default() }, all, None)
    }

    #[test]
    fn records_are_taken_and_descriptions_left() {
        let all = files(&["README.md", "dataset_infos.json", "data/a.jsonl.gz", "b.json", "x.txt", ".hidden/c.json"]);
        assert_eq!(names(&asked(&all, None).expect("found")), ["data/a.jsonl.gz", "b.json"]);
        assert_eq!(names(&asked(&all, Some("*.txt")).expect("found")), ["x.txt"]);
        assert_eq!(names(&asked(&all, Some("a.*")).expect("found")), ["data/a.jsonl.gz"]);
        let error = asked(&all, Some("*.csv")).expect_err("none").with_help();
        assert!(error.contains("`files = \"*.csv\"`") && error.contains("`x.txt`"), "{error}");
    }

    #[test]
    fn records_in_several_layouts_are_taken_once() {
        let joined = |all: &[&str]| {
            let chosen = asked(&files(all), None).expect("found");
            names(&chosen).join(" ")
        };
        assert_eq!(joined(&["README.md", "a.csv", "data/train-0.parquet", "b.json"]), "b.json");
        assert_eq!(joined(&["README.md", "a.csv", "data/train-0.parquet"]), "data/train-0.parquet");
        assert_eq!(joined(&["README.md", "a.csv", "b.tsv.gz", "x.txt"]), "a.csv b.tsv.gz");
        let error = asked(&files(&["README.md", "x.txt"]), None).expect_err("none").with_help();
        assert!(error.contains("Parquet") && error.contains("`x.txt`") && error.contains("files ="), "{error}");
    }

    #[test]
    fn weights_come_once_and_in_safetensors() {
        let all = files(&[
            "config.json",
            "pytorch_model.bin",
            "model.safetensors",
            "consolidated.safetensors",
            "onnx/model.safetensors",
            "tokenizer.json",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
        ]);
        assert_eq!(
            names(&model_files("o/n", &all).expect("found")),
            ["config.json", "model.safetensors", "tokenizer.json"]
        );
        let sharded =
            files(&["config.json", "model.safetensors.index.json", "model-00001-of-00001.safetensors", "x.bin"]);
        assert_eq!(model_files("o/n", &sharded).expect("found").len(), 3);
        let error = model_files("o/n", &files(&["config.json", "pytorch_model.bin"])).expect_err("bin").with_help();
        assert!(error.contains("safetensors") && error.contains("pytorch_model.bin"), "{error}");
        let adapter = files(&["adapter_config.json", "adapter_model.safetensors"]);
        assert_eq!(model_files("o/n", &adapter).expect("found").len(), 2);
        let pickled = files(&["adapter_config.json", "adapter_model.bin"]);
        assert_eq!(model_files("o/n", &pickled).expect("found").len(), 2);
        let both = files(&["adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"]);
        assert_eq!(
            names(&model_files("o/n", &both).expect("found")),
            ["adapter_config.json", "adapter_model.safetensors"]
        );
        assert!(model_files("o/n", &files(&["model.safetensors"])).is_err());
        assert_eq!(names(&tokenizer_files("o/n", &all).expect("found")), ["config.json", "tokenizer.json"]);
        assert!(tokenizer_files("o/n", &files(&["tokenizer.model"])).is_err());
    }
}
