//! Aligns the segments of the program to huge pages, so that a server that forks can move them
//! into such pages: see `socketserver_sandbox::keep_program_in_huge_pages`.
//!
//! Lists the files of the folders `sdk` and `templates`, which the program contains.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,max-page-size=2097152");
    let (root, out) = (variable("CARGO_MANIFEST_DIR")?, variable("OUT_DIR")?);
    let mut code = String::new();
    for (name, folder) in [("SDK", "sdk"), ("TEMPLATES", "templates")] {
        let mut files = Vec::new();
        collect(&Path::new(&root).join(folder), "", &mut files)?;
        files.sort();
        // Writing to a String does not fail.
        let _ = writeln!(code, "pub const {name}: &[(&str, &[u8])] = &[");
        for file in files {
            let path = format!("{root}/{folder}/{file}");
            let _ = writeln!(code, "    ({file:?}, include_bytes!({path:?})),");
        }
        code.push_str("];\n");
    }
    fs::write(Path::new(&out).join("files.rs"), code)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}

/// Adds the files in a folder and in its subfolders, except documents of the SDK.
fn collect(folder: &Path, before: &str, files: &mut Vec<String>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let below = format!("{before}{name}");
        if path.is_dir() {
            collect(&path, &format!("{below}/"), files)?;
        } else if !(name == "README.md"
            && folder.components().any(|part| part.as_os_str() == "sdk"))
        {
            files.push(below);
        }
    }
    Ok(())
}
