//! Configurations and splits of a data set, found as Hugging Face's `datasets` finds them: what the head of its README
//! says (`configs`), else by the names of folders and files.

use medley_files::yaml::{Yaml, YamlValue};

/// What is wrong, and how to mend it.
pub type Wrong = (String, String);

/// Words that stand for a split in the name of a folder or file.
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// The part of a data set that a recipe names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part<'a> {
    /// Configuration (default: the only one, or the one marked as default).
    pub config: Option<&'a str>,
    /// Split (default: all of them).
    pub split: Option<&'a str>,
}

impl Part<'_> {
    /// Whether it is less than everything.
    pub fn is_named(&self) -> bool {
        self.config.is_some() || self.split.is_some()
    }

    /// Those of a data set's files (`all` of them, and those that hold `data`) that belong to the part. `readme` is its
    /// README's text.
    pub fn files<'n>(&self, all: &[&'n str], data: &[&'n str], readme: Option<&str>) -> Result<Vec<&'n str>, Wrong> {
        if !self.is_named() {
            return Ok(data.to_vec());
        }
        let configs = readme.map(configurations).transpose()?.unwrap_or_default();
        if configs.is_empty() {
            return self.by_folders(data);
        }
        let config = self.config_of(&configs)?;
        let inside = |name: &&&str| name.starts_with(&config.folder);
        if config.files.is_empty() {
            let data: Vec<&str> = data.iter().filter(inside).copied().collect();
            return self.by_names(&data, &config.folder);
        }
        let splits: Vec<&str> = config.files.iter().map(|(split, _)| split.as_str()).collect();
        let wanted = |split: &str| self.split.is_none_or(|wanted| wanted == split);
        let patterns = config.files.iter().filter(|(split, _)| wanted(split)).flat_map(|(_, patterns)| patterns);
        let patterns: Vec<&Pattern> = patterns.collect();
        if patterns.is_empty() {
            return Err(no_split(self.split, &splits));
        }
        let inside = |name: &&&str| {
            let inner = name.strip_prefix(config.folder.as_str());
            inner.is_some_and(|inner| patterns.iter().any(|pattern| pattern.matches(inner)))
        };
        Ok(all.iter().filter(inside).copied().collect())
    }

    /// The configuration that is named, or the one that stands for all.
    fn config_of<'c>(&self, configs: &'c [Configuration]) -> Result<&'c Configuration, Wrong> {
        let named = |name: &str| configs.iter().find(|config| config.name == name);
        let names = || quoted(configs.iter().map(|config| config.name.as_str()));
        let say = |example: &str| format!("say which: `config = \"{example}\"`");
        match (self.config, configs) {
            (Some(name), _) => named(name).ok_or_else(|| {
                (format!("it has no configuration `{name}`; it has {}", names()), say(&configs[0].name))
            }),
            (None, [only]) => Ok(only),
            (None, _) => configs
                .iter()
                .find(|config| config.is_default)
                .or_else(|| named("default"))
                .ok_or_else(|| (format!("it has several configurations: {}", names()), say(&configs[0].name))),
        }
    }

    /// Without a description, a configuration is a folder (as in the branch `refs/convert/parquet`).
    fn by_folders<'n>(&self, data: &[&'n str]) -> Result<Vec<&'n str>, Wrong> {
        let Some(config) = self.config else { return self.by_names(data, "") };
        let folder = format!("{config}/");
        let inside: Vec<&str> = data.iter().filter(|name| name.starts_with(&folder)).copied().collect();
        if !inside.is_empty() {
            return self.by_names(&inside, &folder);
        }
        if config == "default" {
            return self.by_names(data, "");
        }
        let mut folders: Vec<&str> = data.iter().filter_map(|name| Some(name.split_once('/')?.0)).collect();
        folders.dedup();
        Err((
            format!("it has no configuration `{config}`: no description of one, and no folder of that name"),
            format!("its folders are {}; leave `config` out, or choose files with `files`", quoted(folders)),
        ))
    }

    /// By the names of folders and files below `folder`.
    fn by_names<'n>(&self, data: &[&'n str], folder: &str) -> Result<Vec<&'n str>, Wrong> {
        let Some(split) = self.split else { return Ok(data.to_vec()) };
        let inner = |name: &&'n str| name.strip_prefix(folder).unwrap_or(name);
        let chosen = |of: &dyn Fn(&str) -> bool| -> Vec<&'n str> {
            data.iter().filter(|name| of(inner(name))).copied().collect()
        };
        // A folder of the split's own name, as the hub's Parquet branch has it.
        let own =
            chosen(&|name| folders_of(name).any(|part| part == split || part.strip_prefix("partial-") == Some(split)));
        if !own.is_empty() {
            return Ok(own);
        }
        let known: [fn(&str) -> Option<String>; 3] = [sharded, by_folder, by_file];
        for split_of in known {
            let mut splits: Vec<String> = data.iter().filter_map(|name| split_of(inner(name))).collect();
            if splits.is_empty() {
                continue;
            }
            let found = chosen(&|name| split_of(name).as_deref() == Some(split));
            if !found.is_empty() {
                return Ok(found);
            }
            splits.sort();
            splits.dedup();
            return Err(no_split(self.split, &splits.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        // Where no name says anything, everything is for training.
        if split == "train" { Ok(data.to_vec()) } else { Err(no_split(self.split, &["train"])) }
    }
}

fn no_split(wanted: Option<&str>, there: &[&str]) -> Wrong {
    let example = there.first().copied().unwrap_or("train");
    (
        format!("it has no split `{}`; it has {}", wanted.unwrap_or_default(), quoted(there.iter().copied())),
        format!("say which: `split = \"{example}\"`, or leave it out for all of them"),
    )
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    let count = name.split('/').count() - 1;
    name.split('/').take(count)
}

/// The split of `data/SPLIT-00000-of-00012-….parquet`.
fn sharded(name: &str) -> Option<String> {
    let file = name.strip_prefix("data/").filter(|file| !file.contains('/'))?;
    let (front, rest) = file.split_once("-of-")?;
    let (split, number) = front.rsplit_once('-')?;
    let digits = |text: &str| text.len() >= 5 && text.bytes().take(5).all(|byte| byte.is_ascii_digit());
    (number.len() == 5 && digits(number) && digits(rest) && !split.is_empty()).then(|| split.to_owned())
}

fn by_folder(name: &str) -> Option<String> {
    folders_of(name).find_map(split_in).map(str::to_owned)
}

fn by_file(name: &str) -> Option<String> {
    split_in(name.rsplit('/').next().unwrap_or(name)).map(str::to_owned)
}

/// The split that a name tells by one of its words; they are parted by `-`, `.`, `_`, blanks and digits.
fn split_in(name: &str) -> Option<&'static str> {
    let parts = |letter: char| "-._ ".contains(letter) || letter.is_ascii_digit();
    let has = |words: &[&str]| name.split(parts).any(|part| words.contains(&part));
    SPLITS.iter().find(|(_, words)| has(words)).map(|(split, _)| *split)
}

