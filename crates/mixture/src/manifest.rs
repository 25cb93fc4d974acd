//! The manifest: everything that a mix was made of, enough to make it again and to notice that something changed.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::canonical::CANONICAL_VERSION;
use crate::exam_item::ExamItem;
use crate::filter::{Contamination, FilterSpec, KeywordList, KeywordSplit, NearDuplicates};
use crate::measure::MeasureTokens;
use crate::spec::{Columns, MixSpec, Order, SourceFormat, Supervise, Unit, is_default};

/// Version of the importers, in every manifest: another version may read a file otherwise.
pub const IMPORTER_VERSION: u32 = 4;

/// Version of the manifest's own layout.
pub const MANIFEST_VERSION: u32 = 2;

/// A source file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Relative to the recipe's folder or the working directory, or `hub:owner/name@commit/path`.
    pub file: String,
    /// BLAKE3 of the bytes on the disk, packed if it is packed; `b3sum FILE` prints it.
    pub blake3: String,
    /// On the disk.
    pub bytes: u64,
    /// Records read, rejected ones included.
    pub records: u64,
    /// Recognised layout of the file: `JSON Lines, gzip`, `CSV, GB18030`, …
    #[serde(default)]
    pub layout: String,
    /// Index of the part of its source (`path` in the recipe) that it belongs to.
    pub part: usize,
}

/// A part of a source as its publisher describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// As the recipe names it.
    pub path: String,
    /// Licence, as the recipe states it.
    pub licence: Option<String>,
    /// False where commercial use is forbidden.
    pub commercial_use: Option<bool>,
    /// The heuristic that split its records: which words, which side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heuristic: Option<String>,
    /// The words of that heuristic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
}

/// A source as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSource {
    /// Its origin.
    pub parts: Vec<ManifestPart>,
    /// Every file.
    pub files: Vec<ManifestFile>,
    /// Samples in the mix.
    pub chosen: u64,
    /// Records in the validation split.
    pub validation: u64,
}

impl ManifestSource {
    /// Where a part's records come from: a hub data set with the commit that was read, or the path as the recipe names it.
    pub fn origin(&self, part: usize) -> String {
        match self.data_set(part) {
            Some((id, commit)) => format!("{id}@{commit}"),
            None => self.parts.get(part).map(|part| part.path.clone()).unwrap_or_default(),
        }
    }

    /// A part's hub data set and the commit that was read; `None` where it is no hub data set.
    pub fn data_set(&self, part: usize) -> Option<(&str, &str)> {
        let file = self.files.iter().find(|file| file.part == part)?;
        let (id, rest) = file.file.strip_prefix("hub:")?.split_once('@')?;
        Some((id, rest.split_once('/').map_or(rest, |(commit, _)| commit)))
    }
}

/// A written file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// BLAKE3 of its bytes.
    pub blake3: String,
    /// Its lines.
    pub records: u64,
}

/// Everything a mix was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of this file.
    pub manifest_version: u32,
    /// Version of canonical content, keys and orders.
    pub canonical_version: u32,
    /// Version of the importers.
    pub importer_version: u32,
    /// Hash of all that decides the result: the mix's section, the sources' contents, the exam items, the versions.
    pub mix_hash: String,
    /// `mix.jsonl`.
    pub mix: Written,
    /// `validation.jsonl`.
    pub validation: Written,
    /// Exam questions that were kept out.
    pub exam_questions: u64,
    /// By source, in the recipe's order.
    pub sources: IndexMap<String, ManifestSource>,
    /// The specification.
    pub spec: MixSpec,
}

/// The part of a mix's description that decides its result. Where a file lies and what its licence is do not.
#[derive(Serialize)]
struct Deciding<'a> {
    versions: [u32; 2],
    size: usize,
    seed: u64,
    ratio: &'a crate::spec::MixtureRatio,
    on_shortage: crate::spec::OnShortage,
    validation: crate::spec::Validation,
    #[serde(skip_serializing_if = "is_default")]
    size_in: Unit,
    #[serde(skip_serializing_if = "is_default")]
    ratio_in: Unit,
    #[serde(skip_serializing_if = "is_default")]
    ratio_end: Option<&'a crate::spec::MixtureRatio>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    epochs: &'a IndexMap<String, f64>,
    #[serde(skip_serializing_if = "is_default")]
    order: Order,
    /// Identity of the tokenizer, where token counts decided something.
    #[serde(skip_serializing_if = "is_default")]
    tokens: Option<String>,
    sources: IndexMap<&'a str, Vec<DecidingPart<'a>>>,
    exam_questions: String,
    /// By source.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    max_records: IndexMap<&'a str, usize>,
    /// The settings and the exam's texts, where they decided something.
    #[serde(skip_serializing_if = "is_default")]
    contamination: Option<(Contamination, String)>,
    #[serde(skip_serializing_if = "is_default")]
    near_duplicates: Option<NearDuplicates>,
}

#[derive(Serialize)]
struct DecidingPart<'a> {
    format: SourceFormat,
    columns: &'a Columns,
    encoding: Option<&'a str>,
    supervise: Supervise,
    #[serde(skip_serializing_if = "FilterSpec::is_empty")]
    filter: FilterSpec,
    /// Sorted: the order of files decides nothing.
    blake3: Vec<&'a str>,
}

