//! Pools in the size and shape of real ones, for the benchmark of the mixer: `general`, `tcm` and `western`, Alpaca JSON
//! Lines.
//!
//! The lengths follow the quantiles of public sets (bilingual Alpaca, medical consultations, pharmacopoeia and
//! encyclopaedia questions); the words are our own and mean nothing together. Every record is a function of the seed,
//! its pool and its number, so files are written side by side and a copy of an earlier record is made from its number.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use crate::lexicon::{self, Pool};
use crate::random::Random;

/// Records of a hundred that copy an earlier one of their pool.
const COPIES: usize = 3;
/// Records out of two hundred of the general pool that are in a medical pool, too.
const SHARED: usize = 1;
/// Files of the general pool; the medical ones have a single one.
const GENERAL_FILES: usize = 8;

const COMMON: &str = "我们 可以 时间 一个 工作 学习 方法 问题 生活 城市 音乐 历史 文化 社会 环境 技术 数据 系统 程序 语言 文章 故事 人们 孩子 \
    老师 学生 朋友 家庭 健康 运动 食物 旅行 天气 季节 春天 森林 河流 海洋 动物 植物 能源 经济 市场 公司 产品 服务 客户 计划 目标 结果 原因 影响 \
    发展 变化 提高 减少 增加 保持 选择 决定 比较 分析 描述 解释 列出 说明 建议 例子 首先 其次 最后 因此 但是 因为 所以 如果 虽然 同时 例如 包括 \
    需要 应该 能够 帮助 使用 通过 根据 关于 对于 以及 或者 不同 重要 主要 基本 简单 复杂 有效 积极 美丽 安静 明亮 温暖 新鲜 干净 安全 自由 公平 \
    创造 设计 研究 发现 理解 思考 记住 分享 合作 沟通 阅读 写作 计算 编程 网络 电脑 手机 信息 新闻 图书 电影 艺术 绘画 舞蹈 体育 比赛 科学 数学 \
    物理 化学 生物 地理 政治 法律 教育 医院 学校 银行 商店 餐厅 公园 车站 机场 道路 桥梁 房屋 花园 厨房 水果 蔬菜 米饭 面包 牛奶 茶叶 咖啡 早晨 \
    下午 晚上 昨天 今天 明天 每天 每周 每年 世界 国家 地区 农村 政府 组织 团队 个人 自己 他人 未来 过去 现在 机会 挑战 压力 情绪 快乐 悲伤 勇气 \
    耐心 诚实 责任 信任 尊重 自然 空气 阳光 星空 月亮 山脉 的 了 和 在 是 有 也 都 就 还 很 更 最 把 被 让 给 从 向 与 对 为 以 而 及 之 其";
const CARE: &str = "患者 医生 您好 建议 检查 治疗 症状 药物 服用 注意 饮食 休息 避免 可能 考虑 病情 医院 就诊 及时 观察 情况 出现 引起 疼痛 发热 \
    咳嗽 头晕 血压 血糖 感染 炎症 手术 恢复 复查 家族 病史 睡眠 运动 清淡 辛辣 多喝水 保持 心情 舒畅 祝您 早日康复 的 了 和 有 是 可 需 应 与 等";
const ENGLISH: &str = "the of and to in a is that it for as with was on be by this are from or an which at have not can will \
    their has its more other about one when these there some into only time than could people may two first many such \
    used water number find long day work part place year back give most very after thing name good sentence man think \
    say great where help through much before line right too mean old any same tell boy follow came want show also around \
    form three small set put end does another well large must big even because turn here why ask went men read need land \
    different home us move try kind hand picture again change off play spell air away animal house point page letter \
    mother answer found study still learn should world high every near add food between own below country plant last \
    school father keep tree never start city earth eye light thought head under story saw left few while along might \
    close something seem next hard open example begin life always those both paper together got group often run important \
    until children side feet car mile night walk white sea began grow took river four carry state once book hear stop \
    without second later miss idea enough eat face watch far really almost let above girl sometimes mountain cut young \
    talk soon list song being leave family body music color patient disease symptoms treatment doctor blood cells risk";

/// A text's length in characters at the quantiles 0, 10, 25, 50, 75, 90, 99 and 100 %.
type Lengths = [usize; 8];

const SHARES: [usize; 7] = [100, 150, 250, 250, 150, 90, 10];

/// Instruction, input and output of one kind of record.
struct Kind {
    /// Records of a hundred.
    share: usize,
    english: bool,
    instruction: Lengths,
    /// Records of a hundred with an input, and its length.
    input: (usize, Lengths),
    output: Lengths,
}

const NONE: (usize, Lengths) = (0, [0; 8]);

