//! Aligns the segments of the program to huge pages, so that a server that forks can move them
//! into such pages: see `socketserver_sandbox::keep_program_in_huge_pages`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,-z,max-page-size=2097152");
}