/// The mix's hash, 64 hexadecimal digits. `contaminated` says that records were left out for text of the exam.
pub fn mix_hash(
    spec: &MixSpec,
    sources: &IndexMap<String, ManifestSource>,
    (measure, exam_items): (Option<&dyn MeasureTokens>, &[ExamItem]),
    contaminated: bool,
) -> Result<String, serde_json::Error> {
    let deciding = Deciding {
        versions: [CANONICAL_VERSION, IMPORTER_VERSION],
        size: spec.size,
        seed: spec.seed,
        ratio: &spec.ratio,
        on_shortage: spec.on_shortage,
        validation: spec.validation,
        size_in: spec.size_in,
        ratio_in: spec.ratio_in,
        ratio_end: spec.ratio_end.as_ref(),
        epochs: &spec.epochs,
        order: spec.order.clone(),
        tokens: measure.filter(|_| spec.needs_tokens()).map(MeasureTokens::identity),
        sources: sources.iter().map(|(name, source)| (name.as_str(), deciding_parts(spec, name, source))).collect(),
        exam_questions: exam_hash(exam_items.iter().map(|item| item.question.as_str())),
        max_records: sources
            .keys()
            .filter_map(|name| Some((name.as_str(), spec.sources.get(name)?.max_records?)))
            .collect(),
        contamination: (contaminated || spec.contamination != Contamination::default())
            .then(|| (spec.contamination, exam_texts_hash(exam_items))),
        near_duplicates: spec.near_duplicates,
    };
    Ok(blake3::hash(&serde_json::to_vec(&deciding)?).to_hex().to_string())
}

fn deciding_parts<'a>(spec: &'a MixSpec, name: &str, source: &'a ManifestSource) -> Vec<DecidingPart<'a>> {
    let parts = spec.sources.get(name).map(|source| source.parts.as_slice()).unwrap_or_default();
    let part = |(index, part): (usize, &'a crate::spec::SourcePart)| {
        let files = source.files.iter().filter(|file| file.part == index);
        let mut blake3: Vec<&str> = files.map(|file| file.blake3.as_str()).collect();
        blake3.sort_unstable();
        DecidingPart {
            format: part.format,
            columns: &part.columns,
            encoding: part.encoding.as_deref(),
            supervise: part.supervise,
            filter: deciding_filter(&part.filter, source.parts.get(index)),
            blake3,
        }
    };
    parts.iter().enumerate().map(part).collect()
}

/// The filter with the words of its list in place of the list's name.
fn deciding_filter(filter: &FilterSpec, part: Option<&ManifestPart>) -> FilterSpec {
    let words = part.map(|part| part.keywords.clone()).unwrap_or_default();
    let keywords = filter.keywords.clone();
    FilterSpec {
        keywords: keywords.map(|split| KeywordSplit { list: KeywordList::Words(words), ..split }),
        ..filter.clone()
    }
}

/// Everything of the exam that a record may share.
pub fn exam_texts_hash(items: &[ExamItem]) -> String {
    let texts = |item: &ExamItem| {
        [std::slice::from_ref(&item.question), item.options.as_slice(), item.passages.as_slice()].concat()
    };
    let texts: Vec<String> = items.iter().map(|item| texts(item).join("\0")).collect();
    exam_hash(texts.iter().map(String::as_str))
}

fn exam_hash<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut sorted: Vec<&str> = texts.collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut hasher = blake3::Hasher::new();
    for question in sorted {
        hasher.update(&(question.len() as u64).to_le_bytes());
        hasher.update(question.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in an edited manifest.
    #[test]
    fn an_unknown_order_is_refused() {
        for order in ["shuffled", "sequential", "interleaved", "medical-last"] {
            let text = format!("\"{order}\"");
            let read: Order = serde_json::from_str(&text).expect("a known order");
            assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
        }
        for unknown in ["interleved", "Shuffled", "", "-last", "last"] {
            let error = serde_json::from_str::<Order>(&format!("\"{unknown}\"")).expect_err("unknown").to_string();
            assert!(error.starts_with(&format!("unknown order `{unknown}`: expected shuffled")), "{error}");
        }
    }

    #[test]
    fn an_origin_has_its_commit() {
        let part = |path: &str| ManifestPart { path: path.to_owned(), ..ManifestPart::default() };
        let file = |file: &str, part| ManifestFile {
            file: file.to_owned(),
            blake3: String::new(),
            bytes: 0,
            records: 0,
            layout: String::new(),
            part,
        };
        let source = ManifestSource {
            parts: vec![part("data/*.jsonl"), part("owner/name"), part("owner/other")],
            files: vec![file("data/a@b/c.jsonl", 0), file("hub:owner/name@0af3/data/a.jsonl", 1)],
            ..ManifestSource::default()
        };
        assert_eq!([0, 1, 2].map(|part| source.origin(part)), ["data/*.jsonl", "owner/name@0af3", "owner/other"]);
        assert_eq!(source.data_set(1), Some(("owner/name", "0af3")));
    }
}