/// A configuration as the README describes it.
#[derive(Debug, Default)]
struct Configuration {
    name: String,
    is_default: bool,
    /// What its paths begin with: nothing, or a folder with its slash.
    folder: String,
    /// The patterns of every split; empty where names tell.
    files: Vec<(String, Vec<Pattern>)>,
}

/// A glob whose `*` stays within a folder.
#[derive(Debug)]
struct Pattern(glob::Pattern);

impl Pattern {
    fn new(text: &str) -> Result<Self, Wrong> {
        let text = text.trim_start_matches("./");
        // A folder stands for all that it holds.
        let text = if text.ends_with('/') { format!("{text}**/*") } else { text.replace("**.", "**/*.") };
        let text = if text == "**" || text.ends_with("/**") { format!("{text}/*") } else { text };
        let pattern = glob::Pattern::new(&text);
        pattern.map(Self).map_err(|error| odd(&format!("the pattern `{text}` is no glob ({error})")))
    }

    fn matches(&self, name: &str) -> bool {
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        self.0.matches_with(name, options)
    }
}

fn odd(problem: &str) -> Wrong {
    (format!("the head of its README.md is not understood: {problem}"), "choose its files with `files`".to_owned())
}

/// The `configs` in a README's head.
fn configurations(readme: &str) -> Result<Vec<Configuration>, Wrong> {
    let Some(head) = head(readme) else { return Ok(Vec::new()) };
    let head = Yaml::parse(head).map_err(|error| odd(&error.to_string()))?;
    let configs = head.get("configs").and_then(Yaml::items).unwrap_or_default();
    configs.iter().map(configuration).collect()
}

/// What stands between the first two lines of dashes.
fn head(readme: &str) -> Option<&str> {
    let rest = readme.trim_start_matches('\u{feff}').strip_prefix("---")?;
    let rest = rest.strip_prefix('\r').unwrap_or(rest).strip_prefix('\n')?;
    let end = rest.match_indices("\n---").map(|(at, _)| at).next()?;
    Some(&rest[..=end])
}

fn configuration(config: &Yaml) -> Result<Configuration, Wrong> {
    let name = config.get("config_name").and_then(scalar).ok_or_else(|| odd("a configuration without a name"))?;
    let is_default = config.get("default").is_some_and(|value| value.value == YamlValue::Boolean(true));
    let folder = config.get("data_dir").and_then(scalar).unwrap_or_default();
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    let folder = if folder.is_empty() || folder == "." { String::new() } else { format!("{folder}/") };
    let files = config.get("data_files").map(split_patterns).transpose()?.unwrap_or_default();
    Ok(Configuration { name, is_default, folder, files })
}

