//! BLAKE3 of many short inputs at a time, one in each lane of the vector unit.
//!
//! BLAKE3 is parallel over the chunks of 1024 bytes of one input; most records are shorter, and one after another each of
//! their 64-byte blocks waits for the one before. Here `LANES` chunks of as many different inputs go through the rounds
//! side by side. The results are those of the `blake3` crate (<https://github.com/BLAKE3-team/BLAKE3-specs>).

use crate::canonical::Draft;
use crate::vectors::Vectors;

/// Chunks that are hashed side by side: 32-bit words in an AVX-512 register.
const LANES: usize = 16;
const BLOCK: usize = 64;
const CHUNK: usize = 1024;
/// Longer inputs have chunks enough of their own.
const LONGEST: usize = 16 * CHUNK;

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;
const ROOT: u32 = 8;
const KEYED_HASH: u32 = 16;

const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Which word of the block each step of each round takes.
const SCHEDULE: [[usize; 16]; 7] = schedule();

const fn schedule() -> [[usize; 16]; 7] {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut rounds = [[0; 16]; 7];
    let mut round = 0;
    while round < 7 {
        let mut word = 0;
        while word < 16 {
            rounds[round][word] = if round == 0 { word } else { rounds[round - 1][PERMUTATION[word]] };
            word += 1;
        }
        round += 1;
    }
    rounds
}

/// Hash of a chunk or a tree of chunks.
type ChainingValue = [u32; 8];

/// One word of every lane.
type Words = [u32; LANES];

/// Inputs one after another, each beginning at a whole block.
#[derive(Debug, Default)]
pub struct Inputs {
    bytes: Vec<u8>,
    used: usize,
    /// Begin and length of each.
    ranges: Vec<(usize, usize)>,
    /// Memory for hashing.
    chunks: Vec<Chunk>,
    values: Vec<ChainingValue>,
    hashes: Vec<u128>,
}

impl Inputs {
    /// Forgets all inputs but keeps their memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.ranges.clear();
    }

    /// Adds the input that `write` writes, unless it returns `None`.
    pub fn push<R>(&mut self, write: impl FnOnce(&mut Draft<'_>) -> Option<R>) -> Option<R> {
        let mut draft = Draft::new(&mut self.bytes, self.used);
        let written = write(&mut draft)?;
        let length = draft.end();
        // An empty input has a block too.
        let whole = length.max(1).next_multiple_of(BLOCK);
        draft.room(whole - length).fill(0);
        self.ranges.push((self.used, length));
        self.used += whole;
        Some(written)
    }

    /// The first 16 bytes of the BLAKE3 hash of each input, as big-endian numbers.
    pub fn hashes(&mut self) -> &[u128] {
        if !has_lanes() {
            let bytes = |&(start, length): &(usize, usize)| &self.bytes[start..start + length];
            self.hashes.clear();
            let hash = |range| first_128_bits(blake3::hash(bytes(range)).as_bytes());
            self.hashes.extend(self.ranges.iter().map(hash));
            return &self.hashes;
        }
        self.hashes_in_lanes()
    }

    fn hashes_in_lanes(&mut self) -> &[u128] {
        let Self { bytes, ranges, chunks, values, hashes, .. } = self;
        chunks.clear();
        for (start, length) in &*ranges {
            let count = chunk_count(*length);
            for number in 0..count {
                chunks.push(Chunk {
                    start: start + number * CHUNK,
                    length: (length - number * CHUNK).min(CHUNK),
                    number: number as u32,
                    root: if count == 1 { ROOT } else { 0 },
                });
            }
        }
        values.clear();
        values.resize(chunks.len(), [0; 8]);
        chaining_values(bytes, chunks, values);
        merge_trees(values, ranges.iter().map(|(_, length)| chunk_count(*length)));
        let mut at = 0;
        let hash = |&(start, length): &(usize, usize)| {
            if length > LONGEST {
                return first_128_bits(blake3::hash(&bytes[start..start + length]).as_bytes());
            }
            at += chunk_count(length);
            let root = &values[at - chunk_count(length)];
            root[..4].iter().fold(0, |hash, word| hash << 32 | u128::from(word.swap_bytes()))
        };
        hashes.clear();
        hashes.extend(ranges.iter().map(hash));
        hashes
    }
}

/// Chunks of an input of `length` bytes, unless it is hashed alone.
fn chunk_count(length: usize) -> usize {
    if length > LONGEST { 0 } else { length.div_ceil(CHUNK).max(1) }
}

