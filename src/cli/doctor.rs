//! `tch-init doctor`: lists everything that can affect the bits, and how to fix problems.

use super::python::{self, Script};
use super::report::{Report, one_line};
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tch::{Device, Kind, Tensor};
use tch_init::rng::BACKEND_VARIABLE;
use tch_init::{Generator, InitError, LIBTORCH_VERSION, LibtorchInfo, cuda, init};

/// The tch version that this program is built on.
const TCH_VERSION: &str = env!("TCH_INIT_TCH");

/// `u = torch.empty(64).uniform_(-0.1, 0.3, generator=g)` with `g = torch.Generator().manual_seed(1)`: the bits of
/// elements 2, 5 and 60, which differ between kernels with and without FMA.
const KNOWN_UNIFORM: [u32; 3] = [0x3d7a_c9e7, 0x3e61_38db, 0xbcef_e4e7];

/// Then `torch.empty(64).normal_(0.5, 0.1, generator=g)`: elements 0, 2 and 10.
const KNOWN_NORMAL: [u32; 3] = [0x3efe_b1bc, 0x3ee1_79af, 0x3ecc_fe26];

/// The result of checking one thing.
struct Check {
    what: &'static str,
    found: String,
    status: Status,
    /// How to fix it, if it is wrong or missing.
    fix: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    /// As it should be.
    Good,
    /// Missing, but the bits do not depend on it.
    Absent,
    /// Broken, or the bits differ from PyTorch's.
    Wrong,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Check {
        Check {
            what,
            found: found.into(),
            status: Status::Good,
            fix: None,
        }
    }

    /// Good if `right`, otherwise wrong with a fix.
    fn expect(right: bool, what: &'static str, found: impl Into<String>, fix: &str) -> Check {
        Check {
            what,
            found: found.into(),
            status: if right { Status::Good } else { Status::Wrong },
            fix: (!right).then(|| fix.to_owned()),
        }
    }
}

#[derive(clap::Args)]
pub struct Arguments {
    /// The Python that `record` is to run [default: the one that it runs by itself]
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
}

/// Checks everything, and prints one line per check and one per fix.
pub fn run(arguments: &Arguments) -> Result<Report> {
    let checks = checks(arguments.python.as_deref())?;
    let width = checks
        .iter()
        .map(|check| check.what.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for check in &checks {
        let mark = match check.status {
            Status::Good => "ok  ",
            Status::Absent => "-   ",
            Status::Wrong => "BAD ",
        };
        text.push_str(&format!("{mark}{:width$}  {}\n", check.what, check.found));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("    {:width$}  fix: {fix}\n", ""));
        }
    }
    let found = checks.iter().any(|check| check.status == Status::Wrong);
    Ok(Report { text, found })
}

/// Draws from a dedicated generator only.
fn checks(python_of_record: Option<&Path>) -> Result<Vec<Check>> {
    let info = LibtorchInfo::detect()?;
    let threads = tch::get_num_threads();
    Ok(vec![
        Check::good("tch-init", env!("CARGO_PKG_VERSION")),
        Check::good("tch", TCH_VERSION),
        libtorch(&info),
        capability(&info),
        draws(),
        engine(),
        Check::good(
            "threads",
            format!("{threads} (orthogonal_ has other bits with another number)"),
        ),
        lapack(&info),
        cuda(),
        python(python_of_record),
    ])
}

fn libtorch(info: &LibtorchInfo) -> Check {
    let LibtorchInfo {
        version,
        header_version,
        library,
        ..
    } = info;
    let built = match header_version == version {
        true => String::new(),
        false => format!(", built against {header_version}"),
    };
    Check::expect(
        LibtorchInfo::check_version().is_ok(),
        "libtorch",
        format!("{version} at {}{built}", library.display()),
        &format!(
            "tch-init was built against {LIBTORCH_VERSION}: run `./setup`, or point LIBTORCH at it"
        ),
    )
}

/// AVX2 and AVX-512 kernels draw the same bits, the default ones others.
fn capability(info: &LibtorchInfo) -> Check {
    Check::expect(
        info.cpu_capability.starts_with("AVX"),
        "CPU capability",
        info.cpu_capability.as_str(),
        "draws have other bits than on a CPU with AVX2 (they equal PyTorch's on this machine): unset \
         ATEN_CPU_CAPABILITY if it is set",
    )
}