fn split_patterns(files: &Yaml) -> Result<Vec<(String, Vec<Pattern>)>, Wrong> {
    let items = files.items().unwrap_or(std::slice::from_ref(files));
    let mut splits: Vec<(String, Vec<Pattern>)> = Vec::new();
    for item in items {
        let split = item.get("split").and_then(scalar).unwrap_or_else(|| "train".to_owned());
        let paths = if item.entries().is_some() { item.get("path") } else { Some(item) };
        let paths = paths.ok_or_else(|| odd("`data_files` without a `path`"))?;
        let mut patterns = Vec::new();
        for path in paths.items().unwrap_or(std::slice::from_ref(paths)) {
            patterns.push(Pattern::new(&scalar(path).ok_or_else(|| odd("a `path` that is no text"))?)?);
        }
        match splits.iter_mut().find(|(known, _)| *known == split) {
            Some((_, known)) => known.append(&mut patterns),
            None => splits.push((split, patterns)),
        }
    }
    Ok(splits)
}

/// A name, which YAML may take for a number or a truth.
fn scalar(value: &Yaml) -> Option<String> {
    match &value.value {
        YamlValue::String(text) => Some(text.clone()),
        YamlValue::Integer(number) => Some(number.to_string()),
        YamlValue::Float(number) => Some(number.to_string()),
        YamlValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], readme: Option<&str>, config: Option<&str>, split: Option<&str>) -> String {
        match (Part { config, split }).files(names, names, readme) {
            Ok(files) => files.join(" "),
            Err((problem, hint)) => format!("{problem} | {hint}"),
        }
    }

    fn split(names: &[&str], split: &str) -> String {
        chosen(names, None, None, Some(split))
    }

    #[test]
    fn names_tell_the_split() {
        let shards = [
            "data/train-00000-of-00002-ab.parquet",
            "data/train-00001-of-00002.parquet",
            "data/test-00000-of-00001.parquet",
        ];
        assert_eq!(split(&shards, "train"), shards[..2].join(" "));
        assert_eq!(
            split(&["data/train_sft-00000-of-00001.parquet", "data/test_sft-00000-of-00001.parquet"], "train_sft"),
            "data/train_sft-00000-of-00001.parquet"
        );
        assert_eq!(
            split(&["train/a.jsonl", "dev/train.jsonl"], "validation"),
            "dev/train.jsonl",
            "folders before files"
        );
        assert_eq!(split(&["my-train2.jsonl", "test.jsonl.gz", "all.jsonl"], "train"), "my-train2.jsonl");
        assert_eq!(split(&["restrained.jsonl", "latest.jsonl"], "train"), "restrained.jsonl latest.jsonl", "no words");
        let error = split(&["train.jsonl", "eval.csv"], "validation");
        assert!(error.starts_with("it has no split `validation`; it has `test`, `train` | "), "{error}");
        assert!(split(&["a.jsonl"], "test").contains("it has `train`"));
    }

    #[test]
    fn folders_are_configurations_where_nothing_describes_them() {
        let names = [
            "exam/train/0000.parquet",
            "exam/train/0001.parquet",
            "exam/val_x/0000.parquet",
            "clin/partial-train/0000.parquet",
        ];
        assert_eq!(chosen(&names, None, Some("exam"), Some("train")), names[..2].join(" "));
        assert_eq!(chosen(&names, None, Some("exam"), Some("val_x")), names[2]);
        assert_eq!(chosen(&names, Some("# no head"), Some("clin"), Some("train")), names[3]);
        assert_eq!(chosen(&names, None, Some("exam"), None), names[..3].join(" "));
        let error = chosen(&names, None, Some("axam"), None);
        assert!(error.contains("no configuration `axam`") && error.contains("`exam`, `clin`"), "{error}");
    }

    const README: &str = "---\nlicence: x\nconfigs:\n- config_name: exam\n  data_files:\n  - split: train\n    path: [CMB-Exam/train/*.json, extra/**]\n  - split: val\n    path: CMB-Exam/val.json\n- config_name: clin\n  default: true\n  data_dir: CMB-Clin\n---\n# CMB\n---\n";

    #[test]
    fn the_readme_describes_configurations() {
        let names = [
            "CMB-Exam/train/a.json",
            "CMB-Exam/train/deep/b.json",
            "CMB-Exam/val.json",
            "CMB-Clin/test.json",
            "extra/x/y.txt",
        ];
        let of = |config, split| chosen(&names, Some(README), config, split);
        assert_eq!(of(Some("exam"), Some("train")), "CMB-Exam/train/a.json extra/x/y.txt");
        assert_eq!(of(Some("exam"), Some("val")), "CMB-Exam/val.json");
        assert_eq!(of(None, Some("test")), "CMB-Clin/test.json", "the default one, split by its files' names");
        assert!(
            of(Some("exam"), Some("test")).starts_with("it has no split `test`; it has `train`, `val` | say which")
        );
        assert!(of(Some("ex"), None).starts_with("it has no configuration `ex`; it has `exam`, `clin`"));
        let two = README.replace("  default: true\n", "");
        assert!(chosen(&names, Some(&two), None, Some("train")).contains("say which: `config = \"exam\"`"));
        let broken = "---\nconfigs: [\n---\n";
        assert!(chosen(&names, Some(broken), None, Some("train")).contains("README.md is not understood"));
    }
}
