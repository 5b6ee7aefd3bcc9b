//! Finds the libtorch that torch-sys links, compiles the C++ shim against it, and adds an rpath to every artifact of this
//! package, so that none needs `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(any(not(feature = "tch"), feature = "doc-only"))]
    {
        println!("cargo:rustc-env=TCH_INIT_LIBTORCH=2.13.0");
        println!("cargo:rustc-env=TCH_INIT_TCH=0.26");
    }
    #[cfg(feature = "tch")]
    if !cfg!(feature = "doc-only")
        && let Err(message) = libtorch::link()
    {
        // One line instead of a backtrace.
        println!("cargo::error={message}");
    }
}

#[cfg(feature = "tch")]
mod libtorch {
    use std::env;
    use std::path::{Path, PathBuf};

    /// The versions of libtorch that this crate is tested with, and the versions of tch that bind them.
    const VERSIONS: [(&str, &str); 2] = [("2.13.0", "0.26"), ("2.11.0", "0.24")];

    pub fn link() -> Result<(), String> {
        let lib = env::var_os("DEP_TCH_LIBTORCH_LIB")
            .map(PathBuf::from)
            .ok_or("torch-sys reported no libtorch; run `./setup` or set LIBTORCH")?;
        let include = match env::var_os("LIBTORCH_INCLUDE") {
            Some(dir) => PathBuf::from(dir).join("include"),
            None => lib.parent().unwrap_or(&lib).join("include"),
        };
        check_version(&include)?;

        for file in [
            "argument.h",
            "words.h",
            "libtorch.cpp",
            "replay.cpp",
            "trace.cpp",
        ] {
            println!("cargo:rerun-if-changed=cpp/{file}");
        }
        println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
        let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .pic(true)
            // Traces of programs that are not optimized are hashed at the speed of memory all the same.
            .opt_level(2)
            // libtorch's headers cause warnings.
            .warnings(false)
            .include(&include)
            .include(include.join("torch/csrc/api/include"))
            .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
            // As libtorch is built: some of its classes have other members without it.
            .define("NDEBUG", None)
            .file("cpp/libtorch.cpp")
            .file("cpp/replay.cpp")
            .file("cpp/trace.cpp")
            .try_compile("tch_init_libtorch")
            .map_err(|error| format!("the C++ in cpp did not compile: {}", one_line(&error)))?;

        if env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("unix") {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
            // Functions are looked up when they are called. Otherwise the system's loader would end the program before its
            // own check of libtorch's version, with the name of a missing function.
            println!("cargo:rustc-link-arg=-Wl,-z,lazy");
        }
        Ok(())
    }

    /// Checks the version, since torch-sys does not check it under `LIBTORCH`, and another version has other bits. Hands it to the
    /// crate, whose draws are those of that version.
    fn check_version(include: &Path) -> Result<(), String> {
        println!("cargo:rerun-if-env-changed=LIBTORCH_BYPASS_VERSION_CHECK");
        let header = include.join("torch/headeronly/version.h");
        let text = std::fs::read_to_string(&header).map_err(|error| {
            format!(
                "cannot read libtorch's version from {}: {error}; run `./setup` or point LIBTORCH at libtorch {}",
                header.display(),
                VERSIONS[0].0
            )
        })?;
        let part = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(&format!("#define TORCH_VERSION_{name} ")))
                .map_or("?", str::trim)
        };
        let found = [part("MAJOR"), part("MINOR"), part("PATCH")].join(".");
        println!("cargo:rustc-env=TCH_INIT_LIBTORCH={found}");
        let tested = VERSIONS.iter().find(|(libtorch, _)| *libtorch == found);
        println!(
            "cargo:rustc-env=TCH_INIT_TCH={}",
            tested.map_or("unknown", |(_, tch)| tch)
        );
        if tested.is_some() || env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_some() {
            return Ok(());
        }
        let known = VERSIONS
            .map(|(libtorch, tch)| format!("libtorch {libtorch}, which tch {tch} is written for"));
        Err(format!(
            "this crate needs {}, but {} is {found}; run `./setup`, or set LIBTORCH_BYPASS_VERSION_CHECK=1 to build without the guarantee of equal bits",
            known.join(", or "),
            include.display()
        ))
    }

    fn one_line(error: &cc::Error) -> String {
        error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}