const GENERAL: [Kind; 3] = [
    Kind {
        share: 48,
        english: false,
        instruction: [4, 11, 13, 16, 20, 25, 40, 142],
        input: (39, [2, 5, 8, 13, 24, 60, 300, 767]),
        output: [1, 8, 18, 61, 124, 182, 397, 2586],
    },
    Kind {
        share: 32,
        english: true,
        instruction: [10, 37, 46, 57, 70, 85, 127, 489],
        input: (39, [5, 20, 30, 60, 150, 274, 800, 2467]),
        output: [1, 23, 53, 185, 423, 610, 1196, 4181],
    },
    Kind {
        share: 20,
        english: false,
        instruction: [10, 16, 24, 36, 57, 87, 182, 255],
        input: NONE,
        output: [60, 150, 220, 330, 500, 720, 1500, 2900],
    },
];

const TCM: [Kind; 3] = [
    Kind {
        share: 40,
        english: false,
        instruction: [6, 9, 10, 12, 14, 16, 23, 27],
        input: NONE,
        output: [5, 13, 18, 33, 110, 679, 1682, 2399],
    },
    Kind {
        share: 30,
        english: false,
        instruction: [17, 17, 17, 17, 17, 17, 17, 17],
        input: (100, [100, 210, 280, 404, 475, 515, 538, 579]),
        output: [5, 10, 18, 32, 56, 91, 287, 398],
    },
    Kind {
        share: 30,
        english: false,
        instruction: [20, 39, 43, 60, 95, 107, 165, 270],
        input: NONE,
        output: [60, 123, 130, 147, 177, 200, 219, 744],
    },
];

const WESTERN: [Kind; 3] = [
    Kind {
        share: 30,
        english: false,
        instruction: [10, 21, 30, 41, 51, 62, 85, 134],
        input: NONE,
        output: [8, 22, 37, 54, 74, 95, 142, 372],
    },
    Kind {
        share: 50,
        english: false,
        instruction: [20, 39, 43, 60, 95, 107, 165, 270],
        input: NONE,
        output: [30, 45, 68, 98, 147, 200, 672, 6608],
    },
    Kind {
        share: 20,
        english: true,
        instruction: [15, 31, 38, 48, 61, 73, 100, 191],
        input: NONE,
        output: [40, 276, 487, 890, 1589, 2449, 8366, 20000],
    },
];

/// The words of the three pools.
struct Words {
    chinese: [Vec<&'static str>; 3],
    english: Vec<&'static str>,
}

impl Words {
    fn new() -> Self {
        let medical = |pool: Pool| {
            let categories = lexicon::CATEGORIES.iter().filter(|category| category.pool == pool);
            let values = categories.flat_map(|category| category.attributes.iter()).flat_map(|one| one.values);
            CARE.split_whitespace().chain(values).collect()
        };
        let general = COMMON.split_whitespace().collect();
        Self {
            chinese: [general, medical(Pool::Tcm), medical(Pool::Western)],
            english: ENGLISH.split_whitespace().collect(),
        }
    }
}

/// One pool: its name, its kinds of records, and how many records and files it has.
struct Plan {
    name: &'static str,
    kinds: &'static [Kind],
    records: usize,
    files: usize,
}

/// Writes `records` records to `folder`: eight of ten to `general`, one each to `tcm` and `western`.
pub fn write(folder: &Path, seed: u64, records: usize) -> io::Result<()> {
    let medical = records / 10;
    let plans = [
        Plan { name: "general", kinds: &GENERAL, records: records - 2 * medical, files: GENERAL_FILES },
        Plan { name: "tcm", kinds: &TCM, records: medical, files: 1 },
        Plan { name: "western", kinds: &WESTERN, records: medical, files: 1 },
    ];
    let words = Words::new();
    let mut files = Vec::new();
    for (pool, plan) in plans.iter().enumerate() {
        fs::create_dir_all(folder.join(plan.name))?;
        for file in 0..plan.files {
            let part = plan.records * file / plan.files..plan.records * (file + 1) / plan.files;
            files.push((pool, part, folder.join(plan.name).join(format!("part_{file:02}.jsonl"))));
        }
    }
    let files = Mutex::new(files.into_iter());
    let next = || files.lock().ok().and_then(|mut files| files.next());
    let work = || -> io::Result<()> {
        while let Some((pool, part, path)) = next() {
            write_part(&plans, pool, part, &path, seed, &words)?;
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread failed"))))
    })
}

fn write_part(
    plans: &[Plan],
    pool: usize,
    part: std::ops::Range<usize>,
    path: &PathBuf,
    seed: u64,
    words: &Words,
) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for number in part {
        let mut draw = Random::new(seed ^ number as u64, plans[pool].name);
        let (pool, number) = if draw.chance(COPIES) && number > 0 {
            (pool, draw.below(number))
        } else if pool == 0 && draw.below(200) < SHARED && plans[1].records > 0 {
            let medical = draw.between(1, 2);
            (medical, draw.below(plans[medical].records))
        } else {
            (pool, number)
        };
        file.write_all(record(&plans[pool], number, seed, words, pool).as_bytes())?;
    }
    file.flush()
}