/// Compares a few draws with the bits that PyTorch drew with AVX2, which are the same in all versions.
fn draws() -> Check {
    let known = known_draws();
    let version = LIBTORCH_VERSION.rsplit_once('.');
    let version = version.map_or(LIBTORCH_VERSION, |(release, _)| release);
    Check::expect(
        matches!(known, Ok(true)),
        "draws",
        match known {
            Ok(true) => format!("the bits of PyTorch {version} with AVX2"),
            Ok(false) => format!("not the bits of PyTorch {version} with AVX2"),
            Err(error) => format!("failed: {error}"),
        },
        "see libtorch and CPU capability above",
    )
}

fn known_draws() -> Result<bool, InitError> {
    let mut generator = Generator::new(Device::Cpu)?;
    generator.manual_seed(1)?;
    let mut tensor = Tensor::zeros([64], (Kind::Float, Device::Cpu));
    let bits = |tensor: &Tensor, indices: [i64; 3]| {
        indices.map(|i| (tensor.double_value(&[i]) as f32).to_bits())
    };
    init::uniform_(&mut tensor, -0.1, 0.3, Some(&mut generator))?;
    let uniform = bits(&tensor, [2, 5, 60]);
    init::normal_(&mut tensor, 0.5, 0.1, Some(&mut generator))?;
    let normal = bits(&tensor, [0, 2, 10]);
    Ok(uniform == KNOWN_UNIFORM && normal == KNOWN_NORMAL)
}

/// What `init` draws with, which affects the speed only.
fn engine() -> Check {
    let drawn = Generator::new(Device::Cpu).and_then(|mut generator| {
        let mut tensor = Tensor::zeros([1000], (Kind::Float, Device::Cpu));
        init::uniform_(&mut tensor, 0.0, 1.0, Some(&mut generator))
    });
    let backend = match (drawn, init::last_backend()) {
        (Err(error), _) => format!("unknown ({error})"),
        (Ok(()), Some(backend)) => backend.to_string(),
        (Ok(()), None) => "libtorch's own draws, which are slower".to_owned(),
    };
    Check::good(
        "engine",
        format!("{backend} (does not affect the bits; {BACKEND_VARIABLE} chooses)"),
    )
}

fn lapack(info: &LibtorchInfo) -> Check {
    let mkl = info.mkl.as_deref().unwrap_or("none");
    Check::expect(
        info.has_lapack,
        "MKL, LAPACK",
        match info.has_lapack {
            true => mkl.to_owned(),
            false => format!("{mkl}, no LAPACK"),
        },
        "orthogonal_ needs a libtorch with LAPACK: run `./setup`",
    )
}

fn cuda() -> Check {
    match cuda::load() {
        Ok(()) => Check::good("CUDA", format!("{} device(s)", tch::Cuda::device_count())),
        Err(error) => Check {
            what: "CUDA",
            found: error.to_string(),
            status: Status::Absent,
            fix: None,
        },
    }
}

/// The Python that `record` runs, and what it takes its PyTorch for.
fn python(given: Option<&Path>) -> Check {
    let what = "Python of record";
    let python = given.map_or_else(python::default, Path::to_path_buf);
    let fix = "name a Python that has PyTorch 2.0 to 2.15 with --python or TCH_INIT_PYTHON, or run `./setup --reference` in the repository";
    let absent = |found: String| Check {
        what,
        found,
        // Without a name, it is one that happens to be there.
        status: match given {
            Some(_) => Status::Wrong,
            None => Status::Absent,
        },
        fix: Some(fix.to_owned()),
    };
    let output = python::start(&python, &Script::Doctor, [""; 0], Stdio::piped())
        .and_then(|child| child.wait_with_output().map_err(anyhow::Error::from));
    let output = match output {
        Ok(output) => output,
        Err(error) => return absent(format!("{} does not run: {error:#}", python.display())),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let Some(said) = said
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<Said>(line).ok())
    else {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or("no message");
        return Check::expect(
            false,
            what,
            format!("{} fails: {}", python.display(), one_line(last)),
            fix,
        );
    };
    let Some(version) = said.version else {
        return absent(format!("{} has no PyTorch", said.python));
    };
    match said.why {
        None => Check::good(
            what,
            format!(
                "PyTorch {version} of {}; record takes it for {}, with the bits of {}{}",
                said.python,
                said.release,
                said.semantics,
                said.notes
                    .iter()
                    .map(|note| format!("; {note}"))
                    .collect::<String>()
            ),
        ),
        Some(why) => Check::expect(
            false,
            what,
            format!("PyTorch {version} of {}", said.python),
            &why,
        ),
    }
}

/// What `versions.py` says of a Python.
#[derive(serde::Deserialize)]
struct Said {
    python: String,
    version: Option<String>,
    /// Why `record` rejects it.
    why: Option<String>,
    #[serde(default)]
    release: String,
    #[serde(default)]
    semantics: String,
    #[serde(default)]
    notes: Vec<String>,
}