/// Merges the chaining values of each input's chunks, neighbours by neighbours, into the first of them.
fn merge_trees(values: &mut [ChainingValue], counts: impl Iterator<Item = usize>) {
    let mut start = 0;
    let mut trees = Vec::new();
    for count in counts {
        if count > 1 {
            trees.push((start, count));
        }
        start += count;
    }
    while !trees.is_empty() {
        let pairs: Vec<(usize, usize, u32)> = trees
            .iter()
            .flat_map(|(start, count)| {
                let flags = if *count == 2 { PARENT | ROOT } else { PARENT };
                (0..count / 2).map(move |pair| (start + 2 * pair, start + pair, flags))
            })
            .collect();
        // No pair's place is read by a later one.
        pairs.chunks(LANES).for_each(|pairs| merge_pairs(values, pairs));
        for (start, count) in &mut trees {
            if !count.is_multiple_of(2) {
                values[*start + *count / 2] = values[*start + *count - 1];
            }
            *count = count.div_ceil(2);
        }
        trees.retain(|(_, count)| *count > 1);
    }
}

/// Merges each pair: where its left value is, where the result goes, its flags.
fn merge_pairs(values: &mut [ChainingValue], pairs: &[(usize, usize, u32)]) {
    let mut block = [[0; LANES]; 16];
    let mut flags = [0; LANES];
    for (lane, (left, _, flag)) in pairs.iter().enumerate() {
        for word in 0..8 {
            block[word][lane] = values[*left][word];
            block[word + 8][lane] = values[left + 1][word];
        }
        flags[lane] = *flag;
    }
    let mut state = IV.map(|word| [word; LANES]);
    compress(&mut state, &block, &[0; LANES], &[BLOCK as u32; LANES], &flags);
    for (lane, (_, place, _)) in pairs.iter().enumerate() {
        values[*place] = std::array::from_fn(|word| state[word][lane]);
    }
}

