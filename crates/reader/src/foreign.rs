//! Formats that are not read, recognised by their magic bytes or the file's name, with a hint for converting each.

use super::Problem;

/// A format that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named for its format")]
pub enum Foreign {
    Arrow,
    Feather,
    Pickle,
    Tar,
    Zip,
    Excel,
    Torch,
    Numpy,
    Safetensors,
    Gguf,
    Hdf5,
    Sqlite,
    Avro,
    Orc,
    Pdf,
    Image,
    Word,
    TfRecord,
    LfsPointer,
    Html,
    Bzip2,
    Lz4,
    SevenZip,
    Rar,
}

/// Magic bytes of the formats.
const MAGIC: [(&[u8], Foreign); 24] = [
    (b"ARROW1\0\0", Foreign::Feather),
    (b"FEA1\0", Foreign::Feather),
    // Arrow IPC stream, as `datasets` writes it: continuation marker, then the length of the first message.
    (b"\xff\xff\xff\xff", Foreign::Arrow),
    (b"\x80\x02", Foreign::Pickle),
    (b"\x80\x03", Foreign::Pickle),
    (b"\x80\x04", Foreign::Pickle),
    (b"\x80\x05", Foreign::Pickle),
    (b"PK\x03\x04", Foreign::Zip),
    (b"PK\x05\x06", Foreign::Zip),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Foreign::Excel),
    (b"\x93NUMPY", Foreign::Numpy),
    (b"GGUF", Foreign::Gguf),
    (b"\x89HDF\r\n\x1a\n", Foreign::Hdf5),
    (b"SQLite format 3\0", Foreign::Sqlite),
    (b"Obj\x01", Foreign::Avro),
    (b"%PDF-", Foreign::Pdf),
    (b"\x89PNG\r\n", Foreign::Image),
    (b"\xff\xd8\xff", Foreign::Image),
    (b"GIF8", Foreign::Image),
    (b"version https://git-lfs.github.com/", Foreign::LfsPointer),
    (b"BZh", Foreign::Bzip2),
    (b"\x04\x22\x4d\x18", Foreign::Lz4),
    (b"7z\xbc\xaf\x27\x1c", Foreign::SevenZip),
    (b"Rar!\x1a\x07", Foreign::Rar),
];

/// File name suffixes of the formats.
const ENDS: [(&str, Foreign); 26] = [
    (".arrow", Foreign::Arrow),
    (".feather", Foreign::Feather),
    (".pickle", Foreign::Pickle),
    (".pkl", Foreign::Pickle),
    (".tar", Foreign::Tar),
    (".tar.gz", Foreign::Tar),
    (".tgz", Foreign::Tar),
    (".tar.xz", Foreign::Tar),
    (".tar.zst", Foreign::Tar),
    (".xlsx", Foreign::Excel),
    (".xls", Foreign::Excel),
    (".zip", Foreign::Zip),
    (".bin", Foreign::Torch),
    (".pt", Foreign::Torch),
    (".pth", Foreign::Torch),
    (".npy", Foreign::Numpy),
    (".npz", Foreign::Numpy),
    (".safetensors", Foreign::Safetensors),
    (".gguf", Foreign::Gguf),
    (".h5", Foreign::Hdf5),
    (".hdf5", Foreign::Hdf5),
    (".avro", Foreign::Avro),
    (".orc", Foreign::Orc),
    (".tfrecord", Foreign::TfRecord),
    (".docx", Foreign::Word),
    (".pdf", Foreign::Pdf),
];

/// Offset of the magic bytes of a tar archive.
const TAR_MARK: usize = 257;

