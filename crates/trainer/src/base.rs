//! What a run starts from: a model directory, an earlier run, a PEFT adapter, or fresh random weights.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use medley_model::{
    Decoder, DecoderConfig, InitConfig, adapter_base, describe_model, is_adapter, open_model, stored_dtype,
};

use crate::checkpoint::write_whole;
use crate::error::TrainError;

/// What stands in a directory that a recipe names as its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseKind {
    /// A model in Hugging Face layout.
    Model(PathBuf),
    /// A PEFT adapter; it belongs on top of `base`, a directory or a hub id as its configuration names it.
    Adapter {
        /// The adapter's directory.
        adapter: PathBuf,
        /// `base_model_name_or_path`.
        base: String,
    },
}

/// What a run starts from, found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A model in Hugging Face layout, trained on as it is.
    Model {
        /// Its directory.
        directory: PathBuf,
        /// As the recipe names it; an adapter on a hub model names this, one on a local model its absolute directory.
        name: String,
    },
    /// A PEFT adapter: it is added to the model's weights, and training begins anew on the sum.
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

/// Says what stands in `directory`; an earlier run's directory stands for its `model/`.
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
    /// Loads the weights, with an adapter added to them, or draws them by `seed`.
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

    /// Holds configuration, headers of the weights and adapter against each other, before any weight is read.
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

    /// Whether its weights are here: of a hub model, a plan has the description only.
    pub fn has_weights(&self) -> bool {
        let weights = |directory: &Path| {
            ["model.safetensors", "model.safetensors.index.json"].iter().any(|name| directory.join(name).exists())
        };
        match self {
            Self::Model { directory, .. } => weights(directory),
            Self::Merged { model, .. } => weights(model),
            Self::Fresh { .. } => true,
        }
    }

    /// The shape of the model, without its weights.
    ///
    /// # Errors
    /// When the configuration is missing or cannot be used.
    pub fn config(&self) -> Result<DecoderConfig, TrainError> {
        Ok(match self {
            Self::Model { directory, .. } => DecoderConfig::from_dir(directory)?,
            Self::Merged { model, .. } => DecoderConfig::from_dir(model)?,
            Self::Fresh { config } => InitConfig::from_file(config)?.0,
        })
    }

    /// The number format of most of the weights in the base's files; `None` for fresh weights.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn stored_dtype(&self) -> Result<Option<DType>, TrainError> {
        Ok(match self {
            Self::Model { directory: model, .. } | Self::Merged { model, .. } => Some(stored_dtype(model)?),
            Self::Fresh { .. } => None,
        })
    }

    /// Whether its weights stand in no directory yet, so that they are written beside an adapter that is trained on them.
    pub fn is_new(&self) -> bool {
        !matches!(self, Self::Model { .. })
    }

    /// What a new adapter names as its base. Weights that stand in no directory yet (merged or fresh ones) are written to
    /// `place` first, with what `companions` writes beside them, so that the adapter can be used on what it was trained on.
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
    fn training_begins_on_the_sum_that_the_adapter_means() {
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
    fn a_base_is_told_by_what_stands_in_it() {
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
