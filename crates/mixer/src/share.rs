//! Which part of its pools a shard reads.

use std::fmt;
use std::str::FromStr;

/// Records one after another that belong to one shard, where a file is divided.
pub const BLOCK: u64 = 4096;

/// Which of how many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardNumber {
    /// From 1.
    pub number: usize,
    /// Shards in all.
    pub of: usize,
}

impl fmt::Display for ShardNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for ShardNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("a shard is named i/n: its number from 1, and how many there are, as in 2/8".to_owned()),
        }
    }
}

/// The part of a pool that is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share(pub Option<ShardNumber>);

impl Share {
    /// Whether a file is read, by its index among the pool's `files`.
    pub fn takes_file(self, index: usize, files: usize) -> bool {
        self.0.is_none_or(|shard| files < shard.of || index % shard.of == shard.number - 1)
    }

    /// The files that are read, with their index.
    pub fn files<T>(self, files: &[T]) -> impl Iterator<Item = (usize, &T)> {
        files.iter().enumerate().filter(move |(index, _)| self.takes_file(*index, files.len()))
    }

    /// Whether files are divided among shards.
    pub fn divides(self, files: usize) -> bool {
        self.0.is_some_and(|shard| files < shard.of)
    }

    /// Whether a record of a file that is read belongs to the part, by its number from 1.
    pub fn takes_record(self, record: u64, files: usize) -> bool {
        let belongs = |shard: ShardNumber| (record - 1) / BLOCK % shard.of as u64 == shard.number as u64 - 1;
        !self.divides(files) || self.0.is_none_or(belongs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_by_two_numbers() {
        assert_eq!("2/8".parse(), Ok(ShardNumber { number: 2, of: 8 }));
        for wrong in ["0/8", "9/8", "2", "2/0", "/", "a/b", "-1/2"] {
            assert!(wrong.parse::<ShardNumber>().is_err_and(|error| error.contains("i/n")), "{wrong}");
        }
    }

    /// Every file, or every record of it, belongs to one shard.
    #[test]
    fn shards_share_everything_out() {
        for (of, files) in [(1, 1), (3, 3), (3, 7), (4, 3), (5, 1)] {
            let shares: Vec<Share> = (1..=of).map(|number| Share(Some(ShardNumber { number, of }))).collect();
            for file in 0..files {
                for record in [1, BLOCK, BLOCK + 1, 3 * BLOCK, 100 * BLOCK + 7] {
                    let takes = |share: &&Share| share.takes_file(file, files) && share.takes_record(record, files);
                    assert_eq!(shares.iter().filter(takes).count(), 1, "{of} shards, {files} files, record {record}");
                }
            }
        }
        assert!(Share::default().takes_file(3, 4) && Share::default().takes_record(9, 4));
    }
}
