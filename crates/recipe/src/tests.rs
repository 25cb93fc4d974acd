//! Messages are pinned as the terminal shows them, without colour.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use crate::{Book, EarlyStopping, Method, Origin, RecipeErrors, load, parse, shipped};

const SMALL: &str = r#"
[model]
base = "some/model"

[mix]
size = 100
ratio = { general = 9, medical = 1 }

[mix.medical]
ratio = { tcm = 1, western = 1 }

[sources.general]
path = "general.jsonl"

[sources.tcm]
path = ["a.jsonl", { path = "owner/set", columns = { output = "answer" }, licence = "MIT" }]
columns = { instruction = "query", output = "response" }

[sources.western]
path = "western/*.json"
"#;

pub(crate) fn read(text: &str, sets: &[&str]) -> Result<crate::Resolved, RecipeErrors> {
    parse("recipe.toml", text, None, sets)
}

pub(crate) fn render(diagnostic: &dyn Diagnostic) -> String {
    let mut text = String::new();
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_links(false).with_width(110);
    handler.render_report(&mut text, diagnostic).expect("rendering into a string");
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn errors(text: &str, sets: &[&str]) -> String {
    render(&read(text, sets).expect_err("the recipe has errors"))
}

#[test]
fn a_small_recipe_gets_every_default() {
    let recipe = read(SMALL, &[]).expect("a sound recipe").recipe;
    assert_snapshot!(recipe.to_toml(), @r#"
    name = "recipe"

    [model]
    base = "some/model"
    dtype = "auto"

    [chat]
    max_tokens = 2048

    [mix]
    size = 100
    size_in = "samples"
    seed = 42
    ratio = { general = 9, medical = 1 }
    ratio_in = "samples"
    order = "shuffled"
    on_shortage = "error"
    tolerance = 0.005
    validation = { fraction = 0.01, max_samples = 200 }
    contamination = { ngram_words = 13, ngram_characters = 20, passages = false, action = "drop" }

    [mix.medical]
    ratio = { tcm = 1, western = 1 }

    [[sources.general.path]]
    path = "general.jsonl"
    format = "auto"
    supervise = "all"

    [[sources.tcm.path]]
    path = "a.jsonl"
    format = "auto"
    columns = { instruction = "query", output = "response" }
    supervise = "all"

    [[sources.tcm.path]]
    path = "owner/set"
    format = "auto"
    columns = { output = "answer" }
    supervise = "all"
    licence = "MIT"

    [[sources.western.path]]
    path = "western/*.json"
    format = "auto"
    supervise = "all"

    [train]
    method = "lora"
    optimizer = "adamw"
    learning_rate = 1e-4
    schedule = "cosine"
    warmup_ratio = 0.03
    weight_decay = 0.0
    beta1 = 0.9
    beta2 = 0.999
    epsilon = 1e-8
    max_grad_norm = 1.0
    epochs = 1
    batch_size = 64
    tokens_per_micro_batch = 8192
    block_policy = "auto"
    optimizer_in_backward = false
    result = "last"
    save_dtype = "base"
    keep = "model"
    seed = 42
    logging_steps = 10
    eval_steps = 100
    save_steps = 200
    save_total_limit = 2

    [train.lora]
    rank = 8
    alpha = 16.0
    dropout = 0.05
    target = "all-linear"

    [exam]
    papers = []
    prompt = "zh"
    answer = "letter"
    books = ["open"]
    max_prompt_tokens = 4096
    max_new_tokens = 32
    batch_size = 16
    keep_prompts = false
    "#);
}

#[test]
fn written_out_and_read_again_a_recipe_is_the_same() {
    let texts = shipped().map(|shipped| load(shipped.name, &[] as &[&str]).expect("a shipped recipe").recipe);
    let small = read(SMALL, &[]).expect("a sound recipe").recipe;
    let full = read(SMALL, &["train.method=full", "train.max_steps=7"]).expect("a sound recipe").recipe;
    assert_eq!(full.train.method, Method::Full);
    let odd = SMALL.replace("[sources.general]", "[sources.\"通用 data\"]").replace("{ general =", "{ \"通用 data\" =");
    let odd = read(&odd, &["chat.system=引号\"和\\n", "train.epsilon=1e-12"]);
    for recipe in texts.chain([small, full, odd.expect("a sound recipe").recipe]) {
        let text = recipe.to_toml();
        let again = parse("again.toml", &text, None, &[] as &[&str]).expect("what is written can be read").recipe;
        assert_eq!(again, recipe, "{text}");
    }
}

#[test]
fn every_error_is_reported_at_once() {
    let text = r#"
[model]
bass = "some/model"

[mix]
size = 1e5
sede = 3
ratio = { genral = 9, medical = 1 }
validation = { fraction = 0.7 }

[mix.medical]
ratio = { tcm = 0, western = 1.5 }

[sources.general]
path = "general.jsonl"
colums = { instruction = "query" }

[sources.tcm]
path = 5

[sources.western]
licence = "MIT"

[train]
learning_rate = "2e-4"
schedule = "cosin"
max_tokens = 512
lora = { rank = 0, target = ["q_proj", "k_prj"], dropout = 1.0 }
beta1 = 1

[exams]
papers = []
"#;
    assert_snapshot!(errors(text, &["train.epochs=0", "mix.seed=many"]), @r#"
      × the recipe `recipe.toml` has 20 errors

    Error:
      × `model.base` is missing
       ╭─[recipe.toml:2:2]
     1 │
     2 │ [model]
       ·  ──┬──
       ·    ╰── hint: base = "Qwen/Qwen1.5-0.5B" in [model], or a local directory
     3 │ bass = "some/model"
       ╰────

    Error:
      × unknown key `bass` in [model]
       ╭─[recipe.toml:3:1]
     2 │ [model]
     3 │ bass = "some/model"
       · ──┬─
       ·   ╰── hint: did you mean `base`?
     4 │
       ╰────
      help: [model] takes `base`, `revision`, `dtype`

    Error:
      × `mix.size` is the number 1e5; expected a whole number of at least 1 and at most 1000000000000000
       ╭─[recipe.toml:6:8]
     5 │ [mix]
     6 │ size = 1e5
       ·        ─┬─
       ·         ╰── hint: write 100000
     7 │ sede = 3
       ╰────

    Error:
      × unknown key `sede` in [mix]
       ╭─[recipe.toml:7:1]
     6 │ size = 1e5
     7 │ sede = 3
       · ──┬─
       ·   ╰── hint: did you mean `seed`?
     8 │ ratio = { genral = 9, medical = 1 }
       ╰────
      help: [mix] takes `size`, `size_in`, `seed`, `ratio`, `ratio_in`, `ratio_end`, `epochs`, `order`,
            `on_shortage`, `max_epochs`, `tolerance`, `validation`, `contamination`, `near_duplicates`, `filter`

    Error:
      × the ratio of [mix] names `genral`, which is neither a source nor a group
       ╭─[recipe.toml:8:11]
     7 │ sede = 3
     8 │ ratio = { genral = 9, medical = 1 }
       ·           ───┬──
       ·              ╰── hint: did you mean `general`?
     9 │ validation = { fraction = 0.7 }
       ╰────
      help: sources and groups: `general`, `tcm`, `western`, `medical`

    Error:
      × `mix.validation.fraction` is 0.7; expected a number of at least 0 and at most 0.5
        ╭─[recipe.toml:9:27]
      8 │ ratio = { genral = 9, medical = 1 }
      9 │ validation = { fraction = 0.7 }
        ·                           ─┬─
        ·                            ╰── too large
     10 │
        ╰────

    Error:
      × `mix.medical.ratio.tcm` is 0; expected a number above 0
        ╭─[recipe.toml:12:17]
     11 │ [mix.medical]
     12 │ ratio = { tcm = 0, western = 1.5 }
        ·                 ┬
        ·                 ╰── too small
     13 │
        ╰────

    Error:
      × unknown key `colums` in [sources.general]
        ╭─[recipe.toml:16:1]
     15 │ path = "general.jsonl"
     16 │ colums = { instruction = "query" }
        · ───┬──
        ·    ╰── hint: did you mean `columns`?
     17 │
        ╰────
      help: [sources.general] takes `path`, `format`, `columns`, `encoding`, `supervise`, `filter`,
            `max_records`, `files`, `config`, `split`, `revision`, `licence`, `commercial_use`

    Error:
      × `sources.tcm.path` is the number 5; expected a list (each a string or a table), a string or a table
        ╭─[recipe.toml:19:8]
     18 │ [sources.tcm]
     19 │ path = 5
        ·        ┬
        ·        ╰── hint: put it in quotes
     20 │
        ╰────

    Error:
      × `sources.western.path` is missing
        ╭─[recipe.toml:21:10]
     20 │
     21 │ [sources.western]
        ·          ───┬───
        ·             ╰── hint: path = a file, a directory, a glob or a hub data set
     22 │ licence = "MIT"
        ╰────

    Error:
      × `train.learning_rate` is the string "2e-4"; expected a number above 0 and at most 1
        ╭─[recipe.toml:25:17]
     24 │ [train]
     25 │ learning_rate = "2e-4"
        ·                 ───┬──
        ·                    ╰── hint: without quotes: 2e-4
     26 │ schedule = "cosin"
        ╰────

    Error:
      × `train.schedule` is "cosin"; expected one of `cosine`, `linear`, `constant`
        ╭─[recipe.toml:26:12]
     25 │ learning_rate = "2e-4"
     26 │ schedule = "cosin"
        ·            ───┬───
        ·               ╰── hint: did you mean `cosine`?
     27 │ max_tokens = 512
        ╰────

    Error:
      × unknown key `max_tokens` in [train]
        ╭─[recipe.toml:27:1]
     26 │ schedule = "cosin"
     27 │ max_tokens = 512
        · ─────┬────
        ·      ╰── hint: `max_tokens` belongs in [chat]
     28 │ lora = { rank = 0, target = ["q_proj", "k_prj"], dropout = 1.0 }
        ╰────
      help: [train] takes `method`, `lora`, `optimizer`, `learning_rate`, `schedule`, `warmup_ratio`,
            `warmup_steps`, `weight_decay`, `beta1`, `beta2`, `epsilon`, `max_grad_norm`, `epochs`, `max_steps`,
            `batch_size`, `tokens_per_micro_batch`, `block_policy`, `optimizer_in_backward`, `early_stopping`,
            `result`, `save_dtype`, `keep`, `seed`, `logging_steps`, `eval_steps`, `save_steps`,
            `save_total_limit`

    Error:
      × `train.lora.rank` is 0; expected a whole number of at least 1 and at most 65536
        ╭─[recipe.toml:28:17]
     27 │ max_tokens = 512
     28 │ lora = { rank = 0, target = ["q_proj", "k_prj"], dropout = 1.0 }
        ·                 ┬
        ·                 ╰── too small
     29 │ beta1 = 1
        ╰────

    Error:
      × `train.lora.target.1` is "k_prj"; expected one of `all-linear`, `q_proj`, `k_proj`, `v_proj`, `o_proj`,
      │ `gate_proj`, `up_proj`, `down_proj`
        ╭─[recipe.toml:28:40]
     27 │ max_tokens = 512
     28 │ lora = { rank = 0, target = ["q_proj", "k_prj"], dropout = 1.0 }
        ·                                        ───┬───
        ·                                           ╰── hint: did you mean `k_proj`?
     29 │ beta1 = 1
        ╰────

    Error:
      × `train.lora.dropout` is 1.0; expected a number of at least 0 and below 1
        ╭─[recipe.toml:28:60]
     27 │ max_tokens = 512
     28 │ lora = { rank = 0, target = ["q_proj", "k_prj"], dropout = 1.0 }
        ·                                                            ─┬─
        ·                                                             ╰── too large
     29 │ beta1 = 1
        ╰────

    Error:
      × `train.beta1` is 1; expected a number of at least 0 and below 1
        ╭─[recipe.toml:29:9]
     28 │ lora = { rank = 0, target = ["q_proj", "k_prj"], dropout = 1.0 }
     29 │ beta1 = 1
        ·         ┬
        ·         ╰── too large
     30 │
        ╰────

    Error:
      × unknown key `exams` at the top level
        ╭─[recipe.toml:31:2]
     30 │
     31 │ [exams]
        ·  ──┬──
        ·    ╰── hint: did you mean `exam`?
     32 │ papers = []
        ╰────
      help: the top level takes `extends`, `name`, `description`, `model`, `chat`, `mix`, `sources`, `train`,
            `exam`

    Error:
      × `mix.seed` is the string "many"; expected a whole number of at least 0
       ╭─[--set mix.seed=many:1:10]
     1 │ mix.seed="many"
       ·          ───┬──
       ·             ╰── wrong type
       ╰────

    Error:
      × `train.epochs` is 0; expected a whole number of at least 1 and at most 100000
       ╭─[--set train.epochs=0:1:14]
     1 │ train.epochs=0
       ·              ┬
       ·              ╰── too small
       ╰────
    "#);
}

#[test]
fn syntax_errors_are_reported_together() {
    assert_snapshot!(errors("[model\nbase = \"x\"\n[mix]\nseed = 2024-01-01\nsize = 99999999999999999999\n", &["nonsense", "train.lora={rank"]), @r#"
      × the recipe `recipe.toml` has 4 errors

    Error:
      × not TOML: unclosed table, expected `]`
       ╭─[recipe.toml:1:6]
     1 │ [model
       ·      ┬
       ·      ╰── here
     2 │ base = "x"
       ╰────

    Error:
      × this value is a date; no setting is one
       ╭─[recipe.toml:4:8]
     3 │ [mix]
     4 │ seed = 2024-01-01
       ·        ──────────
     5 │ size = 99999999999999999999
       ╰────

    Error:
      × this --set has no `=`
       ╭─[--set nonsense:1:1]
     1 │ nonsense
       · ────────
       ╰────
      help: --set takes KEY=VALUE, for example --set train.learning_rate=2e-4

    Error:
      × not TOML: unclosed inline table, expected `}`
       ╭─[--set train.lora={rank:1:16]
     1 │ train.lora={rank
       ·                ┬
       ·                ╰── here
       ╰────
    "#);
}

#[test]
fn a_mixture_that_is_no_tree_is_refused() {
    let text = SMALL.replace("tcm = 1, western = 1", "inner = 1, western = 2, general = 1")
        + "[mix.inner]\nratio = { medical = 1, western = 1 }\n[mix.tcm]\nratio = { general = 1 }\n[mix.bare]\n";
    assert_snapshot!(errors(&text, &[]), @r#"
      × the recipe `recipe.toml` has 4 errors

    Error:
      × `western` is in the mixture twice
        ╭─[recipe.toml:10:22]
      9 │ [mix.medical]
     10 │ ratio = { inner = 1, western = 2, general = 1 }
        ·                      ───┬───
        ·                         ╰── a source or group has one place in the tree
     11 │
        ╰────

    Error:
      × `general` is in the mixture twice
        ╭─[recipe.toml:10:35]
      9 │ [mix.medical]
     10 │ ratio = { inner = 1, western = 2, general = 1 }
        ·                                   ───┬───
        ·                                      ╰── a source or group has one place in the tree
     11 │
        ╰────

    Error:
      × the groups go in a circle: medical -> inner -> medical
        ╭─[recipe.toml:22:11]
     21 │ [mix.inner]
     22 │ ratio = { medical = 1, western = 1 }
        ·           ───────
     23 │ [mix.tcm]
        ╰────

    Error:
      × `tcm` is a source and a group
        ╭─[recipe.toml:23:6]
     22 │ ratio = { medical = 1, western = 1 }
     23 │ [mix.tcm]
        ·      ─┬─
        ·       ╰── [sources.tcm] has the same name
     24 │ ratio = { general = 1 }
        ╰────
    "#);
}

#[test]
fn what_nobody_uses_is_a_warning_where_it_was_forgotten() {
    let resolved = read(&SMALL.replace("western = 1", ""), &[]).expect("a sound recipe");
    let warnings: Vec<_> = resolved.warnings.iter().map(|warning| render(warning)).collect();
    assert_snapshot!(warnings.concat(), @r#"
     ⚠ the source `western` is in no ratio and is not used
       ╭─[recipe.toml:19:10]
    18 │
    19 │ [sources.western]
       ·          ───┬───
       ·             ╰── not used
    20 │ path = "western/*.json"
       ╰────
    "#);
    assert_eq!(resolved.recipe.mix.sources.keys().collect::<Vec<_>>(), ["general", "tcm"]);
}

#[test]
fn later_layers_win_and_a_ratio_is_replaced_as_a_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("bases")).expect("writable");
    fs::write(folder.path().join("bases/deep.toml"), SMALL).expect("writable");
    fs::write(folder.path().join("bases/general.jsonl"), "").expect("writable");
    let middle = "extends = \"bases/deep\"\n[train]\nmethod = \"full\"\nlora.rank = 4\n";
    fs::write(folder.path().join("middle.toml"), middle).expect("writable");
    let top = "extends = \"middle.toml\"\n[mix]\nsize = 50\nratio = { tcm = 1, western = 1 }\n";
    let path = folder.path().join("top.toml");
    fs::write(&path, top).expect("writable");

    let load_with = |sets: &[&str]| load(path.to_str().expect("UTF-8"), sets).expect("a sound recipe");
    let resolved = load_with(&["train.method=lora", "train.lora.alpha=8", "mix.ratio.western=3"]);
    let recipe = &resolved.recipe;
    assert_eq!(recipe.name, "top");
    assert_eq!(recipe.mix.size, 50);
    assert_eq!(recipe.mix.sources.keys().collect::<Vec<_>>(), ["tcm", "western"]);
    assert!(resolved.warnings.is_empty(), "what a base describes may be left out: {:?}", resolved.warnings);
    let Method::Lora(lora) = &recipe.train.method else { panic!("--set came last") };
    assert_eq!((lora.rank, lora.alpha), (4, 8.0));
    assert!(recipe.to_toml().contains("ratio = { tcm = 1, western = 3 }"));
    assert_eq!(resolved.origins["train.lora.alpha"], Origin::Set("--set train.lora.alpha=8".to_owned()));
    assert_eq!(resolved.origins["train.lora.dropout"], Origin::Default);
    let Origin::File { name, line } = &resolved.origins["train.lora.rank"] else { panic!("from a file") };
    assert!(name.ends_with("middle.toml") && *line == 4, "{name}:{line}");

    // A path in a base starts from the base's folder.
    let whole = load_with(&["mix.ratio={general=1}"]).recipe;
    let general = Path::new(&whole.mix.sources["general"].parts[0].path).to_owned();
    assert!(general.is_absolute() && general.ends_with("bases/general.jsonl"), "{}", general.display());
}

#[test]
fn bases_in_a_circle_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.toml"), "extends = \"b.toml\"\n").expect("writable");
    fs::write(folder.path().join("b.toml"), "extends = \"a\"\n").expect("writable");
    let path = folder.path().join("a.toml");
    let error = load(path.to_str().expect("UTF-8"), &[] as &[&str]).expect_err("a circle");
    let shown = render(&error).replace(folder.path().to_str().expect("UTF-8"), "DIR");
    assert_snapshot!(shown, @r#"
      × `extends` goes in a circle: DIR/a.toml -> DIR/b.toml -> DIR/a.toml
       ╭─[DIR/b.toml:1:11]
     1 │ extends = "a"
       ·           ─┬─
       ·            ╰── closes the circle
       ╰────
    "#);
}

#[test]
fn an_unknown_name_lists_the_shipped_recipes() {
    let error = load("ratio_9_2", &[] as &[&str]).expect_err("no such recipe");
    let shown = render(&error);
    assert!(shown.contains("help: did you mean `ratio_9_1.toml`?"), "{shown}");
    assert!(shown.contains("`size_200k.toml`"), "{shown}");
}

#[test]
fn shipped_recipes_are_found_from_anywhere() {
    for name in ["ratio_9_1", "ratio_9_1.toml"] {
        let resolved = load(name, &[] as &[&str]).expect("a shipped recipe");
        assert_eq!(resolved.recipe.name, "ratio-9-1");
    }
    let quickstart = load("shipped:quickstart", &[] as &[&str]).expect("a shipped recipe");
    assert!(quickstart.base_dir.join("../data/base/model.safetensors").is_file(), "the bundled data is unpacked");
}

#[test]
fn the_stored_recipe_finds_its_files_from_any_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("recipe.toml"), SMALL).expect("writable");
    fs::write(folder.path().join("general.jsonl"), "").expect("writable");
    // A run directory stands for the recipe in it.
    let resolved = load(folder.path().to_str().expect("UTF-8"), &[] as &[&str]).expect("a sound recipe");
    let stored = parse("stored.toml", &resolved.to_toml(), None, &[] as &[&str]).expect("a sound recipe").recipe;
    assert_eq!(Path::new(&stored.mix.sources["general"].parts[0].path), folder.path().join("general.jsonl"));
    assert_eq!(stored.mix.sources["western"].parts[0].path, "western/*.json");
    assert_eq!(resolved.find("general.jsonl"), folder.path().join("general.jsonl"));
    assert_eq!(resolved.find("elsewhere.jsonl"), Path::new("elsewhere.jsonl"));
}

#[test]
fn show_says_where_each_value_came_from() {
    let resolved = read(SMALL, &["train.epochs=3"]).expect("a sound recipe");
    let shown = resolved.show();
    let start: String = shown.lines().take(24).map(|line| format!("{line}\n")).collect();
    assert_snapshot!(start, @r#"
    name = "recipe"                                           # default

    [model]
    base = "some/model"                                       # recipe.toml:3
    dtype = "auto"                                            # default

    [chat]
    max_tokens = 2048                                         # default

    [mix]
    size = 100                                                # recipe.toml:6
    size_in = "samples"                                       # default
    seed = 42                                                 # default
    ratio = { general = 9, medical = 1 }                      # recipe.toml:7
    ratio_in = "samples"                                      # default
    order = "shuffled"                                        # default
    on_shortage = "error"                                     # default
    tolerance = 0.005                                         # default
    validation = { fraction = 0.01, max_samples = 200 }       # default
    contamination = { ngram_words = 13, ngram_characters = 20, passages = false, action = "drop" }  # default

    [mix.medical]
    ratio = { tcm = 1, western = 1 }                          # recipe.toml:10
    "#);
    assert!(shown.contains("# --set train.epochs=3\n"), "{shown}");
    let again = parse("shown.toml", &shown, None, &[] as &[&str]).expect("comments do no harm").recipe;
    assert_eq!(again, resolved.recipe);
}

#[test]
fn the_hash_follows_what_decides_the_weights() {
    let of = |sets: &[&str]| read(SMALL, sets).expect("a sound recipe").recipe.train_hash("mix", "weights", "template");
    let plain = of(&[]);
    assert_eq!(plain.len(), 64);
    for same in [
        "name=other",
        "description=other",
        "model.base=the/same-weights-elsewhere",
        "train.logging_steps=3",
        "train.eval_steps=3",
        "train.save_steps=3",
        "train.save_total_limit=3",
        "train.keep=all",
        "train.tokens_per_micro_batch=64",
        "train.block_policy=keep",
        "exam.batch_size=3",
        "exam.answer=text",
        "sources.general.licence=MIT",
    ] {
        assert_eq!(of(&[same]), plain, "{same} changes no weight");
    }
    let deciding = ["train.seed=3", "train.lora.rank=2", "train.method=full", "train.epochs=2", "chat.max_tokens=99"];
    for other in deciding.into_iter().chain(["model.dtype=f32", "train.max_steps=4", "train.beta2=0.95"]) {
        assert_ne!(of(&[other]), plain, "{other}");
    }
    for other in ["train.result=best", "train.early_stopping={}", "train.save_dtype=f32"] {
        assert_ne!(of(&[other]), plain, "{other}");
    }
    for setting in ["train.result=best", "train.early_stopping={}"] {
        assert_ne!(of(&[setting, "train.eval_steps=3"]), of(&[setting]), "{setting}: the validations decide");
    }
    let full = ["train.method=full", "train.max_grad_norm=0", "train.optimizer_in_backward=true"];
    assert_eq!(of(&full), of(&full[..2]), "updates in the backward pass change no weight");
    let recipe = read(SMALL, &[]).expect("a sound recipe").recipe;
    assert_ne!(recipe.train_hash("ab", "c", ""), recipe.train_hash("a", "bc", ""));
    assert_eq!(recipe.run_name("0123456789abcdef"), "recipe-01234567");
}

#[test]
fn differences_that_decide_are_named_with_both_values() {
    let of = |sets: &[&str]| read(SMALL, sets).expect("a sound recipe").recipe;
    let plain = of(&[]);
    assert_eq!(of(&["train.logging_steps=3", "name=other"]).deciding_differences(&plain), [""; 0]);
    let changed = of(&["train.learning_rate=0.25", "train.lora.rank=2", "mix.seed=9"]).deciding_differences(&plain);
    assert_snapshot!(changed.join("\n"), @"
    mix.seed was 42, is 9
    train.lora.rank was 8, is 2
    train.learning_rate was 0.0001, is 0.25
    ");
}

#[test]
fn updates_in_the_backward_pass_need_full_fine_tuning() {
    let with = |lines: &str| format!("{SMALL}\n[train]\noptimizer_in_backward = true\n{lines}");
    for sound in ["method = \"full\"\nmax_grad_norm = 0\n", "method = \"full\"\n"] {
        assert!(read(&with(sound), &[]).expect("a sound recipe").recipe.train.optimizer_in_backward);
    }
    // A later layer may switch it off again.
    read(&with(""), &["train.optimizer_in_backward=false"]).expect("a sound recipe");
    assert_snapshot!(errors(&with(""), &[]), @r#"
      × `train.optimizer_in_backward` is for full fine-tuning; `train.method` is "lora"
        ╭─[recipe.toml:23:25]
     22 │ [train]
     23 │ optimizer_in_backward = true
        ·                         ──┬─
        ·                           ╰── hint: method = "full" in [train]
        ╰────
      help: the gradients of adapters are small: with LoRA leave the key out
    "#);
}

/// A part's filter, its source's and the one for every source, setting by setting, and where each was written.
#[test]
fn filters_are_laid_over_one_another() {
    let text = "[model]\nbase = \"x\"\n[mix]\nsize = 10\n[mix.filter]\nhtml = \"strip\"\nboilerplate = \"drop\"\n[sources.a]\nmax_records = 5\n\
         path = [\"a.jsonl\", { path = \"b.jsonl\", filter = { html = \"keep\" } }]\nfilter = { chars = { min = 2 }, \
         where = [\"score >= 4\"] }\n";
    let resolved = read(text, &["mix.filter.language=[\"zh\"]"]).unwrap_or_else(|error| panic!("{}", render(&error)));
    let again = read(&resolved.to_toml(), &[]).unwrap_or_else(|error| panic!("{}", render(&error)));
    assert_eq!(again.recipe, resolved.recipe);
    let shown = resolved.show();
    let start = shown.find("[sources.a]").expect("the source");
    let end = shown.find("[train]").expect("the training");
    assert_snapshot!(&shown[start..end], @r#"
    [sources.a]
    max_records = 5                                      # recipe.toml:9

    [[sources.a.path]]
    path = "a.jsonl"                                     # recipe.toml:10
    format = "auto"                                      # default
    supervise = "all"                                    # default

    [sources.a.path.filter]
    chars = { min = 2 }                                  # recipe.toml:11
    language = ["zh"]                                    # --set mix.filter.language=["zh"]
    html = "strip"                                       # recipe.toml:6
    boilerplate = "drop"                                 # recipe.toml:7
    where = ["score >= 4"]                               # recipe.toml:11

    [[sources.a.path]]
    path = "b.jsonl"                                     # recipe.toml:10
    format = "auto"                                      # default
    supervise = "all"                                    # default

    [sources.a.path.filter]
    chars = { min = 2 }                                  # recipe.toml:11
    language = ["zh"]                                    # --set mix.filter.language=["zh"]
    html = "keep"                                        # recipe.toml:10
    boilerplate = "drop"                                 # recipe.toml:7
    where = ["score >= 4"]                               # recipe.toml:11
    "#);
}

#[test]
fn what_is_wrong_inside_a_filter_has_its_place() {
    let text = "[model]\nbase = \"x\"\n[mix]\nsize = 10\n[sources.a]\npath = \"a.jsonl\"\n[sources.a.filter]\nchars = { min = 5, max = 2 }\n\
         reject = { any = ['ok', '(甲'] }\nwhere = [\"lang = 'zh'\"]\nlanguage = [\"zn\"]\nhmtl = \"drop\"\n";
    let error = read(text, &[]).expect_err("the recipe has errors");
    let found: Vec<String> = error
        .problems()
        .iter()
        .map(|problem| format!("{} {}", problem.location().unwrap_or_default(), problem.message()))
        .collect();
    for (found, expected) in found.iter().zip([
        "recipe.toml:8 `chars` has min 5 above max 2: no record fits",
        "recipe.toml:9 not a regular expression: unclosed group",
        "recipe.toml:10 `lang = 'zh'` has no comparison behind `lang`",
        "recipe.toml:11 `sources.a.filter.language.0` is \"zn\"; expected one of `zh`, `en`",
        "recipe.toml:12 unknown key `hmtl` in [sources.a.filter]",
    ]) {
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(found.len(), 5);
    let shown = render(&error);
    assert!(shown.contains("help: equality is written `==`"), "{shown}");
}

#[test]
fn columns_of_questions_and_of_conversations_exclude_each_other() {
    let text = r#"
[model]
base = "some/model"
[mix]
size = 100
ratio = { a = 1, b = 1, c = 1, d = 1 }
[sources.a]
path = "a.jsonl"
columns = { messages = "turns", system = "persona", instruction = "query", output = "answer" }
[sources.b]
path = ["b.jsonl", { path = "c.jsonl", columns = { output = "answer", roles = { user = ["患者"] } } }]
columns = { instruction = "", output = "", messages = "turns" }
[sources.c]
path = ["d.jsonl", "e.jsonl"]
format = "messages"
[sources.c.columns]
input = "context"
[sources.d]
path = [{ path = "f.jsonl", format = "alpaca" }, { path = "g.jsonl", format = "json" }]
columns = { messages = "turns" }
"#;
    assert_snapshot!(errors(text, &[]), @r#"
      × the recipe `recipe.toml` has 4 errors

    Error:
      × `sources.a.columns` names `messages` and `instruction`, which exclude each other
        ╭─[recipe.toml:9:53]
      8 │ path = "a.jsonl"
      9 │ columns = { messages = "turns", system = "persona", instruction = "query", output = "answer" }
        ·                                                     ─────┬─────
        ·                                                          ╰── not beside `messages`
     10 │ [sources.b]
        ╰────
      help: leave out one of the two: a record is read as a question with its answer (`instruction`, `input`,
            `output`, `history`) or as a conversation (`messages`, `role`, `content`, `roles`, `train`);
            `system` goes with either

    Error:
      × `sources.b.path.1.columns` names `output` and `roles`, which exclude each other
        ╭─[recipe.toml:11:71]
     10 │ [sources.b]
     11 │ path = ["b.jsonl", { path = "c.jsonl", columns = { output = "answer", roles = { user = ["患者"] } } }]
        ·                                                                       ──┬──
        ·                                                                         ╰── not beside `output`
     12 │ columns = { instruction = "", output = "", messages = "turns" }
        ╰────
      help: leave out one of the two: a record is read as a question with its answer (`instruction`, `input`,
            `output`, `history`) or as a conversation (`messages`, `role`, `content`, `roles`, `train`);
            `system` goes with either

    Error:
      × `sources.c.columns` names `input`, which `format = "messages"` does not read
        ╭─[recipe.toml:17:1]
     16 │ [sources.c.columns]
     17 │ input = "context"
        · ──┬──
        ·   ╰── not with format "messages"
     18 │ [sources.d]
        ╰────
      help: leave out one of the two: a record is read as a question with its answer (`instruction`, `input`,
            `output`, `history`) or as a conversation (`messages`, `role`, `content`, `roles`, `train`);
            `system` goes with either

    Error:
      × `sources.d.columns` names `messages`, which `format = "alpaca"` does not read
        ╭─[recipe.toml:20:13]
     19 │ path = [{ path = "f.jsonl", format = "alpaca" }, { path = "g.jsonl", format = "json" }]
     20 │ columns = { messages = "turns" }
        ·             ────┬───
        ·                 ╰── not with format "alpaca"
        ╰────
      help: leave out one of the two: a record is read as a question with its answer (`instruction`, `input`,
            `output`, `history`) or as a conversation (`messages`, `role`, `content`, `roles`, `train`);
            `system` goes with either
    "#);
    let good = SMALL.replace("tcm = 1, western = 1", "tcm = 1");
    let laid_over = ["sources.tcm.columns={ messages = \"turns\" }"];
    assert_snapshot!(errors(&good, &laid_over), @r#"
      × `sources.tcm.columns` names `instruction` and `messages`, which exclude each other
       ╭─[--set sources.tcm.columns={ messages = "turns" }:1:23]
     1 │ sources.tcm.columns={ messages = "turns" }
       ·                       ────┬───
       ·                           ╰── not beside `instruction`
       ╰────
      help: leave out one of the two: a record is read as a question with its answer (`instruction`, `input`,
            `output`, `history`) or as a conversation (`messages`, `role`, `content`, `roles`, `train`);
            `system` goes with either; what a base says is taken back with `instruction = ""`, `output = ""`
    "#);
    let taken_back = ["sources.tcm.columns={ messages = \"turns\", instruction = \"\", output = \"\" }"];
    read(&good, &taken_back).expect("an empty name is no column");
}

#[test]
fn settings_that_depend_on_the_validation_loss_require_one() {
    for setting in ["train.result=best", "train.early_stopping={ patience = 2, min_delta = 0.01 }"] {
        let key = setting.split_once('=').map_or(setting, |(key, _)| key);
        for (without, reason) in [
            ("mix.validation={ fraction = 0.0 }", "there is no validation set"),
            ("mix.validation={ max_samples = 0 }", "there is no validation set"),
            ("train.eval_steps=0", "only at the end"),
        ] {
            let error = read(SMALL, &[setting, without]).expect_err("no validation loss");
            let text = render(&error);
            assert!(text.contains(key) && text.contains(reason), "{setting} {without}: {text}");
        }
        read(SMALL, &[setting, "train.eval_steps=5"]).expect("validation during training");
    }
    read(SMALL, &["train.result=last", "train.eval_steps=0"]).expect("the last weights need no loss");
    let recipe = read(SMALL, &["train.early_stopping={ min_delta = 0.5 }", "train.keep=last"]).expect("sound").recipe;
    assert_eq!(recipe.train.early_stopping, Some(EarlyStopping { patience: 3, min_delta: 0.5 }));
    assert_eq!(parse("again.toml", &recipe.to_toml(), None, &[] as &[&str]).expect("written out").recipe, recipe);
    read(SMALL, &["train.early_stopping={ patience = 0 }"]).expect_err("no patience stops at once");
}

#[test]
fn the_schema_beside_the_recipes_is_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/schema.json");
    let current = serde_json::to_string_pretty(&crate::json_schema()).expect("JSON") + "\n";
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "recipes/schema.json is not the schema of this version; renew it with `medley recipe schema > recipes/schema.json`"
    );
}

#[test]
fn every_setting_is_described_and_has_its_default_in_the_schema() {
    fn walk(path: &str, schema: &serde_json::Value, undescribed: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                undescribed.push(path.clone());
            }
            walk(&path, property, undescribed);
        }
    }
    let schema = crate::json_schema();
    let mut undescribed = Vec::new();
    walk("", &schema, &mut undescribed);
    assert!(undescribed.is_empty(), "{undescribed:?}");
    let rate = &schema["properties"]["train"]["properties"]["learning_rate"];
    assert_eq!((&rate["default"], &rate["exclusiveMinimum"]), (&serde_json::json!(1e-4), &serde_json::json!(0)));
    assert_eq!(schema["properties"]["train"]["additionalProperties"], serde_json::json!(false));
}

#[test]
fn an_exam_has_papers_with_columns_and_books_in_a_word() {
    let exam = |text: &str| read(&format!("{SMALL}\n[exam]\n{text}"), &[]).expect("a sound recipe").recipe;
    let plain = exam("papers = \"exams/*.jsonl\"\nbooks = \"both\"\nkeep_prompts = true");
    assert_eq!(plain.exam.books, [Book::Open, Book::Closed]);
    assert!(plain.exam.keep_prompts);
    assert_eq!(plain.exam.papers.len(), 1);
    assert!(plain.to_toml().contains("papers = [\"exams/*.jsonl\"]"), "{}", plain.to_toml());
    let columns = "{ instruction = \"q\", options = [\"w\", \"x\"], output = \"k\", answers_from = 1 }";
    let tables =
        exam(&format!("papers = [\"a.jsonl\", {{ path = \"b.csv\", columns = {columns}, encoding = \"big5\" }}]"));
    let [first, second] = tables.exam.papers.as_slice() else { panic!("{:?}", tables.exam.papers) };
    assert_eq!((first.path.as_str(), second.path.as_str()), ("a.jsonl", "b.csv"));
    assert_eq!(second.columns.answers_from, Some(1));
    assert_eq!(second.columns, crate::parse_columns(&format!("columns = {columns}")).expect("columns"));
    for recipe in [plain, tables] {
        let text = recipe.to_toml();
        let again = parse("again.toml", &text, None, &[] as &[&str]).expect("what is written can be read").recipe;
        assert_eq!(again.exam, recipe.exam, "{text}");
    }
}

#[test]
fn exam_settings_that_cannot_work_are_refused() {
    let refused = |text: &str| errors(&format!("{SMALL}\n[exam]\n{text}"), &[]);
    for (text, expected) in [
        ("papers = [\"\"]", "`exam.papers.0` is empty"),
        ("papers = \" \"", "`exam.papers` is empty"),
        ("papers = [{ columns = {} }]", "`exam.papers.0.path` is missing"),
        ("papers = [{ path = \"a\", columns = { messages = \"m\" } }]", "a paper has exam items"),
        ("papers = [{ path = \"a\", columns = { answers_from = 2 } }]", "answers_from"),
        ("books = \"bath\"", "did you mean `both`?"),
        ("books = [\"open\", \"open\"]", "names a book twice"),
    ] {
        let message = refused(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
    for (text, expected) in [
        ("messages = \"m\"", "columns of a conversation"),
        ("answers_from = 3", "the first option is 0 or 1"),
        ("question = \"q\"", "unknown field `question`"),
        ("options = ", "an exam item has a question"),
    ] {
        let message = crate::parse_columns(text).expect_err("no columns of exam items");
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn a_list_of_papers_is_a_list() {
    let papers = |value: &str| -> Vec<String> {
        let set = format!("exam.papers={value}");
        let recipe = load("shipped:quickstart", &[set.as_str()]).expect("a recipe").recipe;
        recipe.exam.papers.into_iter().map(|paper| paper.path).collect()
    };
    assert_eq!(papers("[]"), [""; 0]);
    assert_eq!(papers("[\"a.jsonl\", \"json\"]"), ["a.jsonl", "json"]);
    assert_eq!(papers("{ path = \"a.csv\" }"), ["a.csv"]);
}

/// A derived struct also deserializes from a list of its fields in order, so that a misplaced list could become options: the schema
/// refuses it first.
#[test]
fn a_list_is_not_a_table() {
    for (set, expected) in [
        ("sources.general.path=[[\"a.jsonl\", \"alpaca\"]]", "`sources.general.path.0` is a list; expected a string"),
        ("sources.general.columns=[\"q\", \"a\"]", "`sources.general.columns` is a list; expected a table"),
        (
            "sources.general.columns.options=[[\"a\"]]",
            "`sources.general.columns.options.0` is a list; expected a string",
        ),
        ("sources.general.filter=[]", "`sources.general.filter` is a list; expected a table"),
        ("mix.filter.keywords=[\"tcm\"]", "`mix.filter.keywords` is a list; expected a table"),
        ("mix.filter.keywords.list=[[\"tcm\"]]", "`mix.filter.keywords.list.0` is a list; expected a string"),
        ("exam.papers=[[\"a.jsonl\", \"messages\"]]", "`exam.papers.0` is a list; expected a string"),
        ("exam.papers=[[]]", "`exam.papers.0` is a list; expected a string"),
        ("exam.books=[[\"open\"]]", "`exam.books.0` is a list; expected one of"),
        ("train.lora.target=[[\"q_proj\"]]", "`train.lora.target.0` is a list; expected one of"),
        ("train.early_stopping=[3]", "`train.early_stopping` is a list; expected a table"),
    ] {
        let message = errors(SMALL, &[set]);
        assert!(message.contains(expected), "{set}: {message}");
    }
}

/// Lists of one element are read as lists where a single value is accepted, too.
#[test]
fn a_list_of_one_is_a_list() {
    let recipe = |sets: &[&str]| read(SMALL, sets).expect("a sound recipe").recipe;
    for (list, single) in [
        ("sources.general.path=[\"a.jsonl\"]", "sources.general.path=\"a.jsonl\""),
        ("sources.general.path=[{ path = \"a.jsonl\" }]", "sources.general.path=\"a.jsonl\""),
        ("exam.papers=[\"a.jsonl\"]", "exam.papers=\"a.jsonl\""),
        ("exam.papers=[{ path = \"a.jsonl\" }]", "exam.papers={ path = \"a.jsonl\" }"),
        ("exam.books=[\"closed\"]", "exam.books=\"closed\""),
        ("train.lora.target=[\"all-linear\"]", "train.lora.target=\"all-linear\""),
    ] {
        assert_eq!(recipe(&[list]), recipe(&[single]), "{list}");
    }
    let words = recipe(&["mix.filter.keywords.list=[\"tcm\"]"]).to_toml();
    assert!(words.contains("list = [\"tcm\"]"), "a list of words, and not the built-in list: {words}");
    let options = recipe(&["sources.general.columns.options=[\"choices\"]"]).to_toml();
    assert!(options.contains("options = [\"choices\"]"), "{options}");
}
