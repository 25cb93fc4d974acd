//! PEFT adapters, merged into the weights of their base model.
//!
//! | file | what it does |
//! |---|---|
//! | `config.rs` | `adapter_config.json`: settings, and what is refused |
//! | `targets.rs` | the modules with an adapter |
//! | `file.rs` | the tensors by module and role |
//! | `merge.rs` | products, sums and rounding |
//! | `residual.rs` | the base weights that PiSSA and OLoRA train on |
//!
//! Shapes are checked against the file's header before anything is allocated.

mod config;
mod file;
pub(crate) mod merge;
mod residual;
mod targets;

use std::collections::BTreeMap;
use std::path::Path;

use burn::Tensor;

pub use config::{AdapterBias, AdapterConfig, BaseWeight};
pub use file::ADAPTER_PICKLE;

use self::file::{AdapterFile, Key, Part, name_of};
use self::merge::{Update, equals, host, like, round_to, transposed};
use self::targets::{Place, ends_with};
use crate::config::DecoderConfig;
use crate::decoder::{Decoder, EMBED_TOKENS, LM_HEAD};
use crate::error::{ModelError, Result};
use crate::keys::{Keys, read_object};
use crate::lora::{ADAPTER_CONFIG, LoraConfig};
use crate::projection::Module;
use crate::skeleton;
use crate::weights::read::finite;

/// Paths of the two tables.
const TABLE: &str = "model.embed_tokens";
const HEAD: &str = "lm_head";

/// An adapter whose settings are supported and whose tensors fit a base model; no tensor is in memory yet.
#[derive(Debug)]
pub struct PeftAdapter {
    /// Its settings.
    pub config: AdapterConfig,
    file: AdapterFile,
    places: Vec<(Place, String, [usize; 2])>,
    /// Trained rows of the embedding and of the head.
    rows: Vec<(Place, Vec<usize>)>,
}

impl PeftAdapter {
    /// Reads the settings of an adapter and the header of its tensors, for a base model of shape `base`.
    ///
    /// # Errors
    /// When a setting is unsupported or unknown, or the tensors are not exactly those that follow from the settings; the
    /// error names every one.
    pub fn open(directory: &Path, base: &DecoderConfig) -> Result<Self> {
        let path = directory.join(ADAPTER_CONFIG);
        let settings = read_object(&path)?;
        let keys = Keys { map: &settings, path: &path };
        let config = AdapterConfig::from_map(&settings, &path)?;
        let (file, mut problems) = AdapterFile::open(directory)?;
        let mut places = Place::all(base);
        places.retain(|(_, module, _)| config.targets.has(module));
        if places.is_empty() {
            let names = Module::ALL.map(Module::name).join(", ");
            let problem = format!("matches no module of this model, whose modules are {names}, embed_tokens, lm_head");
            return Err(keys.problem("target_modules", problem));
        }
        refuse_places(&keys, &config, &places, base)?;
        let rows = rows(&keys, &config, base)?;
        let adapter = Self { config, file, places, rows };
        compare(&adapter.expected(base), base, &adapter.file, &mut problems);
        match problems.is_empty() {
            true => Ok(adapter),
            false => Err(ModelError::Tensors { path: adapter.file.path, problems }),
        }
    }

    /// Shapes of the tensors that follow from the settings.
    fn expected(&self, base: &DecoderConfig) -> BTreeMap<Key, Vec<usize>> {
        let config = &self.config;
        let mut expected = BTreeMap::new();
        for (place, path, [output, input]) in &self.places {
            let mut add = |part, shape: &[usize]| drop(expected.insert((path.clone(), part), shape.to_vec()));
            let rank = match config.base_weight {
                BaseWeight::Plain => config.rank_of(path),
                // A decomposition has no more components than the weight's smaller dimension.
                _ => config.rank_of(path).min(*output).min(*input),
            };
            match place {
                Place::Table => {
                    add(Part::TableA, &[rank, *output]);
                    add(Part::TableB, &[*input, rank]);
                }
                _ => {
                    add(Part::A, &[rank, *input]);
                    add(Part::B, &[*output, rank]);
                }
            }
            if config.dora {
                add(Part::Magnitude, &[*output]);
            }
            if config.lora_bias {
                add(Part::BiasOfB, &[*output]);
            }
            if config.bias != AdapterBias::None && place.has_bias(base) {
                add(Part::Bias, &[*output]);
            }
        }
        for (place, rows) in &self.rows {
            expected.insert((table_path(*place).to_owned(), Part::Rows), vec![rows.len(), base.hidden_size]);
        }
        for (path, part, shape) in weights_of(base) {
            let all_biases = config.bias == AdapterBias::All && part == Part::Bias;
            if all_biases || config.is_saved(&path) {
                expected.insert((path, part), shape);
            }
        }
        expected
    }

