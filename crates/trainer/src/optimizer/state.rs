//! Optimizer state in and out of safetensors: `<parameter name>.first`, `.second`, `.master`, each `[elements]` in f32, and the
//! number of steps taken in the metadata.

use std::collections::HashMap;
use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use medley_model::{Parameter, TensorFile, write_tensors};
use safetensors::{Dtype, SafeTensors};

use super::{Optimizer, ParameterState, Treatment};
use crate::error::TrainError;
use crate::parameters::ParameterInfo;

impl Optimizer {
    /// Writes the state.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut tensors = Vec::new();
        for (name, state) in &self.states {
            let parts =
                [("first", Some(&state.first)), ("second", state.second.as_ref()), ("master", state.master.as_ref())];
            let kept = parts.into_iter().filter_map(|(part, tensor)| Some((part, tensor?.clone())));
            tensors.extend(kept.map(|(part, tensor)| (format!("{name}.{part}"), Parameter::Vector(tensor))));
        }
        let metadata = HashMap::from([("step".to_owned(), self.step.to_string())]);
        Ok(write_tensors(path, tensors, DType::F32, metadata)?)
    }

    /// Reads the state that [`save`](Self::save) wrote; `parameters` are the model's, `dtype` is their precision.
    ///
    /// # Errors
    /// When it cannot be read, or lacks a trained parameter, or holds another one or another size.
    pub fn load(
        &mut self,
        path: &Path,
        parameters: &[ParameterInfo],
        dtype: DType,
        device: &Device,
    ) -> Result<(), TrainError> {
        let opened = TensorFile::open(path)?;
        let step = opened.metadata().get("step").and_then(|step| step.parse().ok());
        self.step = step.ok_or_else(|| problem(path, "the number of steps is missing".into()))?;
        let file = opened.tensors()?;
        let mut unread: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
        self.states.clear();
        for info in parameters.iter().filter(|_| self.step > 0) {
            let Some(treatment) = self.treatments.get(&info.name) else { continue };
            let elements = info.elements();
            let mut take = |part: &str| {
                let name = format!("{}.{part}", info.name);
                unread.retain(|other| *other != name);
                read((&opened, &file), &name, elements, device).map_err(|message| problem(path, message))
            };
            let first = take("first")?;
            let second = if matches!(treatment, Treatment::AdamW { .. }) { Some(take("second")?) } else { None };
            let master = if dtype == DType::F32 { None } else { Some(take("master")?) };
            self.states.insert(info.name.clone(), ParameterState { first, second, master });
        }
        match unread.first() {
            None => Ok(()),
            Some(name) => Err(problem(path, format!("holds {name}, which this model does not train"))),
        }
    }
}

fn read(
    (opened, file): (&TensorFile, &SafeTensors<'_>),
    name: &str,
    elements: usize,
    device: &Device,
) -> Result<Tensor<1>, String> {
    let view = file.tensor(name).map_err(|_| format!("{name} is missing"))?;
    if view.dtype() != Dtype::F32 || view.shape() != [elements] {
        return Err(format!("{name} is {:?} {:?} where f32 [{elements}] is due", view.dtype(), view.shape()));
    }
    let data = TensorData::new(opened.floats(&view), [elements]);
    Ok(Tensor::from_data(data, (device, DType::F32)))
}

fn problem(path: &Path, problem: String) -> TrainError {
    TrainError::OptimizerState { path: path.to_path_buf(), problem }
}
