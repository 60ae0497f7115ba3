//! C, C++ and Zig, with the compiler of Zig: handlers on the bindings in `guest-sdk/c`, and
//! programs without an SDK.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Package;

/// The package of `PyPI` with the compiler.
pub const ZIG: Package = Package { name: "ziglang", version: "0.17.0" };

/// The target of every build.
const TARGET: &str = "wasm32-wasi";

/// Links a library without `main`, which imports WASI only if the handler calls a function
/// that needs it.
const LIBRARY: [&str; 2] = ["-mexec-model=reactor", "-s"];

/// A stack as large as Rust's: Zig's default of 16 MiB is a quarter of the memory that a request
/// may use.
const STACK: &str = "-Wl,-z,stack-size=1048576";

/// The compiler.
#[derive(Debug, Clone)]
pub struct Zig {
    start: Vec<OsString>,
    cache: PathBuf,
}

impl Zig {
    /// Returns the compiler that is a package of a Python interpreter. What it keeps between
    /// builds is in `cache`, or in the folders that its environment variables name.
    pub fn from_python(python: &Path, cache: PathBuf) -> Self {
        Zig { start: vec![python.into(), "-m".into(), ZIG.name.into()], cache }
    }

    /// Returns the compiler that is a program.
    pub fn from_program(program: &Path, cache: PathBuf) -> Self {
        Zig { start: vec![program.into()], cache }
    }

    /// Returns a command of Zig for WASI, such as `cc`.
    pub fn command(&self, name: &str) -> Command {
        let mut command = self.bare(name);
        command.args(["-target", TARGET]);
        command
    }

    /// Returns a command of Zig.
    fn bare(&self, name: &str) -> Command {
        let mut command = Command::new(&self.start[0]);
        command.args(&self.start[1..]).arg(name);
        for variable in ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"] {
            if env::var_os(variable).is_none() {
                command.env(variable, &self.cache);
            }
        }
        command
    }

    /// Returns the compiler of C, or of C++, with the arguments that both share.
    fn compiler(&self, driver: &str) -> Command {
        let mut compiler = self.command(driver);
        compiler.args(["-Wall", "-Wextra", "-Os"]);
        compiler
    }
}

/// The headers for handlers of both kinds: a source that includes one targets both worlds.
const BOTH_HEADERS: [&str; 3] = ["both.h", "both.hpp", "both_handler.h"];

/// The headers for handlers of datagrams: a source that includes one targets that world.
const DATAGRAM_HEADERS: [&str; 3] = ["datagram.h", "datagram.hpp", "datagram_handler.h"];

/// The other headers of the SDKs.
const HEADERS: [&str; 11] = [
    "stream_handler.h",
    "stream_files.h",
    "stream_files.hpp",
    "socketserver.h",
    "socketserver.hpp",
    "network.h",
    "network.hpp",
    "sendfile.h",
    "sendfile.hpp",
    "tls.h",
    "tls.hpp",
];

/// The bindings that handlers are linked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// Handlers of connections.
    Stream,
    /// Handlers of datagrams.
    Datagram,
    /// Handlers of connections and of datagrams.
    Both,
}

impl World {
    /// Returns the world of a handler, by what its source includes, or `None` for a program
    /// without an SDK.
    pub fn find(source: &str) -> Option<World> {
        let includes = |header: &str| {
            let quoted = [format!("\"{header}\""), format!("<{header}>")];
            let lines = source.lines().map(str::trim_start);
            let mut includes =
                lines.filter(|line| line.starts_with('#') && line.contains("include"));
            includes.any(|line| quoted.iter().any(|name| line.contains(name)))
        };
        if BOTH_HEADERS.into_iter().any(includes) {
            Some(World::Both)
        } else if DATAGRAM_HEADERS.into_iter().any(includes) {
            Some(World::Datagram)
        } else {
            HEADERS.into_iter().any(includes).then_some(World::Stream)
        }
    }

    /// Returns the path of a file of the bindings in the folder of the SDK for C.
    fn file(self, sdk: &Path, end: &str) -> PathBuf {
        let name = match self {
            World::Stream => "stream_handler",
            World::Datagram => "datagram_handler",
            World::Both => "both_handler",
        };
        sdk.join(format!("{name}{end}"))
    }

    /// Returns the object file that names the world of the module.
    pub fn component_type(self, sdk: &Path) -> PathBuf {
        self.file(sdk, "_component_type.o")
    }

