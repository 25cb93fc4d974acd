//! The base of a run: a model directory, an earlier run, a PEFT adapter, or fresh random weights.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use medley_model::{
    AdapterConfig, Decoder, DecoderConfig, InitConfig, adapter_base, describe_model, has_weights, is_adapter,
    open_model, stored_dtype,
};
use medley_recipe::{Method, SaveDtype, TrainSpec};

use crate::checkpoint::write_whole;
use crate::error::TrainError;

/// Content of a directory that a recipe names as its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseKind {
    /// A model in Hugging Face layout.
    Model(PathBuf),
    /// A PEFT adapter and its base model, a directory or hub id.
    Adapter {
        /// The adapter's directory.
        adapter: PathBuf,
        /// `base_model_name_or_path`.
        base: String,
    },
}

/// The base of a run, found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A model in Hugging Face layout, trained on as it is.
    Model {
        /// Its directory.
        directory: PathBuf,
        /// As the recipe names it; an adapter on a hub model names this, one on a local model its absolute directory.
        name: String,
    },
    /// A PEFT adapter, merged into the weights of its base model before training starts.
    Merged {
        /// The directory of the adapter's base.
        model: PathBuf,
        /// The adapter's directory.
        adapter: PathBuf,
    },
    /// Fresh random weights in the shape of a configuration.
    Fresh {
        /// A file like `config.json`, with how to initialise.
        config: PathBuf,
    },
}

/// Identifies the content of `directory`; the directory of a run means its `model/`.
///
/// # Errors
/// When it is none of these, or an adapter that does not name its base.
pub fn inspect(directory: &Path) -> Result<BaseKind, TrainError> {
    let problem = |problem: &str| TrainError::Base { path: directory.to_path_buf(), problem: problem.to_owned() };
    if directory.join("run.json").exists() {
        let model = directory.join("model");
        return match model.exists() {
            true => inspect(&model),
            false => Err(problem("this run has no model/ yet: finish it first with --resume")),
        };
    }
    if is_adapter(directory) {
        let base = named_base(directory)?;
        return Ok(BaseKind::Adapter { adapter: directory.to_path_buf(), base });
    }
    if directory.join("config.json").exists() {
        return Ok(BaseKind::Model(directory.to_path_buf()));
    }
    Err(problem("there is no config.json, adapter_config.json or run.json: name a model, an adapter or a run"))
}

/// The base that a PEFT adapter names; a relative path is looked up from the adapter's directory first.
fn named_base(directory: &Path) -> Result<String, TrainError> {
    let base = adapter_base(directory)?;
    let beside = directory.join(&base);
    Ok(if beside.is_dir() { beside.to_string_lossy().into_owned() } else { base })
}

impl Base {
    /// Loads the weights and merges the adapter, or initialises fresh weights from `seed`.
    ///
    /// # Errors
    /// When files are missing, damaged or do not fit each other, or a weight is NaN or infinite.
    pub fn load(&self, seed: u64, device: &Device, dtype: DType) -> Result<Decoder, TrainError> {
        Ok(match self {
            Self::Model { directory, .. } => Decoder::load(directory, device, dtype)?,
            Self::Merged { model, adapter } => open_model(adapter, Some(model), device, dtype)?.model,
            Self::Fresh { config } => Decoder::init_from_file(config, seed, device, dtype)?,
        })
    }

    /// Checks configuration, weight headers and adapter against each other without reading weights.
    ///
    /// # Errors
    /// When a file is missing or damaged, or they do not fit each other.
    pub fn check(&self) -> Result<(), TrainError> {
        match self {
            Self::Model { directory, .. } => drop(describe_model(directory, None)?),
            Self::Merged { model, adapter } => drop(describe_model(adapter, Some(model))?),
            Self::Fresh { config } => drop(InitConfig::from_file(config)?),
        }
        Ok(())
    }

    /// Whether the weights, and those of the adapter, are on this machine: for a hub model, a plan fetches only the description.
    pub fn has_weights(&self) -> bool {
        match self {
            Self::Model { directory, .. } => has_weights(directory),
            Self::Merged { model, adapter } => has_weights(model) && has_weights(adapter),
            Self::Fresh { .. } => true,
        }
    }

    /// The shape of the model (merged, where there is an adapter), without its weights.
    ///
    /// # Errors
    /// When the configuration is missing or cannot be used.
    pub fn config(&self) -> Result<DecoderConfig, TrainError> {
        Ok(match self {
            Self::Model { directory, .. } => DecoderConfig::from_dir(directory)?,
            Self::Merged { model, adapter } => {
                let mut config = DecoderConfig::from_dir(model)?;
                AdapterConfig::from_dir(adapter)?.untie(&mut config);
                config
            }
            Self::Fresh { config } => InitConfig::from_file(config)?.0,
        })
    }

    /// The number format in which a run of `spec` writes its model or adapter: that of `save_dtype`, or that of the base's files
    /// for a model (the training's `dtype` where there are none) and f32, PEFT's format, for an adapter.
    ///
    /// # Errors
    /// When the base's files cannot be read.
    pub fn save_dtype(&self, spec: &TrainSpec, dtype: DType) -> Result<DType, TrainError> {
        Ok(match (spec.save_dtype, &spec.method) {
            (SaveDtype::F32, _) | (SaveDtype::Base, Method::Lora(_)) => DType::F32,
            (SaveDtype::F16, _) => DType::F16,
            (SaveDtype::Bf16, _) => DType::BF16,
            (SaveDtype::Base, Method::Full) if self.has_weights() => self.stored_dtype()?.unwrap_or(dtype),
            (SaveDtype::Base, Method::Full) => dtype,
        })
    }

