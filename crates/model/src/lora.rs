//! Low-rank adapters (Hu et al. 2021) with PEFT's initialisation and files.

use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, TensorData};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::keys::{Keys, read_object};
use crate::peft::PeftAdapter;
use crate::peft::merge::like;
use crate::projection::{Adapter, Module};
use crate::weights;

/// Adapters in PEFT's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank of the two factors.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Probability with which an input feature of an adapter drops out, in [0, 1).
    pub dropout: f64,
    /// Names of the adapted projections (`q_proj`, …), or `all-linear` for all seven.
    pub target: Vec<String>,
}

/// The file of an adapter's settings.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The file of an adapter's factors.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// PEFT's prefix of every tensor name.
pub(crate) const PREFIX: &str = "base_model.model.";

impl LoraConfig {
    /// The projections that `target` names.
    ///
    /// # Errors
    /// When a name is none of the seven projections, none is given, or a number is out of range.
    pub fn modules(&self) -> Result<Vec<Module>> {
        if self.rank == 0 {
            return Err(ModelError::Lora("rank is 0, expected at least 1".to_owned()));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(ModelError::Lora(format!("dropout is {}, expected 0 <= dropout < 1", self.dropout)));
        }
        if self.target.iter().any(|name| name == "all-linear") {
            return Ok(Module::ALL.to_vec());
        }
        let names = Module::ALL.map(Module::name).join(", ");
        if let Some(other) = self.target.iter().find(|name| Module::ALL.iter().all(|module| module.name() != *name)) {
            let problem = format!(
                "target \"{other}\" is no projection of a decoder layer, expected all-linear or some of: {names}"
            );
            return Err(ModelError::Lora(problem));
        }
        let modules: Vec<Module> =
            Module::ALL.into_iter().filter(|module| self.target.iter().any(|name| name == module.name())).collect();
        if modules.is_empty() {
            return Err(ModelError::Lora(format!("target is empty, expected all-linear or some of: {names}")));
        }
        Ok(modules)
    }
}

impl Decoder {
    /// Puts a fresh adapter beside every targeted projection: A uniform in +-1/sqrt(in) (Kaiming with a = sqrt 5), B zero.
    ///
    /// Existing adapters are merged first. The factors depend on the seed and their place alone.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn apply_lora(&mut self, config: &LoraConfig, seed: u64) -> Result<()> {
        let modules = config.modules()?;
        self.merge();
        for layer in &mut self.layers {
            for &module in &modules {
                let place = (layer.index as u64) << 8 | module as u64;
                let mut random = StdRng::seed_from_u64(seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let projection = layer.projection(module);
                let [output, input] = projection.weight.dims();
                let bound = 1.0 / (input as f32).sqrt();
                let a: Vec<f32> = (0..config.rank * input).map(|_| random.random_range(-bound..bound)).collect();
                let options = (&projection.weight.device(), projection.weight.dtype());
                projection.lora = Some(Adapter {
                    a: Tensor::from_data(TensorData::new(a, [config.rank, input]), options),
                    b: Tensor::zeros([output, config.rank], options),
                    scale: config.alpha / config.rank as f64,
                    dropout: config.dropout as f32,
                });
            }
        }
        Ok(())
    }

    /// The settings of the adapters, if there are any.
    pub fn lora_config(&self) -> Option<LoraConfig> {
        let mut first = self.layers.first()?.clone();
        let mut config: Option<LoraConfig> = None;
        for module in Module::ALL {
            let Some(lora) = &first.projection(module).lora else { continue };
            let rank = lora.a.dims()[0];
            let alpha = lora.scale * rank as f64;
            // As it was written, not as f32 rounds it.
            let dropout = lora.dropout.to_string().parse().unwrap_or_else(|_| f64::from(lora.dropout));
            let config = config.get_or_insert(LoraConfig { rank, alpha, dropout, target: Vec::new() });
            config.target.push(module.name().to_owned());
        }
        config
    }

    /// Writes `adapter_model.safetensors` and `adapter_config.json`, which PEFT loads; `base` is the name or path of the
    /// model that the adapter belongs to.
    ///
    /// # Errors
    /// When there is no adapter or a file cannot be written.
    pub fn save_adapter(&self, directory: &Path, base: &str) -> Result<()> {
        self.save_adapter_in(directory, base, DType::F32)
    }

    /// [`Decoder::save_adapter`] in a number format other than PEFT's f32.
    ///
    /// # Errors
    /// As [`Decoder::save_adapter`].
    pub fn save_adapter_in(&self, directory: &Path, base: &str, dtype: DType) -> Result<()> {
        let config =
            self.lora_config().ok_or_else(|| ModelError::Lora("the model has no adapter to save".to_owned()))?;
        let mut model = self.clone();
        let slots = model.trainable_slots();
        let tensors = slots.iter().map(|slot| (format!("{PREFIX}{}", slot.name), slot.get())).collect();
        weights::create_directory(directory)?;
        weights::write_tensors(&directory.join(ADAPTER_WEIGHTS), tensors, dtype, weights::torch_metadata())?;
        // `fan_in_fan_out` and the keys after it are PEFT's defaults.
        let settings = json!({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "inference_mode": true,
            "r": config.rank, "lora_alpha": integer_if_whole(config.alpha), "lora_dropout": config.dropout,
            "target_modules": config.target, "bias": "none", "fan_in_fan_out": false, "use_rslora": false,
            "use_dora": false, "init_lora_weights": true, "modules_to_save": null, "layers_to_transform": null,
            "layers_pattern": null, "rank_pattern": {}, "alpha_pattern": {}, "revision": null,
        });
        weights::write_json(&directory.join(ADAPTER_CONFIG), &settings)
    }

    /// Reads an adapter of PEFT or [`Decoder::save_adapter`] for further training; existing adapters are merged first.
    ///
    /// # Errors
    /// When the adapter is not plain LoRA on the same projections of every layer, or its tensors do not fit this model.
    pub fn load_adapter(&mut self, directory: &Path) -> Result<LoraConfig> {
        let adapter = PeftAdapter::open(directory, &self.config)?;
        let (config, modules) = adapter.uniform(&self.config)?;
        self.apply_lora(&config, 0)?;
        self.replace_weights(&adapter, |_| true)?;
        for layer in &mut self.layers {
            for &module in &modules {
                let (a, b) = adapter.factors(layer.index, module)?;
                let lora = layer.projection(module).lora.as_mut().expect("just applied");
                (lora.a, lora.b) = (like(&lora.a, a), like(&lora.b, b));
            }
        }
        Ok(config)
    }
}

fn integer_if_whole(value: f64) -> Value {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}

/// The base model's name in an adapter's settings.
///
/// # Errors
/// When the settings cannot be read or do not name it.
pub fn adapter_base(directory: &Path) -> Result<String> {
    let path = directory.join(ADAPTER_CONFIG);
    let settings = read_object(&path)?;
    Keys { map: &settings, path: &path }.required("base_model_name_or_path")
}

/// The revision of the base model in an adapter's settings; `None` where they name none.
///
/// # Errors
/// When the settings cannot be read.
pub fn adapter_revision(directory: &Path) -> Result<Option<String>> {
    let path = directory.join(ADAPTER_CONFIG);
    let settings = read_object(&path)?;
    Keys { map: &settings, path: &path }.optional("revision")
}

/// Whether a directory holds an adapter rather than a whole model.
pub fn is_adapter(directory: &Path) -> bool {
    directory.join(ADAPTER_CONFIG).exists()
}