impl Foreign {
    /// The format of a file with this name and beginning; `None` for a file that may hold records.
    pub fn recognise(start: &[u8], name: &str) -> Option<Self> {
        let by_content = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| *kind);
        match by_content.or_else(|| Self::by_structure(start)) {
            // A zip archive is also what Office and PyTorch write.
            Some(Self::Zip) => Some(Self::by_name(name).filter(|kind| kind.is_zip()).unwrap_or(Self::Zip)),
            other => other,
        }
    }

    /// The format that a file's name implies.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        ENDS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| *kind)
    }

    fn by_structure(start: &[u8]) -> Option<Self> {
        if start.get(TAR_MARK..).is_some_and(|mark| mark.starts_with(b"ustar")) {
            return Some(Self::Tar);
        }
        // The length of the JSON header in eight bytes, and the header.
        let length = start.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
        if length.is_some_and(|length| (2..100 << 20).contains(&length)) && start[8..].starts_with(b"{\"") {
            return Some(Self::Safetensors);
        }
        let text = start.trim_ascii_start();
        let is_html = text.get(..5).is_some_and(|text| text.eq_ignore_ascii_case(b"<html"))
            || text.get(..14).is_some_and(|text| text.eq_ignore_ascii_case(b"<!doctype html"));
        is_html.then_some(Self::Html)
    }

    fn is_zip(self) -> bool {
        matches!(self, Self::Zip | Self::Excel | Self::Torch | Self::Numpy | Self::Word)
    }

    /// The format as a noun phrase: "an Arrow file".
    pub fn what(self) -> &'static str {
        match self {
            Self::Arrow => "an Arrow file, as `datasets` saves it",
            Self::Feather => "an Arrow (Feather) file",
            Self::Pickle => "a Python pickle",
            Self::Tar => "a tar archive",
            Self::Zip => "packed as a zip archive",
            Self::Excel => "an Excel workbook",
            Self::Torch => "a file of PyTorch weights",
            Self::Numpy => "a NumPy array",
            Self::Safetensors => "a file of weights (safetensors)",
            Self::Gguf => "a file of weights (GGUF)",
            Self::Hdf5 => "an HDF5 file",
            Self::Sqlite => "an SQLite database",
            Self::Avro => "an Avro file",
            Self::Orc => "an ORC file",
            Self::Pdf => "a PDF document",
            Self::Image => "an image",
            Self::Word => "a Word document",
            Self::TfRecord => "a TFRecord file",
            Self::LfsPointer => "a Git LFS pointer and not the data itself",
            Self::Html => "an HTML page and not data, such as the error page of a download",
            Self::Bzip2 => "packed as bzip2, which is not read",
            Self::Lz4 => "packed as lz4, which is not read",
            Self::SevenZip => "packed as 7z, which is not read",
            Self::Rar => "packed as rar, which is not read",
        }
    }

    /// How to convert it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Arrow => {
                "write it as JSON Lines: in Python, `datasets.load_from_disk(\"FOLDER\").to_json(\"data.jsonl\")` (of a folder with several splits, each split by itself), or `datasets.Dataset.from_file(\"FILE.arrow\").to_json(\"data.jsonl\")`"
            }
            Self::Feather => {
                "write it as JSON Lines: in Python, `pandas.read_feather(\"FILE\").to_json(\"data.jsonl\", orient=\"records\", lines=True, force_ascii=False)`"
            }
            Self::Pickle => {
                "write it as JSON Lines: in Python, `pandas.read_pickle(\"FILE\").to_json(\"data.jsonl\", orient=\"records\", lines=True, force_ascii=False)`; a pickle runs code when it is loaded, so load only your own"
            }
            Self::Excel => {
                "save it as CSV (UTF-8), or in Python: `pandas.read_excel(\"FILE\").to_json(\"data.jsonl\", orient=\"records\", lines=True, force_ascii=False)`"
            }
            Self::Tar => "unpack it (`tar xf FILE`) and name the files in it",
            Self::Zip | Self::Bzip2 | Self::Lz4 | Self::SevenZip | Self::Rar => {
                "unpack it; gzip, zstd and xz are read as they are"
            }
            Self::Torch | Self::Safetensors | Self::Gguf => "name a file of records; a model is named in `model.base`",
            Self::LfsPointer => "fetch the data: `git lfs pull` in its folder",
            Self::Html => "fetch the file again, and look at it",
            _ => "write its records as JSON Lines: one object a line",
        }
    }

    /// The error for a file of this kind.
    pub fn problem(self) -> Problem {
        Problem::new(format!("the file is {}", self.what()), self.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_for_what_they_are() {
        let mut tar = vec![b'a'; 300];
        tar[TAR_MARK..TAR_MARK + 5].copy_from_slice(b"ustar");
        for (start, name, expected) in [
            (&b"\xff\xff\xff\xff\xb0\x02\0\0"[..], "data-00000-of-00001.arrow", Some(Foreign::Arrow)),
            (b"ARROW1\0\0", "a.feather", Some(Foreign::Feather)),
            (b"\x80\x04\x95", "a.jsonl", Some(Foreign::Pickle)),
            (b"PK\x03\x04", "a.jsonl", Some(Foreign::Zip)),
            (b"PK\x03\x04", "Book.XLSX", Some(Foreign::Excel)),
            (b"PK\x03\x04", "pytorch_model.bin", Some(Foreign::Torch)),
            (b"\x40\0\0\0\0\0\0\0{\"a\":", "x", Some(Foreign::Safetensors)),
            (b"\n <HTML lang=en>", "a.json", Some(Foreign::Html)),
            (b"version https://git-lfs.github.com/spec/v1\noid", "a.json", Some(Foreign::LfsPointer)),
            (&tar, "a.tar.gz", Some(Foreign::Tar)),
            (b"{\"a\":1}", "a.bin", None),
            (b"question,answer\n", "a.pickle", None),
            (b"ORCID,FEA1\n", "a.csv", None),
            (b"FEA1,FEA2\n", "a.csv", None),
            (b"", "a.json", None),
            (b"\xef\xbb\xbf{", "a.json", None),
            (b"\xff\xfe{\0", "a.json", None),
        ] {
            assert_eq!(Foreign::recognise(start, name), expected, "{name}");
        }
        assert_eq!(Foreign::by_name("data/x.tar.gz"), Some(Foreign::Tar));
        assert_eq!(Foreign::by_name("data/x.json.gz"), None);
    }
}
