//! Which device a run computes on, and why.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};

use crate::error::{ModelError, Result};

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceRequest {
    /// CUDA, then a real GPU through wgpu, then the CPU.
    #[default]
    Auto,
    /// An NVIDIA GPU.
    Cuda,
    /// Any device that wgpu finds, a software rasteriser too.
    Wgpu,
    /// The CPU.
    Cpu,
}

impl FromStr for DeviceRequest {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cuda" => Ok(Self::Cuda),
            "wgpu" => Ok(Self::Wgpu),
            "cpu" => Ok(Self::Cpu),
            other => Err(format!("unknown device \"{other}\", expected one of: auto, cuda, wgpu, cpu")),
        }
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Cpu => "cpu",
        })
    }
}

/// The backend of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// burn-cuda.
    Cuda,
    /// burn-wgpu.
    Wgpu,
    /// burn-flex.
    Cpu,
}

/// The chosen device.
#[derive(Clone, Debug)]
pub struct RunDevice {
    /// Without autodiff.
    pub device: Device,
    /// Its backend.
    pub kind: DeviceKind,
    /// As it names itself.
    pub name: String,
    /// Why it was chosen, in a sentence.
    pub why: String,
}

impl RunDevice {
    /// Backend and name without the reason: `cpu (8 threads)`.
    pub fn short(&self) -> String {
        format!("{} ({})", self.kind.name(), self.name)
    }

    /// The number format of weights and activations: `requested`, or bf16 on CUDA GPUs that support it and f32 elsewhere.
    ///
    /// # Errors
    /// When bf16 is requested and not supported.
    pub fn dtype(&self, requested: Option<DType>) -> Result<DType> {
        let dtype = self.kind.dtype(requested)?;
        match requested {
            _ if dtype != DType::BF16 || self.device.supports_dtype(DType::BF16) => Ok(dtype),
            None => Ok(DType::F32),
            Some(_) => Err(no_bf16(self.kind, &self.name)),
        }
    }
}

fn no_bf16(kind: DeviceKind, name: &str) -> ModelError {
    let request = format!("{} with dtype bf16", kind.name());
    let problem = format!("bf16 is supported on CUDA GPUs only, not on {name}; use dtype = \"f32\" or \"auto\"");
    ModelError::Device { request, problem }
}

impl DeviceKind {
    /// The number format of weights and activations on a device of this kind, without such a device present: `requested`, or bf16
    /// on CUDA and f32 elsewhere.
    ///
    /// # Errors
    /// When bf16 is requested and not supported.
    pub fn dtype(self, requested: Option<DType>) -> Result<DType> {
        match requested {
            None if self == Self::Cuda => Ok(DType::BF16),
            None => Ok(DType::F32),
            Some(DType::BF16) if self != Self::Cuda => Err(no_bf16(self, self.name())),
            Some(dtype) => Ok(dtype),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for RunDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}): {}", self.kind.name(), self.name, self.why)
    }
}

/// Finds the device that was asked for.
///
/// # Errors
/// When it is not there or this build has no support for it.
pub fn select(request: DeviceRequest) -> Result<RunDevice> {
    match request {
        DeviceRequest::Cpu => Ok(cpu("it was asked for")),
        DeviceRequest::Cuda => cuda().map_err(|problem| ModelError::Device { request: request.to_string(), problem }),
        DeviceRequest::Wgpu => {
            wgpu(true).map_err(|problem| ModelError::Device { request: request.to_string(), problem })
        }
        DeviceRequest::Auto => Ok(automatic()),
    }
}

fn automatic() -> RunDevice {
    let no_cuda = match cuda() {
        Ok(device) => return RunDevice { why: "the first choice of auto is CUDA".to_owned(), ..device },
        Err(problem) => problem,
    };
    match wgpu(false) {
        Ok(device) => RunDevice { why: format!("a GPU through wgpu; {no_cuda}"), ..device },
        Err(no_gpu) => cpu(&format!("{no_cuda}, and {no_gpu}")),
    }
}

fn cpu(why: &str) -> RunDevice {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = format!("{cores} threads");
    RunDevice { device: Device::flex(), kind: DeviceKind::Cpu, name, why: why.to_owned() }
}

#[cfg(feature = "cuda")]
fn cuda() -> std::result::Result<RunDevice, String> {
    let none = "no CUDA device was found; is the NVIDIA driver installed?";
    let device = probe(|| Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec().into_iter().next());
    let device = device.flatten().ok_or(none)?;
    let name = probe(|| device.identity().map(|identity| identity.name)).ok_or(none)?;
    let why = "it was asked for".to_owned();
    Ok(RunDevice { device, kind: DeviceKind::Cuda, name: name.unwrap_or_else(|| "CUDA".to_owned()), why })
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> std::result::Result<RunDevice, String> {
    Err("this build has no CUDA support (build with --features cuda)".to_owned())
}

/// The first real GPU, or with `software` the first adapter of any kind if there is none.
#[cfg(feature = "wgpu")]
fn wgpu(software: bool) -> std::result::Result<RunDevice, String> {
    let devices = probe(|| Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec()).unwrap_or_default();
    let mut rasteriser = None;
    for device in devices {
        let Some(Some(identity)) = probe(|| device.identity()) else { continue };
        let found = |why: &str| RunDevice {
            device: device.clone(),
            kind: DeviceKind::Wgpu,
            name: identity.name.clone(),
            why: why.to_owned(),
        };
        if identity.physical.is_some() && !is_software(&identity.name) {
            return Ok(found("it was asked for"));
        }
        rasteriser
            .get_or_insert_with(|| found("it was asked for; this is a software rasteriser, slower than --device cpu"));
    }
    match rasteriser {
        Some(device) if software => Ok(device),
        Some(device) => Err(format!("the only wgpu adapter is a software rasteriser ({})", device.name)),
        None => Err("wgpu finds no GPU".to_owned()),
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_software: bool) -> std::result::Result<RunDevice, String> {
    Err("this build has no wgpu support (build with --features wgpu)".to_owned())
}

#[cfg(feature = "wgpu")]
fn is_software(name: &str) -> bool {
    let name = name.to_lowercase();
    ["llvmpipe", "lavapipe", "swiftshader", "software", "microsoft basic render"]
        .iter()
        .any(|known| name.contains(known))
}

/// Runs code that panics where a driver is missing; the panic becomes "not there" and prints nothing.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn probe<R>(search: impl FnOnce() -> R) -> Option<R> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(search)).ok();
    std::panic::set_hook(hook);
    found
}