    /// The settings of a plain LoRA on the same projections of every layer, the only kind that training can continue.
    ///
    /// # Errors
    /// When the adapter is of another kind.
    pub(crate) fn uniform(&self, base: &DecoderConfig) -> Result<(LoraConfig, Vec<Module>)> {
        let modules: Vec<Module> = Module::ALL
            .into_iter()
            .filter(|module| self.places.iter().any(|(place, ..)| *place == Place::Projection(0, *module)))
            .collect();
        let projections = self.places.iter().filter(|(place, ..)| matches!(place, Place::Projection(..))).count();
        let whole = projections == self.places.len() && projections == modules.len() * base.num_hidden_layers;
        if !self.config.is_uniform() || !whole {
            let problem = "only plain LoRA on the same projections of every layer can be trained further; with this adapter as \
                           `model.base`, a new one is trained on the merged model";
            return Err(ModelError::Lora(format!("{}: {problem}", self.file.path.display())));
        }
        let (rank, alpha, dropout) = (self.config.rank, self.config.alpha, self.config.dropout);
        let target = modules.iter().map(|module| module.name().to_owned()).collect();
        Ok((LoraConfig { rank, alpha, dropout, target }, modules))
    }

    /// The factors A and B of one projection.
    pub(crate) fn factors(&self, layer: usize, module: Module) -> Result<(Vec<f32>, Vec<f32>)> {
        let path = module.path(layer);
        Ok((self.read(&path, Part::A)?, self.read(&path, Part::B)?))
    }

    /// A tensor that [`PeftAdapter::open`] found in the file.
    fn read(&self, path: &str, part: Part) -> Result<Vec<f32>> {
        Ok(self.file.read(path, part)?.expect("all expected tensors were found when the file was opened"))
    }
}

/// Path of the embedding or the head.
fn table_path(place: Place) -> &'static str {
    if place == Place::Table { TABLE } else { HEAD }
}

/// Paths, roles and shapes of the base's weights, a tied head included.
fn weights_of(base: &DecoderConfig) -> impl Iterator<Item = (String, Part, Vec<usize>)> {
    let tied = base.tie_word_embeddings.then(|| (LM_HEAD.to_owned(), vec![base.vocab_size, base.hidden_size]));
    skeleton::shapes(base).into_iter().chain(tied).map(|(name, shape)| {
        let (path, part) = weight_key(&name);
        (path.to_owned(), part, shape)
    })
}

/// Path and role of a decoder's weight.
fn weight_key(name: &str) -> (&str, Part) {
    match name.strip_suffix(".bias") {
        Some(path) => (path, Part::Bias),
        None => (name.strip_suffix(".weight").unwrap_or(name), Part::Weight),
    }
}

/// Refuses adapters whose effect cannot be merged into the weights.
fn refuse_places(
    keys: &Keys<'_>,
    config: &AdapterConfig,
    places: &[(Place, String, [usize; 2])],
    base: &DecoderConfig,
) -> Result<()> {
    for (place, path, _) in places {
        let is_table = *place == Place::Table;
        if config.lora_bias && !place.has_bias(base) {
            let problem = format!("is true and {path} has no bias, which the merged model would need");
            return Err(keys.problem("lora_bias", problem));
        }
        if config.dora && is_table {
            return Err(keys.problem("use_dora", format!("is true for {path}: DoRA on an embedding is not supported")));
        }
        if config.base_weight != BaseWeight::Plain && is_table {
            let problem = format!("is set for {path}: on an embedding this initialisation is not supported");
            return Err(keys.problem("init_lora_weights", problem));
        }
        if base.tie_word_embeddings && *place == Place::Head {
            let problem = format!("names {path}, which is the embedding of this model (tie_word_embeddings)");
            return Err(keys.problem("target_modules", problem));
        }
    }
    Ok(())
}

