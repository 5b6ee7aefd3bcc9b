//! What decides over bits: the libtorch in use, its CPU capability, its threads.

use crate::cuda;
use crate::ffi::{self, Fact};
use crate::generator::Generator;
use crate::init;
use crate::rng::BACKEND_VARIABLE;
use tch::{Device, Kind, Tensor};

/// The libtorch whose bits this crate promises.
pub const LIBTORCH_VERSION: &str = "2.13.0";

/// The tch that this crate is built on.
pub const TCH_VERSION: &str = "0.26";

/// `u = torch.empty(64).uniform_(-0.1, 0.3, generator=g)` with `g = torch.Generator().manual_seed(1)`:
/// the bits of elements 2, 5 and 60, which differ between kernels with and without FMA.
const KNOWN_UNIFORM: [u32; 3] = [0x3d7a_c9e7, 0x3e61_38db, 0xbcef_e4e7];

/// Then `torch.empty(64).normal_(0.5, 0.1, generator=g)`: elements 0, 2 and 10.
const KNOWN_NORMAL: [u32; 3] = [0x3efe_b1bc, 0x3ee1_79af, 0x3ecc_fe26];

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// Whether it is as it should be.
    pub status: Status,
    /// How to mend it, where something is wrong or missing.
    pub mend: Option<String>,
}

/// Whether a finding is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Good,
    /// It is not there, and the promise holds without it.
    Absent,
    /// The promise does not hold, or something is broken.
    Wrong,
}

/// Looks at everything that this process links. Draws from a stream of its own only.
///
/// ```
/// let findings = tch_init::doctor::findings();
/// assert!(findings.iter().any(|finding| finding.what == "libtorch"));
/// ```
pub fn findings() -> Vec<Finding> {
    vec![
        good("tch-init", env!("CARGO_PKG_VERSION").to_owned()),
        good("tch", TCH_VERSION.to_owned()),
        libtorch(),
        capability(),
        draws(),
        engine(),
        good(
            "threads",
            format!(
                "{} (orthogonal_ has other bits with another number)",
                tch::get_num_threads()
            ),
        ),
        mkl(),
        cuda(),
    ]
}

/// What `init` draws with: it decides over time, not over bits.
fn engine() -> Finding {
    let mut tensor = Tensor::zeros([1000], (Kind::Float, Device::Cpu));
    let mut generator = match Generator::new(Device::Cpu) {
        Ok(generator) => generator,
        Err(error) => return good("engine", format!("unknown ({error})")),
    };
    let drawn = init::uniform_(&mut tensor, 0.0, 1.0, Some(&mut generator));
    let backend = match (drawn, init::last_backend()) {
        (Err(error), _) => format!("unknown ({error})"),
        (Ok(()), Some(backend)) => backend.to_string(),
        (Ok(()), None) => "libtorch's own draws, which are slower".to_owned(),
    };
    good(
        "engine",
        format!("{backend} (no bit depends on it; {BACKEND_VARIABLE} chooses)"),
    )
}

fn good(what: &'static str, found: String) -> Finding {
    Finding {
        what,
        found,
        status: Status::Good,
        mend: None,
    }
}

fn fact(fact: Fact) -> String {
    ffi::fact(fact).unwrap_or_else(|error| format!("unknown ({error})"))
}

fn libtorch() -> Finding {
    let version = fact(Fact::Version);
    let headers = fact(Fact::HeaderVersion);
    let path = fact(Fact::LibraryPath);
    let right = version == LIBTORCH_VERSION && headers == version;
    let built = if headers == version {
        String::new()
    } else {
        format!(", built against {headers}")
    };
    Finding {
        what: "libtorch",
        found: format!("{version} at {path}{built}"),
        status: if right { Status::Good } else { Status::Wrong },
        mend: (!right).then(|| {
            format!(
                "bits are promised for {LIBTORCH_VERSION}: run `./setup`, or point LIBTORCH at it"
            )
        }),
    }
}

/// Which of libtorch's kernels run: AVX2 and AVX-512 draw the same bits, the default ones others.
fn capability() -> Finding {
    let found = fact(Fact::CpuCapability);
    let fast = found.starts_with("AVX");
    Finding {
        what: "CPU capability",
        status: if fast { Status::Good } else { Status::Wrong },
        mend: (!fast).then(|| {
            "draws have other bits than on a CPU with AVX2 (they are those of PyTorch on this \
             machine): unset ATEN_CPU_CAPABILITY if it is set"
                .to_owned()
        }),
        found,
    }
}

/// A few draws against the bits that PyTorch 2.13 drew with AVX2.
fn draws() -> Finding {
    let right = known_draws();
    Finding {
        what: "draws",
        found: match &right {
            Ok(true) => "the bits of PyTorch 2.13 with AVX2".to_owned(),
            Ok(false) => "not the bits of PyTorch 2.13 with AVX2".to_owned(),
            Err(error) => format!("failed: {error}"),
        },
        status: if matches!(right, Ok(true)) {
            Status::Good
        } else {
            Status::Wrong
        },
        mend: (!matches!(right, Ok(true)))
            .then(|| "see libtorch and CPU capability above".to_owned()),
    }
}

fn known_draws() -> Result<bool, crate::InitError> {
    let mut generator = Generator::new(Device::Cpu)?;
    generator.manual_seed(1)?;
    let mut tensor = Tensor::zeros([64], (Kind::Float, Device::Cpu));
    let bits =
        |tensor: &Tensor, at: [i64; 3]| at.map(|i| (tensor.double_value(&[i]) as f32).to_bits());
    crate::init::uniform_(&mut tensor, -0.1, 0.3, Some(&mut generator))?;
    let uniform = bits(&tensor, [2, 5, 60]);
    crate::init::normal_(&mut tensor, 0.5, 0.1, Some(&mut generator))?;
    let normal = bits(&tensor, [0, 2, 10]);
    Ok(uniform == KNOWN_UNIFORM && normal == KNOWN_NORMAL)
}

fn mkl() -> Finding {
    let version = fact(Fact::MklVersion);
    let lapack = fact(Fact::HasLapack) == "yes";
    let found = if version.is_empty() {
        "none".to_owned()
    } else {
        version.trim().to_owned()
    };
    Finding {
        what: "MKL, LAPACK",
        found: if lapack {
            found
        } else {
            format!("{found}, no LAPACK")
        },
        status: if lapack { Status::Good } else { Status::Wrong },
        mend: (!lapack)
            .then(|| "orthogonal_ needs a libtorch with LAPACK: run `./setup`".to_owned()),
    }
}

fn cuda() -> Finding {
    match cuda::load() {
        Ok(()) => good("CUDA", format!("{} device(s)", tch::Cuda::device_count())),
        Err(error) => Finding {
            what: "CUDA",
            found: error.to_string(),
            status: Status::Absent,
            mend: None,
        },
    }
}