/// Gives `each` the first 16 bytes of the BLAKE3 hash, keyed by `key`, of each number's 16 bytes (big endian).
pub fn keyed_hashes(key: &[u8; 32], inputs: &[u128], each: impl FnMut(u128)) {
    if !has_lanes() {
        let hash = |input: &u128| first_128_bits(blake3::keyed_hash(key, &input.to_be_bytes()).as_bytes());
        return inputs.iter().map(hash).for_each(each);
    }
    let mut each = each;
    let mut key_words = [0; 8];
    for (word, bytes) in key_words.iter_mut().zip(key.chunks_exact(4)) {
        *word = little_endian(bytes);
    }
    for inputs in inputs.chunks(LANES) {
        let mut block = [[0; LANES]; 16];
        for (lane, input) in inputs.iter().enumerate() {
            for (word, lanes) in block[..4].iter_mut().enumerate() {
                lanes[lane] = ((input >> (96 - 32 * word)) as u32).swap_bytes();
            }
        }
        let mut state = key_words.map(|word| [word; LANES]);
        let flags = [KEYED_HASH | CHUNK_START | CHUNK_END | ROOT; LANES];
        compress(&mut state, &block, &[0; LANES], &[16; LANES], &flags);
        let hash =
            |lane: usize| state[..4].iter().fold(0, |hash, words| hash << 32 | u128::from(words[lane].swap_bytes()));
        (0..inputs.len()).map(hash).for_each(&mut each);
    }
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn first_128_bits(hash: &[u8; 32]) -> u128 {
    hash[..16].iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// A chunk of an input.
#[derive(Debug)]
struct Chunk {
    start: usize,
    length: usize,
    /// Its place in its input.
    number: u32,
    root: u32,
}

/// State of the lanes, word by word over all lanes, so that the compiler vectorises it.
struct Lanes {
    begins: Words,
    /// Bytes of the chunk that are left.
    left: Words,
    /// Flags of the next block if it is not the last.
    flags: Words,
    roots: Words,
    counters: Words,
    /// Index of the chunk.
    chunks: [usize; LANES],
}

impl Lanes {
    fn take(&mut self, lane: usize, index: usize, chunk: &Chunk) {
        self.begins[lane] = chunk.start as u32;
        self.left[lane] = chunk.length as u32;
        self.flags[lane] = CHUNK_START;
        self.roots[lane] = chunk.root;
        self.counters[lane] = chunk.number;
        self.chunks[lane] = index;
    }
}

/// The chaining value of every chunk. A lane that finishes a chunk takes the next, so that lanes are rarely idle.
fn chaining_values(bytes: &[u8], chunks: &[Chunk], values: &mut [ChainingValue]) {
    let zero = [0; LANES];
    let mut lanes =
        Lanes { begins: zero, left: zero, flags: zero, roots: zero, counters: zero, chunks: [usize::MAX; LANES] };
    let mut waiting = chunks.iter().enumerate();
    let mut busy = 0u32;
    for (lane, (index, chunk)) in waiting.by_ref().take(LANES).enumerate() {
        lanes.take(lane, index, chunk);
        busy |= 1 << lane;
    }
    let mut state = IV.map(|word| [word; LANES]);
    let mut block = [[0; LANES]; 16];
    while busy != 0 {
        // An idle lane goes over a block again, to no end.
        let lengths = lanes.left.map(|left| left.min(BLOCK as u32));
        let ends: Words = lanes.left.map(|left| u32::from(left <= BLOCK as u32));
        let flags = std::array::from_fn(|lane| lanes.flags[lane] | (ends[lane] * (CHUNK_END | lanes.roots[lane])));
        load_block(bytes, &lanes.begins, &mut block);
        compress(&mut state, &block, &lanes.counters, &lengths, &flags);
        lanes.flags = zero;
        lanes.left.iter_mut().for_each(|left| *left = left.saturating_sub(BLOCK as u32));
        lanes.begins.iter_mut().zip(ends).for_each(|(begin, end)| *begin += (1 - end) * BLOCK as u32);
        let mut ended = (0..LANES).fold(0, |ended, lane| ended | ends[lane] << lane) & busy;
        while ended != 0 {
            let lane = ended.trailing_zeros() as usize;
            ended &= ended - 1;
            values[lanes.chunks[lane]] = std::array::from_fn(|word| state[word][lane]);
            match waiting.next() {
                Some((index, chunk)) => {
                    lanes.take(lane, index, chunk);
                    state.iter_mut().zip(IV).for_each(|(words, word)| words[lane] = word);
                }
                None => busy &= !(1 << lane),
            }
        }
    }
}

/// The instruction set for hashing.
fn vectors() -> Vectors {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        let best = if is_x86_feature_detected!("avx512f") { Vectors::Avx512 } else { Vectors::Avx2 };
        return best.allowed();
    }
    Vectors::None
}

/// Whether the machine has lanes worth the copying.
fn has_lanes() -> bool {
    vectors() != Vectors::None
}

/// Compresses one block in every lane.
fn compress(state: &mut [Words; 8], block: &[Words; 16], counters: &Words, lengths: &Words, flags: &Words) {
    match vectors() {
        // SAFETY (both arms): [`vectors`] detected the features.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512 => unsafe { compress_avx512(state, block, counters, lengths, flags) },
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => unsafe { compress_avx2(state, block, counters, lengths, flags) },
        _ => rounds(state, block, counters, lengths, flags),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn compress_avx512(state: &mut [Words; 8], block: &[Words; 16], counters: &Words, lengths: &Words, flags: &Words) {
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_storeu_si512,
        _mm512_xor_si512,
    };
    // SAFETY (both): the words of all lanes are as many bytes as a register has, and the instruction asks for no alignment.
    let load = |words: &Words| -> __m512i { unsafe { _mm512_loadu_si512(words.as_ptr().cast()) } };
    let store = |words: &mut Words, value| unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) };
    let set = |word: u32| _mm512_set1_epi32(word as i32);
    let mut v: [__m512i; 16] = [
        load(&state[0]),
        load(&state[1]),
        load(&state[2]),
        load(&state[3]),
        load(&state[4]),
        load(&state[5]),
        load(&state[6]),
        load(&state[7]),
        set(IV[0]),
        set(IV[1]),
        set(IV[2]),
        set(IV[3]),
        load(counters),
        set(0),
        load(lengths),
        load(flags),
    ];
    macro_rules! mix {
        ($a:literal $b:literal $c:literal $d:literal, $x:expr, $y:expr) => {
            v[$a] = _mm512_add_epi32(_mm512_add_epi32(v[$a], v[$b]), load(&block[$x]));
            v[$d] = _mm512_ror_epi32::<16>(_mm512_xor_si512(v[$d], v[$a]));
            v[$c] = _mm512_add_epi32(v[$c], v[$d]);
            v[$b] = _mm512_ror_epi32::<12>(_mm512_xor_si512(v[$b], v[$c]));
            v[$a] = _mm512_add_epi32(_mm512_add_epi32(v[$a], v[$b]), load(&block[$y]));
            v[$d] = _mm512_ror_epi32::<8>(_mm512_xor_si512(v[$d], v[$a]));
            v[$c] = _mm512_add_epi32(v[$c], v[$d]);
            v[$b] = _mm512_ror_epi32::<7>(_mm512_xor_si512(v[$b], v[$c]));
        };
    }
    for words in &SCHEDULE {
        mix!(0 4 8 12, words[0], words[1]);
        mix!(1 5 9 13, words[2], words[3]);
        mix!(2 6 10 14, words[4], words[5]);
        mix!(3 7 11 15, words[6], words[7]);
        mix!(0 5 10 15, words[8], words[9]);
        mix!(1 6 11 12, words[10], words[11]);
        mix!(2 7 8 13, words[12], words[13]);
        mix!(3 4 9 14, words[14], words[15]);
    }
    for (word, out) in state.iter_mut().enumerate() {
        store(out, _mm512_xor_si512(v[word], v[word + 8]));
    }
}