/// Tables and rows of `trainable_token_indices`.
fn rows(keys: &Keys<'_>, config: &AdapterConfig, base: &DecoderConfig) -> Result<Vec<(Place, Vec<usize>)>> {
    let key = "trainable_token_indices";
    let mut tables = Vec::new();
    for (name, rows) in &config.rows {
        let place = match name {
            name if ends_with(TABLE, name) => Place::Table,
            name if ends_with(HEAD, name) && !base.tie_word_embeddings => Place::Head,
            other => {
                return Err(keys.problem(key, format!("names {other}, expected embed_tokens or an untied lm_head")));
            }
        };
        if let Some(row) = rows.iter().find(|&&row| row >= base.vocab_size) {
            let problem = format!("names row {row} of a table of {} rows", base.vocab_size);
            return Err(keys.problem(key, problem));
        }
        let path = table_path(place);
        if config.targets.has(path) || config.is_saved(path) {
            return Err(keys.problem(key, format!("names {path}, which also has LoRA factors or is saved as a whole")));
        }
        tables.push((place, rows.clone()));
    }
    Ok(tables)
}

/// Lists missing, unexpected and misshapen tensors. The embedding and the head may be in the file even if no setting names them
/// (`save_embedding_layers`).
fn compare(expected: &BTreeMap<Key, Vec<usize>>, base: &DecoderConfig, file: &AdapterFile, problems: &mut Vec<String>) {
    for (key, shape) in expected {
        if !file.has(&key.0, key.1) {
            problems.push(format!("missing: {} {shape:?}", name_of(key)));
        }
    }
    let tables = [TABLE, HEAD].map(|path| ((path.to_owned(), Part::Weight), vec![base.vocab_size, base.hidden_size]));
    let optional = BTreeMap::from(tables);
    for (key, name, shape) in file.tensors() {
        match expected.get(key).or_else(|| optional.get(key)) {
            Some(wanted) if wanted != shape => {
                problems.push(format!("misshapen: {} is {shape:?}, expected {wanted:?}", name_of(key)));
            }
            Some(_) => {}
            None => problems.push(format!("unexpected: {name} {shape:?}")),
        }
    }
}

impl Decoder {
    /// Merges an adapter that was opened for this model's shape into the weights.
    ///
    /// Products and sums are f32 and are rounded once to the weights' format. Where the adapter changes only one of two tied
    /// tables, the model is untied.
    ///
    /// # Errors
    /// When the file cannot be read, or a weight of the adapter or of the merged model is NaN or infinite.
    pub fn merge_peft(&mut self, adapter: &PeftAdapter) -> Result<()> {
        self.merge();
        // Weights that `modules_to_save` does not name are the base's, shared by tied tables; named ones are of one module only.
        self.replace_weights(adapter, |path| !adapter.config.is_saved(path))?;
        self.untie_for(adapter);
        self.replace_weights(adapter, |path| adapter.config.is_saved(path))?;
        for (place, path, shape) in &adapter.places {
            self.add_factors(adapter, *place, path, *shape)?;
        }
        for (place, rows) in &adapter.rows {
            let new = adapter.read(table_path(*place), Part::Rows)?;
            let table = self.weight_mut(*place);
            let mut values = host(table.clone());
            let width = table.dims()[1];
            for (&row, new) in rows.iter().zip(new.chunks_exact(width)) {
                values[row * width..][..width].copy_from_slice(new);
            }
            *table = like(table, values);
        }
        Ok(())
    }

    /// Gives the model a head of its own where the adapter changes only one of two tied tables.
    fn untie_for(&mut self, adapter: &PeftAdapter) {
        adapter.config.untie(&mut self.config);
        if !self.config.tie_word_embeddings {
            self.lm_head.get_or_insert_with(|| self.embed_tokens.clone());
        }
    }

