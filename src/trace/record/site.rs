//! Call sites: the line of the user's program that calls an operation, and whether an optimizer does.

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::{Path, PathBuf};

/// Where an operation is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Site {
    /// The innermost line of the user's own code: `src/model.rs:88`.
    pub(super) at: Option<String>,
    pub(super) caller: Caller,
}

/// What calls an operation on behalf of the user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Caller {
    #[default]
    Program,
    /// A step of a tch optimizer.
    OptimizerStep,
    /// Another function of a tch optimizer.
    Optimizer,
}

/// The sites that were met, by the addresses of their frames. A site is resolved once.
pub(super) struct Sites {
    /// The addresses of the executable; other images have no code of the user.
    executable: Vec<(usize, usize)>,
    folder: PathBuf,
    known: HashMap<Vec<usize>, Site>,
    frames: Vec<usize>,
}

impl Sites {
    pub(super) fn new() -> Sites {
        Sites {
            executable: executable(),
            // What cargo runs has the folder of its package; other programs, where they were started.
            folder: std::env::var_os("CARGO_MANIFEST_DIR")
                .map(PathBuf::from)
                .or_else(|| std::env::current_dir().ok())
                .unwrap_or_default(),
            known: HashMap::new(),
            frames: Vec::new(),
        }
    }

    /// The site of the operation that runs.
    pub(super) fn current(&mut self) -> &Site {
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        let executable = &self.executable;
        backtrace::trace(|frame| {
            let address = frame.ip() as usize;
            let is_inside = |(start, end): &(usize, usize)| (*start..*end).contains(&address);
            if executable.iter().any(is_inside) {
                frames.push(address);
            }
            frames.len() < MAX_FRAMES
        });
        if !self.known.contains_key(&frames) {
            let site = self.resolve(&frames);
            self.known.insert(frames.clone(), site);
        }
        let site = &self.known[&frames];
        self.frames = frames;
        site
    }

    fn resolve(&self, frames: &[usize]) -> Site {
        let mut site = Site::default();
        for address in frames {
            // The address to return to is after the call.
            backtrace::resolve((address - 1) as *mut c_void, |symbol| {
                let name = symbol.name().map(|name| name.to_string());
                let name = name.as_deref().unwrap_or_default();
                if site.at.is_none()
                    && let Some(caller) = optimizer(name)
                {
                    site.caller = caller;
                }
                if site.at.is_none()
                    && let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno())
                    && is_users(file)
                {
                    site.at = Some(format!("{}:{line}", self.shown(file)));
                }
            });
            if site.at.is_some() {
                break;
            }
        }
        site
    }

    /// A file without what depends on the machine: relative to the package, or its last two parts.
    fn shown(&self, file: &Path) -> String {
        let short = match file.strip_prefix(&self.folder) {
            Ok(inside) => inside.to_owned(),
            Err(_) if file.is_relative() => file.to_owned(),
            Err(_) => {
                let mut parts: Vec<_> = file.iter().rev().take(2).collect();
                parts.reverse();
                parts.iter().collect()
            }
        };
        short.to_string_lossy().replace('\\', "/")
    }
}

/// What a function does for an optimizer: the C functions of torch-sys that tch's optimizers call, and those of this crate.
fn optimizer(function: &str) -> Option<Caller> {
    if let Some(own) = function.strip_prefix("tch_init::optim::optimizer::Optimizer::") {
        return Some(match own.starts_with("f_step") {
            true => Caller::OptimizerStep,
            false => Caller::Optimizer,
        });
    }
    function.starts_with("ato_").then_some(match function {
        "ato_step" => Caller::OptimizerStep,
        _ => Caller::Optimizer,
    })
}

/// The frames that are looked at: those of deep programs repeat.
const MAX_FRAMES: usize = 64;

/// Whether a file is the user's own: Rust, and neither the standard library, nor a dependency from a registry, nor this crate.
fn is_users(file: &Path) -> bool {
    let text = file.to_string_lossy();
    let is_foreign = [
        "/rustc/",
        "/rustlib/",
        "/registry/src/",
        "/git/checkouts/",
        concat!(env!("CARGO_MANIFEST_DIR"), "/src/"),
    ];
    text.ends_with(".rs") && !is_foreign.iter().any(|part| text.contains(part))
}

/// The addresses of the code of the executable.
#[cfg(target_os = "linux")]
fn executable() -> Vec<(usize, usize)> {
    let Ok(executable) = std::env::current_exe() else {
        return Vec::new();
    };
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return Vec::new();
    };
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let path = rest.get(rest.find('/')?..)?;
        (Path::new(path) == executable).then_some(())?;
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some((number(start)?, number(end)?))
    };
    maps.lines().filter_map(range).collect()
}

/// Elsewhere no call sites are recorded.
#[cfg(not(target_os = "linux"))]
fn executable() -> Vec<(usize, usize)> {
    Vec::new()
}