/// Eight lanes, and eight again: as many words as there are registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn compress_avx2(state: &mut [Words; 8], block: &[Words; 16], counters: &Words, lengths: &Words, flags: &Words) {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_or_si256, _mm256_set_epi64x, _mm256_set1_epi32,
        _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_si256, _mm256_xor_si256,
    };
    let set = |word: u32| _mm256_set1_epi32(word as i32);
    let shuffle = |low: i64, high: i64| _mm256_set_epi64x(high, low, high, low);
    let by_16 = shuffle(0x0504_0706_0100_0302, 0x0d0c_0f0e_0908_0b0a);
    let by_8 = shuffle(0x0407_0605_0003_0201, 0x0c0f_0e0d_080b_0a09);
    for half in [0, LANES / 2] {
        // SAFETY (both): eight words are as many bytes as a register has, and no alignment is asked for.
        let load = |words: &Words| -> __m256i { unsafe { _mm256_loadu_si256(words[half..half + 8].as_ptr().cast()) } };
        let store = |words: &mut Words, value| unsafe {
            _mm256_storeu_si256(words[half..half + 8].as_mut_ptr().cast(), value);
        };
        let [a, b, c, d, e, f, g, h] = std::array::from_fn(|word| load(&state[word]));
        let [i, j, k, l] = [set(IV[0]), set(IV[1]), set(IV[2]), set(IV[3])];
        let mut v = [a, b, c, d, e, f, g, h, i, j, k, l, load(counters), set(0), load(lengths), load(flags)];
        macro_rules! mix {
            ($a:literal $b:literal $c:literal $d:literal, $x:expr, $y:expr) => {
                v[$a] = _mm256_add_epi32(_mm256_add_epi32(v[$a], v[$b]), load(&block[$x]));
                v[$d] = _mm256_shuffle_epi8(_mm256_xor_si256(v[$d], v[$a]), by_16);
                v[$c] = _mm256_add_epi32(v[$c], v[$d]);
                v[$b] = _mm256_xor_si256(v[$b], v[$c]);
                v[$b] = _mm256_or_si256(_mm256_srli_epi32::<12>(v[$b]), _mm256_slli_epi32::<20>(v[$b]));
                v[$a] = _mm256_add_epi32(_mm256_add_epi32(v[$a], v[$b]), load(&block[$y]));
                v[$d] = _mm256_shuffle_epi8(_mm256_xor_si256(v[$d], v[$a]), by_8);
                v[$c] = _mm256_add_epi32(v[$c], v[$d]);
                v[$b] = _mm256_xor_si256(v[$b], v[$c]);
                v[$b] = _mm256_or_si256(_mm256_srli_epi32::<7>(v[$b]), _mm256_slli_epi32::<25>(v[$b]));
            };
        }
        // Written out, the words of the block are at places known beforehand.
        macro_rules! round {
            ($number:literal) => {
                mix!(0 4 8 12, SCHEDULE[$number][0], SCHEDULE[$number][1]);
                mix!(1 5 9 13, SCHEDULE[$number][2], SCHEDULE[$number][3]);
                mix!(2 6 10 14, SCHEDULE[$number][4], SCHEDULE[$number][5]);
                mix!(3 7 11 15, SCHEDULE[$number][6], SCHEDULE[$number][7]);
                mix!(0 5 10 15, SCHEDULE[$number][8], SCHEDULE[$number][9]);
                mix!(1 6 11 12, SCHEDULE[$number][10], SCHEDULE[$number][11]);
                mix!(2 7 8 13, SCHEDULE[$number][12], SCHEDULE[$number][13]);
                mix!(3 4 9 14, SCHEDULE[$number][14], SCHEDULE[$number][15]);
            };
        }
        round!(0);
        round!(1);
        round!(2);
        round!(3);
        round!(4);
        round!(5);
        round!(6);
        for (word, out) in state.iter_mut().enumerate() {
            store(out, _mm256_xor_si256(v[word], v[word + 8]));
        }
    }
}

