//! The unsafe code of this crate.

#[cfg(all(target_os = "unknown", feature = "allocator"))]
mod allocator;

/// Does what the C library does before it ends a program: the functions of `atexit`
/// run, and the buffers of C's streams are written.
#[cfg(target_os = "wasi")]
pub(crate) fn exit_of_c() {
    unsafe extern "C" {
        fn __wasm_call_dtors();
    }
    // SAFETY: the library that Rust's own is linked with has this function for
    // programs whose `main` has returned. As there, nothing runs afterwards but what
    // tells the host how `finish` ended.
    unsafe { __wasm_call_dtors() };
}