    /// The most frequent number format in the base's weight files; `None` for fresh weights.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn stored_dtype(&self) -> Result<Option<DType>, TrainError> {
        Ok(match self {
            Self::Model { directory: model, .. } | Self::Merged { model, .. } => Some(stored_dtype(model)?),
            Self::Fresh { .. } => None,
        })
    }

    /// Whether its weights (merged or fresh) are in no directory yet: an adapter that is trained on them needs a copy beside it.
    pub fn is_new(&self) -> bool {
        !matches!(self, Self::Model { .. })
    }

    /// The base that a new adapter names in its settings. Merged and fresh weights are first written to `place`, with the files
    /// of `companions` beside them, so that the adapter can be loaded on the weights that it was trained on.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn name_for_adapter(
        &self,
        decoder: &Decoder,
        place: &Path,
        companions: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<String, TrainError> {
        let absolute = |path: &Path| -> Result<String, TrainError> {
            let path = path.canonicalize().map_err(TrainError::io(path))?;
            Ok(path.to_string_lossy().into_owned())
        };
        if let Self::Model { directory, name } = self {
            // The hub's cache keeps owner/name under models--owner--name; anything else is a directory of the user's.
            let cached = format!("models--{}", name.replace('/', "--"));
            let from_hub = directory.components().any(|part| part.as_os_str().to_string_lossy() == cached);
            return if from_hub { Ok(name.clone()) } else { absolute(directory) };
        }
        if !place.exists() {
            write_whole(place, |folder| {
                decoder.save(folder, decoder.dtype())?;
                companions(folder)
            })?;
        }
        absolute(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn parity(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity").join(name)
    }

    #[test]
    fn training_starts_from_the_merged_weights() {
        let model = parity("fixtures/grouped");
        let weight = |base: &Base| -> Vec<f32> {
            base.check().expect("they fit");
            let decoder = base.load(0, &Device::flex(), DType::F32).expect("it loads");
            decoder.layers[1].self_attn.q_proj.weight.clone().into_data().iter::<f32>().collect()
        };
        let plain = weight(&Base::Model { directory: model.clone(), name: "grouped".into() });
        for name in ["plain", "pissa", "olora", "dora", "rslora", "bin"] {
            let adapter = parity("adapters").join(name);
            let opened = open_model(&adapter, Some(&model), &Device::flex(), DType::F32).expect("it opens").model;
            let expected: Vec<f32> =
                opened.layers[1].self_attn.q_proj.weight.clone().into_data().iter::<f32>().collect();
            let base = Base::Merged { model: model.clone(), adapter };
            assert!(weight(&base) == expected && expected != plain, "{name}");
            assert_eq!(base.stored_dtype().expect("readable"), Some(DType::F32));
        }
        for name in ["alora", "pissa-niter"] {
            let base = Base::Merged { model: model.clone(), adapter: parity("adapters").join(name) };
            assert!(base.check().is_err() && base.load(0, &Device::flex(), DType::F32).is_err(), "{name}");
        }
    }

    #[test]
    fn the_shape_of_a_merged_base_has_the_head_that_its_adapter_unties() {
        for (name, unties) in
            [("tied-head", true), ("tied-table", true), ("tied-embedding", true), ("tied-rows", false)]
        {
            let base = Base::Merged { model: parity("fixtures/tied"), adapter: parity("adapters").join(name) };
            let config = base.config().expect("readable");
            let loaded = base.load(0, &Device::flex(), DType::F32).expect("it loads").config;
            assert_eq!(
                (config.parameter_count(), config.tie_word_embeddings),
                (loaded.parameter_count(), !unties),
                "{name}"
            );
        }
    }

    #[test]
    fn an_adapter_that_was_not_fetched_is_no_reason_to_refuse_a_plan() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (model, adapter) = (parity("fixtures/grouped"), folder.path().to_path_buf());
        fs::copy(parity("adapters/plain/adapter_config.json"), adapter.join("adapter_config.json")).expect("copied");
        let base = Base::Merged { model: model.clone(), adapter };
        assert!(!base.has_weights() && base.config().is_ok());
        assert!(Base::Merged { model, adapter: parity("adapters/plain") }.has_weights());
    }

    #[test]
    fn a_base_is_identified_by_its_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (model, adapter, run) = (folder.path().join("m"), folder.path().join("a"), folder.path().join("r"));
        for directory in [&model, &adapter, &run] {
            fs::create_dir(directory).expect("made");
        }
        assert!(inspect(&model).expect_err("empty").to_string().contains("config.json"));
        fs::write(model.join("config.json"), "{}").expect("written");
        assert_eq!(inspect(&model).expect("a model"), BaseKind::Model(model.clone()));
        fs::write(adapter.join("adapter_config.json"), "{}").expect("written");
        assert!(inspect(&adapter).expect_err("no base").to_string().contains("base_model_name_or_path"));
        fs::write(adapter.join("adapter_config.json"), r#"{"base_model_name_or_path": "../m"}"#).expect("written");
        let base = adapter.join("../m").to_string_lossy().into_owned();
        assert_eq!(inspect(&adapter).expect("an adapter"), BaseKind::Adapter { adapter: adapter.clone(), base });
        fs::write(run.join("run.json"), "{}").expect("written");
        assert!(inspect(&run).expect_err("unfinished").to_string().contains("--resume"));
        fs::rename(&model, run.join("model")).expect("moved");
        assert_eq!(inspect(&run).expect("a run"), BaseKind::Model(run.join("model")));
    }
}