/// Loads the 64 bytes that begin at each of `begins` as the words of a block, each lane's words one below another.
fn load_block(bytes: &[u8], begins: &Words, block: &mut [Words; 16]) {
    #[cfg(target_arch = "x86_64")]
    if vectors() != Vectors::None {
        // SAFETY: [`vectors`] detected AVX2, which every set but `None` includes.
        return unsafe { load_block_avx2(bytes, begins, block) };
    }
    for (lane, begin) in begins.iter().enumerate() {
        let begin = *begin as usize;
        for (word, bytes) in bytes[begin..begin + BLOCK].chunks_exact(4).enumerate() {
            block[word][lane] = little_endian(bytes);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn load_block_avx2(bytes: &[u8], begins: &Words, block: &mut [Words; 16]) {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_storeu_si256};
    for lanes in (0..LANES).step_by(8) {
        for words in [0, 8] {
            let rows = std::array::from_fn(|lane| -> __m256i {
                let begin = begins[lanes + lane] as usize + 4 * words;
                // SAFETY: 32 bytes are read from 32, and no alignment is asked for.
                unsafe { _mm256_loadu_si256(bytes[begin..begin + 32].as_ptr().cast()) }
            });
            for (word, column) in transposed(rows).into_iter().enumerate() {
                let place = block[words + word][lanes..lanes + 8].as_mut_ptr();
                // SAFETY: eight words are as many bytes as a register has, and no alignment is asked for.
                unsafe { _mm256_storeu_si256(place.cast(), column) };
            }
        }
    }
}

/// Rows of eight words as columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn transposed(rows: [std::arch::x86_64::__m256i; 8]) -> [std::arch::x86_64::__m256i; 8] {
    use std::arch::x86_64::{
        _mm256_permute2x128_si256 as halves, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
        _mm256_unpacklo_epi64,
    };
    let words = |a, b| [_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)];
    let pairs = |[a, b]: [_; 2], [c, d]: [_; 2]| {
        let low = [_mm256_unpacklo_epi64(a, c), _mm256_unpackhi_epi64(a, c)];
        [low[0], low[1], _mm256_unpacklo_epi64(b, d), _mm256_unpackhi_epi64(b, d)]
    };
    let first = pairs(words(rows[0], rows[1]), words(rows[2], rows[3]));
    let second = pairs(words(rows[4], rows[5]), words(rows[6], rows[7]));
    std::array::from_fn(|word| match word {
        0..4 => halves::<0x20>(first[word], second[word]),
        _ => halves::<0x31>(first[word - 4], second[word - 4]),
    })
}

#[inline(always)]
fn rounds(state: &mut [Words; 8], block: &[Words; 16], counters: &Words, lengths: &Words, flags: &Words) {
    let [a, b, c, d, e, f, g, h] = *state;
    let [i, j, k, l] = [IV[0], IV[1], IV[2], IV[3]].map(|word| [word; LANES]);
    let mut v = [a, b, c, d, e, f, g, h, i, j, k, l, *counters, [0; LANES], *lengths, *flags];
    for words in &SCHEDULE {
        mix(&mut v, [0, 4, 8, 12], &block[words[0]], &block[words[1]]);
        mix(&mut v, [1, 5, 9, 13], &block[words[2]], &block[words[3]]);
        mix(&mut v, [2, 6, 10, 14], &block[words[4]], &block[words[5]]);
        mix(&mut v, [3, 7, 11, 15], &block[words[6]], &block[words[7]]);
        mix(&mut v, [0, 5, 10, 15], &block[words[8]], &block[words[9]]);
        mix(&mut v, [1, 6, 11, 12], &block[words[10]], &block[words[11]]);
        mix(&mut v, [2, 7, 8, 13], &block[words[12]], &block[words[13]]);
        mix(&mut v, [3, 4, 9, 14], &block[words[14]], &block[words[15]]);
    }
    for word in 0..8 {
        for lane in 0..LANES {
            state[word][lane] = v[word][lane] ^ v[word + 8][lane];
        }
    }
}