    /// Returns the source of the bindings, which is compiled as C.
    pub fn bindings(self, sdk: &Path) -> PathBuf {
        self.file(sdk, ".c")
    }
}

/// Returns the command that compiles a handler in C to a core module. `sdk` is the folder of the
/// SDK for C.
pub fn c_handler(
    zig: &Zig,
    world: World,
    sdk: &Path,
    sources: &[PathBuf],
    module: &Path,
) -> Command {
    let mut compiler = zig.compiler("cc");
    compiler.arg("-std=gnu17").args(LIBRARY).arg(STACK).arg("-I").arg(sdk).args(sources);
    compiler.arg(world.bindings(sdk)).arg(world.component_type(sdk)).arg("-o").arg(module);
    compiler
}

/// Returns the command that compiles a program in C to a core module.
pub fn c_program(zig: &Zig, sources: &[PathBuf], module: &Path) -> Command {
    let mut compiler = zig.compiler("cc");
    compiler.args(["-std=gnu17", "-s", STACK]).args(sources).arg("-o").arg(module);
    compiler
}

/// The folders of the SDKs that a handler in C++ is built with.
#[derive(Debug, Clone, Copy)]
pub struct CppSdk<'a> {
    /// The bindings for C.
    pub c: &'a Path,
    /// The headers for C++.
    pub cpp: &'a Path,
}

/// Returns the command that compiles the bindings of a handler in C++ to an object file.
pub fn cpp_bindings(zig: &Zig, world: World, sdk: CppSdk<'_>, object: &Path) -> Command {
    let mut compiler = zig.compiler("cc");
    compiler.args(["-std=gnu17", "-c", "-I"]).arg(sdk.c).arg(world.bindings(sdk.c));
    compiler.arg("-o").arg(object);
    compiler
}

/// Returns the command that compiles a handler in C++ to a core module, with the object file of
/// [`cpp_bindings()`].
pub fn cpp_handler(
    zig: &Zig,
    world: World,
    sdk: CppSdk<'_>,
    sources: &[PathBuf],
    object: &Path,
    module: &Path,
) -> Command {
    let mut compiler = zig.compiler("c++");
    compiler.args(CPP).arg("-I").arg(sdk.c).arg("-I").arg(sdk.cpp).args(LIBRARY).arg(STACK);
    compiler.args(sources).arg(object).arg(world.component_type(sdk.c)).arg("-o").arg(module);
    compiler
}

/// Returns the command that compiles a program in C++ to a core module.
pub fn cpp_program(zig: &Zig, sources: &[PathBuf], module: &Path) -> Command {
    let mut compiler = zig.compiler("c++");
    compiler.args(CPP).args(["-s", STACK]).args(sources).arg("-o").arg(module);
    compiler
}

/// Exceptions need a WebAssembly proposal that the host has switched off.
const CPP: [&str; 2] = ["-std=c++23", "-fno-exceptions"];

/// Returns the command that compiles a program in Zig to a core module.
pub fn zig_program(zig: &Zig, source: &Path, module: &Path) -> Command {
    let mut compiler = zig.command("build-exe");
    compiler.args(["-O", "ReleaseSmall", "-fstrip", "--stack", "1048576"]);
    let mut output = OsString::from("-femit-bin=");
    output.push(module);
    compiler.arg(output).arg(source);
    compiler
}

/// Returns the command that runs the `build.zig` of the working directory, which installs its program
/// in the folder `bin` of `prefix`.
pub fn zig_project(zig: &Zig, prefix: &Path) -> Command {
    let mut build = zig.bare("build");
    build.arg(format!("-Dtarget={TARGET}")).arg("--release=small").arg("--prefix").arg(prefix);
    build
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_includes_of_a_source_tell_its_world() {
        for (source, world) in [
            ("#include \"socketserver.h\"\n", Some(World::Stream)),
            ("  # include <stream_handler.h>\n", Some(World::Stream)),
            ("#include \"socketserver.hpp\"", Some(World::Stream)),
            ("#include \"datagram_handler.h\"\n#include \"x.h\"", Some(World::Datagram)),
            ("#include \"both.h\"\n", Some(World::Both)),
            ("#include \"datagram.hpp\"\n#include \"both.hpp\"", Some(World::Both)),
            ("#include <stdio.h>\n// not \"socketserver.h\"\n", None),
            ("", None),
        ] {
            assert_eq!(World::find(source), world, "{source}");
        }
    }
}
