//! What a program runs in, as the first line of a trace says it.

use super::mode;
use serde_json::{Value, json};

/// The variables that affect bits; `python/trace.py` has the same.
const VARIABLES: [&str; 11] = [
    "ATEN_CPU_CAPABILITY",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "CUBLAS_WORKSPACE_CONFIG",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
];

pub(super) fn environment() -> Result<Value, String> {
    let context = mode::context()?;
    let variables: serde_json::Map<String, Value> = VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?.into())))
        .collect();
    Ok(json!({
        "torch": context.version,
        "system": format!("{} {}", system(), std::env::consts::ARCH),
        "cpu": cpu_model(),
        "capability": context.capability,
        "threads": context.threads,
        "interop_threads": context.interop_threads,
        "flags": {
            "default_dtype": context.default_dtype,
            "deterministic_algorithms": context.deterministic,
            "float32_matmul_precision": context.matmul_precision,
            "mkldnn": context.mkldnn,
            "nnpack": context.nnpack,
            "flash_sdp": context.flash_sdp,
            "mem_efficient_sdp": context.mem_efficient_sdp,
            "math_sdp": context.math_sdp,
        },
        "variables": variables,
    }))
}

/// The name that Python's `platform.system` has.
fn system() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "windows" => "Windows",
        other => other,
    }
}

fn cpu_model() -> String {
    let lines = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = lines.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model
        .map_or(std::env::consts::ARCH, |(_, model)| model.trim())
        .to_owned()
}