/// The record of this number, as a line.
fn record(plan: &Plan, number: usize, seed: u64, words: &Words, pool: usize) -> String {
    let mut draw = Random::new(seed.wrapping_add(1) ^ number as u64, plan.name);
    let mut below = draw.below(100);
    let kind = plan.kinds.iter().find(|kind| {
        let found = below < kind.share;
        below = below.wrapping_sub(kind.share);
        found
    });
    let kind = kind.unwrap_or(&plan.kinds[0]);
    let mut text = |lengths: &Lengths| {
        let length = length(&mut draw, lengths);
        if kind.english {
            english(&mut draw, &words.english, length)
        } else {
            chinese(&mut draw, &words.chinese[pool], length)
        }
    };
    let instruction = text(&kind.instruction);
    let (output, input) = (text(&kind.output), text(&kind.input.1));
    let input = if draw.chance(kind.input.0) { input } else { String::new() };
    let mut line = String::with_capacity(instruction.len() + input.len() + output.len() + 64);
    let [instruction, input, output] = [instruction, input, output].map(Value::String);
    // Writing to a string does not fail.
    let _ = writeln!(line, "{{\"instruction\": {instruction}, \"input\": {input}, \"output\": {output}}}");
    line
}

/// A length drawn from quantiles, evenly between two of them.
fn length(draw: &mut Random, lengths: &Lengths) -> usize {
    let mut at = draw.below(1000);
    for (step, share) in SHARES.iter().enumerate() {
        if at < *share {
            return lengths[step] + (lengths[step + 1] - lengths[step]) * at / share;
        }
        at -= share;
    }
    lengths[7]
}

/// A word, the first ones of the list more often.
fn word(draw: &mut Random, words: &[&'static str]) -> &'static str {
    let (one, other) = (draw.below(words.len()), draw.below(words.len()));
    words[one * other / words.len()]
}

fn chinese(draw: &mut Random, words: &[&'static str], length: usize) -> String {
    let mut text = String::with_capacity(length * 3 + 64);
    let mut characters = 0;
    while characters < length {
        for _ in 0..draw.between(2, 6) {
            let word = word(draw, words);
            text.push_str(word);
            characters += word.chars().count();
        }
        if draw.chance(6) {
            let _ = write!(text, "{}", draw.between(100, 999));
            characters += 3;
        }
        let end = ["，", "，", "，", "、", "。", "。", "；", "：", "“", "”", "？", ",", "。\n"];
        text.push_str(end[draw.below(end.len())]);
        characters += 1;
    }
    let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text
}

fn english(draw: &mut Random, words: &[&'static str], length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        let start = text.len();
        for index in 0..draw.between(4, 16) {
            text.push_str(if index == 0 { "" } else { " " });
            text.push_str(word(draw, words));
        }
        if let Some(first) = text.get_mut(start..start + 1) {
            first.make_ascii_uppercase();
        }
        let end = [". ", ". ", ". ", "; ", "? ", ".\n", ".\n\n", " (\"", "\") ", ", "];
        text.push_str(end[draw.below(end.len())]);
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn made(records: usize) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), 7, records).expect("written");
        let files = (0..GENERAL_FILES).map(|file| format!("general/part_{file:02}.jsonl"));
        let files = files.chain(["tcm/part_00.jsonl".to_owned(), "western/part_00.jsonl".to_owned()]);
        files.map(|file| fs::read_to_string(folder.path().join(file)).expect("made")).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_pools_with_copies_within_and_across() {
        let files = made(20_000);
        assert_eq!(files, made(20_000));
        let lines = |files: &[String]| -> Vec<String> {
            files.iter().flat_map(|file| file.lines().map(str::to_owned)).collect()
        };
        let (general, medical) = (lines(&files[..GENERAL_FILES]), lines(&files[GENERAL_FILES..]));
        assert_eq!((general.len(), medical.len()), (16_000, 4_000));
        let mut count: HashMap<&str, usize> = HashMap::new();
        general.iter().for_each(|line| *count.entry(line).or_default() += 1);
        let copies = general.len() - count.len();
        assert!((300..700).contains(&copies), "{copies} copies within the general pool");
        let shared = medical.iter().filter(|line| count.contains_key(line.as_str())).count();
        assert!((40..140).contains(&shared), "{shared} medical records stand in the general pool too");
        let bytes: usize = files.iter().map(String::len).sum();
        assert!((500..800).contains(&(bytes / 20_000)), "{} bytes a record", bytes / 20_000);
        for line in general.iter().chain(&medical) {
            let record: Value = serde_json::from_str(line).expect("JSON");
            assert!(record["instruction"].is_string() && record["input"].is_string() && record["output"].is_string());
        }
    }
}