    /// Replaces the weights that the adapter's file has as a whole, of the modules whose paths are `wanted`.
    pub(crate) fn replace_weights(&mut self, adapter: &PeftAdapter, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let tied = self.lm_head.is_none() && wanted(HEAD);
        for mut slot in self.slots().into_iter().filter(|slot| !slot.adapter) {
            let (path, part) = weight_key(&slot.name);
            if !wanted(path) {
                continue;
            }
            let Some(values) = adapter.file.read(path, part)? else { continue };
            let new = match slot.get() {
                crate::Parameter::Vector(old) => crate::Parameter::Vector(like(&old, values)),
                crate::Parameter::Matrix(old) => crate::Parameter::Matrix(like(&old, values)),
            };
            slot.set(new);
        }
        if tied && let Some(mut head) = adapter.file.read(HEAD, Part::Weight)? {
            round_to(&mut head, self.embed_tokens.dtype());
            if !equals(&self.embed_tokens, &head) {
                let problem = format!("{LM_HEAD} differs from {EMBED_TOKENS}, but the base model ties them");
                return Err(ModelError::Tensors { path: adapter.file.path.clone(), problems: vec![problem] });
            }
        }
        Ok(())
    }

    /// Merges one module's factors into its weight.
    fn add_factors(&mut self, adapter: &PeftAdapter, place: Place, path: &str, shape: [usize; 2]) -> Result<()> {
        let config = &adapter.config;
        let read = |part| adapter.read(path, part);
        let scale = config.scale_of(path) as f32;
        let weight = self.weight_mut(place);
        let dtype = weight.dtype();
        let mut values = host(weight.clone());
        let rank = config.rank_of(path);
        match config.base_weight {
            BaseWeight::Plain => {}
            BaseWeight::WithoutPrincipal => residual::subtract_principal(&mut values, shape, rank),
            BaseWeight::WithoutFirstQr => {
                let factor = config.scale_of(path);
                residual::subtract_first_columns(&mut values, shape, rank, factor).map_err(|problem| {
                    ModelError::Lora(format!("the weight that OLoRA trained {path} on cannot be computed: {problem}"))
                })?;
            }
        }
        if config.base_weight != BaseWeight::Plain {
            round_to(&mut values, dtype);
        }
        let magnitude = if config.dora { Some(read(Part::Magnitude)?) } else { None };
        let update = match place {
            Place::Table => {
                // A table is [vocabulary, hidden] and PEFT's factors are those of its transpose.
                let (a, b) = (transposed(&read(Part::TableB)?, rank), transposed(&read(Part::TableA)?, shape[0]));
                Update { a, b, scale, magnitude }
            }
            _ => Update { a: read(Part::A)?, b: read(Part::B)?, scale, magnitude },
        };
        update.add_to(&mut values, shape[1]);
        round_to(&mut values, dtype);
        finite(&adapter.file.path, &format!("{path}.weight after merging"), &values)?;
        *weight = like(weight, values);
        if config.lora_bias {
            let added = read(Part::BiasOfB)?;
            let bias =
                self.bias_mut(place).expect("`lora_bias` without a bias was refused when the adapter was opened");
            let mut sum = host(bias.clone());
            sum.iter_mut().zip(added).for_each(|(value, added)| *value += added * scale);
            round_to(&mut sum, dtype);
            finite(&adapter.file.path, &format!("{path}.bias after merging"), &sum)?;
            *bias = like(bias, sum);
        }
        Ok(())
    }

    fn weight_mut(&mut self, place: Place) -> &mut Tensor<2> {
        match place {
            Place::Table => &mut self.embed_tokens,
            Place::Head => self.lm_head.as_mut().expect("adapters of a tied head were refused when they were opened"),
            Place::Projection(layer, module) => &mut self.layers[layer].projection(module).weight,
        }
    }

    fn bias_mut(&mut self, place: Place) -> Option<&mut Tensor<1>> {
        match place {
            Place::Projection(layer, module) => self.layers[layer].projection(module).bias.as_mut(),
            _ => None,
        }
    }
}