#[inline(always)]
fn mix(v: &mut [Words; 16], [a, b, c, d]: [usize; 4], x: &Words, y: &Words) {
    for lane in 0..LANES {
        v[a][lane] = v[a][lane].wrapping_add(v[b][lane]).wrapping_add(x[lane]);
        v[d][lane] = (v[d][lane] ^ v[a][lane]).rotate_right(16);
        v[c][lane] = v[c][lane].wrapping_add(v[d][lane]);
        v[b][lane] = (v[b][lane] ^ v[c][lane]).rotate_right(12);
        v[a][lane] = v[a][lane].wrapping_add(v[b][lane]).wrapping_add(y[lane]);
        v[d][lane] = (v[d][lane] ^ v[a][lane]).rotate_right(8);
        v[c][lane] = v[c][lane].wrapping_add(v[d][lane]);
        v[b][lane] = (v[b][lane] ^ v[c][lane]).rotate_right(7);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::with_each;

    /// All instruction sets compress alike.
    #[test]
    fn every_instruction_set_compresses_alike() {
        let word =
            |seed: u32| blake3::hash(&seed.to_le_bytes()).as_bytes()[..4].iter().fold(0, |w, b| w << 8 | u32::from(*b));
        let words = |seed: u32| -> Words { std::array::from_fn(|lane| word(seed * 64 + lane as u32)) };
        for seed in 0..40 {
            let state: [Words; 8] = std::array::from_fn(|at| words(seed * 64 + at as u32));
            let block: [Words; 16] = std::array::from_fn(|at| words(seed * 64 + 8 + at as u32));
            let (counters, lengths, flags) = (words(seed * 64 + 30), words(seed * 64 + 31), words(seed * 64 + 32));
            let mut expected = state;
            rounds(&mut expected, &block, &counters, &lengths, &flags);
            with_each(vectors(), |set| {
                let mut found = state;
                compress(&mut found, &block, &counters, &lengths, &flags);
                assert_eq!(found, expected, "{set:?}");
            });
        }
    }

    fn inputs(texts: &[Vec<u8>]) -> Inputs {
        let mut inputs = Inputs::default();
        for text in texts {
            inputs.push(|draft| {
                draft.extend(text);
                Some(())
            });
            let taken_away = inputs.push(|draft| {
                draft.extend(&[7; 100]);
                None::<()>
            });
            assert_eq!(taken_away, None);
        }
        inputs
    }

    fn expected(texts: &[Vec<u8>]) -> Vec<u128> {
        texts.iter().map(|text| first_128_bits(blake3::hash(text).as_bytes())).collect()
    }

    /// Every length at which something changes.
    #[test]
    fn borders_of_blocks_and_chunks() {
        let lengths =
            [0, 1, 63, 64, 65, 127, 128, 1023, 1024, 1025, 2048, 2049, 3072, 4095, 5000, 7169, 16384, 16385, 40000];
        let texts: Vec<Vec<u8>> =
            lengths.iter().map(|length| (0..*length).map(|at| (at % 251) as u8).collect()).collect();
        with_each(vectors(), |set| {
            assert_eq!(inputs(&texts).hashes(), expected(&texts), "{set:?}");
            assert_eq!(inputs(&texts).hashes_in_lanes(), expected(&texts), "{set:?}");
        });
    }

    proptest! {
        #[test]
        fn many_inputs(texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..40)) {
            with_each(vectors(), |set| assert_eq!(inputs(&texts).hashes_in_lanes(), expected(&texts), "{set:?}"));
        }

        #[test]
        fn keyed(key: [u8; 32], numbers in proptest::collection::vec(any::<u128>(), 0..40)) {
            let hash = |number: &u128| first_128_bits(blake3::keyed_hash(&key, &number.to_be_bytes()).as_bytes());
            with_each(vectors(), |set| {
                let mut hashes = Vec::new();
                keyed_hashes(&key, &numbers, |hash| hashes.push(hash));
                assert_eq!(hashes, numbers.iter().map(hash).collect::<Vec<_>>(), "{set:?}");
            });
        }
    }
}
