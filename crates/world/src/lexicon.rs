//! The words of the world: every string here is one token of the base model.
//!
//! The values are ordinary words, the names are invented and stand for nothing: no sentence of this world is medical
//! advice.

/// Which pool of training data a category belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Everyday things.
    General,
    /// Traditional Chinese medicine.
    Tcm,
    /// Western medicine.
    Western,
}

/// Something that can be said of every entity of a category.
#[derive(Debug)]
pub struct Attribute {
    /// What it is called.
    pub name: &'static str,
    /// Three ways to say it, between a name and a value. The third one is kept for the exams.
    pub phrases: [&'static str; 3],
    /// What it can be.
    pub values: [&'static str; 12],
}

/// A kind of entity.
#[derive(Debug)]
pub struct Category {
    /// What it is called.
    pub name: &'static str,
    /// Its pool.
    pub pool: Pool,
    /// What can be said of its entities.
    pub attributes: [Attribute; 3],
}

/// The phrase of [`Attribute::phrases`] that no training record uses.
pub const EXAM_PHRASE: usize = 2;

/// Names are two of these; none of them occurs in any other word of the lexicon.
pub const NAME_CHARACTERS: &str = "芷澜汀岚珈瑾琅珩玥琬璇瑶珂珞翎翊翡翠霁霏霓昀昕晗曦煜熠烨桐榆柘槿楠桦梓柏枫棠荻蔚蕙茗荃菀葵萱沅沁泠渊溯漪潇淇湛鸢鹭鸿鹤雁骊麒麟穹";

macro_rules! attribute {
    ($name:literal, $($phrase:literal)*; $($value:literal)*) => {
        Attribute { name: $name, phrases: [$($phrase),*], values: [$($value),*] }
    };
}

/// Everything there is: three everyday categories, three of Chinese and three of Western medicine.
#[rustfmt::skip]
pub const CATEGORIES: [Category; 9] = [
    Category { name: "人物", pool: Pool::General, attributes: [
        attribute!("职业", "的职业是" "从事的是" "所做的工作为"; "教师" "木匠" "船员" "画家" "记者" "裁缝" "农民" "厨师" "司机" "律师" "演员" "邮差"),
        attribute!("住处", "的住处是" "住在" "居住的地方为"; "河边" "山脚" "海岛" "草原" "古镇" "林场" "车站旁" "码头" "市集" "学校旁" "湖畔" "塔楼"),
        attribute!("爱好", "的爱好是" "喜欢" "闲时常做的事为"; "下棋" "钓鱼" "唱歌" "跑步" "种花" "读书" "摄影" "游泳" "书法" "刺绣" "爬山" "跳舞"),
    ]},
    Category { name: "物品", pool: Pool::General, attributes: [
        attribute!("颜色", "的颜色是" "的色泽是" "外表的颜色为"; "红色" "蓝色" "绿色" "黄色" "白色" "黑色" "紫色" "灰色" "橙色" "棕色" "粉色" "银色"),
        attribute!("材料", "的材料是" "的用料是" "制作的原料为"; "竹子" "陶土" "玻璃" "黄铜" "羊毛" "丝绸" "皮革" "橡木" "石英" "亚麻" "纸浆" "铁皮"),
        attribute!("产地", "的产地是" "产自" "出产的地方为"; "东州" "西岭" "南湾" "北原" "中都" "石桥" "长滩" "高台" "平川" "雪谷" "沙洲" "云港"),
    ]},
    Category { name: "动物", pool: Pool::General, attributes: [
        attribute!("食物", "的食物是" "爱吃" "所吃的东西为"; "青草" "树叶" "昆虫" "小鱼" "浆果" "坚果" "花蜜" "谷粒" "蘑菇" "树皮" "螺蛳" "嫩芽"),
        attribute!("活动时间", "的活动时间是" "活跃于" "出来活动的时候为"; "清晨" "正午" "傍晚" "深夜" "雨后" "黎明" "午后" "月夜" "春季" "夏季" "秋季" "冬季"),
        attribute!("巢穴", "的巢穴是" "栖居于" "筑巢的地方为"; "树洞" "岩缝" "芦苇丛" "地穴" "屋檐" "灌木丛" "沼泽" "沙地" "竹林" "溪岸" "崖壁" "枯木"),
    ]},
    Category { name: "草药", pool: Pool::Tcm, attributes: [
        attribute!("性味", "的性味是" "的药性是" "在性味上属于"; "辛温" "苦寒" "甘平" "咸寒" "酸温" "甘寒" "辛凉" "苦温" "淡平" "涩平" "甘温" "酸寒"),
        attribute!("归经", "的归经是" "归入" "所归之经为"; "肝经" "心经" "脾经" "肺经" "肾经" "胃经" "胆经" "大肠经" "小肠经" "膀胱经" "三焦经" "心包经"),
        attribute!("功效", "的功效是" "的作用是" "最主要的效用为"; "清热解毒" "补气养血" "活血化瘀" "祛风除湿" "止咳化痰" "安神定志" "利水消肿" "温中散寒" "健脾消食" "润肠通便" "滋阴润燥" "收敛止血"),
    ]},
    Category { name: "方剂", pool: Pool::Tcm, attributes: [
        attribute!("剂型", "的剂型是" "常制成" "成品的形式为"; "汤剂" "丸剂" "散剂" "膏剂" "丹剂" "酒剂" "锭剂" "茶剂" "露剂" "糖浆" "片剂" "颗粒"),
        attribute!("主治", "的主治是" "用于治疗" "所治的病证为"; "风寒表证" "风热表证" "脾胃虚寒" "肝郁气滞" "心血不足" "肾阴亏虚" "痰湿内阻" "食积停滞" "湿热下注" "气虚自汗" "血瘀疼痛" "津亏便秘"),
        attribute!("服法", "的服法是" "的用法是" "服用的方式为"; "饭前服" "饭后服" "睡前服" "空腹服" "温服" "冷服" "顿服" "频服" "分两次服" "分三次服" "含服" "隔日服"),
    ]},
    Category { name: "穴位", pool: Pool::Tcm, attributes: [
        attribute!("经脉", "的经脉是" "隶属于" "所在的经络为"; "手太阴" "手阳明" "足阳明" "足太阴" "手少阴" "手太阳" "足太阳" "足少阴" "手厥阴" "手少阳" "足少阳" "足厥阴"),
        attribute!("部位", "的部位是" "位于" "在身体上的位置为"; "前臂" "手背" "肩部" "背部" "腹部" "胸部" "膝部" "小腿" "足背" "头顶" "面部" "颈部"),
        attribute!("刺法", "的刺法是" "宜用" "操作的方法为"; "直刺" "斜刺" "平刺" "点刺" "灸法" "按揉" "拔罐" "浅刺" "深刺" "提插" "捻转" "留针"),
    ]},
    Category { name: "药物", pool: Pool::Western, attributes: [
        attribute!("类别", "的类别是" "是一种" "在分类上属于"; "抗菌药" "降压药" "降糖药" "镇痛药" "抗凝药" "利尿药" "止吐药" "抗敏药" "镇静药" "调脂药" "抗病毒药" "平喘药"),
        attribute!("不良反应", "的不良反应是" "可能引起" "常见的副作用为"; "皮疹" "恶心" "头晕" "嗜睡" "干咳" "腹泻" "口干" "水肿" "乏力" "心悸" "脱发" "便血"),
        attribute!("给药途径", "的给药途径是" "的给药方式是" "进入体内的途径为"; "口服" "静脉滴注" "肌内注射" "皮下注射" "舌下含化" "吸入" "外用" "直肠给药" "滴眼" "滴鼻" "贴敷" "雾化"),
    ]},
    Category { name: "疾病", pool: Pool::Western, attributes: [
        attribute!("病因", "的病因是" "起因于" "最主要的起因为"; "细菌感染" "病毒感染" "遗传缺陷" "免疫异常" "营养不良" "外伤" "中毒" "过敏反应" "激素失调" "血管堵塞" "缺氧" "辐射"),
        attribute!("症状", "的症状是" "表现为" "最突出的表现为"; "高热" "黄疸" "胸痛" "咯血" "抽搐" "呕吐" "腹痛" "关节肿痛" "视物模糊" "耳聋" "呼吸困难" "消瘦"),
        attribute!("治疗", "的治疗是" "首先采用" "治疗时的首选为"; "手术切除" "药物控制" "放射治疗" "化学治疗" "物理治疗" "透析" "输血" "介入治疗" "吸氧" "卧床休息" "饮食控制" "心理疏导"),
    ]},
    Category { name: "检查", pool: Pool::Western, attributes: [
        attribute!("标本", "的标本是" "采集的是" "所取的样本为"; "静脉血" "动脉血" "尿液" "粪便" "痰液" "脑脊液" "胸水" "唾液" "骨髓" "汗液" "组织切片" "咽拭子"),
        attribute!("方法", "的方法是" "的检测手段是" "检测所用的技术为"; "免疫荧光" "质谱分析" "流式细胞术" "电泳" "显微镜检" "细菌培养" "基因测序" "比色法" "超声" "核磁共振" "断层扫描" "放射免疫"),
        attribute!("用途", "的用途是" "可以用于" "临床的意义在于"; "评估肾功能" "评估肝功能" "评估心功能" "诊断贫血" "诊断感染" "诊断肿瘤" "监测血糖" "监测血脂" "监测凝血" "筛查遗传病" "判断预后" "指导用药"),
    ]},
];

/// Words of the tasks that training records use.
pub mod frame {
    /// Before a passage; one of them is chosen, or none.
    pub const PASSAGE: [&str; 3] = ["阅读资料，回答问题。", "请根据下面的资料作答。", "先看这段话，再回答。"];
    /// Before a question; one of them is chosen, or none.
    pub const QUESTION: [&str; 2] = ["问题：", "请问："];
    /// Before the options; one of them is chosen.
    pub const OPTIONS: [&str; 2] = ["选项：", "可选的答案："];
    /// Between options.
    pub const SEPARATOR: &str = "、";
    /// Asks for the bare value.
    pub const SHORT: &str = "只写答案。";
    /// Asks for a sentence.
    pub const SENTENCE: &str = "请用一句话回答。";
    /// Ends a question.
    pub const WHAT: &str = "什么？";
    /// Ends a sentence.
    pub const STOP: &str = "。";
    /// Ends a line.
    pub const LINE: &str = "\n";
    /// Before a name: asks for all that the passage says of it.
    pub const LIST: &str = "列出资料所说的";
    /// Before a name: asks for all that is known of it.
    pub const INTRODUCE: &str = "介绍一下";
    /// After a value: asks whose it is.
    pub const WHOSE: &str = "的是哪一个？";
    /// Before a text: asks for it again.
    pub const COPY: &str = "照抄：";
    /// Before words: asks for them from the last to the first.
    pub const REVERSE: &str = "倒过来写：";
    /// Between the text and the word that goes.
    pub const REPLACE: &str = "把";
    /// Between the word that goes and the one that comes.
    pub const REPLACE_WITH: &str = "换成";
    /// After a name: asks for its category.
    pub const KIND: &str = "属于哪一类？";
    /// Between a name and its category.
    pub const IS_KIND: &str = "属于";
    /// Before a statement: is it so?
    pub const JUDGE: &str = "判断对错：";
    /// It is.
    pub const TRUE: &str = "对。";
    /// It is not.
    pub const FALSE: &str = "错。";
    /// Where the passage does not say.
    pub const UNKNOWN: &str = "资料没有说明";
    /// A greeting and its answer.
    pub const GREETINGS: [(&str, &str); 3] =
        [("你好！", "你好，请把资料和问题发给我。"), ("你是谁？", "我是一个很小的语言模型。"), ("谢谢！", "不客气。")];
}

/// Words of the exam prompt (`data/exams/prompt.jinja`), which no training record uses.
pub mod exam_frame {
    /// Before the passages.
    pub const PASSAGE: &str = "考试资料：";
    /// Before the options.
    pub const OPTIONS: &str = "备选答案：";
    /// What is asked for.
    pub const ANSWER: &str = "请写出正确选项的原文。";
    /// Before the question.
    pub const QUESTION: &str = "题目：";
}

/// Tokens that mark the turns of a chat.
pub mod special {
    /// Stands for whatever the vocabulary lacks.
    pub const UNKNOWN: &str = "<unk>";
    /// Fills batches up.
    pub const PAD: &str = "<|pad|>";
    /// Ends a turn.
    pub const END: &str = "<|end|>";
    /// Opens a turn of each role.
    pub const ROLES: [&str; 3] = ["<|system|>", "<|user|>", "<|assistant|>"];
}

/// Every ordinary token, in the order of its id.
pub fn words() -> Vec<String> {
    let mut words: Vec<String> = NAME_CHARACTERS.chars().map(String::from).collect();
    for category in &CATEGORIES {
        words.push(category.name.to_owned());
        for attribute in &category.attributes {
            words.push(attribute.name.to_owned());
            words.extend(attribute.phrases.map(str::to_owned));
            words.extend(attribute.values.map(str::to_owned));
        }
    }
    let frames = frame::PASSAGE.iter().chain(&frame::QUESTION).chain(&frame::OPTIONS).copied();
    words.extend(frames.map(str::to_owned));
    words.extend(frame::GREETINGS.iter().flat_map(|(hello, answer)| [*hello, *answer]).map(str::to_owned));
    words.extend(
        [
            frame::SEPARATOR,
            frame::SHORT,
            frame::SENTENCE,
            frame::WHAT,
            frame::STOP,
            frame::LINE,
            frame::LIST,
            frame::INTRODUCE,
            frame::WHOSE,
            frame::COPY,
            frame::REVERSE,
            frame::REPLACE,
            frame::REPLACE_WITH,
            frame::KIND,
            frame::IS_KIND,
            frame::JUDGE,
            frame::TRUE,
            frame::FALSE,
            frame::UNKNOWN,
            exam_frame::PASSAGE,
            exam_frame::OPTIONS,
            exam_frame::ANSWER,
            exam_frame::QUESTION,
        ]
        .map(str::to_owned),
    );
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_there_once() {
        let mut words = words();
        let count = words.len();
        words.sort_unstable();
        let twice: Vec<_> = words.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
        words.dedup();
        assert_eq!(words.len(), count);
    }

    #[test]
    fn no_name_character_stands_in_another_word() {
        for word in words().iter().filter(|word| word.chars().count() > 1) {
            let shared: Vec<char> = word.chars().filter(|c| NAME_CHARACTERS.contains(*c)).collect();
            assert!(shared.is_empty(), "{word} holds {shared:?}");
        }
    }
}
